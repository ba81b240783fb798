"""The wave equation of fast electrons, integrated with the crystal's Fourier series in steps much thinner than atoms.

It is what both Bloch waves and multislice approximate: Bloch waves converge to it as the set of beams grows, multislice
as slices become thin. It shares neither the atoms' placement nor the slices with :mod:`fourdcrystal.potential`, and has
no set of beams to choose. Only perfect crystals with orthogonal cells can be treated, in small cells only.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike
from pymatgen.core import Structure

from fourdcrystal import scattering
from fourdcrystal.electrons import wavelength
from fourdcrystal.propagation import CUTOFF
from fourdcrystal.reflections import structure_factors


def intensities(
    crystal: Structure,
    b: Mapping[str, float],
    energy: float,
    thickness: Sequence[float],
    direction: ArrayLike = (0.0, 0.0),
    sampling: float = 0.08,
    step: float = 0.25,
) -> np.ndarray:
    """Intensities over the incident one of all beams [h k] of the crystal's cell, (thickness, ..., h, k), [0 0] first.

    ∂ψ/∂z = (iλ/4π ∇²_xy + iσV) ψ with V = Σ V_g exp(2πi g·r); Kirkland, Advanced Computing in Electron Microscopy
    (2010), eq. 6.20.

    Args:
        crystal: Crystal whose cell has right angles, edges along x, y, z; the beam enters at z = 0.
        b: B of every element [Å²].
        energy: Beam energy [eV].
        thickness: Ascending thicknesses [Å]; each is rounded to a multiple of the step.
        direction: Lateral frequencies of incident plane waves [1/Å], (..., 2), each by itself.
        sampling: Coarsest lateral sampling [Å].
        step: Thickest step [Å].

    Raises:
        ValueError: if the crystal's cell isn't orthogonal.
    """
    edges = np.diag(crystal.lattice.matrix)
    if not np.allclose(crystal.lattice.matrix, np.diag(edges), atol=1e-6):
        raise ValueError("the crystal's cell has no right angles along x, y and z")
    n = [int(np.ceil(edge / limit / 2)) * 2 for edge, limit in zip(edges, (sampling, sampling, step), strict=True)]
    index = [np.fft.fftfreq(count, 1 / count).astype(int) for count in n]
    lateral = np.stack(np.meshgrid(index[0], index[1], indexing="ij"), -1).reshape(-1, 2)
    kept = np.linalg.norm(lateral / edges[:2], axis=1) <= CUTOFF / 2 / max(edges[:2] / n[:2])
    series = np.zeros((n[2], n[0] * n[1]), dtype=complex)
    for layer in index[2][np.abs(index[2]) < n[2] // 2]:
        hkl = np.column_stack([lateral[kept], np.full(kept.sum(), layer)])
        series[layer, kept] = structure_factors(crystal, hkl, b)
    potential = np.fft.ifftn(series.reshape(n[2], n[0], n[1])).real * np.prod(n)
    dz, inside = edges[2] / n[2], kept.reshape(n[0], n[1])
    phase = np.exp(1j * scattering.interaction(energy) * dz * potential)
    transmission = np.fft.ifft2(np.fft.fft2(phase) * inside)
    kx, ky = (index[a] / edges[a] + np.asarray(direction)[..., a, None] for a in (0, 1))
    k2 = kx[..., :, None] ** 2 + ky[..., None, :] ** 2
    propagator = np.where(inside, np.exp(-1j * np.pi * wavelength(energy) * dz * k2), 0)
    planes = [round(t / dz) for t in thickness]
    wave, found = np.ones_like(propagator), []
    for number in range(planes[-1]):
        wave = np.fft.ifft2(np.fft.fft2(wave * transmission[number % n[2]]) * propagator)
        if number + 1 in planes:
            found.append(np.abs(np.fft.fft2(wave, norm="forward")) ** 2)
    return np.array(found)
