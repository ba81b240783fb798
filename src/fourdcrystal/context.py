"""Positions in the context of their pattern: all disks of a crystal lie on one lattice, as far as they do.

Each position x is the lattice's point L, a deviation of its own (the camera's distortion, overlapping disks; Gaussian
with deviation τ along each axis), and the error of its measurement with the stated deviation σ. How large τ is the scan
itself says: it is what the residuals have beyond σ. The best linear prediction of where the disk lies is then
L + (x - L) τ² / (τ² + σ²) (Robinson, Statistical Science 6, 15 (1991)): a disk that counts tell much about stays where
it is seen, one of few electrons goes to where the others say that it must be. Peaks off the lattice, such as those of
another grain, stay as they are, and so do patterns without a lattice.
"""

from dataclasses import replace

import numpy as np

from fourdcrystal.lattice import Lattices
from fourdcrystal.peaks import Peaks

RAYLEIGH_MEDIAN = 2 * np.log(2)  # of the squared distance in two dimensions over σ² along an axis
FAR = 4.0  # deviations from a lattice point; a peak beyond doesn't belong to it
LARGEST = 1.0  # τ [px]


def lattice_points(peaks: Peaks, lattices: Lattices) -> tuple[np.ndarray, np.ndarray]:
    """The lattice point nearest to each peak [px], (N, 2), and its variance along an axis [px²], (N,).

    NaN where a pattern has no lattice.
    """
    pattern = peaks.pattern
    vectors = np.where(lattices.fitted[:, None, None], lattices.vectors, np.eye(2))
    off = peaks.positions - lattices.centre[pattern]
    index = np.rint(np.nan_to_num(np.einsum("ni,nij->nj", off, np.linalg.inv(vectors)[pattern])))
    points = lattices.centre[pattern] + np.einsum("ni,nij->nj", index, lattices.vectors[pattern])
    design = np.column_stack([np.ones(len(index)), index])
    return points, np.einsum("ni,nij,nj->n", design, lattices.covariance[pattern], design)


def deviation(peaks: Peaks, lattices: Lattices) -> float:
    """τ [px]: how far disks lie from their lattice along an axis, beyond what their stated uncertainties explain.

    From the median of the squared residuals of the better half of the peaks, so that neither tails nor wrong peaks
    count; corrected for the freedom that the lattice's fit has taken from them. 0 where there is no lattice at all.
    """
    points, _ = lattice_points(peaks, lattices)
    squared, variance = ((peaks.positions - points) ** 2).sum(1), peaks.sigma_px**2
    agreeing = lattices.agreeing[peaks.pattern]
    used = (squared < (FAR * (np.sqrt(variance) + LARGEST / FAR)) ** 2) & (agreeing > 4)
    if not used.any():
        return 0.0
    used &= variance <= np.median(variance[used])
    squared, variance = squared[used] / (1 - 3 / agreeing[used]), variance[used]
    tried = np.concatenate([[0.0], np.geomspace(1e-3, LARGEST, 100)])
    within = [np.mean(squared < RAYLEIGH_MEDIAN * (variance + tau**2)) for tau in tried]
    enough = np.flatnonzero(np.array(within) >= 0.5)
    return float(tried[enough[0]] if len(enough) else LARGEST)


def predicted(peaks: Peaks, lattices: Lattices, tau: float | None = None) -> Peaks:
    """The peaks where they most likely are, with what is then left of their uncertainty.

    Args:
        peaks: Peaks with stated uncertainties.
        lattices: Fitted to them.
        tau: Deviation of disks from their lattice [px]; none: what the peaks say.
    """
    tau = deviation(peaks, lattices) if tau is None else tau
    points, uncertain = lattice_points(peaks, lattices)
    off, variance = peaks.positions - points, peaks.sigma_px**2
    belongs = (off**2).sum(1) < FAR**2 * (variance + tau**2 + uncertain)  # never where anything is NaN
    kept = np.where(variance + tau**2 > 0, tau**2 / (tau**2 + np.maximum(variance, 1e-12)), 1.0)
    at = np.where(belongs[:, None], points + kept[:, None] * off, peaks.positions)
    left = np.where(belongs, kept * variance + (1 - kept) ** 2 * uncertain, variance)
    return replace(peaks, qx_px=at[:, 0], qy_px=at[:, 1], sigma_px=np.sqrt(left))
