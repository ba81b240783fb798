"""Places that data are read from: folders, and prefixes of object stores such as ``s3://bucket/results``.

Credentials and endpoint of an object store come from the environment, as for its other tools (AWS_ACCESS_KEY_ID,
AWS_ENDPOINT_URL, ...). Nothing is written there.
"""

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from fourdcrystal.errors import InputError

if TYPE_CHECKING:
    from obstore.store import ObjectStore

Location = str | Path  # a folder or file, or the URL of one
AHEAD = 16  # requests to an object store at a time


class Place(Protocol):
    """A place whose files are read by their names, relative to it, with "/" between folders.

    All methods raise FileNotFoundError where there is no such file, and other OSErrors where it can't be read.
    """

    def read(self, name: str) -> bytes:
        """A whole file."""

    def part(self, name: str, start: int, length: int) -> bytes:
        """Some bytes of a file; from its end where ``start`` is negative."""

    def several(self, names: Iterable[str]) -> Iterator[bytes]:
        """Whole files, in the order given."""

    def sizes(self) -> dict[str, int]:
        """Bytes of every file, those in folders below included, by name; empty where nothing is there."""

    def folders(self) -> list[str]:
        """Names of the folders directly here, sorted."""


class Folder:
    """A folder of a file system."""

    def __init__(self, path: Path) -> None:
        self._path = str(path)

    def read(self, name: str) -> bytes:
        """A whole file."""
        with open(f"{self._path}/{name}", "rb", buffering=0) as file:
            return file.read()

    def part(self, name: str, start: int, length: int) -> bytes:
        """Some bytes of a file; from its end where ``start`` is negative."""
        file = os.open(f"{self._path}/{name}", os.O_RDONLY)
        try:
            if start < 0:
                start += os.fstat(file).st_size
            return os.pread(file, length, max(start, 0))
        finally:
            os.close(file)

    def several(self, names: Iterable[str]) -> Iterator[bytes]:
        """Whole files, in the order given."""
        return map(self.read, names)

    def sizes(self) -> dict[str, int]:
        """Bytes of every file, by name."""
        found = {}
        for folder, _, files in os.walk(self._path):
            inside = folder[len(self._path) + 1 :]
            for name in files:
                file = f"{inside}/{name}" if inside else name
                found[file] = os.stat(f"{self._path}/{file}").st_size
        return found

    def folders(self) -> list[str]:
        """Names of the folders directly here, sorted."""
        try:
            with os.scandir(self._path) as entries:
                return sorted(entry.name for entry in entries if entry.is_dir())
        except (FileNotFoundError, NotADirectoryError):
            return []


class Bucket:
    """A prefix of an object store."""

    def __init__(self, url: str) -> None:
        self._store = object_store(url)

    def read(self, name: str) -> bytes:
        """A whole file."""
        import obstore

        with _as_os_errors():
            return bytes(obstore.get(self._store, name).bytes())

    def part(self, name: str, start: int, length: int) -> bytes:
        """Some bytes of a file; from its end where ``start`` is negative."""
        import obstore

        with _as_os_errors():
            if start >= 0:
                return bytes(obstore.get_range(self._store, name, start=start, length=length))
            end = obstore.get(self._store, name, options={"range": {"suffix": -start}}).bytes()
            return bytes(end)[:length]

    def several(self, names: Iterable[str]) -> Iterator[bytes]:
        """Whole files, in the order given."""
        with ThreadPoolExecutor(AHEAD) as threads:
            yield from threads.map(self.read, names)

    def sizes(self) -> dict[str, int]:
        """Bytes of every file, by name."""
        import obstore

        with _as_os_errors():
            return {entry["path"]: entry["size"] for page in obstore.list(self._store) for entry in page}

    def folders(self) -> list[str]:
        """Names of the folders directly here, sorted."""
        import obstore

        with _as_os_errors():
            found = obstore.list_with_delimiter(self._store)["common_prefixes"]
        return sorted(name.rstrip("/") for name in found)


@contextmanager
def _as_os_errors() -> Iterator[None]:
    """What an object store raises, as the errors of files."""
    import obstore

    try:
        yield
    except FileNotFoundError:
        raise
    except obstore.exceptions.NotFoundError as error:
        raise FileNotFoundError(_first_line(error)) from error
    except obstore.exceptions.BaseError as error:
        raise OSError(_first_line(error)) from error


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def remote(location: Location) -> bool:
    """Whether a location is the URL of an object store."""
    return "://" in str(location)


def location(text: Location) -> Location:
    """A path, or the URL of an object store, as it was written (a path would lose one of its slashes)."""
    return text if remote(text) else Path(text)


def at(location: Location) -> Place:
    """The place at a location, which need not be there.

    Raises:
        InputError: if the location is a URL that can't be used, or needs the package obstore.
    """
    return Bucket(str(location)) if remote(location) else Folder(Path(location))


def inside(location: Location, name: str) -> Location:
    """The location of a file or folder within a location.

    Raises:
        InputError: if the name, which may be a database's or a file's, leads out of it.
    """
    if name.startswith("/") or ".." in name.split("/"):
        raise InputError(f"{location}: '{name}' names no file in it")
    return f"{str(location).rstrip('/')}/{name}" if remote(location) else Path(location) / name


def content(location: Location) -> bytes:
    """All bytes of one file.

    Raises:
        OSError: if it can't be read.
        InputError: as :func:`at`.
    """
    if not remote(location):
        return Path(location).read_bytes()
    folder, _, name = str(location).rpartition("/")
    return at(folder).read(name)


def object_store(url: str) -> "ObjectStore":
    """The object store, or the prefix of one, that a URL names.

    Raises:
        InputError: if there is no such kind of store, or the package obstore is missing.
    """
    try:
        import obstore
    except ImportError:
        raise InputError(f"{url}: is in an object store; reading it needs the package obstore") from None
    try:
        return obstore.store.from_url(url)
    except (obstore.exceptions.BaseError, ValueError) as error:
        said = " ".join(str(error).partition("Debug source")[0].split())
        raise InputError(f"{url}: can't be opened as an object store ({said[:200]})") from error
