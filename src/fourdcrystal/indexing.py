"""Which zone axis of a known crystal a plane lattice belongs to, and how the crystal lies.

The plane lattice's basis is compared with those of the reflections perpendicular to each zone axis: A = C⁻¹ U B, U one
of the few integer changes of basis, is a rotation times a stretch, and the stretch says how bad the match is.
"""

import itertools
import math
from dataclasses import dataclass

import numpy as np
from pymatgen.core import Structure

from fourdcrystal import lattice, orientation, reflections
from fourdcrystal.errors import InputError

LARGEST_INDEX = 3  # of zone axes that are tried
REACH = 2.0  # 1/Å; reflections that make a zone's plane lattice
WEAKEST = 1e-3  # of the strongest |V_g|; weaker ones are forbidden
WORST = 0.08  # stretch; a crystal whose lattice is farther off is another one, or the pixel size is wrong
# changes between reduced bases of one lattice that a few per cent of distortion can cause
UNIMODULAR = np.array(
    [
        m
        for m in (np.reshape(t, (2, 2)) for t in itertools.product((-1, 0, 1), repeat=4))
        if round(np.linalg.det(m)) == 1
    ]
)


@dataclass(frozen=True)
class Zone:
    """A crystal seen along a zone axis.

    Attributes:
        axis: [uvw].
        basis: Plane lattice of the unstrained crystal, turned as the measured one, rows [1/Å], (2, 2).
        rotation: Brings the crystal from its own frame to where it lies, zone axis along +z; active, (3, 3).
        scale: Measured lengths over the crystal's: 1 where the pixel size is right.
        stretch: Largest deviation from 1 of the measured lengths, ``scale`` taken off: strain, ellipticity, or a
            wrong zone axis.
    """

    axis: tuple[int, int, int]
    basis: np.ndarray
    rotation: np.ndarray
    scale: float
    stretch: float

    @property
    def name(self) -> str:
        """Such as [1 -1 0]."""
        return f"[{' '.join(map(str, self.axis))}]"


def miller_indices(zone: Zone, structure: Structure) -> np.ndarray:
    """Miller indices hkl of both basis vectors of a zone's plane lattice, whole numbers, rows, (2, 3)."""
    in_plane = np.column_stack([zone.basis, np.zeros(2)])
    return np.rint(in_plane @ zone.rotation @ structure.lattice.matrix.T).astype(int)


def plane_lattice(structure: Structure, axis: tuple[int, int, int]) -> np.ndarray:
    """Reduced basis of the reflections perpendicular to a zone axis [1/Å], rows, (2, 2); the axis along +z.

    Forbidden reflections are left out; those of double diffraction, sums of allowed ones, are on the lattice anyway.

    Raises:
        InputError: if there are no two of them within :data:`REACH`.
    """
    inverse = np.linalg.inv(structure.lattice.matrix).T  # rows: reciprocal basis
    limits = np.floor(REACH * np.asarray(structure.lattice.abc) + 1e-9).astype(int)
    hkl = np.stack(np.meshgrid(*(np.arange(-n, n + 1) for n in limits), indexing="ij"), -1).reshape(-1, 3)
    hkl = hkl[(hkl @ np.array(axis) == 0) & (np.abs(hkl).max(1) > 0)]
    hkl = hkl[np.hypot.reduce(hkl @ inverse, axis=1) <= REACH]
    size = np.abs(reflections.structure_factors(structure, hkl)) if len(hkl) else np.zeros(0)
    g = (hkl[size > WEAKEST * size.max(initial=0)] @ inverse) @ orientation.along_beam(structure, axis).T
    g = g[np.argsort(np.hypot(*g[:, :2].T)), :2]
    for second in range(1, len(g)):
        if abs(g[0, 0] * g[second, 1] - g[0, 1] * g[second, 0]) > 1e-6:
            return _of_all(g, lattice.reduced(g[[0, second]]))
    raise InputError(f"zone axis {axis}: has no two reflections within {REACH:g} 1/Å")


def _of_all(g: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """The basis made finer until all reflections are on it (two short ones may span only every second point)."""
    for part in (2, 3):
        index = g @ np.linalg.inv(basis)
        off = np.abs(index - np.rint(index)).max(1) > 1e-4
        if off.any():
            extra = g[off][0] - np.rint(index[off][0]) @ basis
            finer = [lattice.reduced(np.array([extra, v])) for v in basis if abs(np.linalg.det([extra, v])) > 1e-9]
            basis = min(finer, key=lambda b: (abs(part * abs(np.linalg.det(b)) - abs(np.linalg.det(basis))), b[0, 0]))
    return basis


def find(measured: np.ndarray, structure: Structure, axis: tuple[int, int, int] | None = None) -> Zone:
    """The zone axis, of those with low indices or the given one, whose plane lattice fits best.

    Args:
        measured: Basis of the measured plane lattice [1/Å], rows, (2, 2).
        structure: The crystal.
        axis: [uvw] where it is known.

    Two orientations that differ by a half turn about the beam have the same plane lattice: which of them it is can't be
    told, and the one with the smaller rotation is given.

    Raises:
        InputError: if no zone axis fits within :data:`WORST`.
    """
    # the pixel size is known far better than lattices differ: a free scale would let a wrong zone axis win
    tried: list[tuple[float, int, orientation.Axis, np.ndarray, tuple[float, float, float]]] = []
    for uvw in [axis] if axis is not None else orientation.zone_axes(structure, LARGEST_INDEX):
        try:
            crystal = plane_lattice(structure, uvw)
        except InputError:
            if axis is not None:
                raise
            continue
        found = _compared(measured, crystal)
        tried.append((found[0] + abs(math.log(found[1])), len(tried), uvw, crystal, found))
    misfit, _, uvw, crystal, (stretch, scale, angle) = min(tried)
    if not (misfit <= WORST or (axis is not None and stretch <= WORST)):
        wanted = "the crystal's" if axis is None else f"zone axis {axis}'s"
        raise InputError(
            f"the lattice found is not {wanted}: off by {100 * misfit:.0f} %, allowed are {100 * WORST:.0f} %, so "
            "check --crystal, --sampling"
        )
    c, s = math.cos(angle), math.sin(angle)
    turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    basis = crystal @ turn[:2, :2].T
    change = np.rint(measured @ np.linalg.inv(basis * scale))
    return Zone(uvw, change @ basis, turn @ orientation.along_beam(structure, uvw), scale, stretch)


def _compared(measured: np.ndarray, crystal: np.ndarray) -> tuple[float, float, float]:
    """Stretch, scale and rotation [rad] that bring a crystal's plane basis to the measured one, the best of all."""
    best = (math.inf, 1.0, 0.0)
    inverse = np.linalg.inv(crystal)
    for change in UNIMODULAR:
        linear = (inverse @ change @ measured).T  # measured = crystal @ linear.T
        left, singular, right = np.linalg.svd(linear)
        turned = left @ right
        if np.linalg.det(turned) < 0:
            continue
        scale = math.sqrt(singular[0] * singular[1])
        stretch = singular[0] / scale - 1
        angle = math.atan2(turned[1, 0], turned[0, 0])
        if (round(stretch, 6), abs(angle)) < (round(best[0], 6), abs(best[2])):
            best = (stretch, scale, angle)
    return best
