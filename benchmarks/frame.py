"""One raw frame of a nanobeam experiment without vacuum probe: how well do the peaks of each method lie on one lattice?

Nothing is known about the frame, so this is a qualitative look: the number of peaks, of those within a pixel of the
lattice that fits best, and their RMS distance from it. The probe is taken to be round and as large as the brightest
disk.

    python benchmarks/frame.py dd020.dm3 -o frame.png
"""

import argparse
import platform
import sys
from datetime import date
from pathlib import Path

import numpy as np

from fourdcrystal import (
    correlation,
    detectors,
    gain,
    lattice,
    plots,
    refinements,
    scan_checks,
    scan_files,
    significance,
)
from fourdcrystal.peaks import Peaks
from fourdcrystal.pixels import Pixel

FIRST = 0.03  # of the detector's side; about how large a disk is looked for
NEAR = 1.0  # px from the lattice
CLASSICAL = {
    "parabolic": {"subpixel": "parabolic"},
    "multicorr": {"subpixel": "multicorr"},
    "multicorr, root": {"subpixel": "multicorr", "square_root": True},
}


def found(image: np.ndarray, probe: np.ndarray, threshold: float) -> dict[str, Peaks]:
    """Peaks of all methods; refined ones begin at the same candidates that counts stand behind."""
    made = {
        name: correlation.detect(image[None], probe, threshold=threshold, **options)
        for name, options in CLASSICAL.items()
    }
    counts = gain.of_patterns(image[None]).counts(image[None])
    judged = significance.judged(counts, probe, made["multicorr, root"])
    candidates = significance.single(probe, judged.where(significance.sure(judged)))
    for kind in ("edge", "disk", "learned"):
        refine = refinements.named(kind)
        made[refine.name] = refine.apply(counts.clip(min=0), probe, candidates)
    return made | {"detect, each disk alone": detectors.default().detect(counts, probe, Pixel.unknown())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("frame", type=Path)
    parser.add_argument("--radius", type=float, help="of the probe's disk [px]; none: measured")
    parser.add_argument("--thresholds", type=float, nargs="+", default=[0.1, 0.02], help="weakest disk over strongest")
    parser.add_argument("-o", "--output", type=Path, help="picture")
    args = parser.parse_args()
    if not args.frame.exists():
        sys.exit(f"{args.frame} is not here: nothing to look at")
    image = np.asarray(scan_files.load(args.frame)["patterns"], dtype=float)
    radius = args.radius or scan_checks.edge_radius(np.sqrt(image.clip(min=0)), FIRST * min(image.shape))
    probe = correlation.round_probe(image.shape, correlation.brightest_disk(image, radius), radius)
    print(f"{args.frame.name}, {date.today()}, {platform.machine()}, disks of {radius:.2f} px\n")
    print(
        "| weakest / strongest | method | peaks | on the lattice | RMS distance of those [px] |\n|---|---|---|---|---|"
    )
    for threshold in args.thresholds:
        made = found(image, probe, threshold)
        basis = lattice.find(made["learned fit"], image.shape)
        for name, peaks in made.items():
            distance = off(peaks, basis, np.array(correlation.centre(probe)))
            near = distance[distance < NEAR]
            print(f"| {threshold:g} | {name} | {len(peaks)} | {len(near)} | {np.sqrt((near**2).mean()):.3f} |")
    if args.output:
        with plots.figure(args.output, 1, 2, (5.0, 5.0)) as (_, axes):
            for panel, name in zip(axes[0], ("multicorr, root", "learned fit"), strict=True):
                plots.pattern(panel, image, name)
                panel.plot(made[name].qy_px, made[name].qx_px, "o", ms=8, mfc="none", color="#56b4e9")


def off(peaks: Peaks, basis: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """Distances of peaks from the lattice fitted to them [px], (N,), with robust weights."""
    index = np.rint((peaks.positions - peaks.positions[nearest(peaks, centre)]) @ np.linalg.inv(basis))
    design = np.column_stack([np.ones(len(index)), index])
    weight = np.ones(len(index))
    for _ in range(20):
        fit, *_ = np.linalg.lstsq(design * weight[:, None], peaks.positions * weight[:, None], rcond=None)
        distance = np.hypot(*(peaks.positions - design @ fit).T)
        weight = np.clip(1 - (distance / (2 * NEAR)) ** 2, 0, None)
    return distance


def nearest(peaks: Peaks, centre: np.ndarray) -> int:
    """The peak nearest the direct beam."""
    return int(np.argmin(np.hypot(*(peaks.positions - centre).T)))


if __name__ == "__main__":
    main()
