"""Tilt of the crystal from the heights q_z of its Bragg peaks.

The zone axis of a crystal that is tilted by t = (t_x, t_y) points along n = (t_x, t_y, 1). Reflections of the zeroth
Laue zone are perpendicular to it, g·n = 0, so their heights lie in the plane g_z = -(t_x g_x + t_y g_y).
"""

import numpy as np

from fourdcrystal.lattice import BLOCK
from fourdcrystal.peaks import Peaks

COMMON = 9e-4  # rad; error that all heights of a pattern share, which their scatter can't tell: docs/decisions/0056


def plane(q: np.ndarray, qz: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, float]:
    """Tilt whose plane q_z = -t·q through the origin fits best.

    Args:
        q: Scattering vectors on the detector [1/Å], (N, 2).
        qz: Their heights [1/Å], (N,).
        weight: Of each, (N,).

    Returns:
        Tilt along x and y [rad], (2,), and the weighted RMS distance from the plane [1/Å].
    """
    root = np.sqrt(weight)
    solved, *_ = np.linalg.lstsq(-q * root[:, None], qz * root, rcond=None)
    residual = qz + q @ solved
    return solved, float(np.sqrt((weight * residual**2).sum() / weight.sum()))


def robust_planes(q: np.ndarray, qz: np.ndarray, weight: np.ndarray, rounds: int = 10) -> tuple[np.ndarray, np.ndarray]:
    """The same for many patterns, with outliers (false peaks, higher Laue zones) weighted down as Tukey does.

    Args:
        q: Positions from the pattern's centre [1/Å], (P, K, 2).
        qz: Heights [1/Å], (P, K).
        weight: Of each peak; 0 where a pattern has no more peaks, (P, K).
        rounds: Of weighting.

    Returns:
        Tilt [rad], (P, 2), and its standard uncertainty [rad], (P, 2); NaN for fewer than three peaks, or peaks on one
        line.
    """
    there = weight > 0

    def products(weights: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Σ w q v over peaks, (P, 2, ...)."""
        return np.einsum("pki,pk,pk...->pi...", q, weights, values)

    sane = np.linalg.eigvalsh(products(weight, q))[:, 0] > 1e-18
    agreed, solved = there.astype(float), np.zeros((len(q), 2))
    for _ in range(rounds):
        used = weight * agreed
        normal = products(used, q)
        sane &= ((used > 0).sum(1) >= 3) & (np.linalg.cond(normal + 1e-300 * np.eye(2)) < 1e12)
        solved = -np.linalg.solve(np.where(sane[:, None, None], normal, np.eye(2)), products(used, qz)[..., None])[
            ..., 0
        ]
        residual = qz + (q @ solved[..., None])[..., 0]
        distance = np.where(there & sane[:, None], np.abs(residual), np.nan)
        distance[~sane] = 0
        scale = 1.4826 * np.nanmedian(distance, axis=1) + 1e-6
        agreed = np.clip(1 - (residual / (4.685 * scale[:, None])) ** 2, 0, None) ** 2 * there
    used = weight * agreed
    normal = products(used, q)
    sane &= np.linalg.cond(normal + 1e-300 * np.eye(2)) < 1e9
    inverse = np.linalg.inv(np.where(sane[:, None, None], normal, np.eye(2)))
    # sandwich estimate: weights are not inverse variances
    spread = products((used * residual) ** 2, q)
    # ... and where the biweight ψ = w r flattens: its slope is (1 - u²)(1 - 5u²), less than w = (1 - u²)²
    slope = np.sqrt(agreed) * (5 * np.sqrt(agreed) - 4)
    flattened = np.clip(used.sum(1) / np.clip((weight * slope).sum(1), 1e-12, None), 1, 2) ** 2
    count = there.sum(1)
    covariance = inverse @ spread @ inverse * (flattened * count / np.clip(count - 2, 1, None))[:, None, None]
    sigma = np.sqrt(np.einsum("pii->pi", covariance))
    nothing = np.where(sane, 0.0, np.nan)[:, None]
    return solved + nothing, sigma + nothing


def of_peaks(peaks: Peaks, centres: np.ndarray, dq: float) -> tuple[np.ndarray, np.ndarray]:
    """Tilt of every pattern and its uncertainty [rad], (P, 2) each; NaN where heights are not known.

    Args:
        peaks: Peaks of all patterns.
        centres: Direct beam of each pattern [px], (P, 2).
        dq: Size of a pixel [1/Å].
    """
    tilts, sigmas = np.full(centres.shape, np.nan), np.full(centres.shape, np.nan)
    if not len(peaks) or not np.isfinite(peaks.qz).all():
        return tilts, sigmas
    for start in range(0, len(centres), BLOCK):
        stop = min(start + BLOCK, len(centres))
        some = peaks.of_patterns(start, stop)
        q = (some.positions - centres[start:stop][some.pattern]) * dq
        _, q, qz, weight = some.side_by_side(stop - start, q, some.qz, np.clip(some.intensity, 0, None))
        tilts[start:stop], sigmas[start:stop] = robust_planes(q, qz, weight)
    return tilts, np.hypot(sigmas, COMMON)
