"""Counts between the disks of a pattern: the background as a function of the distance from the direct beam."""

import numpy as np
from scipy.ndimage import convolve1d
from scipy.sparse import csr_array

from fourdcrystal import correlation
from fourdcrystal.peaks import Peaks

COVERED = 1.3  # radii of the probe's disk around a peak, and a pixel: what its disk and its edge may light up


def around_beam(patterns: np.ndarray, probe: np.ndarray, peaks: Peaks) -> np.ndarray:
    """Mean background at each peak [electrons/px], (N,), from the pixels of its pattern that no peak covers.

    Of rings around the direct beam as wide as the probe's disk, the neighbouring ones with half the weight; where they
    have few pixels, or few electrons, the whole pattern counts as one electron more.

    Args:
        patterns: Electrons, (P, X, Y).
        probe: Vacuum probe, (X, Y).
        peaks: Peaks of the patterns.
    """
    x, y = correlation.centre(probe)
    rows, columns = np.indices(probe.shape)
    ring = (np.hypot(rows - x, columns - y) / max(correlation.radius(probe), 1)).astype(int).ravel()
    rings = csr_array((np.ones(ring.size, np.float32), (ring, np.arange(ring.size))))
    reach = COVERED * correlation.radius(probe) + 1
    free = (~covered(patterns.shape, probe, peaks, reach)).reshape(len(patterns), -1).T.astype(np.float32)
    seen = patterns.reshape(len(patterns), -1).T * free
    electrons, pixels = (convolve1d(rings @ part, (0.5, 1, 0.5), axis=0, mode="constant") for part in (seen, free))
    electrons = np.maximum(electrons, 0)  # read noise may be below
    everywhere = (electrons.sum(0) + 1) / (pixels.sum(0) + 1)
    density = (electrons + 1) / (pixels + 1 / everywhere)
    at = np.ravel_multi_index(_pixels(peaks.positions, probe.shape), probe.shape)
    return density[ring[at], peaks.pattern]


def covered(shape: tuple[int, ...], probe: np.ndarray, peaks: Peaks, reach: float) -> np.ndarray:
    """Pixels of patterns that disks may light up, the direct beam's among them, (P, X, Y).

    Args:
        shape: Of the patterns, (P, X, Y).
        probe: Vacuum probe, (X, Y).
        peaks: Peaks of the patterns.
        reach: How far from its centre a disk may light up pixels [px].
    """
    steps = np.arange(-int(reach), int(reach) + 1)
    disk = np.argwhere(np.hypot(steps[:, None], steps) <= reach) + steps[0]
    direct = np.broadcast_to(correlation.centre(probe), (shape[0], 2))
    at = _pixels(np.concatenate([peaks.positions, direct]), probe.shape)
    x, y = (np.add.outer(along, disk[:, axis]) for axis, along in enumerate(at))
    inside = (x >= 0) & (x < shape[1]) & (y >= 0) & (y < shape[2])
    pattern = np.concatenate([peaks.pattern, np.arange(shape[0])])
    result = np.zeros(shape, bool)
    result[np.broadcast_to(pattern[:, None], x.shape)[inside], x[inside], y[inside]] = True
    return result


def _pixels(positions: np.ndarray, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """The nearest pixel of each position, 2 x (N,)."""
    at = np.rint(positions).astype(int).clip(0, np.array(shape) - 1)
    return at[:, 0], at[:, 1]
