"""Kinematical diffraction: what disks of a thin crystal hold when no electron scatters twice.

A check of patterns by labels: intensities come from the multislice, |V_g| and s_g from the crystal's structure alone.
"""

import numpy as np
from numpy.typing import NDArray

from fourdcrystal import scattering
from fourdcrystal.electrons import wavelength


def disk_intensity(
    g: NDArray[np.float64], vg: NDArray[np.complex64], thickness: float, energy: float, semiangle: float
) -> NDArray[np.float64]:
    """Fraction of the beam in each disk, (σ |V_g| t)² sinc²(s t) averaged over the convergent beam.

    De Graef (2003), eq. 5.46 for weak beams, where π t / ξ_g = σ |V_g| t. A beam that comes in along the transverse
    wavevector κ has the excitation error s = -g_z - λ (|g|²/2 + κ·g).

    Args:
        g: Reciprocal lattice vectors in the laboratory [1/Å], (N, 3).
        vg: Structure factors [V], (N,).
        thickness: Of the crystal [Å].
        energy: Beam energy [eV].
        semiangle: Convergence semi-angle [mrad].
    """
    wave = wavelength(energy)
    steps = (np.arange(15) - 7) / 7
    inside = np.argwhere(np.hypot(steps[:, None], steps) <= 1)
    kappa = steps[inside] * semiangle * 1e-3 / wave
    s = -g[:, 2:] - wave * ((g**2).sum(-1, keepdims=True) / 2 + g[:, :2] @ kappa.T)
    return (scattering.interaction(energy) * np.abs(vg) * thickness) ** 2 * (np.sinc(s * thickness) ** 2).mean(-1)


def isolated(g: NDArray[np.float64], radius: float) -> NDArray[np.bool_]:
    """Which disks no other disk touches, (N,).

    Args:
        g: All reflections of an orientation [1/Å], (N, 2) or (N, 3).
        radius: Of a disk [1/Å].
    """
    apart = np.linalg.norm(g[:, None, :2] - g[None, :, :2], axis=-1)
    np.fill_diagonal(apart, np.inf)
    return apart.min(1, initial=np.inf) > 2 * radius


def measured_intensity(
    cbed: NDArray[np.floating], probe: NDArray[np.floating], g: NDArray[np.float64], radius: float, dq: float
) -> NDArray[np.float64]:
    """Fraction of the beam found in each disk of a pattern, (N,); NaN where a disk leaves the detector.

    Args:
        cbed: Pattern, (qx, qy), zero frequency at n // 2.
        probe: Vacuum probe in the same unit.
        g: Reflections [1/Å], (N, 2) or (N, 3).
        radius: Of a disk [1/Å].
        dq: Size of a pixel [1/Å].
    """
    reach = radius + dq  # the rim of a disk lies between pixels
    qx, qy = ((np.arange(n) - n // 2) * dq for n in cbed.shape)
    found = np.full(len(g), np.nan)
    total = float(probe.sum(dtype=float))
    for n, (x, y) in enumerate(g[:, :2]):
        if min(x - qx[0], qx[-1] - x, y - qy[0], qy[-1] - y) < reach:
            continue
        disk = np.hypot(qx[:, None] - x, qy - y) <= reach
        found[n] = cbed[disk].sum(dtype=float) / total
    return found
