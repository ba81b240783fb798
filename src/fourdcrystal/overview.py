"""The key figures of a run on one page: what was made, how good it is, and where to find it."""

import html
import json
from pathlib import Path
from typing import Any

from fourdcrystal.conditions import SPLITS

COMPARED = {  # figure: name, the same in a word, unit, factor
    "score": ("detection score TP/(TP+FP+FN)", "score", "", 1),
    "score_weighted": ("detection score, intensity-weighted", "weighted", "", 1),
    "position_median_px": ("median position error", "position", " px", 1),
    "r_factor": ("R factor of |V|", "R", "", 1),
    "strain_rmse": ("strain RMSE", "strain", " %", 100),
}
ONLY_SCANS = {"tilt_median_mrad": ("median tilt error", "tilt", " mrad", 1)}

Rows = list[tuple[str, str]]


def gather(results: str | Path) -> dict[str, Any]:
    """Read what every stage has left.

    Args:
        results: Folder of all outputs.

    Returns:
        Plain data: ``crystals``, ``quartets`` (number by split), ``models``, ``evaluation`` and ``detection`` by name.
    """
    from fourdcrystal import catalogue

    folder = Path(results)

    def each(pattern: str) -> dict[str, Any]:
        """The JSON files of a kind, by the name of their folder."""
        return {path.parent.name: json.loads(path.read_text()) for path in sorted(folder.glob(pattern))}

    counts = catalogue.read(folder / "catalogue.parquet", columns=["split"])["split"].value_counts()
    return {
        "results": str(results),
        "crystals": json.loads((folder / "crystals" / "census.json").read_text()),
        "quartets": {name: int(counts.get(name, 0)) for name in catalogue.SPLITS},
        "models": each("models/*/metrics.json"),
        "evaluation": each("evaluation/*/summary.json"),
        "detection": each("detection/*/summary.json"),
    }


def sections(figures: dict[str, Any]) -> dict[str, Rows]:
    """Headings, each with lines of name and value, as a person reads them."""
    crystals, quartets, folder = figures["crystals"], figures["quartets"], figures["results"]
    systems = sum(number > 0 for number in crystals["crystal_systems"].values())
    made: dict[str, Rows] = {
        "Data": [
            ("crystals", f"{crystals['selected']} of {crystals['prototypes']} prototypes, {systems} crystal systems"),
            ("quartets", f"{sum(quartets.values()):,}: " + ", ".join(f"{n:,} {name}" for name, n in quartets.items())),
        ]
    }
    for name, metrics in figures["models"].items():
        made[f"Network '{name}'"] = [
            (
                "trained",
                f"{metrics['steps']:,} steps in {metrics['seconds']:.0f} s, {metrics['parameters']:,} parameters",
            )
        ]
    for name, evaluated in figures["evaluation"].items():
        for split, words in SPLITS.items():
            for dose, entry in evaluated.get(split, {}).items():
                heading = f"'{name}' on {words}, {float(dose):,.0f} electrons (network / best classical)"
                made[heading] = [
                    (
                        title,
                        f"{_number(entry[key]['network'], factor)} / {_best(entry[key], factor)}{unit}",
                    )
                    for key, (title, _, unit, factor) in COMPARED.items()
                    if key in entry
                ]
    for name, found in figures["detection"].items():
        lines = [("Bragg vectors", f"{found['peaks']:,} in {' x '.join(map(str, found['positions']))} patterns")]
        for method, errors in found.get("error", {}).items():
            said = [
                f"{word} {_number(errors[key], factor)}{unit}"
                for key, (_, word, unit, factor) in (COMPARED | ONLY_SCANS).items()
                if key in errors
            ]
            lines.append((method, ", ".join(said)))
        made[f"Scan '{name}'"] = lines
    made["Where"] = [
        ("report", f"{folder}/report.html"),
        *(("model", f"{folder}/models/{name}/model.safetensors") for name in figures["models"]),
        *(("evaluation", f"{folder}/evaluation/{name}/scores.csv") for name in figures["evaluation"]),
        *(
            line
            for name in figures["detection"]
            for line in (
                ("Bragg vectors", f"{folder}/detection/{name}/bragg_vectors.h5 and .parquet"),
                ("pictures", f"{folder}/detection/{name}/*.png"),
            )
        ),
        ("patterns", f"{folder}/patterns/*.zarr, listed in {folder}/catalogue.parquet"),
    ]
    return made


def _number(value: float | None, factor: float) -> str:
    return "none" if value is None else f"{value * factor:.2f}"


def _best(entry: dict[str, Any], factor: float) -> str:
    name = entry.get("classical_method")
    return _number(entry["classical"], factor) + (f" ({name})" if name else "")


def text(figures: dict[str, Any]) -> str:
    """The page for a terminal."""
    lines = []
    for heading, rows in sections(figures).items():
        lines += ["", heading, *(f"  {name:<37} {value}".rstrip() for name, value in rows)]
    return "\n".join(lines).lstrip("\n") + "\n"


def page(figures: dict[str, Any]) -> str:
    """The page for the report: HTML without scripts, legible in light and in dark."""
    body = []
    for heading, rows in sections(figures).items():
        cells = "".join(f"<tr><th>{html.escape(name)}</th><td>{html.escape(value)}</td></tr>" for name, value in rows)
        body.append(f"<h2>{html.escape(heading)}</h2><table>{cells}</table>")
    style = (
        ":root{color-scheme:light dark}body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:1.5rem auto;"
        "padding:0 1rem}h2{font-size:1rem;margin:1.4rem 0 .3rem}table{border-collapse:collapse;width:100%}"
        "th,td{text-align:left;vertical-align:top;padding:.25rem .6rem;border-bottom:1px solid #8884}"
        "th{font-weight:500;width:38%}"
    )
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'><title>4D-Crystal: key figures</title>"
        f"<style>{style}</style></head><body><h1>Key figures</h1>{''.join(body)}</body></html>\n"
    )
