"""From a scan and its vacuum probe to Bragg vectors, strain and orientation."""

import hashlib
import json
import time
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import overload

import numpy as np

from fourdcrystal import (
    __version__,
    asymmetry,
    context,
    correlation,
    edgefit,
    flags,
    gain,
    gaps,
    mapping,
    occupancy,
    scan_truth,
    search,
    significance,
)
from fourdcrystal.analysis import PLAIN, Analysis, distorted, straightened
from fourdcrystal.detectors import Correlator, Detector
from fourdcrystal.flags import FLAGS
from fourdcrystal.mapping import Maps
from fourdcrystal.peaks import Peaks
from fourdcrystal.progress import Progress
from fourdcrystal.scan_checks import check
from fourdcrystal.scans import Scan
from fourdcrystal.search import Found, Method, Searcher

THRESHOLDS = np.geomspace(0.005, 0.3, 15)  # of which the classical method beside a known truth gets the best
UNKNOWN_ENERGY = (
    "the beam's energy isn't known (--energy sets it), so there are no heights q_z and no tilts, and intensities are "
    "U_g over a pixel's area instead of V_g in volts"
)


@dataclass(frozen=True)
class Detected:
    """Peaks of a scan and what they say.

    Attributes:
        method: What found the peaks, for tables and pictures.
        found: Peaks and flags of all patterns, in the order of the scan, virtual images and sums.
        maps: Lattice, strain and tilt.
        units: Of intensities: V for |V_g| w; px² for U_g / dq², where the energy isn't known; 1 for heights of a
            correlation.
        notes: What the user should know about the scan, in sentences.
        alone: The peaks where each disk by itself says that it is; none: nothing else is known.
        deviation: How far disks lie from their lattice along an axis, beyond their uncertainty [px]; NaN: not known.
    """

    method: str
    found: Found
    maps: Maps
    units: str = "1"
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
    return searcher(scan, partial(detector.detect, pixel=scan.pixel, faint=True), detector.batch_size(scan.shape))


def searcher(scan: Scan, method: Method, batch_size: int) -> Searcher:
    """How a scan is searched: with its probe, for electrons, around what its camera can't see."""
    camera = gain.of_patterns(scan.pairs())
    return Searcher(method, scan.probe, gaps.of_scan(scan, camera), camera, batch_size)


@overload
def detect(scan: Scan, detector: Detector, analysis: Analysis = PLAIN, folder: Path | None = None) -> Detected: ...


@overload
def detect(
    scan: Scan, detector: Detector, analysis: Analysis, folder: Path | None, part: tuple[int, int]
) -> Detected | None: ...


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
    doubt = check(scan)
    how = searcher_of(scan, detector)
    found = search.whole(scan, how, scan.name, folder, identity(scan, detector), part)
    if found is None:
        return None
    radius = correlation.radius(scan.probe)
    said = (
        doubt,
        how.gaps.words(),
        gaps.direct_beam_missing(found.total, scan.probe),
        flags.scaled(found.total[~how.gaps.blind], len(found)),
        detector.doubts(scan.shape, radius, scan.dq),
        how.camera.words(),
        UNKNOWN_ENERGY if detector.in_volts and scan.energy is None else None,
    )
    notes = [note for note in said if note]
    made = in_context(scan, believed(scan, detector.method, found, analysis))
    units = "1" if not detector.in_volts else "px²" if scan.energy is None else "V"
    return replace(made, units=units, notes=(*notes, *made.notes))


def identity(scan: Scan, detector: Detector) -> str:
    """What peaks depend on, short: two searches with the same one find the same.

    Pixel size and energy count: they give potentials and heights their units.
    """
    columns = [field.name for field in fields(Peaks)]
    pixel = [scan.dq, scan.energy]
    content = [scan.identity, list(scan.patterns.shape), pixel, detector.identity, columns, __version__]
    made = hashlib.sha256(json.dumps(content).encode() + np.ascontiguousarray(scan.probe).tobytes())
    return made.hexdigest()[:12]


def mapped(scan: Scan, method: str, found: Found, analysis: Analysis = PLAIN) -> Detected:
    """What the peaks of a scan say."""
    radius = correlation.radius(scan.probe)
    maps = mapping.of_peaks(found.peaks, scan.grid, scan.shape, scan.dq, np.array(scan.centre), analysis, radius)
    said_here = ("no_lattice", "no_peaks", "uncertain", "other_lattice")
    flag = found.flags & ~np.uint8(sum(FLAGS[name] for name in said_here))
    fitted = maps.lattices.fitted
    flag[~fitted] |= FLAGS["no_lattice"]
    flag[fitted & ~np.isfinite(maps.strain.values[:, 0])] |= FLAGS["other_lattice"]
    flag[flags.uncertain(maps.strain.sigma, maps.lattices.residual)] |= FLAGS["uncertain"]
    searched = (flag & (FLAGS["not_finite"] | FLAGS["empty"])) == 0
    flag[searched & (np.bincount(found.peaks.pattern, minlength=len(flag)) == 0)] |= FLAGS["no_peaks"]
    return Detected(method, replace(found, flags=flag), maps, notes=maps.notes)


def believed(scan: Scan, method: str, found: Found, analysis: Analysis = PLAIN) -> Detected:
    """What the sure peaks of a scan say, and beside them the faint ones that their lattice tells from noise."""
    peaks = found.peaks
    made = mapped(scan, method, replace(found, peaks=peaks.where(significance.sure(peaks))), analysis)
    straight = straightened(peaks, made.maps.distortion, np.array(scan.centre))
    kept = occupancy.kept(straight, made.maps.lattices, made.maps.grain)
    return replace(made, found=replace(made.found, peaks=peaks.where(kept)))


def in_context(scan: Scan, made: Detected) -> Detected:
    """The same with the peaks where they most likely are, given that they lie on a lattice as far as the scan says.

    Lattice and strain stay those of disks by themselves. Without stated uncertainties nothing changes.
    """
    alone, maps = made.peaks, made.maps
    if not len(alone) or not np.isfinite(alone.sigma_px).all() or not maps.lattices.fitted.any():
        return made
    centre = np.array(scan.centre)
    whole = alone.inside(scan.shape, correlation.radius(scan.probe))
    straight = asymmetry.corrected(straightened(alone, maps.distortion, centre), maps.lattices, whole)
    tau = context.deviation(straight, maps.lattices)
    better = context.predicted(straight, maps.lattices, tau, maps.beam, maps.grain)
    at = distorted(better.positions, maps.distortion, centre)
    peaks = replace(better, qx_px=at[:, 0], qy_px=at[:, 1])
    apart = significance.distinct(scan.probe, peaks)  # two on one disk may have gone to the same lattice point
    found = replace(made.found, peaks=peaks.where(apart))
    return replace(made, found=found, alone=alone.where(apart), deviation=tau)


def classical(scan: Scan, analysis: Analysis = PLAIN) -> Detected:
    """The same with classical correlation (DFT-upsampled, on square-rooted counts).

    Where the truth is known the threshold is the one with the best score against it.
    """
    lowest = partial(correlation.detect, square_root=True, threshold=float(THRESHOLDS[0]))
    found = search.whole(scan, searcher(scan, lowest, Correlator().batch_size(scan.shape)), f"{scan.name} (classical)")
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
    camera = gain.of_patterns(scan.pairs())
    blind, parts, sizes, start = gaps.of_scan(scan, camera), [], [], 0
    with Progress(len(scan), f"{scan.name} ({coarse.method}, edge fit)", "patterns") as progress:
        for batch in scan.batches(16):
            rows = (coarse.peaks.pattern >= start) & (coarse.peaks.pattern < start + len(batch))
            some = coarse.peaks.where(rows)
            some = replace(some, pattern=some.pattern - start)
            counts = camera.counts(blind.fill(batch)).clip(min=0)
            parts.append(edgefit.refine(counts, scan.probe, some))
            sizes.append(len(batch))
            start += len(batch)
            progress.add(len(batch))
    found = replace(
        coarse.found,
        peaks=Peaks.joined(parts, sizes),
        seconds=coarse.found.seconds + time.monotonic() - started,
    )
    return mapped(scan, f"{coarse.method}, edge fit", found, analysis)
