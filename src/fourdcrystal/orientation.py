"""How crystals are turned under the beam: as they are, on zone axes, near zone axes, at random."""

import itertools
import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from pymatgen.core import Structure
from pymatgen.symmetry.analyzer import SpacegroupAnalyzer
from scipy.spatial.transform import Rotation

from fourdcrystal.errors import InputError
from fourdcrystal.reflections import structure_factors
from fourdcrystal.settings import Orientations
from fourdcrystal.symmetry import SYMPREC

RANKING_REACH = 1.0  # 1/Å; zero-layer reflections up to here decide how important a zone axis is
SAME_DIRECTION = 1e-4  # rad

Axis = tuple[int, int, int]
Purpose = Literal["unrotated", "zone_axis", "mistilted", "random"]


@dataclass(frozen=True)
class Orientation:
    """One way to put a crystal under the beam, which travels along +z.

    Attributes:
        rotation: Active rotation of the crystal, (3, 3): r' = R r.
        purpose: Why it was chosen.
        zone_axis: Indices [uvw], in the crystal's own cell, of the lattice row along or near +z; none otherwise.
        mistilt: Angle between the beam and that row [rad].
    """

    rotation: np.ndarray
    purpose: Purpose
    zone_axis: Axis | None = None
    mistilt: float = 0.0


def draw(structure: Structure, settings: Orientations, rng: np.random.Generator) -> list[Orientation]:
    """The orientations of one crystal; no two of its zone axes are the same by symmetry.

    Zone axes come in the order of their importance; one that the unrotated crystal already shows is passed over. The
    mistilted ones go through the same list from its start, again and again, each with a mistilt of its own.

    Args:
        structure: Crystal.
        settings: How many of each.
        rng: Source of rolls, mistilts and random rotations.

    Raises:
        InputError: if the crystal has fewer distinct zone axes than are asked for.
    """
    for_axes, for_mistilted, for_random = rng.spawn(3)  # more of one kind leaves the others as they are
    drawn = []
    if settings.unrotated:
        drawn.append(Orientation(np.eye(3), "unrotated"))
    if settings.zone_axes or settings.mistilted:
        ranked = zone_axes(structure, settings.max_index)
        shown = [np.array([0.0, 0.0, 1.0])] if settings.unrotated else []
        fresh = [axis for axis in ranked if not _equivalent_to_any(structure, axis, shown)]
        if len(fresh) < settings.zone_axes:
            raise InputError(
                f"orientations.zone_axes: {settings.zone_axes} are asked for, but {structure.reduced_formula} has only "
                f"{len(fresh)} different ones with indices up to {settings.max_index} (orientations.max_index)"
            )
        drawn += [
            Orientation(_roll(settings, for_axes) @ along_beam(structure, axis), "zone_axis", axis)
            for axis in fresh[: settings.zone_axes]
        ]
        for axis in itertools.islice(itertools.cycle(ranked), settings.mistilted):
            tilt = tilted(*np.radians(for_mistilted.normal(0.0, settings.mistilt, 2)))
            rotation = tilt @ _roll(settings, for_mistilted) @ along_beam(structure, axis)
            drawn.append(Orientation(rotation, "mistilted", axis, math.acos(min(1.0, tilt[2, 2]))))
    quaternions = for_random.normal(size=(settings.random, 4))  # normalised by SciPy: uniform over all rotations
    return drawn + [Orientation(Rotation.from_quat(q).as_matrix(), "random") for q in quaternions]


def leaning(tilt: np.ndarray) -> np.ndarray:
    """Shortest rotations, (..., 3, 3), that bring +z along (t_x, t_y, 1), of tilts (..., 2) [rad].

    R v = v + k × v + k × (k × v) / (1 + z) with k = e_z × axis (Rodrigues).
    """
    axis = np.concatenate([tilt, np.ones((*tilt.shape[:-1], 1))], axis=-1)
    axis /= np.linalg.norm(axis, axis=-1, keepdims=True)
    cross = np.zeros((*tilt.shape[:-1], 3, 3))
    cross[..., :2, 2], cross[..., 2, :2] = axis[..., :2], -axis[..., :2]
    return np.eye(3) + cross + cross @ cross / (1 + axis[..., 2, None, None])


def zone_axes(structure: Structure, max_index: int) -> list[Axis]:
    """Zone axes of a crystal that differ by symmetry, most important first.

    Importance is the variance of the projected potential, Σ |V_g|² over the zero layer's reflections: what makes a
    zone-axis pattern strong. Opposite directions count as the same.

    Args:
        structure: Crystal.
        max_index: Largest |u|, |v| or |w|.
    """
    span = range(-max_index, max_index + 1)
    axes = np.array([t for t in itertools.product(span, repeat=3) if t > (0, 0, 0) and math.gcd(*t) == 1])
    hkl = _indices_within(structure, RANKING_REACH)
    power = np.abs(structure_factors(structure, hkl)) ** 2
    # an axis at a time: a large cell has tens of thousands of reflections, and thousands of axes
    importance = np.array([power[hkl @ axis == 0].sum() for axis in axes])
    # equal importance: low indices first, then positive ones, so that the order never depends on rounding
    order = sorted(
        range(len(axes)),
        key=lambda i: (-round(importance[i] / importance.max(), 6), np.abs(axes[i]).sum(), tuple(-axes[i])),
    )
    operations = _point_operations(structure)
    chosen: list[Axis] = []
    images = np.empty((0, 3))
    for i in order:
        direction = _unit(axes[i] @ structure.lattice.matrix)
        if len(images) and np.abs(images @ direction).max() > math.cos(SAME_DIRECTION):
            continue
        chosen.append((int(axes[i][0]), int(axes[i][1]), int(axes[i][2])))
        images = np.concatenate([images, operations @ direction])
    return chosen


def along_beam(structure: Structure, axis: Axis) -> np.ndarray:
    """Rotation that brings the lattice row [uvw] onto +z and the crystal's a (or b) above +x, (3, 3).

    Raises:
        InputError: for [000], which is no direction.
    """
    if not any(axis):
        raise InputError("zone axis [0 0 0] is no direction; at least one of u, v, w must differ from 0")
    z = _unit(np.array(axis) @ structure.lattice.matrix)
    a, b = structure.lattice.matrix[:2]
    sideways = a if np.linalg.norm(np.cross(z, _unit(a))) > 1e-3 else b
    x = _unit(sideways - (sideways @ z) * z)
    return np.array([x, np.cross(z, x), z])


def tilted(about_x: float, about_y: float) -> np.ndarray:
    """Rotation by a vector of angles [rad] that lies in the detector's plane, (3, 3)."""
    return Rotation.from_rotvec([about_x, about_y, 0.0]).as_matrix()


def _roll(settings: Orientations, rng: np.random.Generator) -> np.ndarray:
    angle = rng.uniform(0.0, 2 * np.pi) if settings.roll else 0.0
    return Rotation.from_rotvec([0.0, 0.0, angle]).as_matrix()


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)


def _indices_within(structure: Structure, reach: float) -> np.ndarray:
    """Indices of all reflections with 0 < |g| <= reach [1/Å], (N, 3)."""
    limits = np.floor(reach * np.asarray(structure.lattice.abc) + 1e-9).astype(int)
    hkl = np.stack(np.meshgrid(*(np.arange(-n, n + 1) for n in limits), indexing="ij"), -1).reshape(-1, 3)
    length2 = ((hkl @ np.linalg.inv(structure.lattice.matrix).T) ** 2).sum(-1)
    return hkl[(length2 > 0) & (length2 <= reach**2)]


def _point_operations(structure: Structure) -> np.ndarray:
    """Cartesian point-group operations, (n, 3, 3)."""
    analyzer = SpacegroupAnalyzer(structure, symprec=SYMPREC)
    return np.array([op.rotation_matrix for op in analyzer.get_point_group_operations(cartesian=True)])


def _equivalent_to_any(structure: Structure, axis: Axis, directions: list[np.ndarray]) -> bool:
    if not directions:
        return False
    images = _point_operations(structure) @ _unit(np.array(axis) @ structure.lattice.matrix)
    return bool(np.abs(images @ np.array(directions).T).max() > math.cos(SAME_DIRECTION))
