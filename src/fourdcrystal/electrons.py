"""The electrons of the beam."""

import math

REST_ENERGY = 510998.95  # m c² [eV]; CODATA 2018
H_C = 12398.419843320026  # h c [eV Å]; exact
ENERGIES = 1e3, 3e6  # eV, of electron microscopes


def wavelength(energy: float) -> float:
    """Relativistic electron wavelength [Å] at a beam energy [eV].

    λ = h c / sqrt(E (E + 2 m c²)); De Graef, Introduction to Conventional TEM (2003), eq. 2.34.
    """
    return H_C / math.sqrt(energy * (energy + 2 * REST_ENERGY))


def scattering(energy: float) -> float:
    """What makes U_g [1/Å²] of V_g [V] at a beam energy [eV]: 2 m e / h² with the relativistic mass m [1/(V Å²)].

    Times the wavelength it is σ / π, and λ |U_g| = 1 / ξ_g of two beams; De Graef (2003), chapter 5.
    """
    return 2 * (energy + REST_ENERGY) / H_C**2
