"""Reflections of an oriented crystal: where they are, how strong, and how far from the Ewald sphere."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fourdcrystal import scattering
from fourdcrystal.electrons import wavelength

if TYPE_CHECKING:
    from pymatgen.core import Structure


@dataclass(frozen=True)
class Reflections:
    """Reflections of one orientation, shortest first; (0, 0, 0) is the first.

    Attributes:
        hkl: Indices in the crystal's own cell, (N, 3), int32.
        g: Scattering vectors in the laboratory [1/Å], (N, 3): g_x, g_y on the detector, g_z along the beam.
        vg: Fourier coefficients of the crystal's potential [V], (N,), complex128.
    """

    hkl: np.ndarray
    g: np.ndarray
    vg: np.ndarray

    def __len__(self) -> int:
        return len(self.hkl)


def excitation_errors(g: np.ndarray, wavelength: float) -> np.ndarray:
    """Distance of reflections from the Ewald sphere along the beam [1/Å], (...).

    Args:
        g: Scattering vectors [1/Å], (..., 3).
        wavelength: Electron wavelength [Å].
    """
    return -(2 * g[..., 2] + wavelength * (g**2).sum(-1)) / 2  # > 0 inside the Ewald sphere


def structure_factors(structure: "Structure", hkl: np.ndarray, b: Mapping[str, float] | None = None) -> np.ndarray:
    """Fourier coefficients of the crystal's potential [V], (N,), complex128.

    V_g = 47.878 V Å² / Ω · Σ_j f_j(|g|) exp(-B_j |g|²/4) exp(-2πi g·r_j); De Graef (2003), eq. 2.41, f of Lobato.

    Args:
        structure: Crystal with whole occupancies.
        hkl: Indices, (N, 3).
        b: B of every element [Å²]; none: atoms at rest.
    """
    g2 = ((hkl @ np.linalg.inv(structure.lattice.matrix).T) ** 2).sum(-1)
    symbols = np.array([site.specie.symbol for site in structure])
    total = np.zeros(len(hkl), dtype=complex)
    for symbol in sorted(set(symbols)):
        f = scattering.factor(symbol, g2) * np.exp(-(b[symbol] if b else 0.0) * g2 / 4)
        for j in np.flatnonzero(symbols == symbol):
            total += f * np.exp(-2j * np.pi * (hkl @ structure.frac_coords[j]))
    return scattering.VOLTS / structure.volume * total


def reflections(
    structure: "Structure",
    rotation: np.ndarray,
    q_max: float,
    energies: Sequence[float],
    s_max: float,
    b: Mapping[str, float] | None = None,
) -> Reflections:
    """All reflections on the detector that lie near the Ewald sphere of any of the energies.

    Args:
        structure: Crystal, as its file has it.
        rotation: Active rotation of the crystal, (3, 3): r' = R r.
        q_max: Largest distance from the pattern's centre [1/Å].
        energies: Beam energies [eV].
        s_max: Largest excitation error [1/Å].
        b: B of every element [Å²]; none: atoms at rest.
    """
    waves = [wavelength(energy) for energy in energies]
    # g_z between the spheres of all energies, s_max beyond each; the |g|² of s adds g_z², which is far smaller
    lowest = -s_max - max(waves) * (q_max**2 + s_max**2)
    reach = np.hypot(q_max, max(s_max, -lowest))
    basis = np.linalg.inv(structure.lattice.matrix).T @ np.asarray(rotation).T  # rows a*, b*, c* in the laboratory
    h_max, k_max, l_max = (int(n) for n in np.floor(reach * np.asarray(structure.lattice.abc) + 1e-9))
    k, l = (a.ravel() for a in np.mgrid[-k_max : k_max + 1, -l_max : l_max + 1])  # noqa: E741
    plane = k[:, None] * basis[1] + l[:, None] * basis[2]
    found = []
    for h in range(-h_max, h_max + 1):  # plane by plane: a large cell has millions of candidates
        g = h * basis[0] + plane
        near = (np.hypot(g[:, 0], g[:, 1]) <= q_max) & (g[:, 2] >= lowest) & (g[:, 2] <= s_max)
        found.append(np.stack([np.full(near.sum(), h), k[near], l[near]], axis=1))
    hkl = np.concatenate(found)
    g = hkl @ basis
    on_sphere = np.min([np.abs(excitation_errors(g, w)) for w in waves], axis=0) <= s_max
    hkl, g = hkl[on_sphere], g[on_sphere]
    # ties in |g| are ordered by their indices: the same table on every machine
    order = np.lexsort((*hkl.T, np.round((g**2).sum(-1), 9)))
    hkl, g = hkl[order].astype(np.int32), g[order]
    return Reflections(hkl=hkl, g=g, vg=structure_factors(structure, hkl, b))
