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

from fourdcrystal.lattice import LEAST_PEAKS, LEAST_SIGMA, Lattices
from fourdcrystal.peaks import Peaks

RAYLEIGH_MEDIAN = 2 * np.log(2)  # of the squared distance in two dimensions over σ² along an axis
FAR = 4.0  # deviations from a lattice point; a peak beyond doesn't belong to it
LARGEST = 1.0  # τ [px]
ALIKE = 1.5  # variance of a fitted lattice over what independent errors give: disks of one pattern err alike
ROUNDS = 3  # of fitting lattices and telling which peaks belong to them


def lattice_points(peaks: Peaks, lattices: Lattices) -> tuple[np.ndarray, np.ndarray]:
    """The lattice point nearest to each peak [px], (N, 2), and its variance along an axis [px²], (N,).

    NaN where a pattern has no lattice.
    """
    pattern, index = peaks.pattern, _indices(peaks, lattices)
    points = lattices.centre[pattern] + np.einsum("ni,nij->nj", index, lattices.vectors[pattern])
    design = np.column_stack([np.ones(len(index)), index])
    return points, np.einsum("ni,nij,nj->n", design, lattices.covariance[pattern], design)


def _indices(peaks: Peaks, lattices: Lattices) -> np.ndarray:
    """Indices of the lattice point nearest to each peak, (N, 2); 0 where a pattern has no lattice."""
    vectors = np.where(lattices.fitted[:, None, None], lattices.vectors, np.eye(2))
    off = peaks.positions - lattices.centre[peaks.pattern]
    return np.rint(np.nan_to_num(np.einsum("ni,nij->nj", off, np.linalg.inv(vectors)[peaks.pattern])))


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
        lattices: Fitted to them: which peak is which lattice point. The points themselves are fitted anew, by
            generalised least squares with the variances σ² + τ², from which their own uncertainty follows also where
            a pattern's peaks are too few for residuals to tell it.
        tau: Deviation of disks from their lattice [px]; none: what the peaks say.
    """
    tau = deviation(peaks, lattices) if tau is None else tau
    points, uncertain = lattice_points(peaks, lattices)
    variance = np.maximum(peaks.sigma_px, LEAST_SIGMA) ** 2
    design = np.column_stack([np.ones(len(peaks)), _indices(peaks, lattices)])
    for _ in range(ROUNDS):
        off = peaks.positions - points
        belongs = (off**2).sum(1) < FAR**2 * (variance + tau**2 + uncertain)  # never where anything is NaN
        points, uncertain = _fitted(peaks, design, belongs / (variance + tau**2), len(lattices.fitted))
    off = peaks.positions - points
    belongs &= (off**2).sum(1) < FAR**2 * (variance + tau**2 + uncertain)
    kept = tau**2 / (tau**2 + variance)
    at = np.where(belongs[:, None], points + kept[:, None] * off, peaks.positions)
    left = np.where(belongs, kept * variance + (1 - kept) ** 2 * ALIKE * uncertain, variance)
    return replace(peaks, qx_px=at[:, 0], qy_px=at[:, 1], sigma_px=np.sqrt(left))


def _fitted(peaks: Peaks, design: np.ndarray, weight: np.ndarray, n_patterns: int) -> tuple[np.ndarray, np.ndarray]:
    """Lattice points of the peaks [px], (N, 2), and their variances [px²], (N,), by weighted least squares.

    NaN where fewer than LEAST_PEAKS of a pattern's peaks have a weight, or they don't span a plane.
    """
    normal, moment = np.zeros((n_patterns, 3, 3)), np.zeros((n_patterns, 3, 2))
    np.add.at(normal, peaks.pattern, weight[:, None, None] * design[:, :, None] * design[:, None])
    np.add.at(moment, peaks.pattern, weight[:, None, None] * design[:, :, None] * peaks.positions[:, None])
    enough = np.bincount(peaks.pattern, weight > 0, n_patterns) >= LEAST_PEAKS
    enough &= np.linalg.cond(normal + 1e-300 * np.eye(3)) < 1e10
    covariance = np.where(
        enough[:, None, None], np.linalg.inv(np.where(enough[:, None, None], normal, np.eye(3))), np.nan
    )
    beta = (covariance @ moment)[peaks.pattern]
    variance = np.einsum("ni,nij,nj->n", design, covariance[peaks.pattern], design)
    return np.einsum("ni,nij->nj", design, beta), variance
