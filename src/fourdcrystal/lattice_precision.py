"""Lattices as precise as what is known of their peaks allows, and how precise that is.

A peak lies off its lattice point by the error that its own fit states, σ, and by what disks of the scan have besides, τ
(:func:`fourdcrystal.context.deviation`). Their weights (ν + 2) / (ν + z²) / (σ² + τ²), z² being the squared distance
over the variance, are those of Student's t in the plane (Lange, Little & Taylor, J. Am. Stat. Assoc. 84, 881 (1989)).
The covariance is that of an M-estimator, (Σ x xᵀ / (σ² + τ²))⁻¹ B / A² with B = ⟨ψ²⟩ and A = ⟨ψ'⟩ (Huber & Ronchetti,
Robust Statistics (2009), chapter 7) over all residuals of the scan: a dozen disks of one pattern can't tell whether
their stated errors are too small, thousands can. Residuals that are smaller than stated prove nothing: a lattice takes
up what contrast does to all disks of a pattern alike, for which there is a factor of experience, context.ALIKE.
"""

from dataclasses import replace

import numpy as np

from fourdcrystal import context
from fourdcrystal.direct_beam import Path
from fourdcrystal.lattice import BLOCK, LEAST_PEAKS, TOLERANCE, Lattices, padded
from fourdcrystal.peaks import Peaks

NU = 8.0  # degrees of freedom: of 2, 4 and 8 what gave the best strain on scans of seven crystals
ROUNDS = 20  # of weights and fits


def refitted(peaks: Peaks, lattices: Lattices, beam: Path | None = None) -> Lattices:
    """The same lattices fitted anew with the uncertainties that peaks state; unchanged where they state none.

    A pattern of whose peaks too few belong to its lattice after all has none.

    Args:
        peaks: That the lattices were fitted to.
        lattices: Which say what peak is what lattice point, and are not changed otherwise.
        beam: Where the other patterns of the scan say that the direct beam is; none: each pattern tells by itself.
    """
    if not np.isfinite(peaks.sigma_px).all() or not lattices.fitted.any():
        return lattices
    tau = context.deviation(peaks, lattices)
    beta, inverse, moments = [], [], np.zeros(4)
    for start in range(0, len(lattices.fitted), BLOCK):
        stop = min(start + BLOCK, len(lattices.fitted))
        fitted, centre, vectors = lattices.fitted[start:stop], lattices.centre[start:stop], lattices.vectors[start:stop]
        near = np.zeros((stop - start, 3)) if beam is None else _expected(beam)[start:stop]
        found = _fit(peaks.of_patterns(start, stop), fitted, centre, vectors, tau, near)
        beta.append(found[0])
        inverse.append(found[1])
        moments += found[2]
    count, slopes, squares, taken = moments
    scatter, slope = squares / max(count - taken, 1), slopes / max(count, 1)
    wider = context.ALIKE * max(1.0, scatter / slope**2 if slope else 1.0)
    made, covariance = np.concatenate(beta), np.concatenate(inverse) * wider
    left = np.isfinite(covariance[:, 0, 0])
    return replace(
        lattices,
        centre=np.where(left[:, None], made[:, 0], np.nan),
        vectors=np.where(left[:, None, None], made[:, 1:], np.nan),
        covariance=covariance,
        residual=np.where(left, lattices.residual, np.nan),
        agreeing=np.where(left, lattices.agreeing, 0),
    )


def _expected(beam: Path) -> np.ndarray:
    """Weight of the expected direct beam [1/px²], and its position times it, (P, 3).

    Covariances are multiplied by context.ALIKE in the end, and this one shall come out as it is, up to the factor by
    which residuals exceed what is stated.
    """
    weight = context.ALIKE / beam.variance[:, None]
    return np.concatenate([weight, weight * beam.at], axis=1)


def _fit(
    peaks: Peaks, fitted: np.ndarray, centre: np.ndarray, vectors: np.ndarray, tau: float, near: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Centres and vectors (P, 3, 2), covariances if the errors were as stated, (P, 3, 3), and sums over residuals.

    These are their number, Σ ψ', Σ ψ², and how many numbers lattices have taken from them along an axis. What is known
    before a pattern's peaks are looked at is ``near``. Covariances are NaN where there is no lattice.
    """
    xy, weight, present = padded(peaks, len(fitted))
    variance = 1 / np.where(present, weight, 1) + tau**2
    vectors = np.where(fitted[:, None, None], vectors, np.eye(2))
    beta = np.concatenate([np.where(fitted[:, None], centre, 0)[:, None], vectors], axis=1)
    index = np.rint((xy - beta[:, :1]) @ np.linalg.inv(vectors))
    design = np.concatenate([np.ones_like(index[..., :1]), index], axis=-1)
    shortest = np.linalg.norm(vectors, axis=2).min(1)
    distance = np.linalg.norm(xy - design @ beta, axis=2)
    belongs = present & fitted[:, None] & (distance < TOLERANCE * shortest[:, None])
    alone = np.einsum("pkm,pk,pkn->pmn", design, belongs / variance, design)
    fitted = fitted & (belongs.sum(1) >= LEAST_PEAKS) & (np.linalg.cond(alone + 1e-300 * np.eye(3)) < 1e10)
    belongs &= fitted[:, None]
    known = np.where(fitted[:, None, None], 0, np.eye(3))
    known[:, 0, 0] += near[:, 0]

    def normal(weights: np.ndarray) -> np.ndarray:
        """Normal matrices of weighted least squares, (P, 3, 3); 1 where a pattern has no lattice."""
        return np.einsum("pkm,pk,pkn->pmn", design, weights, design) + known

    for _ in range(ROUNDS):
        z2 = ((xy - design @ beta) ** 2).sum(2) / variance
        w = np.where(belongs, (NU + 2) / (NU + z2) / variance, 0)
        moment = np.einsum("pkm,pk,pkd->pmd", design, w, xy)
        moment[:, 0] += near[:, 1:]
        beta = np.linalg.solve(normal(w), moment)
    z2 = (((xy - design @ beta) ** 2).sum(2) / variance)[belongs]
    u = (NU + 2) / (NU + z2)
    information = normal(np.where(belongs, 1 / variance, 0))
    inverse = np.linalg.inv(information)
    taken = fitted.sum() * 3 - (inverse * known)[fitted].sum()  # three of each, but for what was known before
    moments = np.array([belongs.sum(), (u - u**2 * z2 / (NU + 2)).sum(), (u**2 * z2).sum() / 2, taken])
    return beta, np.where(fitted[:, None, None], inverse, np.nan), moments
