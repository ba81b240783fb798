"""Boxes of atoms cut from a rotated, infinite crystal, and the checks that each of them has to pass."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from pymatgen.core import Structure
from scipy.spatial import cKDTree

from fourdcrystal import files
from fourdcrystal.errors import InputError
from fourdcrystal.orientation import Orientation

ON_FACE = 1e-6  # Å; an atom this close to a face counts as lying on it: at the lower one inside, at the upper one out
RESOLUTION = 1e-5  # Å; rounding hides the noise of a rotation, so that a layer of atoms stays in one slice
SAMPLE = 40  # atoms whose whole surroundings are compared with the crystal's


@dataclass(frozen=True)
class Supercell:
    """Atoms in a box with its corner at the origin; periodic along x and y, the beam enters at z = 0.

    Attributes:
        positions: Cartesian positions [Å], (N, 3), float64.
        numbers: Atomic numbers, (N,).
        box: Edges along x, y, z [Å], (3,).
        seam_contacts: Pairs of atoms that are closer than the crystal's shortest bond across the lateral seam. They
            can't be avoided, because a rotated crystal doesn't fit the box; the probe must not see them.
    """

    positions: np.ndarray
    numbers: np.ndarray
    box: np.ndarray
    seam_contacts: int = 0


def cut(structure: Structure, rotation: np.ndarray, edges: tuple[float, float], thickness: float) -> Supercell:
    """Cut a box from the rotated crystal. The crystal's origin comes to lie at the middle of the entrance face.

    The crystal is rotated before it is cut: the other way round leaves corners empty.

    Args:
        structure: Crystal with whole occupancies.
        rotation: Active rotation, (3, 3).
        edges: Box edges along x and y [Å].
        thickness: Box edge along z [Å].
    """
    box = np.array([*edges, thickness], dtype=float)
    lattice = structure.lattice.matrix @ np.asarray(rotation).T
    offsets = structure.cart_coords @ np.asarray(rotation).T + [box[0] / 2, box[1] / 2, 0.0]
    positions, numbers = [], []
    for offset, number in zip(offsets, structure.atomic_numbers, strict=True):
        found = _lattice_points(lattice, offset, box)
        positions.append(found)
        numbers.append(np.full(len(found), number, dtype=np.uint8))
    steps = np.maximum(np.round(np.concatenate(positions) / RESOLUTION), 0)  # below 0: what lay on the lower face
    # from the entrance face on, and in one plane as the lattice has them: neither depends on how thick the box is
    order = np.argsort(steps[:, 2], kind="stable")
    cell = Supercell(steps[order] * RESOLUTION, np.concatenate(numbers)[order], box)
    return replace(cell, seam_contacts=seam_contacts(cell, shortest_bond(structure)))


def _lattice_points(lattice: np.ndarray, offset: np.ndarray, box: np.ndarray) -> np.ndarray:
    """All points i a + j b + k c + offset inside the box, (N, 3).

    For each lattice row along c, the part inside the box is an interval of k: no candidate is made in vain.
    """
    c = int(np.argmax(np.abs(lattice[:, 2]) / np.linalg.norm(lattice, axis=1)))  # rows along the longest edge: fewest
    a, b = (i for i in range(3) if i != c)
    corners = np.array(np.meshgrid(*([0.0, edge] for edge in box))).reshape(3, -1).T - offset
    fractional = corners @ np.linalg.inv(lattice)
    low, high = np.floor(fractional.min(0)).astype(int) - 1, np.ceil(fractional.max(0)).astype(int) + 1
    i, j = (np.arange(low[n], high[n] + 1)[:, None] for n in (a, b))
    starts = ((offset + i * lattice[a])[:, None] + j * lattice[b]).reshape(-1, 3)
    first, last = np.full(len(starts), -np.inf), np.full(len(starts), np.inf)
    for edge, start, step in zip(box, starts.T, lattice[c], strict=True):
        if abs(step) < 1e-12:
            step = 1e-12  # parallel to a face: an interval without end
        ends = (-ON_FACE - start) / step, (edge - ON_FACE - start) / step
        first, last = np.maximum(first, np.minimum(*ends)), np.minimum(last, np.maximum(*ends))
    first, last = np.ceil(first), np.floor(last)
    crossing = first <= last
    starts, first, counts = starts[crossing], first[crossing], (last - first + 1)[crossing].astype(int)
    k = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts - first, counts)
    points = np.repeat(starts, counts, axis=0) + k[:, None] * lattice[c]
    return points[((points >= -ON_FACE) & (points < box - ON_FACE)).all(1)]


def shortest_bond(structure: Structure) -> float:
    """Shortest distance between two atoms of the crystal [Å], periodic images of one atom included."""
    reach = (structure.volume / len(structure)) ** (1 / 3)
    while True:
        distances = structure.get_neighbor_list(reach)[3]
        if len(distances):
            return float(distances.min())
        reach *= 1.5


def seam_contacts(cell: Supercell, bond: float) -> int:
    """Number of pairs closer than ``bond`` [Å] across the lateral, periodic seam."""
    near = bond - 1e-3
    at_high = [cell.positions[:, axis] > cell.box[axis] - near for axis in (0, 1)]
    at_low = [cell.positions[:, axis] < near for axis in (0, 1)]
    total = 0
    for x, y in ((1, 0), (0, 1), (1, 1), (1, -1)):  # half of the neighbouring boxes: each pair is met once
        here, there = np.ones(len(cell.positions), bool), np.ones(len(cell.positions), bool)
        for axis, way in enumerate((x, y)):
            if way:
                here &= (at_high if way > 0 else at_low)[axis]
                there &= (at_low if way > 0 else at_high)[axis]
        if here.any() and there.any():
            moved = cell.positions[there] + np.array([x, y, 0.0]) * cell.box
            total += int(cKDTree(cell.positions[here]).count_neighbors(cKDTree(moved), near))
    return total


def check(cell: Supercell, structure: Structure, rotation: np.ndarray) -> None:
    """Compare a supercell with the crystal it was cut from.

    Raises:
        RuntimeError: if the rotation distorts, or density, composition, shortest distance or the surroundings of
            atoms differ from the crystal's: a defect of this program, never of the input.
    """
    rotation = np.asarray(rotation)
    if np.abs(rotation @ rotation.T - np.eye(3)).max() > 1e-9 or np.linalg.det(rotation) < 0:
        raise RuntimeError("supercell: the rotation is not a proper one, distances would change")
    _check_filling(cell, structure)
    bond = shortest_bond(structure)
    tree = cKDTree(cell.positions, balanced_tree=False, compact_nodes=False)
    if len(tree.query_pairs(bond - 1e-3, output_type="ndarray")):
        raise RuntimeError(f"supercell: two atoms are closer than the crystal's shortest bond, {bond:.3f} Å")
    _check_surroundings(cell, structure, rotation, tree, reach=2.0 * bond)


def _check_filling(cell: Supercell, structure: Structure) -> None:
    """Number of atoms of each element, in the box and in each of its octants, within what a surface can change."""
    octant = (cell.positions >= cell.box / 2) @ [1, 2, 4]
    spacing = _widest_spacing(structure)
    for edges, members in [(cell.box, None), *((cell.box / 2, o) for o in range(8))]:
        # between two opposite faces, a lattice plane more or less fits in: one layer at worst, along each axis
        volume = np.prod(edges)
        slack = volume / structure.volume * (spacing / edges).sum()
        chosen = cell.numbers if members is None else cell.numbers[octant == members]
        for number in set(structure.atomic_numbers):
            per_cell = structure.atomic_numbers.count(number)
            expected, found = per_cell * volume / structure.volume, int((chosen == number).sum())
            if abs(found - expected) > per_cell * slack + 1:
                where = "in the box" if members is None else f"in octant {members} of the box"
                raise RuntimeError(
                    f"supercell: {found} atoms of element {number} {where}, but the crystal has {expected:.0f} there"
                )


def _widest_spacing(structure: Structure) -> float:
    """Distance of the most widely spaced lattice planes [Å]: one over the shortest reciprocal lattice vector."""
    reciprocal = np.linalg.inv(structure.lattice.get_lll_reduced_lattice().matrix).T
    near = np.array([n for n in np.ndindex(3, 3, 3) if n != (1, 1, 1)]) - 1
    return float(1 / np.linalg.norm(near @ reciprocal, axis=1).min())


def _check_surroundings(
    cell: Supercell, structure: Structure, rotation: np.ndarray, tree: cKDTree, reach: float
) -> None:
    """Vectors from sampled atoms to all their neighbours are the crystal's, rotated: distances, angles and metric."""
    inside = np.flatnonzero(((cell.positions > reach) & (cell.positions < cell.box - reach)).all(1))
    sample = inside[:: max(1, len(inside) // SAMPLE)]
    centre, neighbour, image, _ = structure.get_neighbor_list(reach)
    vectors = structure.cart_coords[neighbour] + image @ structure.lattice.matrix - structure.cart_coords[centre]
    vectors = vectors @ rotation.T
    species = np.array(structure.atomic_numbers)
    surroundings = [(species[s], vectors[centre == s], species[neighbour[centre == s]]) for s in range(len(species))]
    for atom, nearby in zip(sample, tree.query_ball_point(cell.positions[sample], reach - 1e-4), strict=True):
        others = np.array([n for n in nearby if n != atom], dtype=int)
        found = cell.positions[others] - cell.positions[atom]
        if not any(
            number == cell.numbers[atom] and _same(found, cell.numbers[others], around, kinds, reach - 1e-4)
            for number, around, kinds in surroundings
        ):
            raise RuntimeError(f"supercell: the surroundings of atom {atom} are not those of any site of the crystal")


def _same(found: np.ndarray, numbers: np.ndarray, around: np.ndarray, kinds: np.ndarray, reach: float) -> bool:
    within = np.linalg.norm(around, axis=1) <= reach
    if within.sum() != len(found):
        return False
    if not len(found):
        return True
    distance, match = cKDTree(around[within]).query(found)
    return bool(distance.max() < 1e-4 and (kinds[within][match] == numbers).all())


def write(path: str | Path, orientations: list[Orientation], cells: list[Supercell]) -> None:
    """Write the supercells of one crystal compactly: 13 bytes an atom, positions as multiples of 1e-5 Å, exactly.

    Args:
        path: File to write (.npz).
        orientations: Of the crystal in each supercell.
        cells: The supercells, in the same order.
    """
    with files.replaced(path) as temporary, temporary.open("wb") as stream:
        np.savez(
            stream,
            rotation=np.array([o.rotation for o in orientations]),
            purpose=np.array([o.purpose for o in orientations]),
            zone_axis=np.array([o.zone_axis or (0, 0, 0) for o in orientations], dtype=np.int16),
            mistilt=np.array([o.mistilt for o in orientations]),
            counts=np.array([len(c.numbers) for c in cells]),
            steps=np.concatenate([np.round(c.positions / RESOLUTION).astype(np.uint32) for c in cells]),
            numbers=np.concatenate([c.numbers for c in cells]),
            box=np.array([c.box for c in cells]),
            seam_contacts=np.array([c.seam_contacts for c in cells]),
        )


def read(path: str | Path) -> tuple[list[Orientation], list[Supercell]]:
    """Orientations and supercells of one crystal.

    Raises:
        InputError: if the file is no file of supercells.
    """
    try:
        with np.load(path) as file:
            stored = dict(file)
        ends = np.cumsum(stored["counts"])[:-1]
        steps, numbers = np.split(stored["steps"], ends), np.split(stored["numbers"], ends)
        cells = [
            Supercell(s * RESOLUTION, n, box, int(contacts))
            for s, n, box, contacts in zip(steps, numbers, stored["box"], stored["seam_contacts"], strict=True)
        ]
        orientations = [
            Orientation(rotation, str(purpose), tuple(int(i) for i in axis) if axis.any() else None, float(mistilt))
            for rotation, purpose, axis, mistilt in zip(
                stored["rotation"], stored["purpose"], stored["zone_axis"], stored["mistilt"], strict=True
            )
        ]
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{path}: is not a file of supercells ({error}); the rule 'supercells' makes one") from error
    return orientations, cells
