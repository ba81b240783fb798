"""What a store holds, read once: every byte for the checksums, numbers decoded on the way."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fourdcrystal import checksums, decoding
from fourdcrystal.places import Place
from fourdcrystal.precision import single

FINITE = 0x7C00  # bits of half-precision numbers: below, they are finite and not negative


@dataclass
class Contents:
    """A store's arrays, as their own metadata describe them.

    Attributes:
        checksums: Of every array that is there.
        about: Metadata of each array, its own ``zarr.json``.
        arrays: Everything but the patterns.
        totals: Sum over each pattern, (orientation, energy, semiangle, thickness); NaN where a number is negative or
            not finite.
        undecoded: Why an array can't be decoded, by name.
    """

    checksums: dict[str, str] = field(default_factory=dict)
    about: dict[str, dict[str, Any]] = field(default_factory=dict)
    arrays: dict[str, NDArray[Any]] = field(default_factory=dict)
    totals: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 0, 0, 0)))
    undecoded: dict[str, str] = field(default_factory=dict)


def read(place: Place, names: Sequence[str], gathered: Mapping[str, Any]) -> Contents:
    """Read a whole store, a file at a time; of the patterns only the sums stay in memory.

    Args:
        place: The store.
        names: Its files.
        gathered: Metadata of the arrays, from the store's ``zarr.json``.

    Raises:
        OSError: if a file can't be read.
    """
    found = Contents()
    for array, files in checksums.by_array(names).items():
        whole, kept, totals = checksums.Digest(), {}, []
        for file, content in zip(files, place.several(f"{array}/{file}" for file in files), strict=True):
            whole.add(file, content)
            if array != "cbed" or file == "zarr.json":
                kept[file] = content
                continue
            try:
                totals.append(_totals(decoding.file(gathered[array], content)))
            except Exception as error:  # whatever damaged data make a library do
                found.undecoded[array] = f"{file}: {error}"
        found.checksums[array] = whole.hexdigest()
        try:
            found.about[array] = about = json.loads(kept["zarr.json"])
            if array != "cbed":
                found.arrays[array] = decoding.array(about, (kept[file] for file in decoding.files(about)))
            elif array not in found.undecoded:
                found.totals = np.concatenate([totals[files.index(file)] for file in decoding.files(about)])
        except Exception as error:  # the same
            found.undecoded[array] = f"{type(error).__name__}: {error}"
    return found


def _totals(images: NDArray[np.float16]) -> NDArray[np.float64]:
    """Sum over the pixels of each image; NaN where a number is negative or not finite."""
    total = single(images).sum(-1).sum(-1, dtype=np.float64)
    bits = images.view(np.uint16)
    if bits.max() >= FINITE:  # negative zeros are allowed
        total[((bits >= FINITE) & (images != 0)).any((-2, -1))] = np.nan
    return total
