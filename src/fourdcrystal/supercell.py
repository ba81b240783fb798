"""Boxes of atoms cut from a rotated, infinite crystal, and the checks that each of them has to pass."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast
from zipfile import BadZipFile

import numpy as np
from pymatgen.core import Structure
from scipy.spatial import cKDTree

from fourdcrystal import files
from fourdcrystal.errors import InputError
from fourdcrystal.orientation import Axis, Orientation, Purpose

ON_FACE = 1e-6  # Å; an atom this close to a face counts as lying on it: at the lower one inside, at the upper one out
RESOLUTION = 1e-5  # Å; rounding hides the noise of a rotation, so that a layer of atoms stays in one slice
MISPLACED = 1e-4  # Å; an atom farther than this from a site of the crystal is at none
SOUGHT = 10_000  # sites that are looked for in the box by the check that none is empty


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
    unique = (steps[:, 2].astype(np.int64) << 32) + np.arange(len(steps))  # sorts faster than what needs a stable sort
    order = np.sort(unique) & 0xFFFFFFFF
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
        RuntimeError: if the rotation distorts, density or composition differ from the crystal's, an atom is at no site
            of the crystal, or not alone there, or a site is empty: a defect of this program, never of the input.
    """
    rotation = np.asarray(rotation)
    if np.abs(rotation @ rotation.T - np.eye(3)).max() > 1e-9 or np.linalg.det(rotation) < 0:
        raise RuntimeError("supercell: the rotation is not a proper one, distances would change")
    _check_filling(cell, structure)
    if len(cell.numbers):  # a thin box may lie between two layers
        _check_sites(cell, structure, rotation)


def _check_filling(cell: Supercell, structure: Structure) -> None:
    """Number of atoms of each element, in the box and in each of its octants, within what a surface can change."""
    octant = (cell.positions >= cell.box / 2) @ [1, 2, 4]
    spacing, elements = _widest_spacing(structure), structure.atomic_numbers
    for edges, members in [(cell.box, None), *((cell.box / 2, o) for o in range(8))]:
        # between two opposite faces, a lattice plane more or less fits in: one layer at worst, along each axis
        volume = np.prod(edges)
        slack = volume / structure.volume * (np.prod(1 + spacing / edges) - 1)
        chosen = cell.numbers if members is None else cell.numbers[octant == members]
        for number in set(elements):
            per_cell = elements.count(number)
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


def _check_sites(cell: Supercell, structure: Structure, rotation: np.ndarray) -> None:
    """Each atom is at a site of the crystal, alone, and of its element; sites that are looked for are not empty.

    So all distances, angles and surroundings are the crystal's. A site is recognised by the voxel of the unit cell that
    it is in: voxels are so small that two sites never share one, and no site is near a voxel's face.
    """
    matrix, corner = structure.lattice.matrix, np.array([cell.box[0] / 2, cell.box[1] / 2, 0.0])
    parts = np.ceil(3.03 * np.array(structure.lattice.abc) / shortest_bond(structure))
    shift = np.array([_farthest(along) for along in (structure.frac_coords * parts).T]) / parts

    def located(fractional: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Unit cell, (N, 3), and number of the voxel in it, (N,)."""
        unit = np.floor(fractional - shift)
        voxel = np.minimum(np.floor((fractional - shift - unit) * parts), parts - 1)
        return unit.astype(np.int64), (voxel @ [1, parts[0], parts[0] * parts[1]]).astype(np.int64)

    unit, voxel = located(structure.frac_coords)
    sites, species = structure.frac_coords - unit, np.array(structure.atomic_numbers)
    site_in = np.zeros(int(np.prod(parts)), np.int64)  # of each voxel; that of another site where there is none
    site_in[voxel] = np.arange(len(sites))
    fractional = (cell.positions - corner) @ rotation @ structure.lattice.inv_matrix
    unit, found = located(fractional)
    site = site_in[found]
    off = (fractional - unit - sites[site]) @ matrix
    wrong = (np.einsum("ij,ij->i", off, off) > MISPLACED**2) | (species[site] != cell.numbers)
    if wrong.any():
        raise RuntimeError(f"supercell: atom {wrong.argmax()} is at no site of its element in the crystal")
    low = unit.min(0) - 1  # with the next unit cells around
    span = unit.max(0) + 2 - low

    def key(unit: np.ndarray, site: np.ndarray) -> np.ndarray:
        """One number for each site of each unit cell."""
        return ((unit - low) @ [1, span[0], span[0] * span[1]]) * len(sites) + site

    present = np.sort(key(unit, site))
    if (present[1:] == present[:-1]).any():
        raise RuntimeError("supercell: two atoms are at the same site of the crystal")
    around = np.concatenate([np.zeros((1, 3)), np.eye(3), -np.eye(3)]).astype(np.int64)
    some = unit[:: max(1, len(unit) * len(around) * len(sites) // SOUGHT)]
    near = np.repeat((some[:, None] + around).reshape(-1, 3), len(sites), axis=0)
    sought = np.tile(np.arange(len(sites)), len(some) * len(around))
    position = (near + sites[sought]) @ matrix @ rotation.T + corner
    inside = ((position > MISPLACED) & (position < cell.box - MISPLACED)).all(1)
    expected = key(near[inside], sought[inside])
    if (present[np.searchsorted(present[:-1], expected)] != expected).any():
        raise RuntimeError("supercell: a site of the crystal has no atom in the box")


def _farthest(places: np.ndarray) -> float:
    """The place from 0 to 1 that is farthest from all others, which repeat with a period of 1."""
    places = np.sort(places % 1)
    gaps = np.diff(places, append=places[0] + 1)
    widest = gaps.argmax()
    return float(places[widest] + gaps[widest] / 2) % 1


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
            Orientation(rotation, cast(Purpose, str(purpose)), _axis(axis), float(mistilt))
            for rotation, purpose, axis, mistilt in zip(
                stored["rotation"], stored["purpose"], stored["zone_axis"], stored["mistilt"], strict=True
            )
        ]
    except (OSError, EOFError, ValueError, KeyError, BadZipFile) as error:
        raise InputError(f"{path}: is not a file of supercells ({error}); the rule 'supercells' makes one") from error
    return orientations, cells


def _axis(indices: np.ndarray) -> Axis | None:
    u, v, w = (int(i) for i in indices)
    return (u, v, w) if u or v or w else None
