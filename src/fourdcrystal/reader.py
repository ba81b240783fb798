"""Single patterns of a store, read as fast as the disk gives them. What is read once per store takes zarr-python."""

import json
import math
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from fourdcrystal import shards, stores
from fourdcrystal.errors import InputError
from fourdcrystal.layout import IMAGE


class StoreReader:
    """One store, opened for reading patterns in any order.

    Raises:
        InputError: if it is missing, incomplete, not one of ours, or of a newer format.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.attributes = stores.metadata(self.path)
        content = json.loads((self.path / "zarr.json").read_bytes())
        self._shape = content["consolidated_metadata"]["metadata"]["cbed"]["shape"]
        self.shape: tuple[int, int] = tuple(self._shape[-2:])

    @cached_property
    def _group(self) -> zarr.Group:
        return zarr.open_group(self.path, mode="r")

    def array(self, name: str) -> NDArray[Any]:
        """A whole array."""
        return np.asarray(self._group[name][...])

    @cached_property
    def dq(self) -> float:
        """Size of a pixel [1/Å]."""
        qx = self.array(IMAGE[0])
        return float(qx[-1] - qx[0]) / (len(qx) - 1)

    def cbed(self, index: tuple[int, int, int, int], out: NDArray[np.float16]) -> None:
        """Read one pattern.

        Args:
            index: Of orientation, energy, semi-angle and thickness.
            out: Where to put it, (qx, qy), contiguous.

        Raises:
            InputError: if the store is damaged there.
        """
        file = self.path / "cbed" / "c" / f"{index[0]}/0/0/0/0/0"
        within = self._shape[1:4]
        try:
            shards.read(file, shards.place(index[1:], within), math.prod(within), out)
        except (OSError, ValueError, RuntimeError) as error:
            raise InputError(f"{file}: is damaged ({error}); scripts/verify.py finds all that is") from error

    def reflections(self, orientation: int) -> tuple[NDArray[np.float64], NDArray[np.complex64]]:
        """Scattering vectors [1/Å], (N, 3), and structure factors [V], (N,), of one orientation."""
        first, last = np.searchsorted(self._orientation_of_reflection, [orientation, orientation + 1])
        rows = slice(int(first), int(last))
        return np.asarray(self._group["reflection_g"][rows]), np.asarray(self._group["reflection_vg"][rows])

    @cached_property
    def _orientation_of_reflection(self) -> NDArray[np.int32]:
        return self.array("reflection_orientation")
