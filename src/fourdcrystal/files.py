"""Files that are whole or absent: written beside their place, renamed onto it last."""

import errno
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def replaced(path: str | Path) -> Iterator[Path]:
    """A temporary file that becomes ``path`` when the block ends well, and vanishes when it doesn't.

    Two writers can't harm each other: each has a folder of its own, and the last rename wins. Missing folders are made.

    Yields:
        Where to write. It has the name of ``path``, for libraries that choose a format by it.
    """
    path = Path(path)
    with _workplace(path) as workplace:
        temporary = workplace / path.name
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(path)


def write_text(path: str | Path, text: str) -> None:
    """Write a text, whole or not at all."""
    with replaced(path) as temporary:
        temporary.write_text(text)


@contextmanager
def replaced_folder(path: str | Path) -> Iterator[Path]:
    """The same for a folder: an older one is moved aside only when the new one is complete.

    Yields:
        An empty folder to fill.
    """
    path = Path(path)
    with _workplace(path) as workplace:
        temporary = workplace / "new"
        temporary.mkdir()
        yield temporary
        temporary.chmod(0o777 & ~_umask())
        while True:
            try:
                temporary.rename(path)
                break
            except OSError as error:
                # the folder itself may be gone by now, moved aside by another writer: only the error tells
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
            # rename() can't replace a folder that has something in it; another writer may do the same, so try again
            with suppress(FileNotFoundError):
                path.rename(tempfile.mkdtemp(prefix="old.", dir=workplace))


@contextmanager
def _workplace(path: Path) -> Iterator[Path]:
    """A hidden folder beside ``path``, for one writer; what writers that were killed have left there is removed.

    The lock is on the folder, not on what is written: a library may replace that, and the lock would be gone.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _sweep(path)
    workplace, lock = _claimed(path)
    try:
        yield workplace
    finally:
        shutil.rmtree(workplace, ignore_errors=True)
        os.close(lock)


def _claimed(path: Path) -> tuple[Path, int]:
    """A new folder beside ``path``, and the lock that its writer holds for as long as it lives."""
    while True:
        temporary = Path(tempfile.mkdtemp(prefix=_begun(path), dir=path.parent))
        try:
            lock = os.open(temporary, os.O_RDONLY)
        except FileNotFoundError:
            continue  # another writer has swept it away before it was locked
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            continue  # another writer is sweeping it away
        except OSError:
            pass  # some network file systems can't lock folders; nothing is swept there
        if temporary.exists():
            return temporary, lock
        os.close(lock)


def _begun(path: Path) -> str:
    """What the names of all work folders for ``path`` begin with, and of no other program's hidden folders."""
    return f".{path.name}.unfinished-"


def _sweep(path: Path) -> None:
    """Remove folders that :func:`_claimed` made for ``path`` and whose writers don't live any more."""
    with os.scandir(path.parent) as entries:
        found = [entry.path for entry in entries if entry.name.startswith(_begun(path))]
    for left in found:
        try:
            lock = os.open(left, os.O_RDONLY | os.O_DIRECTORY)
        except OSError:
            continue  # its writer has just finished
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(left, ignore_errors=True)
        except OSError:
            pass  # its writer is at work
        finally:
            os.close(lock)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
