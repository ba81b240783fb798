"""The electrons of the beam."""

import math

REST_ENERGY = 510998.95  # m c² [eV]; CODATA 2018
H_C = 12398.419843320026  # h c [eV Å]; exact


def wavelength(energy: float) -> float:
    """Relativistic electron wavelength [Å] at a beam energy [eV].

    λ = h c / sqrt(E (E + 2 m c²)); De Graef, Introduction to Conventional TEM (2003), eq. 2.34.
    """
    return H_C / math.sqrt(energy * (energy + 2 * REST_ENERGY))
