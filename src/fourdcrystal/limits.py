"""What can be simulated: measures of a crystal, and the limits that reject it."""

from dataclasses import dataclass

import numpy as np
import spglib
from pymatgen.core import Lattice, Structure

from fourdcrystal.settings import Limits

SYMPREC = 0.01  # Å; pymatgen's default for experimental structures
HEAVIEST = 103  # Lobato's scattering factors reach lawrencium

TOO_MANY_SITES = "too many sites"
EDGE_TOO_LONG = "edge too long"
ATOMS_OVERLAP = "overlapping atoms"
NO_SCATTERING_FACTOR = "element without scattering factor"


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

    Atoms that coincide make the symmetry search fail; then the cell is taken as it is, in space group 1, and the
    shortest distance says why the crystal is rejected.
    """
    numbers = np.array([site.specie.Z for site in structure])
    cell = (structure.lattice.matrix, structure.frac_coords, numbers)
    distance = shortest_distance(structure)
    dataset = None
    if distance > SYMPREC:
        dataset = spglib.get_symmetry_dataset(cell, symprec=SYMPREC)
    primitive = spglib.find_primitive(cell, symprec=SYMPREC) if dataset is not None else None
    lattice = structure.lattice.matrix if primitive is None else primitive[0]
    reduced = spglib.niggli_reduce(lattice)
    edges = np.linalg.norm(lattice if reduced is None else reduced, axis=1)
    return Measures(
        sites=len(structure) if primitive is None else len(primitive[2]),
        edge=float(edges.max()),
        distance=distance,
        heaviest=int(numbers.max()),
        spacegroup=1 if dataset is None else int(dataset.number),
    )


def shortest_distance(structure: Structure) -> float:
    """Shortest distance between two atoms of the infinite crystal [Å]."""
    lattice = Lattice(structure.lattice.matrix)
    reduced = lattice.get_lll_reduced_lattice()
    between_images = min(reduced.abc)  # an LLL-reduced basis holds a vector close to the shortest one
    if len(structure) == 1:
        return float(between_images)
    distances = structure.distance_matrix
    return float(min(between_images, distances[np.triu_indices(len(distances), k=1)].min()))


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
