"""Pictures of strain: maps over a scan, profiles along a line scan, and which grain is where."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.colors import ListedColormap, to_rgb
from matplotlib.patches import Patch

from fourdcrystal import plots, scan_truth
from fourdcrystal.strain import COMPONENTS

if TYPE_CHECKING:
    from fourdcrystal.analysis import Analysis
    from fourdcrystal.detection import Detected
    from fourdcrystal.mapping import Maps
    from fourdcrystal.scans import Scan

LABELS = {"e_xx": "$e_{xx}$ [%]", "e_yy": "$e_{yy}$ [%]", "e_xy": "$e_{xy}$ [%]", "theta": "rotation [mrad]"}
IN_GRAIN = "in-grain rotation [mrad]"
SCALE = np.array([100.0, 100.0, 100.0, 1e3])
LEAST = (0.01, 0.01, 0.01, 0.1)  # half of a colour scale: rounding errors of a lattice alone aren't drawn as strain
NAMED_GRAINS = 12  # beside a map of grains


def strain(path: Path, scan: "Scan", found: "Detected", baseline: "Detected | None", analysis: "Analysis") -> None:
    """Strain and rotation: the network's and, where there are any, the classical ones and the truth; uncertainties.

    Where there are several grains, rotations are shown beside each grain's own, which would hide them.
    """
    maps, rows = found.maps, [(found.method, found.maps.strain.values)]
    if baseline is not None:
        rows.insert(0, (baseline.method, baseline.maps.strain.values))
    if "distortion" in scan.truth:
        rows.append(("truth", scan_truth.strains(scan, maps, analysis.region)))
    several = maps.grain.max(initial=0) > 0
    shown = [(name, SCALE * (_within_grains(values, maps.grain) if several else values)) for name, values in rows]
    labels = [*list(LABELS.values())[:3], IN_GRAIN if several else LABELS["theta"]]
    sigma = SCALE * maps.strain.sigma
    if 1 in scan.grid and len(scan) > 1:
        _profiles(path, shown, sigma, labels, relative_to(maps, analysis))
    else:
        _maps(path, scan, shown, sigma, labels, relative_to(maps, analysis))


def relative_to(maps: "Maps", analysis: "Analysis") -> str:
    """What strain is relative to and along, in words."""
    if maps.absolute:
        reference = "the crystal's lattice"
    elif analysis.region is not None:
        reference = "the median of the reference region"
    else:
        reference = f"the median of {'the largest grain' if maps.grain.max(initial=0) > 0 else 'the scan'}"
    turned = f"is {np.degrees(maps.frame):.1f}° from" if maps.frame else "is along"
    return f"relative to {reference}; x {turned} the detector's axis 0"


def _within_grains(values: np.ndarray, grain: np.ndarray) -> np.ndarray:
    """The same, (P, 4), with rotations from the median of each grain."""
    made = values.copy()
    for number in range(int(grain.max()) + 1):
        some = grain == number
        if np.isfinite(values[some, 3]).any():
            made[some, 3] -= np.nanmedian(values[some, 3])
    return made


def _maps(
    path: Path, scan: "Scan", rows: list[tuple[str, np.ndarray]], sigma: np.ndarray, labels: list[str], words: str
) -> None:
    reference, found = rows[-1][1], rows[-2 if rows[-1][0] == "truth" else -1]
    stated = (f"uncertainty,\n{found[0]}", sigma)
    with plots.figure(path, len(rows) + 1, len(COMPONENTS), (2.5, 2.2)) as (figure, axes):
        figure.suptitle(words, fontsize=8)
        for row, (name, values) in enumerate([*rows, stated]):
            for column, label in enumerate(labels):
                panel, image = axes[row, column], values[:, column].reshape(scan.grid)
                plots.scan_axes(panel, name if column == 0 else None, row == len(rows))
                panel.set_title(label if row == 0 else "")
                if not np.isfinite(image).any():
                    panel.imshow(image)
                    panel.text(0.5, 0.5, "not known", transform=panel.transAxes, ha="center", va="center")
                elif values is sigma:
                    # a few patterns that know little of their lattice don't set the scale
                    drawn = panel.imshow(image, cmap="viridis", vmin=0, vmax=plots.span(image))
                    plots.colour_bar(figure, drawn, panel)
                else:
                    # the truth sets the scale, unless it is so even that noise would be out of all bounds
                    limit = max(plots.span(reference[:, column]), plots.span(found[1][:, column]) / 3, LEAST[column])
                    drawn = panel.imshow(image, cmap=plots.SIGNED, vmin=-limit, vmax=limit)
                    plots.colour_bar(figure, drawn, panel)


def _profiles(path: Path, rows: list[tuple[str, np.ndarray]], sigma: np.ndarray, labels: list[str], words: str) -> None:
    """Of a line scan: a component each, the band is the stated standard uncertainty."""
    own = rows[-2 if rows[-1][0] == "truth" else -1][0]
    with plots.figure(path, len(labels), 1, (6.0, 1.7)) as (figure, axes):
        figure.suptitle(words, fontsize=8)
        for column, label in enumerate(labels):
            panel, position = axes[column, 0], np.arange(len(sigma))
            for name, values in rows:
                line = values[:, column]
                (drawn,) = panel.plot(position, line, ".-", ms=3, lw=0.8, label=name)
                if name == own:
                    low, high = line - sigma[:, column], line + sigma[:, column]
                    panel.fill_between(position, low, high, alpha=0.25, lw=0, color=drawn.get_color())
            panel.set_ylabel(label)
            low, high = panel.get_ylim()
            panel.set_ylim(min(low, -LEAST[column]), max(high, LEAST[column]))
            panel.label_outer()
        axes[-1, 0].set_xlabel("position along the line")
        axes[0, 0].legend(fontsize=7)


def grains(path: Path, scan: "Scan", maps: "Maps") -> None:
    """Which grain is where, and by how much each is turned from the reference."""
    sizes = np.bincount(maps.grain[maps.grain >= 0])
    named = min(len(sizes), NAMED_GRAINS)
    cycle = plots.STYLE["axes.prop_cycle"].by_key()["color"]
    shades = [(*to_rgb(cycle[i % len(cycle)]), 1 - 0.5 * (i // len(cycle))) for i in range(named)]
    colours: list[Any] = [plots.UNKNOWN, *shades, "white"]
    shown = np.clip(maps.grain, -1, named) + 1
    counts = np.bincount(shown, minlength=named + 2)
    words = ["without a lattice", *(_turned(maps, number) for number in range(named)), "others"]
    with plots.figure(path, size=(6.2, 3.0)) as (figure, axes):
        panel = axes[0, 0]
        panel.imshow(shown.reshape(scan.grid), cmap=ListedColormap(colours), vmin=-0.5, vmax=named + 1.5)
        plots.scan_axes(panel, "")
        panel.set_title(f"{len(sizes)} lattices in {len(scan)} patterns")
        told = [(w, c, n) for w, c, n in zip(words, colours, counts.tolist(), strict=True) if n]
        handles = [Patch(facecolor=c, edgecolor="#888888") for _, c, _ in told]
        names = [f"{w}: {n} patterns" for w, _, n in told]
        figure.legend(handles, names, loc="outside right center", fontsize=8)


def _turned(maps: "Maps", number: int) -> str:
    theta = maps.strain.values[maps.grain == number, 3]
    if not np.isfinite(theta).any():
        return f"{number}, another lattice"
    return f"{number}, turned by {round(np.degrees(np.nanmedian(theta)), 1) + 0.0:.1f}°"  # no -0.0
