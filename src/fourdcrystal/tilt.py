"""Tilt of the crystal from the heights q_z of its Bragg peaks.

The zone axis of a crystal that is tilted by t = (t_x, t_y) points along n = (t_x, t_y, 1). Reflections of the zeroth
Laue zone are perpendicular to it, g·n = 0, so their heights lie in the plane g_z = -(t_x g_x + t_y g_y).
"""

import numpy as np

from fourdcrystal.peaks import Peaks


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


def robust_plane(
    q: np.ndarray, qz: np.ndarray, weight: np.ndarray, rounds: int = 10
) -> tuple[np.ndarray, np.ndarray, float]:
    """The same, with outliers (false peaks, higher Laue zones) weighted down as Tukey does.

    Args:
        q: Positions from the pattern's centre [1/Å], (N, 2).
        qz: Heights [1/Å], (N,).
        weight: Of each peak, (N,).
        rounds: Of weighting.

    Returns:
        Tilt [rad], (2,); its standard uncertainty [rad], (2,); and the fraction of the weight that agrees with
        it. NaN for fewer than three peaks, or peaks on one line.
    """
    nothing = np.full(2, np.nan)
    if len(q) < 3 or np.linalg.svd(q * np.sqrt(weight)[:, None], compute_uv=False)[1] < 1e-9:
        return nothing, nothing, 0.0
    agreed = np.ones(len(q))
    solved = nothing
    for _ in range(rounds):
        used = weight * agreed
        if (used > 0).sum() < 3:
            return nothing, nothing, 0.0
        solved, _ = plane(q, qz, used)
        residual = qz + q @ solved
        scale = 1.4826 * np.median(np.abs(residual)) + 1e-6
        agreed = np.clip(1 - (residual / (4.685 * scale)) ** 2, 0, None) ** 2
    used = weight * agreed
    normal = (q * used[:, None]).T @ q
    if np.linalg.cond(normal) > 1e9:
        return nothing, nothing, 0.0
    inverse = np.linalg.inv(normal)
    # sandwich estimate: weights are not inverse variances
    spread = (q * (used * residual)[:, None]).T @ (q * (used * residual)[:, None])
    # ... and where the biweight ψ = w r flattens: its slope is (1 - u²)(1 - 5u²), less than w = (1 - u²)²
    slope = np.sqrt(agreed) * (5 * np.sqrt(agreed) - 4)
    flattened = np.clip(used.sum() / max((weight * slope).sum(), 1e-12), 1, 2) ** 2
    covariance = inverse @ spread @ inverse * flattened * len(q) / max(len(q) - 2, 1)
    return solved, np.sqrt(np.diag(covariance)), float(used.sum() / weight.sum())


def of_peaks(peaks: Peaks, centres: np.ndarray, dq: float) -> tuple[np.ndarray, np.ndarray]:
    """Tilt of every pattern and its uncertainty [rad], (P, 2) each; NaN where heights are not known.

    Args:
        peaks: Peaks of all patterns.
        centres: Direct beam of each pattern [px], (P, 2).
        dq: Size of a pixel [1/Å].
    """
    tilts, sigmas = np.full(centres.shape, np.nan), np.full(centres.shape, np.nan)
    if len(peaks) and np.isfinite(peaks.qz).all():
        first = np.searchsorted(peaks.pattern, np.arange(len(centres) + 1))
        for p in np.flatnonzero(np.diff(first)):
            rows = slice(first[p], first[p + 1])
            q = (peaks.positions[rows] - centres[p]) * dq
            tilts[p], sigmas[p], _ = robust_plane(q, peaks.qz[rows], peaks.intensity[rows])
    return tilts, sigmas
