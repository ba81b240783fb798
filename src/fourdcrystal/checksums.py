"""Checksums (SHA-256) of a store: one for each array's files and one for the metadata, kept in ``zarr.json``.

The last covers the file's own bytes, with its own 64 digits read as zeros. It names the store's whole content, since
the metadata hold the arrays' checksums.
"""

import hashlib
import re
import warnings
from pathlib import Path
from typing import Any

import zarr

OWN, BLANK = "zarr.json", "0" * 64
STATED = re.compile(rb'("zarr\.json": ?")([0-9a-f]{64})(?=")')


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


def of_metadata(text: bytes) -> str:
    """Checksum of the bytes of a store's ``zarr.json``, whatever checksum they hold themselves."""
    return hashlib.sha256(
        re.sub(rb'("zarr\.json": *")[0-9a-f]{64}"', rb"\g<1>" + BLANK.encode() + b'"', text)
    ).hexdigest()


def recorded(metadata: dict[str, Any]) -> dict[str, str]:
    """The checksums in a parsed ``zarr.json``; empty where there are none."""
    found = metadata.get("attributes", {}).get("checksums", {})
    return found if isinstance(found, dict) else {}


def seal(store: Path) -> None:
    """Complete a store on disk: gather the arrays' metadata in its ``zarr.json`` and write the checksums there."""
    group = zarr.open_group(store, mode="r+", use_consolidated=False)
    group.attrs["checksums"] = of_arrays(store) | {OWN: BLANK}
    with warnings.catch_warnings():
        # xarray reads and writes consolidated metadata by default; readers that don't know them ignore them
        warnings.filterwarnings("ignore", message="Consolidated metadata")
        zarr.consolidate_metadata(store)
    file = store / "zarr.json"
    text = file.read_bytes()
    file.write_bytes(text.replace(BLANK.encode(), of_metadata(text).encode()))


def identity(store: Path) -> str:
    """The checksum that names a store's content, as its metadata state it.

    Raises:
        FileNotFoundError: if the store has no metadata.
        ValueError: if they state no checksum.
    """
    stated = STATED.search((store / OWN).read_bytes())
    if stated is None:
        raise ValueError(f"{store}: is not complete (no checksums); make it again")
    return stated[2].decode()
