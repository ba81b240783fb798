"""Checksums (SHA-256): one for each array of a store, and one in each file of metadata for that file itself.

The last is of the file's own bytes, with its own 64 digits read as zeros. A store's ``zarr.json`` also holds those of
the arrays, so its own names the store's whole content; the catalogue holds those of the stores.
"""

import hashlib
import re
import warnings
from collections.abc import Iterable
from pathlib import Path

from fourdcrystal import places
from fourdcrystal.places import Location

SELF, BLANK = "this file", "0" * 64
STATED = re.compile(rb'("this file": ?")([0-9a-f]{64})(?=")')


class Digest:
    """Checksum of an array's files: names within the array, lengths and bytes.

    Files are added in the order of :func:`by_array`.
    """

    def __init__(self) -> None:
        self._whole = hashlib.sha256()

    def add(self, name: str, content: bytes) -> None:
        """Add a file."""
        self._whole.update(f"{name} {len(content)} {hashlib.sha256(content).hexdigest()}\n".encode())

    def hexdigest(self) -> str:
        """The checksum of the files added."""
        return self._whole.hexdigest()


def by_array(names: Iterable[str]) -> dict[str, list[str]]:
    """Files of each array of a store, sorted by path; arrays sorted by name.

    Args:
        names: Of all files of the store; those that are in no folder are left out.
    """
    found: dict[str, list[str]] = {}
    for name in sorted(names, key=lambda name: name.split("/")):
        array, _, file = name.partition("/")
        if file:
            found.setdefault(array, []).append(file)
    return found


def of_arrays(store: Location) -> dict[str, str]:
    """Checksums of all arrays of a store as they are there, by name."""
    place, found = places.at(store), {}
    for array, files in by_array(place.sizes()).items():
        whole = Digest()
        for file, content in zip(files, place.several(f"{array}/{file}" for file in files), strict=True):
            whole.add(file, content)
        found[array] = whole.hexdigest()
    return found


def of_self(content: bytes) -> str:
    """Checksum of a file's bytes, whatever checksum of itself they hold."""
    return hashlib.sha256(STATED.sub(rb"\g<1>" + BLANK.encode(), content)).hexdigest()


def stated(content: bytes) -> str | None:
    """The checksum of itself that a file's bytes hold; none where they hold none."""
    found = STATED.search(content)
    return None if found is None else found[2].decode()


def state(file: Path) -> None:
    """Write a file's checksum into it, in the place of :data:`BLANK`."""
    content = file.read_bytes()
    if len(STATED.findall(content)) != 1:
        raise ValueError(f"{file} must hold its checksum in exactly one place")
    file.write_bytes(STATED.sub(rb"\g<1>" + of_self(content).encode(), content))


def seal(store: Path) -> None:
    """Complete a store on disk: gather the arrays' metadata in its ``zarr.json`` and write the checksums there."""
    import zarr

    group = zarr.open_group(store, mode="r+", use_consolidated=False)
    group.attrs["checksums"] = of_arrays(store) | {SELF: BLANK}
    with warnings.catch_warnings():
        # xarray reads and writes consolidated metadata by default; readers that don't know them ignore them
        warnings.filterwarnings("ignore", message="Consolidated metadata")
        zarr.consolidate_metadata(store)
    state(store / "zarr.json")


def identity(store: Location) -> str:
    """The checksum that names a store's content, as its metadata state it.

    Raises:
        OSError: if it has no metadata.
        ValueError: if they state no checksum.
    """
    found = stated(places.at(store).read("zarr.json"))
    if found is None:
        raise ValueError(f"{places.inside(store, 'zarr.json')}: is not complete (no checksum); make it again")
    return found
