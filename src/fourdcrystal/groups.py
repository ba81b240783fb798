"""Zarr groups made in memory and put on disk by one thread, file after file.

On disk zarr-python writes with many threads, and those go on when one has failed: on a full disk they would make the
folder anew that is being removed.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from zarr.abc.store import Store
from zarr.core.buffer import Buffer
from zarr.storage import MemoryStore


@contextmanager
def put(folder: Path) -> Iterator[Store]:
    """A store in memory whose files are written into ``folder`` when the block ends well.

    Args:
        folder: Is there; files of the same names in it are replaced.

    Raises:
        OSError: if a file can't be written.
    """
    held: dict[str, Buffer] = {}
    yield MemoryStore(held)
    for name in sorted(held):
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(held[name].to_bytes())
