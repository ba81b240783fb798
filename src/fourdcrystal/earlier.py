"""What an earlier version of a store has that a new one would only simulate again.

Orientations that are already there, at every energy, semi-angle and thickness that is wanted, are taken over bit by
bit; labels, which cost little, are drawn anew. A further thickness needs the whole way through the crystal: such an
orientation is simulated again, and comes out the same at the thicknesses that were there: bit by bit, or, where the
thickest was an odd number of slices (they are transformed in pairs), within float32's rounding.
"""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fourdcrystal import checksums
from fourdcrystal.crystals import Crystal, structure_to_dict
from fourdcrystal.errors import InputError
from fourdcrystal.layout import asked
from fourdcrystal.reader import StoreReader

SAME_PATTERNS = {6: 5}  # versions of the simulation that changed labels alone, and the versions before them


class Earlier:
    """Patterns of a store that are still right.

    Args:
        reader: The store.
        places: Places, on the store's axes, of the energies, semi-angles and thicknesses that are wanted.
    """

    def __init__(self, reader: StoreReader, places: Sequence[Sequence[int]]) -> None:
        self._reader, self._places = reader, places
        self._rotations, self._seam = reader.array("rotation"), reader.array("seam_fraction")

    def patterns(self, rotation: NDArray[np.float64]) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
        """Patterns, (energy, semiangle, thickness, qx, qy), and their seam fractions, if there are any.

        Args:
            rotation: Of the crystal, (3, 3); the very same numbers.
        """
        same = np.flatnonzero((self._rotations == rotation).all((1, 2)))
        if not len(same):
            return None
        orientation = int(same[0])
        cbed = np.empty((*map(len, self._places), *self._reader.shape), np.float16)
        for at in np.ndindex(cbed.shape[:3]):
            e, s, t = (places[i] for places, i in zip(self._places, at, strict=True))
            self._reader.cbed((orientation, e, s, t), cbed[at])
        return cbed.astype(np.float32), self._seam[orientation][np.ix_(*self._places)]


def usable(path: str | Path, crystal: Crystal, recipe: Mapping[str, Any], patterns_version: int) -> Earlier | None:
    """The store at ``path``, if it is whole and its patterns are what this recipe would give; else nothing.

    Args:
        path: Where the new store will be written.
        crystal: What it is made from.
        recipe: Its recipe.
        patterns_version: Version of the simulation's numbers.
    """
    path = Path(path)
    try:
        reader = StoreReader(path)
        recorded = dict(reader.attributes["checksums"])
        recorded.pop(checksums.SELF, None)
        whole = checksums.of_arrays(path) == recorded
    except (InputError, OSError):
        return None
    about = reader.attributes
    alike = {patterns_version, SAME_PATTERNS.get(patterns_version, patterns_version)}
    if not whole or about["versions"]["patterns"] not in alike:
        return None
    if about["crystal"]["id"] != crystal.id or about["crystal"]["structure"] != structure_to_dict(crystal.structure):
        return None
    if _physics(about["recipe"]) != _physics(recipe):
        return None
    places = []
    for name, wanted in asked(recipe).items():
        there = reader.array(name).tolist()
        if not set(wanted) <= set(there):
            return None
        places.append([there.index(value) for value in wanted])
    return Earlier(reader, places)


def _physics(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a recipe that decides the numbers of a pattern whose orientation and axes are given."""
    kept = {name: copy.deepcopy(recipe[name]) for name in ("microscope", "specimen", "detector")}
    del kept["microscope"]["energy"], kept["microscope"]["semiangle_cutoff"]
    # further planes need further slices; fewer may change the rounding of the last one, and with it what is stored
    kept["thickest"] = kept["specimen"].pop("thickness")[-1]
    if kept["specimen"]["thermal"]["model"] == "frozen_phonon":
        kept["seed"] = recipe["seed"]
    return kept
