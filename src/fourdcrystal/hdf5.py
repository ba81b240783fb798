"""A first look at an HDF5 file, in a process of its own.

The HDF5 library can loop for ever, or crash, on the metadata of a damaged file (docs/log.md, section Fuzzing); from
within C nothing can be caught. So another process reads all of them first, and is given a time.
"""

import contextlib
import resource
import subprocess
import sys
from pathlib import Path

import h5py

from fourdcrystal.errors import InputError

SIGNATURE = b"\x89HDF\r\n\x1a\n"
PATIENCE = 120.0  # s; hundreds of thousands of attributes are read in it
COMMAND = (sys.executable, "-P", "-m", "fourdcrystal.hdf5")


def check(path: Path) -> None:
    """Refuse an HDF5 file whose metadata can't be read to their end; other files pass.

    Raises:
        InputError: if reading them takes too long, or crashes.
    """
    if not path.is_file() or not _is_hdf5(path):
        return
    try:
        looked = subprocess.run([*COMMAND, str(path)], capture_output=True, timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        raise InputError(
            f"{path}: is damaged: the HDF5 library had not read its metadata after {PATIENCE:g} s"
        ) from None
    if looked.returncode < 0:
        raise InputError(f"{path}: is damaged: the HDF5 library crashes on its metadata")


def _is_hdf5(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(SIGNATURE)) == SIGNATURE


def look(path: str) -> None:
    """Read all metadata of a file, whatever else is wrong with it: what can't be read, its reader will say."""
    # RuntimeError, KeyError, OSError, TypeError, ValueError ...: h5py has one for each way to be damaged
    with contextlib.suppress(Exception), h5py.File(path) as file:
        _attributes(file)
        file.visititems(lambda name, node: _attributes(node))


def _attributes(node: h5py.HLObject) -> None:
    for name in node.attrs:
        with contextlib.suppress(Exception):
            node.attrs[name]


if __name__ == "__main__":
    # who asked may be killed meanwhile, and nobody else would end an endless loop
    resource.setrlimit(resource.RLIMIT_CPU, (round(PATIENCE), resource.RLIM_INFINITY))
    look(sys.argv[1])
