"""What was fetched from a database: one SQLite file for each version of it, so that versions never mix.

A transaction holds a page of a listing or a batch of documents: after a crash or on a full disk the file has all of it
or none, and the next run asks for what is not there.
"""

import json
import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from fourdcrystal.crystals import safe_id
from fourdcrystal.errors import InputError

_TABLES = """
CREATE TABLE IF NOT EXISTS pages (query TEXT, page INTEGER, ids TEXT, following TEXT, PRIMARY KEY (query, page));
CREATE TABLE IF NOT EXISTS documents (id TEXT PRIMARY KEY, document BLOB);
"""


def _server(address: str) -> str:
    parts = urlsplit(address)
    port = f"-{parts.port}" if parts.port else ""
    return safe_id(f"{parts.hostname}{port}{parts.path.rstrip('/')}")


def path(folder: Path, address: str, version: str) -> Path:
    """The file of one server and one version of its database."""
    return folder / safe_id(version) / f"{_server(address)}.sqlite"


def versions(folder: Path, address: str) -> list[str]:
    """Database versions that are in the cache, oldest first."""
    found = [p.parent.name for p in folder.glob(f"*/{_server(address)}.sqlite")]
    return sorted(
        found, key=lambda name: [int(n) if n.isdecimal() else -1 for n in name.replace("post", "").split(".")]
    )


@dataclass(frozen=True)
class Listing:
    """What a query found, as far as it is here.

    Attributes:
        ids: In the server's order.
        pages: How many pages they came in.
        following: What leads to the next page; None: there is none, the listing is complete.
    """

    ids: list[str]
    pages: int
    following: str | None

    @property
    def complete(self) -> bool:
        """Whether all pages are here."""
        return self.following is None


class Downloads:
    """Ids and documents of one version of a database."""

    def __init__(self, file: Path, setting: str) -> None:
        """``setting`` names the folder in messages, such as ``crystals.mp.cache``."""
        self.file, self.setting = file, setting
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
                f"{self.setting}: {self.file} can't be written or read ({error}); "
                "what it held before is intact, so free some space or remove a damaged file, and run again"
            ) from error

    def listing(self, query: str) -> Listing:
        """What is here of a query; nothing yet: no ids, no pages, and an empty ``following``."""
        with self._worded():
            rows = self._connection.execute(
                "SELECT ids, following FROM pages WHERE query = ? ORDER BY page", (query,)
            ).fetchall()
        ids = [id for page, _ in rows for id in json.loads(page)]
        return Listing(ids, len(rows), rows[-1][1] if rows else "")

    def add_page(
        self,
        query: str,
        page: int,
        ids: list[str],
        following: str | None,
        documents: Mapping[str, dict[str, Any]] | None = None,
    ) -> None:
        """Keep one page (counted from 0) of a listing, with the documents that came with it."""
        with self._worded(), self._connection:
            self._keep(documents or {})
            row = (query, page, json.dumps(ids), following)
            self._connection.execute("INSERT OR REPLACE INTO pages VALUES (?, ?, ?, ?)", row)

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
        with self._worded(), self._connection:
            self._keep(documents)

    def _keep(self, documents: Mapping[str, dict[str, Any] | None]) -> None:
        rows = [
            (id, None if document is None else zlib.compress(json.dumps(document).encode()))
            for id, document in documents.items()
        ]
        self._connection.executemany("INSERT OR REPLACE INTO documents VALUES (?, ?)", rows)

    def document(self, id: str) -> dict[str, Any] | None:
        """The document of an id; None where the database has no such id."""
        with self._worded():
            row = self._connection.execute("SELECT document FROM documents WHERE id = ?", (id,)).fetchone()
        return None if row is None or row[0] is None else json.loads(zlib.decompress(row[0]))

    def __enter__(self) -> Self:
        """The file is closed at the end of the block."""
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()
