"""Label maps: the projected potential's Fourier coefficients V_g and their height q_z, drawn where Bragg disks lie.

Everything is exact and sub-pixel, so labels can be drawn again after a pattern has been distorted. The drawing works
for NumPy, CuPy and torch arrays alike.
"""

from typing import Any

import numpy as np
from array_api_compat import array_namespace, device

from fourdcrystal.electrons import wavelength
from fourdcrystal.reflections import excitation_errors
from fourdcrystal.settings import Labels

CUTOFF = 4.0  # in σ of the excitation error: w = 3e-4 there
FAR = 36.0  # in K's exponent: K is below 2e-16 there, and products of smaller numbers would underflow, which is slow
NEGLIGIBLE = 1e-3  # of a map's maximum; q_z is not defined below, and stored as 0


def weights(g: np.ndarray, vg: np.ndarray, energy: float, labels: Labels) -> np.ndarray:
    """How strongly reflections are labelled: |V_g| w(s_g) [V], (N,); 0 for those too weak to be labelled.

    w = exp(-s² / 2σ²) damps reflections off the Ewald sphere.

    Args:
        g: Scattering vectors of the reflections of one orientation [1/Å], (N, 3).
        vg: Their V_g, or |V_g| [V], (N,).
        energy: Beam energy [eV].
        labels: Settings: ``sigma`` [1/Å] and ``weakest``, a fraction of the strongest.
    """
    s = excitation_errors(g, wavelength(energy))
    strength = np.abs(vg) * np.exp(-(s**2) / (2 * labels.sigma**2))
    return np.where(strength >= labels.weakest * strength.max(initial=0.0), strength, 0.0)


def positions(g: Any, dq: Any, shape: tuple[int, int]) -> Any:
    """Where reflections lie on the detector [px], (..., N, 2): the centre n // 2 plus g_xy / dq.

    Args:
        g: Scattering vectors [1/Å], (..., N, 3) or (..., N, 2).
        dq: Size of a pixel [1/Å], a number or an array that broadcasts against (..., N, 2).
        shape: Pixels along q_x and q_y.
    """
    xp = array_namespace(g)
    centre = xp.asarray([shape[0] // 2, shape[1] // 2], dtype=g.dtype, device=device(g))
    return centre + g[..., :2] / dq


def draw(centres_px: Any, weights: Any, qz: Any, shape: tuple[int, int], width: float) -> tuple[Any, Any]:
    """Draw the maps V_g(q) = Σ w K and q_z(q) = Σ w K g_z / Σ w K with K a Gaussian of unit height.

    Leading dimensions are a batch. K is separable, so each map is one matrix product.

    Args:
        centres_px: Positions of reflections [px], (..., N, 2), absolute, pixel centres at integers.
        weights: Strength of each [V], (..., N); 0 leaves a reflection out.
        qz: Height g_z of each [1/Å], (..., N).
        shape: Pixels along q_x and q_y.
        width: Standard deviation of K [px].

    Returns:
        V_g [V] and q_z [1/Å], each (..., X, Y). q_z is 0 where V_g is negligible.
    """
    xp = array_namespace(centres_px, weights, qz)

    def profile(axis: int) -> Any:  # (..., N, n)
        """K along one axis for every reflection, (..., N, n)."""
        pixels = xp.arange(shape[axis], dtype=centres_px.dtype, device=device(centres_px))
        exponent = (pixels - centres_px[..., axis, None]) ** 2 / (2 * width**2)
        # numbers too small for their type are as slow to make as to multiply
        return xp.where(exponent < FAR, xp.exp(-xp.clip(exponent, max=FAR)), xp.zeros_like(exponent))

    along_x, along_y = weights[..., None] * profile(0), profile(1)
    vg = xp.matmul(xp.matrix_transpose(along_x), along_y)
    moment = xp.matmul(xp.matrix_transpose(qz[..., None] * along_x), along_y)
    defined = vg > NEGLIGIBLE * xp.max(vg, axis=(-2, -1), keepdims=True)
    zero = xp.zeros_like(vg)
    return vg, xp.where(defined, moment / xp.where(defined, vg, zero + 1), zero)
