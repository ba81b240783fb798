"""Single patterns of a store, read as fast as the disk or network gives them."""

import math
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fourdcrystal import decoding, places, shards, stores
from fourdcrystal.errors import InputError
from fourdcrystal.layout import IMAGE
from fourdcrystal.places import Location


class StoreReader:
    """One store, opened for reading patterns in any order.

    Raises:
        InputError: if it is missing, incomplete, damaged, not one of ours, or of a newer format.
    """

    def __init__(self, location: Location) -> None:
        self.location = location
        self._place = places.at(location)
        content = stores.content(location, self._place)
        self.attributes: dict[str, Any] = content["attributes"]
        try:
            self._about: dict[str, Any] = content["consolidated_metadata"]["metadata"]
            self._shape: list[int] = self._about["cbed"]["shape"]
            self.shape: tuple[int, int] = tuple(self._shape[-2:])
        except (KeyError, TypeError) as error:
            raise InputError(f"{location}: its metadata are damaged ({error})") from error
        self._index = lru_cache(64)(self._read_index)

    def array(self, name: str) -> NDArray[Any]:
        """A whole array.

        Raises:
            InputError: if it is damaged.
        """
        try:
            about = self._about[name]
            return decoding.array(about, self._place.several(f"{name}/{file}" for file in decoding.files(about)))
        except (KeyError, MemoryError, OSError, RuntimeError, TypeError, ValueError) as error:
            raise self._damaged(name, error) from error

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
        file = _shard(index[0])
        try:
            offset, length = self._index(index[0])[shards.place(index[1:], self._shape[1:4])].tolist()
            shards.decode(self._place.part(file, offset, length), out)
        except (OSError, OverflowError, ValueError, RuntimeError) as error:
            raise self._damaged(file, error) from error

    def _read_index(self, orientation: int) -> NDArray[np.uint64]:
        count = math.prod(self._shape[1:4])
        size = shards.end(count)
        return shards.index(self._place.part(_shard(orientation), -size, size), count)

    def _damaged(self, name: str, error: Exception) -> InputError:
        said = f"{places.inside(self.location, name)}: is damaged ({error}); scripts/verify.py finds all that is"
        return InputError(said)

    def reflections(self, orientation: int) -> tuple[NDArray[np.float64], NDArray[np.complex64]]:
        """Scattering vectors [1/Å], (N, 3), and structure factors [V], (N,), of one orientation."""
        first, last = np.searchsorted(self._orientation_of_reflection, [orientation, orientation + 1])
        rows = slice(int(first), int(last))
        return self.array("reflection_g")[rows], self.array("reflection_vg")[rows]

    @cached_property
    def _orientation_of_reflection(self) -> NDArray[np.int32]:
        return self.array("reflection_orientation")


def _shard(orientation: int) -> str:
    return f"cbed/c/{orientation}/0/0/0/0/0"
