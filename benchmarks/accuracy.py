"""Position and strain errors of all methods side by side, on scans with exactly known truth.

Two kinds of scans: strained, bent crystals by multislice, one per thickness; and semi-experimental ones, whose contrast
inside the disks was measured (made by a tool beside this checkout; left out, and said so, where that is absent). Each
classical method gets the threshold that scores best on the very scan.

    python benchmarks/accuracy.py --model model.safetensors --crystal results/crystals/ZnS-AB_cF8_216_c_a.json
"""

import argparse
import platform
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

import numpy as np

from fourdcrystal import (
    correlation,
    crystals,
    detection,
    files,
    mapping,
    recipe,
    scan_files,
    scan_truth,
    simulated_scans,
)
from fourdcrystal.inference import Detector, refinement_named
from fourdcrystal.peaks import Peaks
from fourdcrystal.scans import Scan

SHARED = Path(__file__).parents[2] / "shared"
MEASURED = {"GeSn_1-10_200kV_exp_CC0_perdisknorm": 5.76, "C_diamond_1-10_200kV_exp_CC0": 3.567}  # lattice constants [Å]
CLASSICAL = {
    "parabolic": {"subpixel": "parabolic"},
    "multicorr": {"subpixel": "multicorr"},
    "parabolic, root": {"subpixel": "parabolic", "square_root": True},
    "multicorr, root": {"subpixel": "multicorr", "square_root": True},
}
FIGURES = {
    "score": ("score", 1, ".3f"),
    "position_median_px": ("position median [px]", 1, ".3f"),
    "position_rms_px": ("position RMS [px]", 1, ".3f"),
    "strain_rmse": ("strain RMSE [%]", 100, ".3f"),
    "tilt_median_mrad": ("tilt [mrad]", 1, ".2f"),
}


def simulated(folder: Path, crystal: Path, thickness: list[float], grid: int, dose: float) -> dict[str, Path]:
    """Multislice scans, one per thickness, with disks of 7 px on a 256 px detector."""
    made = {}
    for t in thickness:
        scan = {"crystal": "", "zone_axis": [1, 1, 0], "thickness": t, "grid": [grid, grid], "dose": dose}
        settings = recipe.validate(
            {
                "specimen": {"box": 80, "thickness": [t]},
                "detector": {"shape": [256, 256], "sampling": 0.0125},
                "microscope": {"semiangle_cutoff": 2.2},
                "scans": {"thick": {"simulate": scan | {"semiangle_cutoff": 2.2}}},
            },
            "benchmark",
        )
        path = folder / f"multislice_{t:g}.npz"
        if not path.exists():
            simulated_scans.make(path, crystals.read(crystal), "thick", settings, jobs=1)
        made[f"multislice, {t:g} Å"] = path
    return made


def semi_experimental(folder: Path, grid: int) -> dict[str, Path]:
    """Scans with measured contrast, at two doses."""
    tool, made = SHARED / "tools" / "semi_experimental.py", {}
    if not tool.exists():
        print("semi-experimental scans are left out: their tool and data are not beside this checkout")
        return made
    for name, a in MEASURED.items():
        for dose, background in ((1e5, 0.02), (3e3, 0.2)):
            path = folder / f"{name}_{dose:g}.npz"
            command = [sys.executable, tool, SHARED / "data" / "patterns" / f"{name}.npz", path, "--a", a]
            command += ["--grid", grid, "--dose", dose, "--background", background]
            if not path.exists():
                subprocess.run([str(word) for word in command], check=True)
            made[f"measured, {name.split('_')[0]}, {dose:.0e}"] = path
    return made


def best(scan: Scan, found: Peaks, in_volts: bool) -> Peaks:
    """The peaks above the threshold with the best score against the truth."""
    scores = [scan_truth.scores(scan, found.above(t), in_volts)["score"] for t in detection.THRESHOLDS]
    return found.above(float(detection.THRESHOLDS[int(np.nanargmax(scores))]))


def results(scan: Scan, model: Path | None, refinements: list[str]) -> list[dict[str, object]]:
    """Figures of all methods on one scan."""
    patterns = np.concatenate(list(scan.batches(64)))
    rows, candidates = [], {}
    for name, options in CLASSICAL.items():
        started = time.process_time()
        found = correlation.detect(patterns, scan.probe, threshold=float(detection.THRESHOLDS[0]), **options)
        candidates[name] = best(scan, found, in_volts=False), time.process_time() - started, False
    if model is not None:
        started = time.process_time()
        candidates["network"] = Detector.load(model).detect(patterns, scan.probe), time.process_time() - started, True
    for name, (found, seconds, in_volts) in list(candidates.items()):
        rows.append(row(scan, name, found, seconds, in_volts))
        if name not in ("multicorr, root", "network"):
            continue
        for kind in refinements:
            refine = refinement_named(kind)
            started = time.process_time()
            if in_volts:
                better = Detector.load(model, refine=refine).detect(patterns, scan.probe)
            else:
                better = refine.apply(patterns, scan.probe, found)
            spent = time.process_time() - started + (0 if in_volts else seconds)
            rows.append(row(scan, f"{name}, {refine.name}", better, spent, in_volts))
    return rows


def row(scan: Scan, name: str, found: Peaks, seconds: float, in_volts: bool) -> dict[str, object]:
    """One method's figures."""
    maps = mapping.of_peaks(found, len(scan), scan.shape, scan.dq, np.array(scan.centre))
    errors = scan_truth.errors(scan, found, maps, in_volts)
    return {"method": name, "rate": len(scan) / seconds} | errors


def table(name: str, rows: list[dict[str, object]]) -> list[str]:
    """Markdown."""
    titles = [title for title, _, _ in FIGURES.values()]
    lines = [f"### {name}", "", f"| method | {' | '.join(titles)} | patterns/s |", f"|---{'|---' * (len(titles) + 1)}|"]
    for one in rows:
        cells = [format(one[k] * f, form) if k in one else "" for k, (_, f, form) in FIGURES.items()]
        lines.append(f"| {one['method']} | {' | '.join(cells)} | {one['rate']:.1f} |")
    return [*lines, ""]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--crystal", type=Path, help="crystal (JSON) of the multislice scans; none: leave them out")
    parser.add_argument("--thickness", type=float, nargs="+", default=[50, 200, 400, 800], help="[Å]")
    parser.add_argument("--model", type=Path, help="trained network; none: classical methods only")
    parser.add_argument("--refine", nargs="+", default=["edge", "disk"], help="as of the command detect")
    parser.add_argument("--grid", type=int, default=5, help="positions along each axis of a scan")
    parser.add_argument("--dose", type=float, default=1e5, help="electrons per pattern of the multislice scans")
    parser.add_argument("--scans", type=Path, help="folder that keeps the scans; none: a temporary one")
    parser.add_argument("-o", "--output", type=Path, help="Markdown file for the tables")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.scans or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        scans = semi_experimental(folder, args.grid)
        if args.crystal:
            scans |= simulated(folder, args.crystal, args.thickness, args.grid, args.dose)
        about = f"{date.today()}, {platform.machine()}, one process; patterns/s of CPU time, model {args.model}"
        lines = ["# Accuracy, side by side", "", about, ""]
        for name, path in scans.items():
            made = table(name, results(scan_files.read(path), args.model, args.refine))
            print("\n".join(made), flush=True)
            lines += made
    if args.output:
        with files.replaced(args.output) as path:
            path.write_text("\n".join(lines))


if __name__ == "__main__":
    main()
