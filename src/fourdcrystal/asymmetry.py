"""Asymmetry of disks: how much nearer to the direct beam they seem to be than they are.

A reflection is the stronger the nearer it is to Bragg's condition, and near a zone axis all of them fade with the
distance from it: the side of a disk that faces the direct beam is mostly the brighter one, and its other edge the
harder to see. Whatever looks for edges in counts takes some of that slope for an edge, and is misled by as much as the
counts leave room for: by a share of the deviation that it states, along the line to the direct beam. The share is one
number for a scan, and its residuals tell it: those of uncertain disks lie inward of the lattice that certain ones make.
It is near a half for crystals near a zone axis, nothing for flat disks, and small for crystals tilted far from one
(docs/decisions/0053).
"""

from dataclasses import replace

import numpy as np

from fourdcrystal import context
from fourdcrystal.lattice import LEAST_SIGMA, Lattices
from fourdcrystal.peaks import Peaks

USUAL, SPREAD = 0.3, 0.2  # share before residuals are seen, and its standard deviation: see docs/decisions/0053
ROUNDS = 2  # of telling which peaks belong to a lattice


def share(peaks: Peaks, lattices: Lattices, whole: np.ndarray | None = None) -> float:
    """How far inward the peaks of a scan seem to lie, over the deviations that they state.

    Lattices and share are fitted together, by weighted least squares: a shift of all disks of a pattern that another
    lattice would explain as well counts for nothing. 0 where there is no lattice at all.

    Args:
        peaks: Peaks with stated uncertainties.
        lattices: Which peak is which lattice point.
        whole: Peaks whose disks the camera sees whole, (N,) bool: what its frame cuts off moves a disk inward, too.
            None: all.
    """
    if whole is not None:
        peaks = peaks.where(whole)
    variance = np.maximum(peaks.sigma_px, LEAST_SIGMA) ** 2 + context.deviation(peaks, lattices) ** 2
    points, uncertain = context.lattice_points(peaks, lattices)
    inward, x, found = _inward(peaks, lattices), context.design(peaks, lattices), USUAL
    for _ in range(ROUNDS):
        off = peaks.positions - found * inward - points
        belongs = (off**2).sum(1) < context.FAR**2 * (variance + uncertain)  # never where anything is NaN
        weight = belongs / variance
        left, slope = (v - context.fitted(v, peaks.pattern, x, weight, len(lattices.fitted))[0] for v in (off, inward))
        used = belongs & np.isfinite(left).all(1)
        weight, left, slope = weight[used, None], left[used], slope[used]
        gain = (weight * slope * left).sum() + (USUAL - found) / SPREAD**2
        found += float(gain / ((weight * slope**2).sum() + SPREAD**-2))
    return found


def corrected(peaks: Peaks, lattices: Lattices, whole: np.ndarray | None = None) -> Peaks:
    """The peaks where they would be seen if the sides of their disks were equally bright on average.

    Unchanged where the peaks state no uncertainties, and in patterns without a lattice.

    Args:
        peaks: Peaks of a scan.
        lattices: Which peak is which lattice point, and where the direct beam is.
        whole: See :func:`share`.
    """
    if not np.isfinite(peaks.sigma_px).all() or not lattices.fitted.any():
        return peaks
    at = peaks.positions - share(peaks, lattices, whole) * _inward(peaks, lattices)
    return replace(peaks, qx_px=at[:, 0], qy_px=at[:, 1])


def _inward(peaks: Peaks, lattices: Lattices) -> np.ndarray:
    """A stated deviation towards the direct beam [px], (N, 2); 0 for the direct beam, and without a lattice."""
    index, vectors = context.design(peaks, lattices)[:, 1:], np.nan_to_num(lattices.vectors)
    outward = np.einsum("ni,nij->nj", index, vectors[peaks.pattern])
    distance = np.hypot(*outward.T)[:, None]
    return -peaks.sigma_px[:, None] * np.divide(outward, distance, out=np.zeros_like(outward), where=distance > 0)
