"""Checksums (SHA-256): one for each array of a store, and one in each file of metadata for that file itself.

The last is of the file's own bytes, with its own 64 digits read as zeros. A store's ``zarr.json`` also holds those of
the arrays, so its own names the store's whole content; the catalogue holds those of the stores.
"""

import hashlib
import re
import warnings
from pathlib import Path

import zarr

SELF, BLANK = "this file", "0" * 64
STATED = re.compile(rb'("this file": ?")([0-9a-f]{64})(?=")')


def of_array(folder: Path) -> str:
    """Checksum of every file of an array: names, lengths and bytes."""
    whole = hashlib.sha256()
    for file in sorted(p for p in folder.rglob("*") if p.is_file()):
        with file.open("rb") as opened:
            digest = hashlib.file_digest(opened, "sha256").hexdigest()
        whole.update(f"{file.relative_to(folder).as_posix()} {file.stat().st_size} {digest}\n".encode())
    return whole.hexdigest()


def of_arrays(store: Path) -> dict[str, str]:
    """Checksums of all arrays of a store on disk, by name."""
    return {array.name: of_array(array) for array in sorted(store.iterdir()) if array.is_dir()}


def of_self(content: bytes) -> str:
    """Checksum of a file's bytes, whatever checksum of itself they hold."""
    return hashlib.sha256(STATED.sub(rb"\g<1>" + BLANK.encode(), content)).hexdigest()


def stated(file: Path) -> str:
    """The checksum of itself that a file holds.

    Raises:
        OSError: if the file can't be read.
        ValueError: if it holds none.
    """
    found = STATED.search(file.read_bytes())
    if found is None:
        raise ValueError(f"{file}: is not complete (no checksum); make it again")
    return found[2].decode()


def state(file: Path) -> None:
    """Write a file's checksum into it, in the place of :data:`BLANK`."""
    content = file.read_bytes()
    if len(STATED.findall(content)) != 1:
        raise ValueError(f"{file} must hold its checksum in exactly one place")
    file.write_bytes(STATED.sub(rb"\g<1>" + of_self(content).encode(), content))


def seal(store: Path) -> None:
    """Complete a store on disk: gather the arrays' metadata in its ``zarr.json`` and write the checksums there."""
    group = zarr.open_group(store, mode="r+", use_consolidated=False)
    group.attrs["checksums"] = of_arrays(store) | {SELF: BLANK}
    with warnings.catch_warnings():
        # xarray reads and writes consolidated metadata by default; readers that don't know them ignore them
        warnings.filterwarnings("ignore", message="Consolidated metadata")
        zarr.consolidate_metadata(store)
    state(store / "zarr.json")


def identity(store: Path) -> str:
    """The checksum that names a store's content, as its metadata state it.

    Raises:
        OSError: if it has no metadata.
        ValueError: if they state no checksum.
    """
    return stated(store / "zarr.json")
