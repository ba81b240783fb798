"""Bloch waves, by abTEM: an independent way to the beams that a crystal excites, for comparison with multislice."""

from collections.abc import Mapping, Sequence

import numpy as np
from pymatgen.core import Structure
from scipy.spatial.transform import Rotation

from fourdcrystal.electrons import wavelength


def amplitudes(
    structure: Structure,
    rotation: np.ndarray,
    b: Mapping[str, float],
    energy: float,
    thickness: Sequence[float],
    g_max: float = 3.0,
    s_max: float = 0.1,
) -> tuple[np.ndarray, np.ndarray]:
    """Amplitudes ψ_g of the beams that a plane wave along +z excites: ψ(r) = Σ ψ_g(z) exp(2πi (k + g)·r).

    The set of beams converges slowly: each pair of beams g_z above and below shifts the others' phases, and the two
    shifts nearly cancel, so that a limit on |s| which parts them is wrong by more than the sum (docs/physics.md).

    Args:
        structure: Crystal.
        rotation: Active rotation of the crystal, (3, 3).
        b: B of every element [Å²].
        energy: Beam energy [eV].
        thickness: Thicknesses [Å].
        g_max: Longest scattering vector of a beam [1/Å].
        s_max: Largest excitation error of a beam [1/Å].

    Returns:
        Indices of the beams, (N, 3), and their amplitudes over the incident one, (thickness, N).
    """
    from abtem.bloch import BlochWaves, StructureFactor  # takes seconds to import
    from ase import Atoms

    atoms = Atoms(structure.atomic_numbers, structure.cart_coords, cell=structure.lattice.matrix, pbc=True)
    sigmas = {symbol: float(np.sqrt(value / (8 * np.pi**2))) for symbol, value in b.items()}
    factors = StructureFactor(atoms, g_max=2 * g_max, parametrization="lobato", thermal_sigma=sigmas)
    waves = BlochWaves(factors, energy=energy, sg_max=s_max, g_max=g_max, orientation_matrix=np.asarray(rotation))
    found = waves.calculate_diffraction_patterns(list(thickness), return_complex=True, lazy=False)
    return waves.hkl, np.asarray(found.array)


def towards(k: Sequence[float], energy: float) -> np.ndarray:
    """Rotation of crystal and beam together that brings a beam with lateral frequency k [1/Å] onto +z, (3, 3).

    A pixel at g + k of a convergent-beam pattern is the beam g of a crystal turned like this.
    """
    lateral = wavelength(energy) * np.array([k[0], k[1], 0.0])
    angle = np.arcsin(np.linalg.norm(lateral))
    if angle == 0:
        return np.eye(3)
    axis = np.cross(lateral, [0.0, 0.0, 1.0])
    return Rotation.from_rotvec(angle * axis / np.linalg.norm(axis)).as_matrix()
