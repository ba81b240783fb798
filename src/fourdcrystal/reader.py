"""Single patterns of a store, read as fast as the disk gives them.

zarr-python spends about a millisecond on each chunk it reads, ten times what decoding takes; training reads millions.
So patterns are found by the index of their shard (Zarr's sharding codec, version 1.0), read and decoded here. What is
read once per store goes through zarr-python.
"""

import json
import math
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numcodecs import blosc
from numpy.typing import NDArray

from fourdcrystal import stores
from fourdcrystal.errors import InputError
from fourdcrystal.layout import IMAGE

MISSING = 2**64 - 1  # offset of a chunk that a shard doesn't have


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

    def cbed(self, index: tuple[int, int, int, int], out: NDArray[np.float32]) -> None:
        """Read one pattern.

        Args:
            index: Of orientation, energy, semi-angle and thickness.
            out: Where to put it, (qx, qy), contiguous.

        Raises:
            InputError: if the store is damaged there.
        """
        within = self._shape[1:4]
        place, count = int(np.ravel_multi_index(index[1:], within)), math.prod(within)
        file = self.path / "cbed" / "c" / f"{index[0]}/0/0/0/0/0"
        try:
            with file.open("rb", buffering=0) as shard:
                shard.seek(16 * (place - count) - 4, 2)  # (offset, length) of each chunk, and a CRC, are at the end
                offset, length = np.frombuffer(shard.read(16), "<u8").tolist()
                if offset == MISSING:
                    raise ValueError("a chunk is missing")
                shard.seek(offset)
                encoded = shard.read(length)
            if int.from_bytes(encoded[4:8], "little") != out.nbytes:  # Blosc's header
                raise ValueError("a chunk has the wrong size")
            blosc.decompress(encoded, out)
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
