"""Patterns per second from file to peaks beside py4DSTEM, on the same files in one run; one process and thread each.

Scans of noisy disks on a lattice are written as .npy files; every method then opens its file, finds all disks and
places them. On a machine that does other things, too, only CPU time compares. py4DSTEM runs in an environment of its
own (it needs NumPy 1), made once under .cache/services as for tests/test_other_programs.py; if it can't be made, it is
left out, in words.

    python benchmarks/detection_speed.py [--pixels 128 256] [--refine learned]
"""

import argparse
import itertools
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

import numpy as np
import pytest
import threadpoolctl
import torch

from fourdcrystal import correlation, detection, detectors, files, scan_files, search, significance

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from services import environments

ELECTRONS, SPACING = 1e5, 4.5  # per pattern; of the disks, in radii
THRESHOLD = 0.02
PROGRAM = """
import json, sys, time, warnings
warnings.filterwarnings("ignore")
import numpy as np, py4DSTEM
import py4DSTEM.braggvectors.diskdetection as detection
detection.tqdmnd = lambda *ranges, **_: np.ndindex(*(len(r) if hasattr(r, "__len__") else r for r in ranges))
path, vacuum, radius, threshold = *sys.argv[1:3], *map(float, sys.argv[3:5])
def peaks(array, subpixel):
    cube = py4DSTEM.DataCube(array)
    probe = py4DSTEM.Probe(np.load(vacuum))
    probe.get_kernel(mode="sigmoid", radii=(radius, 2 * radius), bilinear=False)
    found = cube.find_Bragg_disks(template=probe.kernel, corrPower=1, sigma_cc=2, subpixel=subpixel, upsample_factor=16,
        edgeBoundary=max(1, round(radius / 2)), minRelativeIntensity=threshold, relativeToPeak=0, minPeakSpacing=radius,
        maxNumPeaks=200)
    return sum(len(found.raw[i, j].qx) for i in range(found.shape[0]) for j in range(found.shape[1]))
results = {}
for subpixel in ("poly", "multicorr"):
    peaks(np.load(path, mmap_mode="r")[:1, :2], subpixel)  # what is compiled or planned once
    started, busy = time.perf_counter(), time.process_time()
    array = np.load(path, mmap_mode="r")
    count = peaks(array, subpixel)
    seconds, busy = time.perf_counter() - started, time.process_time() - busy
    number = array.shape[0] * array.shape[1]
    results["py4DSTEM, " + subpixel] = [number / seconds, number / busy, count / number]
print(json.dumps(results))
"""


def made(folder: Path, pixels: int, count: int) -> tuple[Path, Path]:
    """A scan of disks on a lattice with counting noise, and its vacuum probe, as files."""
    rng, radius = np.random.default_rng(0), pixels / 32
    x, y = np.indices((pixels, pixels))

    def disk(at: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(((np.hypot(x - at[0], y - at[1]) - radius) / 0.4).clip(-50, 50)))

    basis, centre = SPACING * radius * np.array([[0.99, 0.14], [-0.22, 1.07]]), pixels / 2 + np.array([0.3, -0.2])
    index = np.stack(np.meshgrid(*[np.arange(-12, 13)] * 2, indexing="ij"), -1).reshape(-1, 2)
    points = centre + index @ basis
    points = points[(points > radius).all(1) & (points < pixels - 1 - radius).all(1)]
    mean = sum(np.exp(-np.hypot(*(p - centre)) / (0.35 * pixels)) * disk(p) for p in points)
    mean *= ELECTRONS / mean.sum()
    columns = round(np.sqrt(count))
    scan, probe = folder / f"scan{pixels}.npy", folder / f"probe{pixels}.npy"
    patterns = rng.poisson(mean, (count // columns, columns, pixels, pixels))
    np.save(scan, patterns.astype(np.uint16))
    np.save(probe, rng.poisson(1e4 * disk(np.full(2, pixels // 2))).astype(float))
    return scan, probe


def ours(scan: Path, probe: Path, refine: str, model: str) -> tuple[float, float, float]:
    """Patterns from file to peaks per second and per second of CPU time, and peaks of a pattern."""
    warm = scan_files.read(scan, probe, sampling=0.02)
    detector = detectors.named(model, "cpu", refine)
    detection.searcher_of(warm, detector).batch(warm.sample(2))  # what is compiled or planned once
    started, busy = time.perf_counter(), time.process_time()
    opened = scan_files.read(scan, probe, sampling=0.02)
    found = search.whole(opened, detection.searcher_of(opened, detector), "")
    seconds, busy = time.perf_counter() - started, time.process_time() - busy
    return len(opened) / seconds, len(opened) / busy, np.count_nonzero(significance.sure(found.peaks)) / len(opened)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pixels", type=int, nargs="+", default=[128, 256], help="sides of the detectors")
    parser.add_argument("--patterns", type=int, default=256, help="of the smallest detector; fewer of larger ones")
    parser.add_argument("--refine", nargs="+", default=["none", "learned", "edge"], help="as of the command detect")
    parser.add_argument("--model", nargs="+", default=["shipped", "correlation"], help="as of the command detect")
    parser.add_argument("-o", "--output", type=Path, help="Markdown file for the table")
    args = parser.parse_args()
    torch.set_num_threads(1)
    threadpoolctl.threadpool_limits(1)  # NumPy's, too
    other = None
    try:
        other = environments.python("py4dstem", environments.PY4DSTEM)
    except pytest.skip.Exception as reason:
        print(f"py4DSTEM is left out: {reason}", file=sys.stderr)
    about = f"{date.today()}, {platform.machine()}, {platform.processor() or 'CPU'}, one process with one thread"
    lines = [
        f"Patterns from file to peaks. {about}.",
        "",
        "| pixels | method | per s | per s of CPU time | peaks a pattern |",
    ]
    lines.append("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as temporary:
        for pixels in args.pixels:
            count = max(16, args.patterns * min(args.pixels) ** 2 // pixels**2)
            scan, probe = made(Path(temporary), pixels, count)
            rates = {}
            if other is not None:
                radius = correlation.radius(np.load(probe))
                command = [other, "-c", PROGRAM, scan, probe, radius, THRESHOLD]
                threads = {name: "1" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
                done = subprocess.run(
                    [str(word) for word in command], capture_output=True, text=True, env=os.environ | threads
                )
                if done.returncode:
                    sys.exit(f"py4DSTEM failed: {done.stderr[-2000:]}")
                rates |= json.loads(done.stdout.splitlines()[-1])
            for model, refine in itertools.product(args.model, args.refine):
                rates[f"detect --model {model} --refine {refine}"] = ours(scan, probe, refine, model)
            for name, (rate, busy, peaks) in rates.items():
                lines.append(f"| {pixels} x {pixels} | {name} | {rate:.0f} | {busy:.0f} | {peaks:.0f} |")
                print(lines[-1], flush=True)
    if args.output:
        with files.replaced(args.output) as path:
            path.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
