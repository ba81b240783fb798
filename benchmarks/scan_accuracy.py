"""Positions and strain of thick strained scans, beside py4DSTEM, LiberTEM-blobfinder and the edge fit, in one run.

Scans by Bloch waves at several thicknesses (:mod:`bloch_scans`), and scans with measured contrast inside the disks,
which are left out, in words, where their tool isn't beside this checkout. All truth is exact. py4DSTEM and blobfinder
run in environments of their own, made once under .cache/services; one that can't be made is left out, in words. Every
method but those of this package's default gets the threshold that scores best on the very scan.

    python benchmarks/scan_accuracy.py -o docs/accuracy_scans.md        # about ten minutes
"""

import argparse
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path

import accuracy
import bloch_scans
import numpy as np
import pandas as pd
import pytest

from fourdcrystal import correlation, detection, files, scan_files, scan_truth
from fourdcrystal.detection import Detected
from fourdcrystal.peaks import Peaks
from fourdcrystal.scans import Scan

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from services import environments

OTHERS = Path(__file__).parent / "others"
THICKNESS = (50.0, 200.0, 400.0, 800.0, 1200.0)  # Å
MEASURED = "measured contrast"
REFINED = ("disk fit", "learned", accuracy.CONTEXT)  # what is compared with the best of all others
FIGURES = {"position_median_px": ("Median position error [px]", 1), "strain_rmse": ("Strain RMSE [%]", 100)}
WITHIN = "strain_within"  # share of strain components within their stated deviation
WANTED = 0.35  # times the best other method, at least this thick:
THICK = 400.0  # Å


def found_by_others(paths: Sequence[Path]) -> None:
    """Let py4DSTEM and blobfinder find the disks of scans; their rows are beside the files, NAME.METHOD.found.npy."""
    pairs = [word for path in paths for word in (path, correlation.radius(scan_files.read(path).probe))]
    for name, packages, words in (
        ("py4dstem", environments.PY4DSTEM, [detection.THRESHOLDS[0]]),
        ("blobfinder", environments.BLOBFINDER, []),
    ):
        try:
            python = environments.python(name, packages)
        except pytest.skip.Exception as reason:
            print(f"{name} is left out: {reason}")
            continue
        command = [python, OTHERS / f"{name}_disks.py", *words, *pairs]
        subprocess.run([str(word) for word in command], check=True)


def others(path: Path, scan: Scan, like: Detected) -> Iterator[tuple[str, Detected]]:
    """Every other program's detection of a scan at its best threshold, mapped as this package's own peaks are."""
    for file in sorted(path.parent.glob(f"{glob_safe(path.stem)}.*.found.npy")):
        rows = np.load(file)
        name = file.name.removeprefix(f"{path.stem}.").removesuffix(".found.npy")
        peaks = Peaks.of(rows[:, 0].astype(int), rows[:, 1:3], rows[:, 3])
        peaks = peaks.above(detection.best_threshold(scan, peaks))
        yield name, detection.mapped(scan, name, replace(like.found, peaks=peaks))


def glob_safe(text: str) -> str:
    """Text that stands for itself in a pattern of file names."""
    return text.replace("[", "[[]")


def score(made: Mapping[tuple[str, str], Path]) -> pd.DataFrame:
    """Figures of all methods; columns specimen, scan and method say what of."""
    rows = []
    for (specimen, label), path in made.items():
        scan = scan_files.read(path)
        own = dict(accuracy.detected(scan, None))
        for method, found in [*others(path, scan, own[accuracy.CANDIDATES]), *own.items()]:
            errors = scan_truth.errors(scan, found.peaks, found.maps, found.in_volts)
            rows.append({"specimen": specimen, "scan": label, "method": method} | errors)
    return pd.DataFrame(rows)


def tables(results: pd.DataFrame) -> list[str]:
    """For each specimen and figure a table of methods against scans, and what was wanted."""
    lines = []
    for specimen, rows in results.groupby("specimen", sort=False):
        for figure, (title, factor) in FIGURES.items():
            shown = rows.pivot_table(index="method", columns="scan", values=figure)[rows["scan"].unique()] * factor
            shown = shown.loc[rows["method"].unique()]
            lines += [f"## {specimen}: {title[0].lower()}{title[1:]}", "", f"| method | {' | '.join(shown)} |"]
            lines.append("|---" * (1 + len(shown.columns)) + "|")
            lines += [f"| {m} | {' | '.join(f'{v:.3f}' for v in row)} |" for m, row in shown.iterrows()]
            best = shown.drop(index=list(REFINED)).min()
            lines += [
                f"| *{m} / best other* | {' | '.join(map(judged, shown, shown.loc[m] / best))} |" for m in REFINED
            ]
            lines.append("")
    return [*lines, *honesty(results)]


def honesty(results: pd.DataFrame) -> list[str]:
    """A table of how many strain components of every scan lie within their stated deviation; 0.68 is right."""
    lines = ["## Share of strain components within their stated deviation", ""]
    shown = results[results["method"] == "learned"].pivot_table(
        index="specimen", columns="scan", values=WITHIN, sort=False
    )
    for specimen, row in shown.iterrows():
        lines.append(f"* {specimen}: {', '.join(f'{v:.2f} ({scan})' for scan, v in row.dropna().items())}")
    return [*lines, ""]


def judged(scan: str, ratio: float) -> str:
    """A ratio to the best other method, bold where it is as wanted: never above 1, and small where it is thick."""
    thick = not scan.endswith("Å") or float(scan.removesuffix("Å")) >= THICK
    return f"**{ratio:.2f}**" if ratio <= (WANTED if thick else 1) else f"{ratio:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, help="Markdown file; what stands above its first table stays")
    parser.add_argument("--grid", type=int, default=5, help="positions along each axis of a scan")
    args = parser.parse_args()
    made = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for name in bloch_scans.SPECIMENS:
            for depth, path in bloch_scans.make(folder, name, THICKNESS, args.grid).items():
                made[name, f"{depth:g} Å"] = path
        for name, dose, scan in accuracy.measured(folder, args.grid):
            made[MEASURED, f"{name}, {dose:.0e} electrons"] = folder / scan.name
        found_by_others(list(made.values()))
        results = score(made)
    about = f"**Run of** {date.today()}, {platform.machine()}, {args.grid**2} patterns per scan."
    text = "\n".join([about, "", *tables(results)])
    print(text)
    if args.output:
        before = args.output.read_text().partition("**Run of**")[0] if args.output.exists() else ""
        with files.replaced(args.output) as path:
            path.write_text(before + text)


if __name__ == "__main__":
    main()
