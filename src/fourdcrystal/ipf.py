"""Colours of the inverse pole figure: which direction of the crystal points along an axis of the laboratory.

Symmetry, fundamental sectors and colours are orix's (Laue groups, the colour key of TSL). What is done here is to bring
the crystal's own axes into orix's, whatever cell and setting its file has.
"""

import fcntl
import functools
import importlib
import importlib.util
import itertools
import math
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import moyopy
import numpy as np
from pymatgen.core import Structure

from fourdcrystal.symmetry import SYMPREC

if TYPE_CHECKING:
    from orix.quaternion import Symmetry


@functools.cache
def _compiled() -> None:
    """Import orix, one process of a machine at a time.

    Its first import compiles functions into a cache. Two processes that do so at once leave one there that mixes theirs
    and ends every later process with a segmentation fault (numba issue 10128).
    """
    found = importlib.util.find_spec("orix")
    assert found is not None and found.origin is not None
    folder = os.open(Path(found.origin).parent, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network file systems can't lock folders
            fcntl.flock(folder, fcntl.LOCK_EX)
        for name in ("orix.quaternion.symmetry", "orix.vector", "orix.plot"):
            importlib.import_module(name)
    finally:
        os.close(folder)


def laue(structure: Structure) -> "Symmetry":
    """Laue group of a crystal."""
    _compiled()
    from orix.quaternion.symmetry import get_point_group

    return get_point_group(_dataset(structure).number).laue


def colours(rotations: np.ndarray, structure: Structure) -> np.ndarray:
    """Colours of what lies along the laboratory's x, y and z, (P, 3 directions, RGB), 0 to 1; NaN where unknown.

    Args:
        rotations: Active rotations of the crystal from its own frame, that of the structure's lattice, (P, 3, 3).
        structure: The crystal.
    """
    _compiled()
    from orix.plot import DirectionColorKeyTSL
    from orix.vector import Vector3d

    key, aligned = DirectionColorKeyTSL(laue(structure)), frame(structure)
    known = np.isfinite(rotations).all((1, 2))
    made = np.full((len(rotations), 3, 3), np.nan)
    for i in range(3):
        # row i of R is the laboratory's axis i in the crystal's frame
        made[known, i] = key.direction2color(Vector3d(rotations[known, i] @ aligned.T))
    return made


def frame(structure: Structure) -> np.ndarray:
    """Rotation, (3, 3), from the structure's axes to those in which orix writes its Laue group.

    Of a few candidates (orix has the twofold axis of monoclinic crystals along z, and of trigonal ones along x) it is
    the one that makes the crystal's own rotations those of the Laue group.
    """
    matrix = structure.lattice.matrix.T
    own = matrix @ operations(structure) @ np.linalg.inv(matrix)
    own = own * np.linalg.det(own)[:, None, None]  # with the inversion of the Laue group
    group = laue(structure)
    wanted = group.to_matrix()[~group.improper.astype(bool)]
    standard = np.array(_dataset(structure).std_rotation_matrix)
    cyclic = [np.eye(3)[list(order)] for order in ((0, 1, 2), (2, 0, 1), (1, 2, 0))]
    c, s = math.cos(math.pi / 6), math.sin(math.pi / 6)
    turns = [np.eye(3), np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])]
    for permuted, turned in itertools.product(cyclic, turns):
        candidate = turned @ permuted @ standard
        there = candidate @ own @ candidate.T
        distance = np.abs(there[:, None] - wanted[None]).max((2, 3)).min(1)
        if distance.max() < 1e-2:  # rotations of different groups differ by far more, strained cells by less
            return candidate
    raise AssertionError(f"{structure.formula}: its rotations are none of the Laue group {group.name}")


def operations(structure: Structure) -> np.ndarray:
    """Rotations of the crystal's space group, on fractional coordinates as columns, (N, 3, 3)."""
    return np.array(_dataset(structure).operations.rotations)


def _dataset(structure: Structure) -> moyopy.MoyoDataset:
    numbers = [site.specie.Z for site in structure]
    cell = moyopy.Cell(structure.lattice.matrix.tolist(), structure.frac_coords.tolist(), numbers)
    return moyopy.MoyoDataset(cell, symprec=SYMPREC)
