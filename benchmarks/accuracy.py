"""How accurate all methods are, side by side: held-out crystals under many conditions, and semi-experimental scans.

Multislice patterns of crystals and prototypes that no refiner learned from, at several thicknesses, semi-angles and
mistilts; dose, background, ellipticity and the probe's centring are varied one at a time. Scans with measured contrast
inside the disks are detected end to end, with nothing known beforehand; their tool lies beside this checkout, and where
it is absent they are left out, which the report says. Each classical method gets the threshold that scores best on the
very patterns. Beside every position error stands the shot-noise floor (:mod:`fourdcrystal.floor`).

    python benchmarks/accuracy.py -o results/accuracy [--quick] [--crystals 20] [--model model.safetensors]

Writes accuracy.md, accuracy.csv, scans.csv, curves.png, curves_camera.png, error_maps.png.
"""

import argparse
import itertools
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path

import accuracy_report as report
import numpy as np
import pandas as pd

from fourdcrystal import (
    detection,
    evaluation,
    floor,
    held_out,
    modelfile,
    refinements,
    scan_files,
    scan_truth,
    significance,
)
from fourdcrystal import metrics as figures
from fourdcrystal.detectors import Correlator
from fourdcrystal.evaluation import CLASSICAL
from fourdcrystal.inference import NetworkDetector
from fourdcrystal.peaks import Peaks
from fourdcrystal.progress import Progress
from fourdcrystal.samples import Sample
from fourdcrystal.scans import Scan
from fourdcrystal.settings import Evaluation

SHARED = Path(__file__).parents[2] / "shared"
MEASURED = {"GeSn": ("GeSn_1-10_200kV_exp_CC0_perdisknorm", 5.76), "diamond": ("C_diamond_1-10_200kV_exp_CC0", 3.567)}
SCAN_DOSES = {1e5: 0.02, 3e3: 0.2}  # electrons, and the fraction of them in the background
THICK, ANGLE, DOSE = 200.0, 2.2, 1e5  # where conditions are varied: at least this thick [Å]; mrad; electrons
SETTINGS = Evaluation()
BASE, CANDIDATES, CONTEXT = "base", "multicorr, root", "learned, in the lattice"


def conditions(given: Sample, quick: bool) -> Iterator[tuple[str, float, Sample, float]]:
    """Name, value, patterns and dose of every condition; the first has all patterns."""
    yield BASE, 0.0, given, DOSE
    kept = (given.table["thickness_A"] >= THICK) & (given.table["semiangle"] == ANGLE)
    thick = held_out.subset(given, kept.to_numpy())
    for dose in (1e4,) if quick else (1e3, 3e3, 1e4, 1e6, 1e7):
        yield "dose", dose, thick, dose
    for fraction in (0.2,) if quick else (0.1, 0.2, 0.4):
        yield "background", fraction, held_out.with_background(thick, fraction), DOSE
    for ratio in (0.1,) if quick else (0.02, 0.05, 0.1):
        yield "ellipticity", ratio, held_out.with_ellipse(thick, ratio), DOSE
    for pixels in (2.0,) if quick else (1.0, 2.0, 4.0):
        yield "centring error", pixels, held_out.with_displaced_probe(thick, pixels), DOSE


def found_by_all(given: Sample, counts: np.ndarray, model: Path) -> Iterator[tuple[str, Peaks, bool]]:
    """Method, its peaks at its best threshold, and whether their intensities are in volts."""
    best: dict[str, Peaks] = {}
    for name, options in CLASSICAL.items():
        method = evaluation.correlated(**options, threshold=float(evaluation.THRESHOLDS[0]))
        found = evaluation.found_by(method, given, counts)
        best[name] = found.above(evaluation.best_threshold(found, given, SETTINGS, in_volts=False))
        yield name, best[name], False
    for name, kind in (("edge fit", "edge"), ("disk fit", "disk"), ("learned", "learned")):
        yield name, (better := evaluation.refined(kind, best[CANDIDATES], given, counts)), False
    yield CONTEXT, evaluation.in_lattice(better, given), False
    found = evaluation.found_by(NetworkDetector.load(model).detect, given, counts)
    yield "network", found, True
    # only what counts stand behind, as in `detect`
    better = evaluation.as_detected(found, given, counts)
    yield "network, learned", better.where(significance.sure(better)), True
    yield "network, learned, in the lattice", evaluation.in_lattice(better, given), True


def groups(name: str, given: Sample) -> Iterator[tuple[str, object, np.ndarray]]:
    """What patterns are summed up over: kind, value and mask; the base condition's also by what they are of."""
    table = given.table
    yield name, None, np.ones(len(table), bool)
    if name != BASE:
        return
    usual = (table["semiangle"] == ANGLE).to_numpy()
    thick = (table["thickness_A"] >= THICK).to_numpy()
    for split in table["split"].unique():
        yield "thick", split, thick & usual & (table["split"] == split).to_numpy()
    yield "thick", "all", thick & usual
    for value in table["thickness_A"].unique():
        yield "thickness [Å]", value, usual & (table["thickness_A"] == value).to_numpy()
    for value in table["semiangle"].unique():
        yield "semi-angle [mrad]", value, thick & (table["semiangle"] == value).to_numpy()
    edges = [0, 10, 20, 30, np.inf]
    for low, high in itertools.pairwise(edges):
        mask = thick & usual & table["mistilt_mrad"].between(low, high, inclusive="left").to_numpy()
        if mask.any():
            yield "mistilt [mrad]", float(table["mistilt_mrad"][mask].mean().round(1)), mask
    for crystal in table["crystal"].unique():
        yield "crystal", crystal, thick & usual & (table["crystal"] == crystal).to_numpy()


def found_by_both(given: Sample, found: dict[str, Peaks]) -> np.ndarray:
    """Reflections that correlation finds and `detect`, too: what positions can be compared on, (N,) bool."""
    both = np.zeros((2, len(given.true.pattern)), bool)
    for row, name in enumerate((CANDIDATES, "network, learned")):
        both[row, evaluation.matched(found[name], given, SETTINGS).true] = True
    return both.all(0)


def shared_errors(found: Peaks, given: Sample, shared: np.ndarray) -> np.ndarray:
    """Median error of each pattern's positions on some reflections [px], (P,); NaN where none of them was found."""
    matches = evaluation.matched(found, given, SETTINGS)
    rows = shared[matches.true]
    off = found.positions[matches.found[rows]] - given.true.positions[matches.true[rows]]
    medians = pd.Series(np.hypot(*off.T)).groupby(given.true.pattern[matches.true[rows]]).median()
    return medians.reindex(range(len(given.dq))).to_numpy()


def score(given: Sample, quick: bool, model: Path) -> pd.DataFrame:
    """All figures of all methods under all conditions."""
    every, rows = list(conditions(given, quick)), []
    with Progress(sum(len(g.dq) for _, _, g, _ in every), "held-out crystals", "patterns") as progress:
        for name, value, some, dose in every:
            counts = some.counts(dose, np.random.default_rng([7, int(dose), round(1000 * value)]))
            least = floor.of_sample(some, dose)
            every_method = list(found_by_all(some, counts, model))
            shared = found_by_both(some, {method: found for method, found, _ in every_method})
            for method, found, in_volts in every_method:
                columns = evaluation.scored(found, some, SETTINGS, in_volts, least)
                columns["shared_px"] = shared_errors(found, some, shared)
                # of volts, too, the squares' roots at each pattern's best scale, as of every other intensity
                squares = replace(found, intensity=found.intensity**2) if in_volts else found
                unscaled = evaluation.scored(squares, some, SETTINGS, in_volts=False)
                for kind, of, mask in groups(name, some):
                    picked = {k: v[mask] for k, v in columns.items()}
                    about = {"kind": kind, "value": value if of is None else of, "dose": dose, "method": method}
                    seen = picked["shared_px"][np.isfinite(picked["shared_px"])]
                    more = {"position_shared_px": np.median(seen) if len(seen) else np.nan}
                    more["r_scaled"] = figures.summary({k: v[mask] for k, v in unscaled.items()}, some.dq[mask])[
                        "r_factor"
                    ]
                    rows.append(about | figures.summary(picked, some.dq[mask]) | more)
            progress.add(len(some.dq))
    return pd.DataFrame(rows)


def measured(folder: Path, grid: int) -> Iterator[tuple[str, float, Scan]]:
    """Name, dose and scan of every combination of measured contrast and dose; nothing where their tool is absent."""
    tool = SHARED / "tools" / "semi_experimental.py"
    if not tool.exists():
        print("semi-experimental scans are left out: their tool and data are not beside this checkout")
        return
    made = [(n, *MEASURED[n], d, b) for n in MEASURED for d, b in SCAN_DOSES.items()]
    with Progress(len(made), "scans with measured contrast", "scans") as progress:
        for name, file, a, dose, background in made:
            path = folder / f"{file}_{dose:g}.npz"
            words = [sys.executable, tool, SHARED / "data" / "patterns" / f"{file}.npz", path, "--a", a]
            words += ["--grid", grid, "--dose", dose, "--background", background]
            if not path.exists():
                subprocess.run([str(word) for word in words], check=True)
            yield name, dose, scan_files.read(path)
            progress.add(1)


def scans(folder: Path, grid: int, model: Path) -> tuple[pd.DataFrame, list[tuple[str, object, Peaks]]]:
    """Figures of whole scans with measured contrast, candidates found blindly, and peaks to draw maps of."""
    rows, drawn = [], []
    for name, dose, scan in measured(folder, grid):
        for method, found in detected(scan, model):
            errors = scan_truth.errors(scan, found.peaks, found.maps, found.units == "V")
            rows.append({"scan": f"{name}, {dose:,.0f} electrons", "method": method} | errors)
            if dose == DOSE and method in (CANDIDATES, "network, learned", f"network, {CONTEXT}"):
                drawn.append((f"{name}: {method}", scan, found))
    return pd.DataFrame(rows), drawn


def detected(scan: Scan, model: Path) -> Iterator[tuple[str, detection.Detected]]:
    """Every method's detection of a scan; the classical ones get their best threshold."""
    classical = detection.classical(scan)
    yield CANDIDATES, classical
    yield f"{CANDIDATES}, edge fit", detection.edge_fitted(scan, classical)
    for name, kind in (("disk fit", "disk"), ("learned", "learned")):
        found = detection.detect(scan, Correlator(refine=refinements.named(kind)))
        alone = found.peaks if found.alone is None else found.alone
        yield name, replace(found, found=replace(found.found, peaks=alone))
    yield CONTEXT, found
    found = detection.detect(scan, NetworkDetector.load(model, refine=refinements.named("learned")))
    alone = found.peaks if found.alone is None else found.alone
    yield "network, learned", replace(found, found=replace(found.found, peaks=alone))
    yield "network, learned, in the lattice", found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for tables and figures")
    parser.add_argument("--quick", action="store_true", help="four crystals, one value of each condition: minutes")
    parser.add_argument("--crystals", type=int, default=14, help="held-out crystals beside the held-out prototypes")
    parser.add_argument("--model", type=Path, default=modelfile.SHIPPED, help="trained network; none: the shipped one")
    parser.add_argument("--grid", type=int, default=8, help="positions along each axis of a semi-experimental scan")
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    size = 4 if args.quick else args.crystals
    thickness, angles = ([50, 200, 400], [ANGLE]) if args.quick else ([50, 200, 400, 800], [1.1, 1.6, ANGLE])
    made = held_out.settings(held_out.Specimens(size, thickness, angles))
    chosen, parts = held_out.structures(size, 0), []
    with Progress(len(chosen), "multislice", "crystals") as progress:
        for name, (split, structure) in chosen.items():
            part = held_out.simulated(name, split, structure, made, 0)
            parts += [] if part is None else [part]
            progress.add(1)
    given = held_out.joined(parts)
    table = score(given, args.quick, args.model)
    with tempfile.TemporaryDirectory() as folder:
        measured, drawn = scans(Path(folder), 4 if args.quick else args.grid, args.model)
    about = (
        f"{date.today()}, {platform.machine()}, {len(given.dq)} patterns of {len(parts)} crystals "
        f"({', '.join(sorted(given.table['crystal'].unique()))}), network: {args.model.name}"
    )
    report.write(args.output, about, table, measured, drawn)


if __name__ == "__main__":
    main()
