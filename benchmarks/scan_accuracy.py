"""Positions and strain of thick strained scans, beside py4DSTEM, LiberTEM-blobfinder and the edge fit, in one run.

Scans by Bloch waves at several thicknesses (:mod:`bloch_scans`), and scans with measured contrast inside the disks,
which are left out, in words, where their tool isn't beside this checkout. All truth is exact. py4DSTEM and blobfinder
run in environments of their own, made once under .cache/services; one that can't be made is left out, in words. Every
method but those of this package's default gets the threshold that scores best on the very scan.

    python benchmarks/scan_accuracy.py -o docs/accuracy_scans.md        # about ten minutes
    python benchmarks/scan_accuracy.py --folder scans --specimens "Si [001]"

In a folder that is named, scans and the peaks of all methods but `detect` itself stay: another run searches only with
the network that is shipped then, and says anew what all peaks are worth.
"""

import argparse
import contextlib
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

from fourdcrystal import correlation, detection, detectors, files, refinements, scan_files, scan_truth
from fourdcrystal.detection import Detected
from fourdcrystal.detectors import Correlator
from fourdcrystal.peaks import Peaks
from fourdcrystal.scans import Scan

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from services import environments

OTHERS = Path(__file__).parent / "others"
THICKNESS = (50.0, 200.0, 400.0, 800.0, 1200.0)  # Å
MEASURED = "measured contrast"
FOUND, FINAL = ".found.npy", ".final.npy"  # rows of peaks; of the first kind the best threshold is chosen
CORRELATION = "multicorr, root"
EDGE, DISK, LEARNED = (f"{CORRELATION}, {kind} fit" for kind in ("edge", "disk", "learned"))
REFINEMENTS = (CORRELATION, EDGE, DISK, LEARNED)
ALONE, DETECT = "detect, each disk alone", "detect"
REFINED = (DISK, LEARNED, ALONE, DETECT)  # what is compared with the best of all others
FIGURES = {"position_median_px": ("Median position error [px]", 1), "strain_rmse": ("Strain RMSE [%]", 100)}
WITHIN = "strain_within"  # share of strain components within their stated deviation
WANTED = 0.35  # times the best other method, at least this thick:
THICK = 400.0  # Å


def made(folder: Path, grid: int, specimens: Sequence[str]) -> dict[tuple[str, str], Path]:
    """Files of scans by specimen and what tells its scans apart; those that are in the folder stay."""
    paths = {}
    for name in (name for name in specimens if name != MEASURED):
        there = {depth: bloch_scans.place(folder, name, depth) for depth in THICKNESS}
        if not all(path.exists() for path in there.values()):
            bloch_scans.make(folder, name, THICKNESS, grid)
        paths |= {(name, f"{depth:g} Å"): path for depth, path in there.items()}
    for name, dose, scan in accuracy.measured(folder, grid) if MEASURED in specimens else ():
        paths[MEASURED, f"{name}, {dose:,.0f} electrons"] = folder / scan.name
    return paths


def found_by_others(paths: Sequence[Path]) -> None:
    """Let py4DSTEM and blobfinder find the disks of scans; their rows are beside the files, NAME.METHOD.found.npy."""
    for name, ways, packages, words in (
        ("py4dstem", 4, environments.PY4DSTEM, [detection.THRESHOLDS[0]]),
        ("blobfinder", 2, environments.BLOBFINDER, []),
    ):
        there = {path: [n for n, _ in rows(path, FOUND) if n.lower().startswith(name)] for path in paths}
        missing = [path for path in paths if len(there[path]) < ways]  # none, or a run was killed between two
        if not missing:
            continue
        try:
            python = environments.python(name, packages)
        except pytest.skip.Exception as reason:
            print(f"{name} is left out: {reason}")
            continue
        pairs = [word for path in missing for word in (path, correlation.radius(scan_files.read(path).probe))]
        command = [python, OTHERS / f"{name}_disks.py", *words, *pairs]
        subprocess.run([str(word) for word in command], check=True)


def found_from_correlation(paths: Sequence[Path]) -> None:
    """This package's correlation and what refines its peaks; their rows are beside the files, NAME.METHOD.final.npy."""
    for path in paths:
        if {name for name, _ in rows(path, FINAL)} == set(REFINEMENTS):
            continue
        scan = scan_files.read(path)
        peaks = {CORRELATION: (coarse := detection.classical(scan)).peaks}
        peaks[EDGE] = detection.edge_fitted(scan, coarse).peaks
        for name, kind in ((DISK, "disk"), (LEARNED, "learned")):
            found = detection.detect(scan, Correlator(refine=refinements.named(kind)))
            peaks[name] = found.peaks if found.alone is None else found.alone
        for name, found in peaks.items():
            columns = [found.pattern, found.positions, found.intensity, found.sigma_px]
            with files.replaced(path.with_suffix(f".{name}{FINAL}")) as temporary:
                np.save(temporary, np.column_stack(columns))


def rows(path: Path, kind: str) -> Iterator[tuple[str, Peaks]]:
    """Name and peaks of every method that left rows of a kind beside a scan."""
    for file in sorted(path.parent.glob(f"{glob_safe(path.stem)}.*{kind}")):
        found = np.load(file)
        sigma = found[:, 4] if found.shape[1] > 4 else None
        name = file.name.removeprefix(f"{path.stem}.").removesuffix(kind)
        yield name, Peaks.of(found[:, 0].astype(int), found[:, 1:3], found[:, 3], sigma_px=sigma)


def glob_safe(text: str) -> str:
    """Text that stands for itself in a pattern of file names."""
    return text.replace("[", "[[]")


def methods(path: Path, scan: Scan) -> Iterator[tuple[str, Detected]]:
    """Every method's detection of a scan, mapped in the same way; what `detect` does comes last."""
    found = detection.detect(scan, detectors.default("cpu"))
    for name, peaks in rows(path, FOUND):
        peaks = peaks.above(detection.best_threshold(scan, peaks))
        yield name, detection.mapped(scan, name, replace(found.found, peaks=peaks))
    for name, peaks in sorted(rows(path, FINAL), key=lambda row: REFINEMENTS.index(row[0])):
        yield name, detection.mapped(scan, name, replace(found.found, peaks=peaks))
    yield ALONE, replace(found, found=replace(found.found, peaks=found.peaks if found.alone is None else found.alone))
    yield DETECT, found


def score(paths: Mapping[tuple[str, str], Path]) -> pd.DataFrame:
    """Figures of all methods; columns specimen, scan and method say what of."""
    figures = []
    for (specimen, label), path in paths.items():
        scan = scan_files.read(path)
        for method, found in methods(path, scan):
            errors = scan_truth.errors(scan, found.peaks, found.maps, found.units == "V")
            figures.append({"specimen": specimen, "scan": label, "method": method} | errors)
    return pd.DataFrame(figures)


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
    shown = results[results["method"] == DETECT].pivot_table(
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
    names = [*bloch_scans.SPECIMENS, MEASURED]
    parser.add_argument("--specimens", nargs="+", choices=names, default=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--folder", type=Path, help="where scans and peaks stay for another run; none: nowhere")
    args = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = args.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder /= f"{args.grid}x{args.grid}"
        folder.mkdir(parents=True, exist_ok=True)
        paths = made(folder, args.grid, args.specimens)
        found_by_others(list(paths.values()))
        found_from_correlation(list(paths.values()))
        results = score(paths)
    about = f"**Run of** {date.today()}, {platform.machine()}, {args.grid**2} patterns per scan."
    text = "\n".join([about, "", *tables(results)])
    print(text)
    if args.output:
        before = args.output.read_text().partition("**Run of**")[0] if args.output.exists() else ""
        with files.replaced(args.output) as path:
            path.write_text(before + text)


if __name__ == "__main__":
    main()
