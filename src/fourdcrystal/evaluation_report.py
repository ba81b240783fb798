"""The evaluation on disk: scores.csv, summary.json and curves over thickness, dose and tilt."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fourdcrystal import accuracy_curves, evaluation, files
from fourdcrystal.conditions import SPLITS
from fourdcrystal.evaluation import IN_LATTICE, LEARNED, NETWORK, REFINED
from fourdcrystal.inference import NetworkDetector
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


def make(catalogue: Path, patterns: Path, model: Path, output: Path, settings: Settings, device: str) -> None:
    """Evaluate a model and write scores.csv, curves and, last, summary.json.

    Raises:
        InputError: if the catalogue, a store or the model can't be used.
    """
    detector = NetworkDetector.load(model, device)
    scores, chosen = evaluation.evaluate(catalogue, patterns, detector, settings.evaluation, settings.seed)
    with files.replaced(output / "scores.csv") as path:
        scores.to_csv(path, index=False, float_format="%.6g")
    accuracy_curves.draw(output, scores)
    figures = summary(scores) | chosen
    with files.replaced(output / "summary.json") as path:
        path.write_text(json.dumps(figures, indent=2) + "\n")
    print(table(figures))


def summary(scores: pd.DataFrame) -> dict[str, Any]:
    """Network and best classical method, figure by figure, for each split and dose over all thicknesses and tilts."""
    overall = scores[scores["thickness_A"].isna() & (scores["tilt"] == "")]
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
    """The summary as text: a block for each split and dose."""
    lines = []
    for split, title in SPLITS.items():
        for dose, entry in figures.get(split, {}).items():
            lines.append(f"{title}, {float(dose):,.0f} electrons: network / best classical method of each figure")
            for name, (label, _) in FIGURES.items():
                if name in entry:
                    lines.append(f"  {label:<32} {entry[name]['network']} / {entry[name]['classical']}")
            for refined in filter(is_learned, entry):
                said = ", ".join(f"{name} {value}" for name, value in entry[refined].items())
                lines += [f"  {refined}:", f"    {said}"]
    return "\n".join(lines)
