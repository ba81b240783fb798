"""What can be simulated: measures of a crystal, and the limits that reject it."""

from dataclasses import dataclass

import numpy as np
import spglib
from pymatgen.core import Lattice, Structure

from fourdcrystal.crystal_settings import Limits
from fourdcrystal.symmetry import spacegroup

COINCIDENT = 0.1  # Å; atoms that are closer are one atom, listed twice
HEAVIEST = 103  # Lobato's scattering factors reach lawrencium

TOO_MANY_SITES = "too many sites"
EDGE_TOO_LONG = "edge too long"
ATOMS_OVERLAP = "overlapping atoms"
NO_SCATTERING_FACTOR = "element without scattering factor"
REASONS = (TOO_MANY_SITES, EDGE_TOO_LONG, ATOMS_OVERLAP, NO_SCATTERING_FACTOR)


@dataclass(frozen=True)
class Measures:
    """Numbers that decide whether a crystal can be simulated, of its Niggli-reduced primitive cell.

    Attributes:
        sites: Number of sites.
        edge: Longest edge [Å].
        distance: Shortest distance between two atoms, images included [Å].
        heaviest: Largest atomic number.
        spacegroup: International number within 0.01 Å.
    """

    sites: int
    edge: float
    distance: float
    heaviest: int
    spacegroup: int


def measure(structure: Structure) -> Measures:
    """Measures of an ordered structure.

    Where atoms coincide no symmetry is looked for: the cell is taken as it is, in space group 1.
    """
    distance = shortest_distance(structure)
    number, lattice, sites = 1, structure.lattice.matrix, len(structure)
    if distance > COINCIDENT:
        number, lattice, sites = spacegroup(structure)
    edges = np.linalg.norm(niggli(lattice), axis=1)
    return Measures(sites, float(edges.max()), distance, max(site.specie.Z for site in structure), number)


def niggli(lattice: np.ndarray) -> np.ndarray:
    """Rows of the Niggli-reduced cell, which hold a shortest vector of the lattice [Å] (3, 3)."""
    reduced = spglib.niggli_reduce(lattice)
    return Lattice(lattice).get_lll_reduced_lattice().matrix if reduced is None else reduced


def shortest_distance(structure: Structure) -> float:
    """Shortest distance between two atoms of the infinite crystal [Å]."""
    between_images = float(np.linalg.norm(niggli(structure.lattice.matrix), axis=1).min())
    if len(structure) == 1 or between_images < COINCIDENT:
        return between_images
    distances = structure.distance_matrix
    return min(between_images, float(distances[np.triu_indices(len(distances), k=1)].min()))


def rejection(measures: Measures, limits: Limits) -> str:
    """Why a crystal can't be simulated: one of this module's words, or empty."""
    if measures.heaviest > HEAVIEST:
        return NO_SCATTERING_FACTOR
    if measures.distance < limits.min_distance:
        return ATOMS_OVERLAP
    if measures.sites > limits.max_sites:
        return TOO_MANY_SITES
    if measures.edge > limits.max_edge:
        return EDGE_TOO_LONG
    return ""
