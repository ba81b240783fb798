"""Positions in the context of their pattern: all disks of a crystal lie on one lattice, as far as they do.

Each position x is the lattice's point L, a deviation of its own (the camera's distortion, overlapping disks; Gaussian
with deviation τ along each axis), and the error of its measurement with the stated deviation σ. How large τ is the scan
itself says: it is what the residuals have beyond σ. The best linear prediction of where the disk lies is then
L + (x - L) τ² / (τ² + σ²) (Robinson, Statistical Science 6, 15 (1991)): a disk that counts tell much about stays where
it is seen, one of few electrons goes to where the others say that it must be. Peaks off the lattice, such as those of
another grain, stay as they are, and so do patterns without a lattice.

The other patterns of a scan say where a lattice begins (:mod:`fourdcrystal.direct_beam`), and what lattices are like
here: that matters where a pattern's own disks hold few electrons, and for predicted positions only, not for strain
(docs/decisions/0055).
"""

from dataclasses import dataclass, replace

import numpy as np

from fourdcrystal.direct_beam import Path
from fourdcrystal.lattice import LEAST_PEAKS, LEAST_SIGMA, RAYLEIGH_MEDIAN, TOLERANCE, Lattices, beyond
from fourdcrystal.peaks import Peaks

FAR = 4.0  # deviations from a lattice point; a peak beyond doesn't belong to it
LARGEST = 1.0  # τ [px]
ALIKE = 1.5  # variance of a fitted lattice over what independent errors give: disks of one pattern err alike
STRAIN = 0.003  # of the vectors' length; strain that is usual, beside what the scan shows
NU = 4.0  # degrees of freedom of the t distribution that lattices are drawn from
LEAST_LATTICES = 15  # with a lattice, at least, that tell what is usual
ROUNDS = 3  # of fitting lattices and telling which peaks belong to them


def lattice_points(peaks: Peaks, lattices: Lattices) -> tuple[np.ndarray, np.ndarray]:
    """The lattice point nearest to each peak [px], (N, 2), and its variance along an axis [px²], (N,).

    NaN where a pattern has no lattice.
    """
    pattern, x = peaks.pattern, design(peaks, lattices)
    points = lattices.centre[pattern] + np.einsum("ni,nij->nj", x[:, 1:], lattices.vectors[pattern])
    return points, np.einsum("ni,nij,nj->n", x, lattices.covariance[pattern], x)


def design(peaks: Peaks, lattices: Lattices) -> np.ndarray:
    """1 and the indices of the lattice point nearest to each peak, (N, 3); indices 0 where there is no lattice."""
    vectors = np.where(lattices.fitted[:, None, None], lattices.vectors, np.eye(2))
    off = peaks.positions - lattices.centre[peaks.pattern]
    index = np.rint(np.nan_to_num(np.einsum("ni,nij->nj", off, np.linalg.inv(vectors)[peaks.pattern])))
    return np.column_stack([np.ones(len(index)), index])


def indices(peaks: Peaks, lattices: Lattices) -> np.ndarray:
    """h and k of peaks, (N, 2); NaN for those that belong to no lattice point, or whose pattern has no lattice.

    Args:
        peaks: Without the camera's distortion, as the lattices are.
        lattices: Fitted to them.
    """
    off = peaks.positions - lattice_points(peaks, lattices)[0]
    farthest = TOLERANCE * np.linalg.norm(lattices.vectors, axis=2).min(1)
    belongs = np.hypot(*off.T) < farthest[peaks.pattern]  # never where anything is NaN
    return np.where(belongs[:, None], design(peaks, lattices)[:, 1:] + 0.0, np.nan)  # 0 is not -0


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
    found = beyond(squared, variance, LARGEST)
    return LARGEST if found is None else found


@dataclass(frozen=True)
class Expected:
    """What a scan says of the lattice of each pattern before its own disks are looked at.

    Attributes:
        at: Direct beam and vectors [px], (P, 3, 2).
        precision: Inverse covariance of them along either axis [1/px²], (P, 3, 3); 0 where nothing is said.
    """

    at: np.ndarray
    precision: np.ndarray


def expected(lattices: Lattices, beam: Path | None, grain: np.ndarray | None = None) -> Expected:
    """What the patterns of a scan say of each other's lattices.

    The direct beam is on its path. Vectors are the grain's median, with a variance that is what they differ by beyond
    their own uncertainty and never less than that of a usual strain; a lattice that is far from the others, in an
    inclusion, is told the less of them (weights of Student's t).

    Args:
        lattices: Each fitted to its own pattern.
        beam: Path of the direct beam; none: nothing is known of it.
        grain: Of each pattern, (P,); none: there is one.
    """
    n, grain = len(lattices.fitted), np.where(lattices.fitted, 0 if grain is None else grain, -1)
    at, precision = np.zeros((n, 3, 2)), np.zeros((n, 3, 3))
    if beam is not None:
        at[:, 0], precision[:, 0, 0] = beam.at, 1 / beam.variance
    for number in range(int(grain.max(initial=-1)) + 1):
        if np.count_nonzero(grain == number) >= LEAST_LATTICES:
            _expect_vectors(lattices, grain == number, at, precision)
    return Expected(at, precision)


def _expect_vectors(lattices: Lattices, known: np.ndarray, at: np.ndarray, precision: np.ndarray) -> None:
    """Set what patterns of one grain, (P,) bool, say of each other's vectors."""
    at[known, 1:] = middle = np.median(lattices.vectors[known], axis=0)
    off, own = lattices.vectors[known] - middle, lattices.covariance[known][:, 1:, 1:]
    scatter = np.median((off**2).sum(2), axis=0) / RAYLEIGH_MEDIAN  # along an axis, of either vector
    size = STRAIN * np.hypot(*middle.T)
    variance = np.clip(scatter - np.median(np.einsum("pii->pi", own), axis=0), 0, None) + size**2
    squared = np.einsum("pid,pij,pjd->p", off, np.linalg.inv(np.diag(variance) + own), off)
    precision[known, 1:, 1:] = ((NU + 4) / (NU + squared))[:, None, None] * np.diag(1 / variance)


def predicted(
    peaks: Peaks,
    lattices: Lattices,
    tau: float | None = None,
    beam: Path | None = None,
    grain: np.ndarray | None = None,
) -> Peaks:
    """The peaks where they most likely are, with what is then left of their uncertainty.

    Args:
        peaks: Peaks with stated uncertainties.
        lattices: Fitted to them: which peak is which lattice point. The points themselves are fitted anew, by
            generalised least squares with the variances σ² + τ², from which their own uncertainty follows also where
            a pattern's peaks are too few for residuals to tell it.
        tau: Deviation of disks from their lattice [px]; none: what the peaks say.
        beam: Where the other patterns of the scan say that the direct beam is.
        grain: Of each pattern, (P,); none: there is one.
    """
    prior = expected(lattices, beam, grain)
    tau = deviation(peaks, lattices) if tau is None else tau
    points, uncertain = lattice_points(peaks, lattices)
    variance = np.maximum(peaks.sigma_px, LEAST_SIGMA) ** 2
    x, n = design(peaks, lattices), len(lattices.fitted)
    for _ in range(ROUNDS):
        off = peaks.positions - points
        belongs = (off**2).sum(1) < FAR**2 * (variance + tau**2 + uncertain)  # never where anything is NaN
        weight = belongs / (variance + tau**2) / ALIKE
        points, uncertain = fitted(peaks.positions, peaks.pattern, x, weight, n, prior)
    off = peaks.positions - points
    belongs &= (off**2).sum(1) < FAR**2 * (variance + tau**2 + uncertain)
    kept = tau**2 / (tau**2 + variance)
    at = np.where(belongs[:, None], points + kept[:, None] * off, peaks.positions)
    left = np.where(belongs, kept * variance + (1 - kept) ** 2 * uncertain, variance)
    return replace(peaks, qx_px=at[:, 0], qy_px=at[:, 1], sigma_px=np.sqrt(left))


def fitted(
    values: np.ndarray,
    pattern: np.ndarray,
    x: np.ndarray,
    weight: np.ndarray,
    n_patterns: int,
    prior: Expected | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """What lattices make of values at their points, by weighted least squares.

    Args:
        values: Two of each peak, such as its position [px], (N, 2).
        pattern: Of each peak, (N,).
        x: Peaks' rows of :func:`design`, (N, 3).
        weight: Inverse variances of the values, (N,).
        n_patterns: Number of patterns.
        prior: What is known before; none: nothing.

    Returns:
        Fitted values, (N, 2), and their variances, (N,). NaN where fewer than LEAST_PEAKS of a pattern's peaks have a
        weight, or they don't span a plane.
    """
    normal, moment = np.zeros((n_patterns, 3, 3)), np.zeros((n_patterns, 3, 2))
    np.add.at(normal, pattern, weight[:, None, None] * x[:, :, None] * x[:, None])
    np.add.at(moment, pattern, weight[:, None, None] * x[:, :, None] * values[:, None])
    enough = np.bincount(pattern, weight > 0, n_patterns) >= LEAST_PEAKS
    enough &= np.linalg.cond(normal + 1e-300 * np.eye(3)) < 1e10
    if prior is not None:
        normal += prior.precision
        moment += prior.precision @ prior.at
    covariance = np.where(
        enough[:, None, None], np.linalg.inv(np.where(enough[:, None, None], normal, np.eye(3))), np.nan
    )
    beta = (covariance @ moment)[pattern]
    variance = np.einsum("ni,nij,nj->n", x, covariance[pattern], x)
    return np.einsum("ni,nij->nj", x, beta), variance
