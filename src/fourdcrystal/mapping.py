"""What peaks say at every position of a scan: lattice, strain, tilt, orientation; and the map of all Bragg vectors."""

from dataclasses import dataclass, replace

import numpy as np

from fourdcrystal import asymmetry, direct_beam, grains, indexing, lattice_precision, strain, tilt
from fourdcrystal.analysis import PLAIN, Analysis, axes, straightened
from fourdcrystal.errors import InputError
from fourdcrystal.indexing import Zone
from fourdcrystal.lattice import Lattices
from fourdcrystal.orientation import leaning
from fourdcrystal.peaks import Peaks
from fourdcrystal.strain import Strain


@dataclass(frozen=True)
class Maps:
    """What the peaks of a scan say about the crystal; every array begins with the scan's positions, (P, ...).

    Attributes:
        lattices: Lattice of every pattern [px], as a camera without distortion would have seen it.
        grain: Which grain's lattice it is, by size, (P,); -1 where there is none.
        reference: Basis that strain is relative to [px], (2, 2): of the largest grain, or of the region's.
        centres: Direct beam [px], (P, 2): of the pattern's lattice; where there is none, of its path over the scan, or
            the scan's median.
        beam: The direct beam's path, where the scan tells it.
        strain: Strain and rotation, along the axes of ``frame``; NaN where the lattice isn't the reference's, turned.
        tilt: Tilt of the crystal along the detector's axes 0 and 1, whatever the frame of strain [rad], (P, 2).
        tilt_sigma: Its standard uncertainty [rad], (P, 2).
        distortion: The camera's, M of :class:`fourdcrystal.analysis.Analysis`, (2, 2).
        frame: Angle of the strain's x from the detector's axis 0 [rad].
        zone: Of the crystal, where that is known.
        absolute: Whether strain is relative to the crystal's own lattice.
        notes: What the user should know, in sentences.
    """

    lattices: Lattices
    grain: np.ndarray
    reference: np.ndarray
    centres: np.ndarray
    beam: direct_beam.Path | None
    strain: Strain
    tilt: np.ndarray
    tilt_sigma: np.ndarray
    distortion: np.ndarray
    frame: float = 0.0
    zone: Zone | None = None
    absolute: bool = False
    notes: tuple[str, ...] = ()


def of_peaks(
    peaks: Peaks,
    grid: tuple[int, int],
    shape: tuple[int, int],
    dq: float,
    centre: np.ndarray,
    analysis: Analysis = PLAIN,
    radius: float = 0.0,
) -> Maps:
    """Lattice, strain and tilt at every position of a scan.

    Args:
        peaks: Peaks of all patterns, as the camera saw them.
        grid: Scan positions along both axes.
        shape: Pixels of a pattern.
        dq: Size of a pixel [1/Å].
        centre: Where the direct beam is, to less than half a lattice vector [px], (2,): the vacuum probe's centre.
        analysis: What strain and orientation are relative to.
        radius: Of the probe's disk [px]; disks that the frame cuts don't tell how asymmetric disks are.

    Where the peaks of the whole scan make no lattice, strain and tilt are NaN and every pattern is flagged. Of several
    grains each has its lattice; strain and rotation are those from the reference's grain to them.

    Raises:
        InputError: if there are lattices, but none in the region, or the crystal's lattice is another one.
    """
    if isinstance(analysis.ellipse, str):
        return _of_known_lattice(peaks, grid, shape, dq, centre, analysis, radius)
    straight, n_patterns, beam = straightened(peaks, analysis.ellipse, centre), grid[0] * grid[1], None
    region, found = analysis.region, grains.find(straight, n_patterns, shape, centre)
    lattices, same = found.lattices, found.lattices.fitted
    if same.any():
        found, same = grains.turned(found, region)
        lattices = found.lattices
        straight = asymmetry.corrected(straight, lattices, peaks.inside(shape, radius))
        lattices = lattice_precision.refitted(straight, lattices)
        if (beam := direct_beam.path(lattices, grid)) is not None:
            lattices = lattice_precision.refitted(straight, lattices, beam)
        if region is not None and not (lattices.fitted & region).any():
            raise InputError("no lattice could be fitted to any pattern of the reference region; choose another one")
    grain = np.where(lattices.fitted, found.number, -1)
    alike = (grain == found.largest(region)) & same
    reference = strain.reference(lattices, alike if region is None else alike & region)
    zone, notes = None, list(grains.words(grain, same))
    if analysis.crystal is not None and lattices.fitted.any():
        zone = indexing.find(reference * dq, analysis.crystal, analysis.zone_axis)
        notes.append(
            f"the lattice is the crystal's along {zone.name}, {100 * (zone.scale - 1):+.2f} % in size and "
            f"{100 * zone.stretch:.2f} % out of shape: strain, ellipticity of the camera, or the pixel size"
        )
        if analysis.absolute:
            reference = zone.basis / dq
    frame = _frame(analysis.frame, reference)
    elsewhere = _usual_beam(lattices, centre) if beam is None else beam.at
    centres = np.where(lattices.fitted[:, None], lattices.centre, elsewhere)
    return Maps(
        lattices,
        grain,
        reference,
        centres,
        beam,
        strain.in_frame(strain.of_lattices(lattices, reference).where(same), frame),
        *tilt.of_peaks(straight, centres, dq),
        analysis.ellipse,
        frame,
        zone,
        analysis.absolute and zone is not None,
        tuple(notes),
    )


def _of_known_lattice(
    peaks: Peaks,
    grid: tuple[int, int],
    shape: tuple[int, int],
    dq: float,
    centre: np.ndarray,
    analysis: Analysis,
    radius: float,
) -> Maps:
    """The same with the camera's ellipticity from the reference lattice, which must be the crystal's."""
    first = of_peaks(peaks, grid, shape, dq, centre, replace(analysis, ellipse=np.eye(2), absolute=False), radius)
    if first.zone is None:
        return first
    linear = np.linalg.solve(first.zone.basis, first.reference * dq).T  # seen = M times the crystal's
    found = (linear + linear.T) / 2
    found = found / np.sqrt(np.linalg.det(found))
    ratio, angle = axes(found)
    said = f"the camera's ellipticity is {ratio:.4f} along {np.degrees(angle):.1f}°, from the crystal's lattice"
    made = of_peaks(peaks, grid, shape, dq, centre, replace(analysis, ellipse=found), radius)
    return replace(made, notes=(said, *made.notes))


def _frame(frame: float | str, reference: np.ndarray) -> float:
    if isinstance(frame, str):
        return float(np.arctan2(reference[0, 1], reference[0, 0])) if np.isfinite(reference).all() else 0.0
    return float(frame)


def _usual_beam(lattices: Lattices, start: np.ndarray) -> np.ndarray:
    """Median position of the direct beam over the patterns that have a lattice; else where it was looked for."""
    return np.median(lattices.centre[lattices.fitted], axis=0) if lattices.fitted.any() else start


def orientations(maps: Maps) -> np.ndarray:
    """Active rotation of the crystal at every position, (P, 3, 3).

    First about the beam by θ, then the zone axis from +z to (t_x, t_y, 1) by the shortest rotation. With a known
    crystal it begins at the crystal's own frame, else at the reference with its zone axis along the beam.
    """
    theta = maps.strain.values[:, 3]
    # a method that knows no heights says nothing about tilt anywhere: the zone axis is along the beam, then
    tilts = maps.tilt if np.isfinite(maps.tilt).any() else np.zeros_like(maps.tilt)
    c, s, zero, one = np.cos(theta), np.sin(theta), np.zeros_like(theta), np.ones_like(theta)
    turning = np.array([[c, -s, zero], [s, c, zero], [zero, zero, one]]).transpose(2, 0, 1)
    return leaning(tilts) @ turning @ (np.eye(3) if maps.zone is None else maps.zone.rotation)


def bragg_vector_map(peaks: Peaks, centres: np.ndarray, shape: tuple[int, int], sampling: int = 4) -> np.ndarray:
    """Histogram of all Bragg vectors from their pattern's centre, weighted by intensity, (sampling X, sampling Y).

    Args:
        peaks: Peaks of all patterns.
        centres: Direct beam of each pattern [px], (P, 2); it comes to lie at the map's pixel sampling · (n // 2).
        shape: Pixels of a pattern.
        sampling: Bins per pixel.
    """
    at = peaks.positions - centres[peaks.pattern] + np.array(shape) // 2
    bins = np.rint(at * sampling).astype(int)
    size = sampling * shape[0], sampling * shape[1]
    inside = (bins >= 0).all(1) & (bins < size).all(1)
    flat = np.ravel_multi_index(tuple(bins[inside].T), size)
    return np.bincount(flat, peaks.intensity[inside], size[0] * size[1]).reshape(size)
