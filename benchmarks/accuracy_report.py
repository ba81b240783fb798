"""Tables, curves and maps of benchmarks/accuracy.py."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fourdcrystal import files, metrics, plots, scan_truth

COLUMNS = {
    "position_median_px": ("position [px]", 1, ".3f"),
    "position_shared_px": ("same disks [px]", 1, ".3f"),
    "position_joint_px": ("after joint fit [px]", 1, ".3f"),
    "position_floor_px": ("shot-noise floor [px]", 1, ".3f"),
    "coverage": ("within 1 σ", 1, ".2f"),
    "score": ("score", 1, ".3f"),
    "score_weighted": ("weighted score", 1, ".3f"),
    "r_factor": ("R", 1, ".2f"),
    "r_scaled": ("R, best scale", 1, ".2f"),
    "strain_rmse": ("strain RMSE [%]", 100, ".3f"),
    "tilt_median_mrad": ("tilt [mrad]", 1, ".1f"),
    "untilted_median_mrad": ("no tilt [mrad]", 1, ".1f"),
}
SCAN_COLUMNS = ("F1", "position_median_px", "position_rms_px", "strain_rmse")
LOWER = (
    "position_median_px",
    "position_shared_px",
    "position_joint_px",
    "r_factor",
    "r_scaled",
    "strain_rmse",
    "tilt_median_mrad",
)
WANTED = {
    "position_median_px": "<= 0.10 and <= 0.35 x best",
    "position_shared_px": "<= 0.10 and <= 0.35 x best",
    "position_joint_px": "<= 0.04",
    "score_weighted": ">= best + 0.15",
    "r_factor": "<= 0.5 x best",
    "r_scaled": "<= 0.5 x best",
    "strain_rmse": "<= 0.08 % and <= 0.4 x best",
    "tilt_median_mrad": "<= 2",
    "coverage": "0.62-0.74",
}
CURVES = {  # picture: what is varied in it
    "curves.png": ("thickness [Å]", "dose", "mistilt [mrad]", "semi-angle [mrad]"),
    "curves_camera.png": ("background", "ellipticity", "centring error"),
}
UNDISTURBED = CURVES["curves_camera.png"]  # where the base condition stands at 0
UNITS = {  # of conditions, on the axes
    "dose": "dose [electrons]",
    "background": "background [fraction of electrons]",
    "ellipticity": "ellipticity [ratio - 1]",
    "centring error": "centring error [px]",
}
BESIDE = {"position_median_px": "position_floor_px", "tilt_median_mrad": "untilted_median_mrad"}  # dotted
TILTS = (0.5, 1, 2, 5, 10, 20, 50)  # mrad, on the axis
DRAWN = ("multicorr", "multicorr, root", "edge fit", "learned", "network, learned", "network, learned, in the lattice")
OURS = ("disk fit", "learned", "network")  # what is more than classical


def ours(method: str) -> bool:
    """Whether a method is this package's own, not one of the classical ones that it is measured against."""
    return method.startswith(OURS)


def cell(name: str, value: float) -> str:
    """A figure as the tables show it; empty where there is none."""
    _, factor, form = COLUMNS.get(name, (name, 1, ".4f" if name == "F1" else ".3f"))
    return format(value * factor, form) if np.isfinite(value) else ""


def title(name: str) -> str:
    """Head of a column."""
    return COLUMNS[name][0] if name in COLUMNS else {"position_rms_px": "RMS [px]"}.get(name, name)


def markdown(rows: pd.DataFrame, columns: Sequence[str], first: str = "method") -> list[str]:
    """A table, one row for each row, columns without any number left out."""
    shown = [c for c in columns if c in rows and rows[c].notna().any()]
    lines = [f"| {first} | {' | '.join(title(c) for c in shown)} |", f"|---{'|---' * len(shown)}|"]
    lines += [f"| {row[first]} | {' | '.join(cell(c, row[c]) for c in shown)} |" for _, row in rows.iterrows()]
    return [*lines, ""]


def against_wanted(rows: pd.DataFrame) -> list[str]:
    """A table of what is wanted, the best classical method of each figure, and every one of ours."""
    classical, learned = rows[~rows["method"].map(ours)], rows[rows["method"].map(ours)]
    names = list(learned["method"])
    lines = [f"| figure | wanted | best classical | {' | '.join(names)} |", f"|---|---|---{'|---' * len(names)}|"]
    for column, wanted in WANTED.items():
        values = classical.set_index("method")[column].dropna()
        best = "" if values.empty else (values.idxmin() if column in LOWER else values.idxmax())
        said = f"{cell(column, values[best])} ({best})" if best and column != "coverage" else ""
        cells = [cell(column, value) for value in learned[column]]
        lines.append(f"| {title(column)} | {wanted} | {said} | {' | '.join(cells)} |")
    tilt = cell("untilted_median_mrad", rows["untilted_median_mrad"].median())
    floor = cell("position_floor_px", rows["position_floor_px"].median())
    lines += ["", f'The answer "no tilt" scores {tilt} mrad. Median shot-noise floor of single disks: {floor} px.', ""]
    return lines


def failures(rows: pd.DataFrame) -> list[str]:
    """Crystals from the worst to the best for the network, with what is different about them."""
    some = rows[rows["method"] == "network, learned"].assign(crystal=lambda t: t["value"])
    return markdown(some.sort_values("score_weighted"), list(COLUMNS), "crystal")


def write(output: Path, about: str, table: pd.DataFrame, measured: pd.DataFrame, drawn: list[Any]) -> None:
    """Write accuracy.md, accuracy.csv, scans.csv, the pictures of CURVES and error_maps.png."""
    table.to_csv(output / "accuracy.csv", index=False, float_format="%.5g")
    lines = ["# Accuracy, side by side", "", about + ".", ""]
    for split in table[table["kind"] == "thick"]["value"].unique():
        rows = table[(table["kind"] == "thick") & (table["value"] == split)]
        lines += [f"## {split}, 200 Å and more, 1e5 electrons, 2.2 mrad", ""]
        lines += against_wanted(rows) if split == "all" else []
        lines += markdown(rows, list(COLUMNS))
    thin = table[(table["kind"] == "thickness [Å]") & (table["value"] == 50)]
    lines += ["## 50 Å, 1e5 electrons", "", *markdown(thin, list(COLUMNS))]
    if not measured.empty:
        measured = measured.assign(F1=2 * measured["score"] / (1 + measured["score"]))
        measured.to_csv(output / "scans.csv", index=False, float_format="%.5g")
        for name, rows in measured.groupby("scan", sort=False):
            lines += [f"## Measured contrast: {name}", "", *markdown(rows, SCAN_COLUMNS)]
    else:
        lines += ["## Measured contrast", "", "Left out: the tool and its data are not beside this checkout.", ""]
    lines += ["## Crystals, from the worst to the best (network, learned)", ""]
    lines += failures(table[table["kind"] == "crystal"])
    for kind in itertools.chain(*CURVES.values()):
        rows = table[table["kind"] == kind]
        for method in ("multicorr, root", "edge fit", "network, learned", "network, learned, in the lattice"):
            some = rows[rows["method"] == method]
            if len(some):
                lines += [f"## {kind}: {method}", "", *markdown(some, list(COLUMNS), "value")]
    with files.replaced(output / "accuracy.md") as path:
        path.write_text("\n".join(lines))
    for name, kinds in CURVES.items():
        curves(output / name, table, kinds)
    if drawn:
        error_maps(output / "error_maps.png", drawn)
    print("\n".join(lines))


def curves(path: Path, table: pd.DataFrame, kinds: Sequence[str]) -> None:
    """Position, strain, weighted score and tilt over conditions; beside them shot noise and the answer "no tilt"."""
    kinds = [kind for kind in kinds if (table["kind"] == kind).any()]
    if not kinds:
        return
    names = ("position_median_px", "strain_rmse", "score_weighted", "tilt_median_mrad")
    thick = table[(table["kind"] == "thick") & (table["value"] == "all")]
    with plots.figure(path, len(names), len(kinds), (2.6, 2.0)) as (figure, axes):
        for column, kind in enumerate(kinds):
            rows = table[table["kind"] == kind]
            if kind in UNDISTURBED:
                rows = pd.concat([thick.assign(value=0.0), rows])
            elif kind == "dose":
                rows = pd.concat([thick.assign(value=thick["dose"]), rows])
            for line, name in enumerate(names):
                panel = axes[line, column]
                for i, method in enumerate(DRAWN):
                    part = rows[rows["method"] == method]
                    part = part.assign(value=part["value"].astype(float)).sort_values("value")
                    style = {"lw": 2, "zorder": 3} if ours(method) else {"lw": 1, "ls": "--"}
                    style |= {"color": f"C{i}", "label": method, "marker": "."}
                    panel.plot(part["value"], part[name] * COLUMNS[name][1], **style)
                part = rows[rows["method"] == DRAWN[-1]].assign(value=lambda t: t["value"].astype(float))
                part = part.sort_values("value")
                if name in BESIDE:
                    panel.plot(part["value"], part[BESIDE[name]], "k:", label='shot-noise floor; answer "no tilt"')
                if line == 0:
                    panel.set_title(UNITS.get(kind, kind))
                if kind == "dose":
                    panel.set_xscale("log")
                if name == "tilt_median_mrad":
                    panel.set(yscale="log", ylim=(0.5, 60))  # "no tilt" is several times as large
                    panel.set_yticks([], minor=True)
                    panel.set_yticks(TILTS, [f"{tilt:g}" for tilt in TILTS])
                else:
                    panel.set_ylim(0, 1.02 if name == "score_weighted" else None)
                if column == 0:
                    panel.set_ylabel(title(name))
        figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=4)


def error_maps(path: Path, drawn: list[Any]) -> None:
    """Median position error of every pattern of a scan, and the error of e_xx."""
    with plots.figure(path, 2, len(drawn), (2.4, 2.2)) as (figure, axes):
        for column, (name, scan, found) in enumerate(drawn):
            position, strain = axes[0, column], axes[1, column]
            true = scan_truth.reflections(scan)
            distance = scan_truth.MATCH_DISTANCE / scan.dq
            matches = metrics.match(found.peaks, true, distance, scan.shape, 0.0)
            error = np.hypot(*(found.peaks.positions[matches.found] - true.positions[matches.true]).T)
            of = true.pattern[matches.true]
            median = [np.median(error[of == p]) if (of == p).any() else np.nan for p in range(len(scan))]
            shown = position.imshow(np.reshape(median, scan.grid), vmin=0, vmax=0.6)
            plots.colour_bar(figure, shown, position, "px")
            off = 100 * (found.maps.strain.values - scan_truth.strains(scan, found.maps))[:, 0]
            shown = strain.imshow(off.reshape(scan.grid), vmin=-0.3, vmax=0.3, cmap=plots.SIGNED)
            plots.colour_bar(figure, shown, strain, "%")
            position.set_title(f"{name.replace(': ', chr(10))}\nmedian position error", fontsize=6)
            strain.set_title("error of e_xx", fontsize=6)
            strain.set_xlabel("position $r_y$", fontsize=6)
            for map_ in (position, strain) if column == 0 else ():
                map_.set_ylabel("position $r_x$", fontsize=6)
