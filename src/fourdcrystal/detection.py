"""From a scan and its vacuum probe to Bragg vectors, strain and orientation on disk."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from fourdcrystal import __version__, bragg_vectors, correlation, detection_plots, edgefit, files, mapping, scan_truth
from fourdcrystal.inference import Detector, Method
from fourdcrystal.mapping import FLAGS, Maps
from fourdcrystal.peaks import Peaks
from fourdcrystal.progress import Progress
from fourdcrystal.scans import Scan, check

THRESHOLDS = np.geomspace(0.005, 0.3, 15)  # of which the classical method beside a known truth gets the best


@dataclass(frozen=True)
class Detected:
    """Peaks of a scan and what they say.

    Attributes:
        method: What found the peaks, for tables and pictures.
        peaks: Peaks of all patterns, in the order of the scan.
        flags: Of every pattern, (P,), bits of :data:`fourdcrystal.mapping.FLAGS`.
        maps: Lattice, strain and tilt.
        seconds: For finding the peaks, reading included.
    """

    method: str
    peaks: Peaks
    flags: np.ndarray
    maps: Maps
    seconds: float


def search(scan: Scan, method: Method, batch_size: int, label: str) -> tuple[Peaks, np.ndarray, float]:
    """Peaks and flags of a whole scan, and the seconds it took; progress is shown."""
    kind = np.dtype(scan.patterns.dtype)
    largest = float(np.iinfo(kind).max) if kind.kind in "ui" else None
    parts, sizes, flags = [], [], []
    started = time.monotonic()
    with Progress(len(scan), label, "patterns") as progress:
        for batch in scan.batches(batch_size):
            flags.append(mapping.flags(batch, largest))
            parts.append(method(batch, scan.probe))
            sizes.append(len(batch))
            progress.add(len(batch))
    peaks, flag = Peaks.joined(parts, sizes), np.concatenate(flags)
    searched = (flag & (FLAGS["not_finite"] | FLAGS["empty"])) == 0
    flag[searched & (np.bincount(peaks.pattern, minlength=len(scan)) == 0)] |= FLAGS["no_peaks"]
    return peaks, flag, time.monotonic() - started


def detect(scan: Scan, detector: Detector, region: np.ndarray | None = None) -> Detected:
    """Bragg peaks of a scan with the network, and lattice, strain and tilt at every position.

    Args:
        scan: Scan with its vacuum probe.
        detector: The trained network.
        region: Mask of the unstrained positions, (rx, ry); none: the whole scan's median is the reference.

    Raises:
        InputError: if scan and probe can't be used together, or the region has no lattice.
    """
    check(scan)
    peaks, flag, seconds = search(scan, detector.detect, detector.batch_size(scan.shape), scan.name)
    return _mapped(scan, detector.method, peaks, flag, seconds, region)


def _mapped(
    scan: Scan, method: str, peaks: Peaks, flag: np.ndarray, seconds: float, region: np.ndarray | None
) -> Detected:
    used = None if region is None else region.ravel()
    maps = mapping.of_peaks(peaks, len(scan), scan.shape, scan.dq, np.array(scan.centre), used)
    flag[~maps.lattices.fitted] |= FLAGS["no_lattice"]
    return Detected(method, peaks, flag, maps, seconds)


def classical(scan: Scan, region: np.ndarray | None = None) -> Detected:
    """The same with classical correlation (DFT-upsampled, on square-rooted counts).

    Where the truth is known the threshold is the one with the best score against it.
    """

    def method(patterns: np.ndarray, probe: np.ndarray) -> Peaks:
        return correlation.detect(patterns, probe, square_root=True, threshold=float(THRESHOLDS[0]))

    peaks, flag, seconds = search(scan, method, 64, f"{scan.name} (classical)")
    threshold = 0.02
    if "centres" in scan.truth:
        scores = [scan_truth.scores(scan, peaks.above(t), in_volts=False)["score"] for t in THRESHOLDS]
        threshold = float(THRESHOLDS[int(np.argmax(scores))])
    return _mapped(scan, "classical", peaks.above(threshold), flag, seconds, region)


def edge_fitted(scan: Scan, found: Detected, region: np.ndarray | None = None) -> Detected:
    """The same peaks with positions refined by fits of the disks' edges: the strongest classical chain."""
    started = time.monotonic()
    parts, sizes, start = [], [], 0
    with Progress(len(scan), f"{scan.name} ({found.method}, edge fit)", "patterns") as progress:
        for batch in scan.batches(16):
            rows = (found.peaks.pattern >= start) & (found.peaks.pattern < start + len(batch))
            some = found.peaks.where(rows)
            some = replace(some, pattern=some.pattern - start)
            parts.append(edgefit.refine(batch, scan.probe, some))
            sizes.append(len(batch))
            start += len(batch)
            progress.add(len(batch))
    seconds = found.seconds + time.monotonic() - started
    return _mapped(scan, f"{found.method}, edge fit", Peaks.joined(parts, sizes), found.flags.copy(), seconds, region)


def summary(scan: Scan, found: Detected) -> dict[str, Any]:
    """Key figures of a detection."""
    maps = found.maps
    a, b = maps.reference * scan.dq
    lengths = np.hypot(*a), np.hypot(*b)
    angle = np.degrees(np.arccos(a @ b / lengths[0] / lengths[1]))
    flagged = {name: int((found.flags & bit > 0).sum()) for name, bit in FLAGS.items()}
    sigma = np.mean([_median(maps.strain.sigma[:, i]) for i in range(3)])
    return {
        "scan": scan.name,
        "method": found.method,
        "positions": list(scan.grid),
        "pixels": list(scan.shape),
        "sampling_invA": scan.dq,
        "energy_eV": scan.energy,
        "peaks": len(found.peaks),
        "peaks_per_pattern": round(len(found.peaks) / len(scan), 2),
        "patterns_per_second": round(len(scan) / found.seconds, 1),
        "flags": flagged,
        "lattice_invA": [_rounded(length, 5) for length in lengths],
        "lattice_angle_degree": _rounded(angle, 3),
        "lattice_residual_px": _rounded(_median(maps.lattices.residual), 4),
        "strain_sigma": _rounded(sigma, 6),
        "version": __version__,
    }


def _median(values: np.ndarray) -> float:
    """Median of the finite values; NaN where there are none."""
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if len(finite) else float("nan")


def _rounded(value: float, digits: int) -> float | None:
    """As JSON can hold it: nothing where it is not known."""
    return round(float(value), digits) if np.isfinite(value) else None


def write(
    output: Path, scan: Scan, found: Detected, baselines: Sequence[Detected] = (), region: np.ndarray | None = None
) -> dict[str, Any]:
    """Write everything about a detection into a folder; summary.json comes last.

    Args:
        output: Folder; files of an earlier run are replaced one by one.
        scan: The scan.
        found: The network's results.
        baselines: Classical results, reported beside them; the first is drawn.
        region: Mask of the unstrained positions that both used, (rx, ry).

    Returns:
        The summary.
    """
    maps, attributes = found.maps, {"scan": scan.name, "sampling_invA": scan.dq, "version": __version__}
    vectors = bragg_vectors.table(found.peaks, scan.grid, maps.centres, scan.dq)
    bragg_vectors.write_parquet(output / "bragg_vectors.parquet", vectors)
    bragg_vectors.write_emd(output / "bragg_vectors.h5", found.peaks, scan.grid, scan.shape, maps.centres, scan.dq)
    mapping.write(output / "strain.zarr", mapping.strain_dataset(maps, found.flags, scan.grid, attributes))
    mapping.write(output / "orientation.zarr", mapping.orientation_dataset(maps, scan.grid, attributes))
    figures = summary(scan, found)
    if "centres" in scan.truth:
        figures["error"] = {found.method: scan_truth.errors(scan, found.peaks, found.maps, True, region)}
        for other in baselines:
            figures["error"][other.method] = scan_truth.errors(scan, other.peaks, other.maps, False, region)
    detection_plots.draw(output, scan, found, baselines[0] if baselines else None, region)
    with files.replaced(output / "summary.json") as path:
        path.write_text(json.dumps(figures, indent=2) + "\n")
    return figures
