"""Ellipticity of the camera from a ring: the halo of amorphous carbon, glass or a polycrystal.

Along the right ellipses intensity is constant, so the scatter around each ellipse's median is least for them. Bragg
disks are outliers of that median.
"""

import numpy as np
from scipy.ndimage import gaussian_filter1d, map_coordinates
from scipy.optimize import minimize

from fourdcrystal.analysis import ellipse
from fourdcrystal.errors import InputError

ANGLES, WIDTH = 180, 0.35  # samples around the ring; half width of the band that is used, over the ring's radius
LARGEST = 1.5  # ratio of the axes
PROMINENT = 0.02  # least rise of a ring above what lies within it


def find(image: np.ndarray, centre: tuple[float, float], probe_radius: float) -> np.ndarray:
    """The camera's distortion M (:class:`fourdcrystal.analysis.Analysis`), (2, 2), from the strongest ring.

    Args:
        image: Mean pattern, (X, Y).
        centre: Of the ring [px].
        probe_radius: Of the vacuum probe [px]; a ring lies beyond three of these.

    Raises:
        InputError: if there is no ring, or none that is round but for a camera's distortion, or the image isn't finite.
    """
    if not np.isfinite(image).all():
        raise InputError("--ellipse ring: the mean pattern has values that are not finite; give RATIO,DEGREES")
    inner = 3 * probe_radius
    outer = min(min(centre), *(n - 1 - c for n, c in zip(image.shape, centre, strict=True)))
    radii = np.arange(inner, outer, 0.5)
    profile = (
        gaussian_filter1d(np.median(_sampled(image, centre, radii, np.eye(2)), axis=1), 2) if len(radii) else radii
    )
    rise = profile - np.minimum.accumulate(profile) if len(radii) else radii
    if len(radii) < 8 or rise.max() <= PROMINENT * profile.max():
        raise InputError("--ellipse ring: the mean pattern has no ring; give RATIO,DEGREES, or the crystal")
    peak = radii[np.argmax(rise)]
    band = np.arange(max(inner, (1 - WIDTH) * peak), min(outer / 1.15, (1 + WIDTH) * peak), 0.5)

    def scatter(parameters: np.ndarray) -> float:
        """Mean scatter around the ellipses of a ratio and a direction."""
        size, angle = np.hypot(*parameters), np.arctan2(parameters[1], parameters[0]) / 2
        around = _sampled(image, centre, band, ellipse(1 + size, angle))
        return float(np.abs(around - np.median(around, axis=1, keepdims=True)).mean())

    starts = [np.array([0.0, 0.0]), *(0.06 * np.array([np.cos(a), np.sin(a)]) for a in np.arange(6) * np.pi / 3)]
    begin = min(starts, key=scatter)
    simplex = begin + np.array([[0, 0], [0.02, 0], [0, 0.02]])
    best = minimize(scatter, begin, method="Nelder-Mead", options={"initial_simplex": simplex, "xatol": 1e-4}).x
    ratio = 1 + np.hypot(*best)
    if ratio > LARGEST:
        raise InputError(
            f"--ellipse ring: what looks like a ring in the mean pattern would be an ellipse of ratio {ratio:.2f}; "
            f"allowed are at most {LARGEST:g}, so give RATIO,DEGREES, or the crystal"
        )
    return ellipse(ratio, np.arctan2(best[1], best[0]) / 2)


def _sampled(image: np.ndarray, centre: tuple[float, float], radii: np.ndarray, distortion: np.ndarray) -> np.ndarray:
    """Intensities along distorted circles, (radii, ANGLES)."""
    angle = np.arange(ANGLES) * 2 * np.pi / ANGLES
    circle = distortion @ np.stack([np.cos(angle), np.sin(angle)])
    at = np.array(centre)[:, None, None] + circle[:, None] * radii[None, :, None]
    return map_coordinates(image, at, order=1, mode="nearest")
