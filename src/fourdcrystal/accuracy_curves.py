"""How accurate the network and the classical methods are, as curves over thickness, dose and tilt."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D

from fourdcrystal import plots
from fourdcrystal.conditions import SPLITS, TILTS
from fourdcrystal.evaluation import LEARNED, NETWORK

# column of the scores: label, what it is multiplied by, top of the axis (none: as the curves need)
PANELS: dict[str, tuple[str, float, float | None]] = {
    "score": ("score", 1, 1.02),
    "score_weighted": ("score weighted by |V|", 1, 1.02),
    "position_median_px": ("median error [px]", 1, None),
    "position_rms_px": ("RMS error [px]", 1, None),
    "r_factor": ("R factor of |V|", 1, None),
    "strain_rmse": ("strain RMSE [%]", 100, None),
    "tilt_median_mrad": ("tilt error [mrad]", 1, None),
}
# what a curve of a panel is compared with: column, words
BOUNDS = {
    "position_median_px": ("position_floor_px", "floor of shot noise"),
    "tilt_median_mrad": ("untilted_median_mrad", "answering 'no tilt'"),
}
LINES, MARKERS = ("-", "--", ":", "-."), ("o", "s", "^", "D")
WORDS = {", root": " of √counts"}


def draw(folder: Path, scores: pd.DataFrame) -> None:
    """Draw over_thickness.png, over_dose.png and over_tilt.png.

    Args:
        folder: Where to.
        scores: What :func:`fourdcrystal.evaluation.evaluate` gives.
    """
    everything = scores["thickness_A"].isna() & (scores["tilt"] == "")
    middle = _middle(scores["dose"])
    at_middle, words = scores["dose"] == middle, f", {electrons(middle)} electrons per pattern"
    _figure(folder / "over_thickness.png", scores[at_middle & scores["thickness_A"].notna()], "thickness_A", words)
    _figure(folder / "over_dose.png", scores[everything], "dose", "")
    _figure(folder / "over_tilt.png", scores[at_middle & (scores["tilt"] != "")], "tilt", words)


def _middle(doses: pd.Series) -> float:
    """The dose at which curves over something else are drawn: the middle one, of an even number the higher."""
    values = np.unique(doses)
    return float(values[len(values) // 2])


def electrons(dose: float) -> str:
    """A number of electrons as it is written by hand, such as 3 · 10³."""
    power = int(np.floor(np.log10(dose)))
    factor = dose / 10**power
    return (f"{factor:.3g} · " if factor > 1 else "") + f"$10^{{{power}}}$"


def _figure(path: Path, rows: pd.DataFrame, over: str, words: str) -> None:
    splits = [split for split in SPLITS if (rows["split"] == split).any()]
    methods = sorted(rows["method"].unique(), key=lambda name: (_family(name)[0], name))
    with plots.figure(path, 2 * max(len(splits), 1), 4, (2.9, 2.3)) as (_, axes):
        for number, split in enumerate(splits):
            part = rows[rows["split"] == split]
            panels = axes[2 * number : 2 * number + 2].ravel()
            for panel, (name, about) in zip(panels, PANELS.items(), strict=False):
                _panel(panel, part, over, name, *about)
            panels[0].set_title(f"{SPLITS[split]}{words}", loc="left", fontweight="bold")
            panels[-1].set_axis_off()
            panels[-1].legend(handles=_legend(methods), loc="center", fontsize=8)


def _panel(panel: Any, rows: pd.DataFrame, over: str, name: str, label: str, factor: float, top: float | None) -> None:
    """Curves of one figure of merit over one condition."""
    names = [tilt for tilt in TILTS if (rows["tilt"] == tilt).any()]
    compared = BOUNDS.get(name)
    for method, part in rows.groupby("method"):
        x = part["tilt"].map(names.index) if over == "tilt" else part[over]
        if part[name].notna().any():
            panel.plot(x, factor * part[name], **_style(method, sorted(rows["method"].unique())))
        if compared and method == NETWORK:
            panel.plot(x, factor * part[compared[0]], color=plots.COLOURS["truth"], lw=1, ls=(0, (1, 2)))
    panel.margins(y=0.1)
    panel.set_ylim(0, top)
    if top is not None:
        panel.set_yticks([0, 0.25, 0.5, 0.75, 1])
    panel.set_ylabel(label)
    if over == "dose":
        # limits first: a panel may be empty, such as that of tilts where no pattern was tilted
        panel.set_xlim(rows["dose"].min() / 1.3, rows["dose"].max() * 1.3)
        panel.set_xscale("log")
        panel.set_xlabel("electrons per pattern")
    elif over == "tilt":
        counts = [int(rows.loc[rows["tilt"] == tilt, "patterns"].iloc[0]) for tilt in names]
        panel.set_xticks(range(len(names)), [f"{tilt}\n({n})" for tilt, n in zip(names, counts, strict=True)])
        panel.set_xlabel("mistilt [mrad] (patterns)")
    else:
        panel.set_xlabel("thickness [Å]")


def _family(method: str) -> tuple[int, str]:
    """Place in the legend, and colour: those of the network, learned refiner on correlation, and classical ones."""
    if method.startswith(NETWORK):
        return 0, plots.COLOURS["ours"]
    return (1, plots.COLOURS["other"]) if LEARNED in method else (2, plots.COLOURS["classical"])


def _style(method: str, methods: list[str]) -> dict[str, Any]:
    """Colour by family, dashes and marker within it."""
    place, colour = _family(method)
    number = [name for name in methods if _family(name)[0] == place].index(method)
    return {
        "color": colour,
        "ls": LINES[number % len(LINES)],
        "marker": MARKERS[number % len(MARKERS)],
        "ms": 4,
        "lw": 2.5 if method == NETWORK else 1.2,
        "zorder": 3 - place,
    }


def _legend(methods: list[str]) -> list[Line2D]:
    named = []
    for method in methods:
        label = method
        for short, words in WORDS.items():
            label = label.replace(short, words)
        named.append(Line2D([], [], label=label, **_style(method, methods)))
    words = "; ".join(words for _, words in BOUNDS.values())
    return [*named, Line2D([], [], label=words, color=plots.COLOURS["truth"], linewidth=1, linestyle=(0, (1, 2)))]
