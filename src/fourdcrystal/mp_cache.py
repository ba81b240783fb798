"""Downloaded Materials Project entries: one SQLite file for each database version, so that versions never mix.

A transaction holds a page of ids or a batch of documents: after a crash or on a full disk the file has all of it or
none.
"""

import json
import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from fourdcrystal.errors import InputError

_TABLES = """
CREATE TABLE IF NOT EXISTS pages (query TEXT, page INTEGER, ids TEXT, PRIMARY KEY (query, page));
CREATE TABLE IF NOT EXISTS listings (query TEXT PRIMARY KEY, pages INTEGER);
CREATE TABLE IF NOT EXISTS documents (id TEXT PRIMARY KEY, document BLOB);
"""


def path(folder: Path, endpoint: str, version: str) -> Path:
    """The file of one server and one version of its database."""
    return folder / version / f"{urlsplit(endpoint).hostname}.sqlite"


def versions(folder: Path, endpoint: str) -> list[str]:
    """Database versions that are in the cache, oldest first."""
    found = [p.parent.name for p in folder.glob(f"*/{urlsplit(endpoint).hostname}.sqlite")]
    return sorted(
        found, key=lambda name: [int(n) if n.isdecimal() else -1 for n in name.replace("post", "").split(".")]
    )


class Cache:
    """Ids and documents of one version of the database."""

    def __init__(self, file: Path) -> None:
        self.file = file
        with self._worded():
            file.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(file, timeout=60)
            self._connection.executescript(_TABLES)

    @contextmanager
    def _worded(self) -> Iterator[None]:
        """What goes wrong with the file, in one sentence; the transaction has been undone then."""
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise InputError(
                f"crystals.mp.cache: {self.file} can't be written or read ({error}); "
                "what it held before is intact, so free some space or remove a damaged file, and run again"
            ) from error

    def pages(self, query: str) -> int:
        """How many pages of a listing are here, without a gap."""
        with self._worded():
            row = self._connection.execute("SELECT COUNT(*) FROM pages WHERE query = ?", (query,)).fetchone()
        return int(row[0])

    def listing(self, query: str) -> list[str] | None:
        """The ids of a complete listing; None if it is not complete."""
        with self._worded():
            complete = self._connection.execute("SELECT pages FROM listings WHERE query = ?", (query,)).fetchone()
            rows = self._connection.execute("SELECT ids FROM pages WHERE query = ? ORDER BY page", (query,)).fetchall()
        return None if complete is None else [id for (ids,) in rows for id in json.loads(ids)]

    def add_page(self, query: str, page: int, ids: list[str], last: bool) -> None:
        """Keep one page (counted from 0) of a listing."""
        with self._worded(), self._connection:
            self._connection.execute("INSERT OR REPLACE INTO pages VALUES (?, ?, ?)", (query, page, json.dumps(ids)))
            if last:
                self._connection.execute("INSERT OR REPLACE INTO listings VALUES (?, ?)", (query, page + 1))

    def absent(self, ids: Iterable[str], listed: bool = False) -> list[str]:
        """Those of the ids about which nothing is known yet.

        An id that the server has ``listed`` exists: that another key got nothing for it before doesn't count then.
        """
        where = " WHERE document IS NOT NULL" if listed else ""
        with self._worded():
            known = {row[0] for row in self._connection.execute(f"SELECT id FROM documents{where}")}
        return [id for id in ids if id not in known]

    def add(self, documents: Mapping[str, dict[str, Any] | None]) -> None:
        """Keep a batch of documents; None where the database has no such id."""
        rows = [
            (id, None if document is None else zlib.compress(json.dumps(document).encode()))
            for id, document in documents.items()
        ]
        with self._worded(), self._connection:
            self._connection.executemany("INSERT OR REPLACE INTO documents VALUES (?, ?)", rows)

    def document(self, id: str) -> dict[str, Any] | None:
        """The document of an id; None where the database has no such id."""
        with self._worded():
            row = self._connection.execute("SELECT document FROM documents WHERE id = ?", (id,)).fetchone()
        return None if row is None or row[0] is None else json.loads(zlib.decompress(row[0]))

    def close(self) -> None:
        """Close the file."""
        self._connection.close()
