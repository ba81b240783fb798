"""From a scan and its vacuum probe to Bragg vectors, strain and orientation on disk."""

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from fourdcrystal import (
    __version__,
    bragg_vectors,
    context,
    correlation,
    detection_plots,
    edgefit,
    files,
    flags,
    gaps,
    hyperspy_vectors,
    mapping,
    results,
    scan_truth,
    search,
)
from fourdcrystal.analysis import PLAIN, Analysis, axes, distorted, straightened
from fourdcrystal.detectors import Detector
from fourdcrystal.flags import FLAGS
from fourdcrystal.mapping import Maps
from fourdcrystal.peaks import Peaks
from fourdcrystal.progress import Progress
from fourdcrystal.scans import Scan, check
from fourdcrystal.search import Found, Method, Searcher

THRESHOLDS = np.geomspace(0.005, 0.3, 15)  # of which the classical method beside a known truth gets the best
SAMPLE = 32  # patterns that tell what the camera can't see


@dataclass(frozen=True)
class Detected:
    """Peaks of a scan and what they say.

    Attributes:
        method: What found the peaks, for tables and pictures.
        found: Peaks and flags of all patterns, in the order of the scan, virtual images and sums.
        maps: Lattice, strain and tilt.
        in_volts: Whether intensities are |V_g| w [V]; else heights of a correlation.
        notes: What the user should know about the scan, in sentences.
        alone: The peaks where each disk by itself says that it is; none: nothing else is known.
        deviation: How far disks lie from their lattice along an axis, beyond their uncertainty [px]; NaN: not known.
    """

    method: str
    found: Found
    maps: Maps
    in_volts: bool = False
    notes: tuple[str, ...] = ()
    alone: Peaks | None = None
    deviation: float = float("nan")

    @property
    def peaks(self) -> Peaks:
        """Peaks of all patterns."""
        return self.found.peaks

    @property
    def flags(self) -> np.ndarray:
        """Flags of all patterns, (P,)."""
        return self.found.flags


def searcher_of(scan: Scan, detector: Detector) -> Searcher:
    """How a scan is searched by a detector."""
    return searcher(scan, partial(detector.detect, curvature=scan.curvature), detector.batch_size(scan.shape))


def searcher(scan: Scan, method: Method, batch_size: int) -> Searcher:
    """How a scan is searched: with its probe, around what its camera can't see."""
    return Searcher(method, scan.probe, gaps.find(scan.sample(SAMPLE), correlation.radius(scan.probe)), batch_size)


def detect(
    scan: Scan,
    detector: Detector,
    analysis: Analysis = PLAIN,
    folder: Path | None = None,
    part: tuple[int, int] = (1, 1),
) -> Detected | None:
    """Bragg peaks of a scan, and lattice, strain and tilt at every position.

    Args:
        scan: Scan with its vacuum probe.
        detector: What finds the peaks: a trained network, or correlation.
        analysis: What strain and orientation are relative to.
        folder: Where pieces of the search are kept until they are put together, so that a run that was killed goes on;
            none: nowhere.
        part: Search only the i-th of n parts and leave it in the folder.

    Returns:
        What was found; none for one of several parts.

    Raises:
        InputError: if scan and probe can't be used together, or the region has no lattice.
    """
    check(scan)
    how = searcher_of(scan, detector)
    found = search.whole(scan, how, scan.name, folder, identity(scan, detector), part)
    if found is None:
        return None
    radius = correlation.radius(scan.probe)
    said = (
        how.gaps.words(),
        gaps.direct_beam_missing(found.total, scan.probe),
        flags.scaled(found.total[~how.gaps.blind], len(found)),
        detector.doubts(radius),
    )
    notes = [note for note in said if note]
    made = in_context(scan, mapped(scan, detector.method, found, analysis))
    return replace(made, in_volts=detector.in_volts, notes=(*notes, *made.notes))


def identity(scan: Scan, detector: Detector) -> str:
    """What peaks depend on, short: two searches with the same one find the same."""
    content = [scan.identity, list(scan.patterns.shape), detector.identity, __version__]
    made = hashlib.sha256(json.dumps(content).encode() + np.ascontiguousarray(scan.probe).tobytes())
    return made.hexdigest()[:12]


def mapped(scan: Scan, method: str, found: Found, analysis: Analysis = PLAIN) -> Detected:
    """What the peaks of a scan say."""
    maps = mapping.of_peaks(found.peaks, len(scan), scan.shape, scan.dq, np.array(scan.centre), analysis)
    flag = found.flags & ~np.uint8(FLAGS["no_lattice"])
    flag[~maps.lattices.fitted] |= FLAGS["no_lattice"]
    return Detected(method, replace(found, flags=flag), maps, notes=maps.notes)


def in_context(scan: Scan, made: Detected) -> Detected:
    """The same with the peaks where they most likely are, given that they lie on a lattice as far as the scan says.

    Lattice and strain stay those of disks by themselves. Without stated uncertainties nothing changes.
    """
    alone, maps = made.peaks, made.maps
    if not len(alone) or not np.isfinite(alone.sigma_px).all() or not maps.lattices.fitted.any():
        return made
    centre = np.array(scan.centre)
    straight = straightened(alone, maps.distortion, centre)
    tau = context.deviation(straight, maps.lattices)
    better = context.predicted(straight, maps.lattices, tau)
    at = distorted(better.positions, maps.distortion, centre)
    peaks = replace(better, qx_px=at[:, 0], qy_px=at[:, 1])
    return replace(made, found=replace(made.found, peaks=peaks), alone=alone, deviation=tau)


def classical(scan: Scan, analysis: Analysis = PLAIN) -> Detected:
    """The same with classical correlation (DFT-upsampled, on square-rooted counts).

    Where the truth is known the threshold is the one with the best score against it.
    """
    lowest = partial(correlation.detect, square_root=True, threshold=float(THRESHOLDS[0]))
    found = search.whole(scan, searcher(scan, lowest, 64), f"{scan.name} (classical)")
    threshold = correlation.THRESHOLD
    if "centres" in scan.truth:
        threshold = best_threshold(scan, found.peaks)
    return mapped(scan, "classical", replace(found, peaks=found.peaks.above(threshold)), analysis)


def best_threshold(scan: Scan, peaks: Peaks) -> float:
    """The one of :data:`THRESHOLDS` with which a classical method's peaks score best against a scan's truth."""
    scores = [scan_truth.scores(scan, peaks.above(t), in_volts=False)["score"] for t in THRESHOLDS]
    return float(THRESHOLDS[int(np.argmax(scores))])


def edge_fitted(scan: Scan, coarse: Detected, analysis: Analysis = PLAIN) -> Detected:
    """The same peaks with positions refined by fits of the disks' edges: the strongest classical chain."""
    started = time.monotonic()
    parts, sizes, start = [], [], 0
    with Progress(len(scan), f"{scan.name} ({coarse.method}, edge fit)", "patterns") as progress:
        for batch in scan.batches(16):
            rows = (coarse.peaks.pattern >= start) & (coarse.peaks.pattern < start + len(batch))
            some = coarse.peaks.where(rows)
            some = replace(some, pattern=some.pattern - start)
            parts.append(edgefit.refine(batch, scan.probe, some))
            sizes.append(len(batch))
            start += len(batch)
            progress.add(len(batch))
    found = replace(
        coarse.found,
        peaks=Peaks.joined(parts, sizes),
        seconds=coarse.found.seconds + time.monotonic() - started,
    )
    return mapped(scan, f"{coarse.method}, edge fit", found, analysis)


def summary(scan: Scan, found: Detected) -> dict[str, Any]:
    """Key figures of a detection."""
    maps = found.maps
    a, b = maps.reference * scan.dq
    lengths = np.hypot(*a), np.hypot(*b)
    angle = np.degrees(np.arccos(a @ b / lengths[0] / lengths[1]))
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
        "patterns_per_second": round(len(scan) / found.found.seconds, 1),
        "flags": flags.counts(found.flags),
        "notes": list(found.notes),
        "lattice_invA": [_rounded(length, 5) for length in lengths],
        "lattice_angle_degree": _rounded(angle, 3),
        "zone_axis": None if maps.zone is None else list(maps.zone.axis),
        "ellipticity": round(axes(maps.distortion)[0], 5),
        "lattice_residual_px": _rounded(_median(maps.lattices.residual), 4),
        "lattice_deviation_px": _rounded(found.deviation, 4),
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
    output: Path, scan: Scan, found: Detected, baselines: Sequence[Detected] = (), analysis: Analysis = PLAIN
) -> dict[str, Any]:
    """Write everything about a detection into a folder; summary.json comes last.

    Args:
        output: Folder; files of an earlier run are replaced one by one.
        scan: The scan.
        found: The results.
        baselines: Classical results, reported beside them; the first is drawn.
        analysis: As both used it.

    Returns:
        The summary.
    """
    maps, attributes = found.maps, {"scan": scan.name, "sampling_invA": scan.dq, "version": __version__}
    units = "V" if found.in_volts else "1"
    straight = straightened(found.peaks, maps.distortion, np.array(scan.centre))
    vectors = bragg_vectors.table(found.peaks, straight, scan.grid, maps.centres, scan.dq, units, found.alone)
    bragg_vectors.write_parquet(output / "bragg_vectors.parquet", vectors)
    seen = distorted(maps.centres, maps.distortion, np.array(scan.centre))
    camera = bragg_vectors.Camera(scan.shape, scan.dq, seen, axes(maps.distortion))
    bragg_vectors.write_emd(output / "bragg_vectors.h5", found.peaks, scan.grid, camera)
    hyperspy_vectors.write(output / "bragg_vectors.hspy", vectors, scan.grid, scan.dq, scan.name)
    results.write(output / "strain.zarr", results.strain(maps, found.flags, scan.grid, attributes))
    results.write(output / "orientation.zarr", results.orientation(maps, scan.grid, attributes, analysis.crystal))
    results.write(output / "virtual_images.zarr", results.virtual_images(found.found, scan.grid, attributes))
    figures = summary(scan, found)
    if "centres" in scan.truth:
        region = analysis.region
        figures["error"] = {found.method: scan_truth.errors(scan, found.peaks, maps, found.in_volts, region)}
        if found.alone is not None:
            errors = scan_truth.errors(scan, found.alone, maps, found.in_volts, region)
            figures["error"][f"{found.method}, each disk alone"] = errors
        for other in baselines:
            figures["error"][other.method] = scan_truth.errors(scan, other.peaks, other.maps, False, region)
    detection_plots.draw(output, scan, found, baselines[0] if baselines else None, analysis)
    with files.replaced(output / "summary.json") as path:
        path.write_text(json.dumps(figures, indent=2, ensure_ascii=False) + "\n")
    return figures
