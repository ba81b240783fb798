"""Which points of a scan's lattice have disks, so that faint ones can be believed where a scan often shows one.

What must stand behind a disk depends on where it is. Noise of s standard deviations is as likely as exp(-s² / 2), so a
disk is believed when s² / 2 is larger than the odds against one there, ln((1 - π) / π), by what is wanted at even odds
(Bayes' theorem; s is the root of twice a likelihood ratio's logarithm). At a lattice point π is the share of the scan's
patterns that have a disk there; elsewhere it is what makes the limit LEAST of :mod:`fourdcrystal.significance`.
"""

import numpy as np

from fourdcrystal import context
from fourdcrystal.lattice import Lattices
from fourdcrystal.peaks import Peaks
from fourdcrystal.significance import FAINT, LEAST, sure

ELSEWHERE = 1 / (1 + np.exp((LEAST**2 - FAINT**2) / 2))  # π where no disk is expected: 0.0025
NEAR = 3.0  # px; a disk farther from its lattice point doesn't belong to it, however uncertain it is
ROUNDS = 5  # of telling which points have disks, and which disks are there


def kept(peaks: Peaks, lattices: Lattices, grain: np.ndarray | None = None) -> np.ndarray:
    """Which peaks of a scan to believe, (N,): sure ones, and faint ones where their grain often shows a disk.

    Args:
        peaks: Peaks of a scan, faint ones among them, without the camera's distortion.
        lattices: Fitted to the sure ones.
        grain: Of each pattern, (P,), since other grains have other strong reflections; none: there is one.
    """
    certain = sure(peaks)
    if certain.all() or not lattices.fitted.any() or not np.isfinite(peaks.sigma_px).all():
        return certain
    points, uncertain = context.lattice_points(peaks, lattices)
    squared = ((peaks.positions - points) ** 2).sum(1)
    variance = peaks.sigma_px**2 + context.deviation(peaks.where(certain), lattices) ** 2 + uncertain
    belongs = squared < np.minimum(context.FAR**2 * variance, NEAR**2)  # never where anything is NaN
    index = context.design(peaks, lattices)[:, 1:].astype(int)
    grain = np.where(lattices.fitted, 0 if grain is None else grain, -1)
    index = np.column_stack([grain[peaks.pattern], index])
    index -= index.min(0)
    _, point = np.unique(np.ravel_multi_index(tuple(index.T), tuple(index.max(0) + 1)), return_inverse=True)
    patterns, result = np.bincount(grain + 1)[grain + 1][peaks.pattern], certain
    for _ in range(ROUNDS):
        disks = np.bincount(point, belongs & result)
        share = np.clip((disks[point] + ELSEWHERE) / (patterns + 1), ELSEWHERE, 0.5)
        limit = np.sqrt(FAINT**2 + 2 * np.log((1 - share) / share))
        result = certain | (belongs & (peaks.significance >= limit))
    return result
