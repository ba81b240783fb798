"""The evaluation on disk: scores.csv, summary.json and plots over thickness and dose."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fourdcrystal import evaluation, files, plots
from fourdcrystal.evaluation import IN_LATTICE, LEARNED, NETWORK, REFINED
from fourdcrystal.inference import Detector
from fourdcrystal.settings import Settings

# name of the column: label, whether more is better
FIGURES = {
    "score": ("score TP/(TP+FP+FN)", True),
    "score_weighted": ("score weighted by |V|", True),
    "position_median_px": ("median position error [px]", False),
    "position_rms_px": ("RMS position error [px]", False),
    "r_factor": ("R factor of |V|", False),
    "strain_rmse": ("strain RMSE", False),
}
# of positions refined by what is shipped; the floor is that of :mod:`fourdcrystal.floor`
POSITIONS = ("position_median_px", "position_joint_px", "position_floor_px", "coverage", "strain_rmse")
SPLIT_NAMES = {"test": "held-out crystals", "test_prototype": "held-out prototypes"}


def make(catalogue: Path, patterns: Path, model: Path, output: Path, settings: Settings, device: str) -> None:
    """Evaluate a model and write scores.csv, plots and, last, summary.json.

    Raises:
        InputError: if the catalogue, a store or the model can't be used.
    """
    detector = Detector.load(model, device)
    scores, chosen = evaluation.evaluate(catalogue, patterns, detector, settings.evaluation, settings.seed)
    with files.replaced(output / "scores.csv") as path:
        scores.to_csv(path, index=False, float_format="%.6g")
    over_thickness(output / "scores.png", scores)
    tilt_error(output / "tilt.png", scores)
    figures = summary(scores) | chosen
    with files.replaced(output / "summary.json") as path:
        path.write_text(json.dumps(figures, indent=2) + "\n")
    print(table(figures))


def summary(scores: pd.DataFrame) -> dict[str, Any]:
    """Network and best classical method, figure by figure, for each split and dose over all thicknesses."""
    overall = scores[scores["thickness_A"].isna()]
    result: dict[str, Any] = {}
    for (split, dose), rows in overall.groupby(["split", "dose"]):
        by_method = rows.set_index("method")
        entry = {}
        for name, (_, more_is_better) in FIGURES.items():
            ours = by_method.loc[NETWORK, name]
            others = by_method[~by_method.index.map(is_learned)][name].dropna()
            best = None if others.empty else others.idxmax() if more_is_better else others.idxmin()
            entry[name] = {
                "network": _rounded(ours),
                "classical": None if best is None else _rounded(others[best]),
                "classical_method": best,
            }
        fitted = f"{NETWORK}, edge fit"
        if fitted in by_method.index:
            for name in ("position_median_px", "position_rms_px", "strain_rmse"):
                entry[name]["network_edge_fit"] = _rounded(by_method.loc[fitted, name])
        entry["tilt_median_mrad"] = {
            "network": _rounded(by_method.loc[NETWORK, "tilt_median_mrad"]),
            "no_tilt": _rounded(by_method.loc[NETWORK, "untilted_median_mrad"]),
        }
        for refined in (f"{name}, {kind}" for name in REFINED for kind in (LEARNED, IN_LATTICE)):
            if refined in by_method.index:
                entry[refined] = {name: _rounded(by_method.loc[refined, name]) for name in POSITIONS}
        result.setdefault(str(split), {})[f"{dose:g}"] = entry
    return result


def is_learned(method: str) -> bool:
    """Whether a method of the tables is learned, in whole or in part."""
    return method.startswith(NETWORK) or LEARNED in method


def _rounded(value: float) -> float | None:
    return None if not np.isfinite(value) else float(f"{value:.4g}")


def table(figures: dict[str, Any]) -> str:
    """The summary as text: one line per split and dose."""
    lines = ["network / best classical method of each figure, and positions refined by the shipped refiner:"]
    for split, title in SPLIT_NAMES.items():
        for dose, entry in figures.get(split, {}).items():
            for refined in (name for name in entry if is_learned(name)):
                said = ", ".join(f"{name} {value}" for name, value in entry[refined].items())
                lines.append(f"{title}, {float(dose):.0e} electrons, {refined}: {said}")
            shown = ", ".join(
                f"{FIGURES[k][0]} {entry[k]['network']} / {entry[k]['classical']}" for k in FIGURES if k in entry
            )
            lines.append(f"{title}, {float(dose):.0e} electrons: {shown}")
    return "\n".join(lines)


def over_thickness(path: Path, scores: pd.DataFrame) -> None:
    """Every figure over thickness, network and classical methods, one column a split and dose."""
    rows = scores[scores["thickness_A"].notna()]
    columns = [(key, part) for key, part in rows.groupby(["split", "dose"])]
    with plots.figure(path, len(FIGURES), len(columns), (3.2, 1.9)) as (_, axes):
        for line, (name, (label, _)) in enumerate(FIGURES.items()):
            top = (
                1.02
                if name.startswith("score")
                else 1.05 * float(np.nanmax(rows[name]))
                if rows[name].notna().any()
                else 1.0
            )
            for column, ((split, dose), part) in enumerate(columns):
                panel = axes[line, column]
                _curves(panel, part, name)
                panel.set_ylim(0, top)
                if column == 0:
                    panel.set_ylabel(label)
                if line == 0:
                    panel.set_title(f"{SPLIT_NAMES[split]}, {dose:.0e} electrons")
                if line == len(FIGURES) - 1:
                    panel.set_xlabel("thickness [Å]")
        axes[0, 0].legend(fontsize=6)


def _curves(panel: Any, rows: pd.DataFrame, name: str) -> None:
    for i, (method, part) in enumerate(rows.groupby("method")):
        ours = method == NETWORK
        style = (
            {"color": plots.COLOURS["ours"], "lw": 2, "zorder": 3}
            if ours
            else {"lw": 1, "ls": "--", "color": f"C{i + 1}"}
        )
        panel.plot(part["thickness_A"], part[name], "o-" if ours else ".", label=method, **style)


def tilt_error(path: Path, scores: pd.DataFrame) -> None:
    """Error of the tilt from q_z over thickness, for each split and dose; classical methods can't tell."""
    rows = scores[(scores["method"] == NETWORK) & scores["thickness_A"].notna()]
    with plots.figure(path, size=(4.0, 2.8)) as (_, axes):
        for (split, dose), part in rows.groupby(["split", "dose"]):
            axes[0, 0].plot(
                part["thickness_A"], part["tilt_median_mrad"], "o-", label=f"{SPLIT_NAMES[split]}, {dose:.0e}"
            )
        axes[0, 0].set_xlabel("thickness [Å]")
        axes[0, 0].set_ylabel("median error of the tilt from $q_z$ [mrad]")
        axes[0, 0].set_ylim(bottom=0)
        axes[0, 0].legend(fontsize=6)
