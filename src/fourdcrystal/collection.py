"""The collected structures of a source: one parquet table that carries what was found, and why the rest was not."""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fourdcrystal.crystal_settings import Crystals
from fourdcrystal.crystals import structure_from_dict, structure_to_dict
from fourdcrystal.errors import InputError
from fourdcrystal.files import replaced
from fourdcrystal.sources import Entry, origin
from fourdcrystal.structurefiles import members, of_source

_ORIGIN = ("name", "database_version", "licence", "citation")
SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("source_id", pa.string()),
        ("formula", pa.string()),
        pa.field("lattice", pa.list_(pa.float64()), metadata={"units": "Å", "shape": "(3, 3), rows are vectors"}),
        ("species", pa.list_(pa.string())),
        pa.field("frac", pa.list_(pa.float64()), metadata={"shape": "(sites, 3)"}),
        ("problem", pa.string()),
        ("detail", pa.string()),
        *((name, pa.string()) for name in _ORIGIN),
    ]
)
_KEY = b"collected"
_BATCH = 1000  # rows that are in memory at a time


def _row(entry: Entry) -> dict[str, Any]:
    row = {"id": entry.id, "source_id": entry.source["id"], "problem": entry.problem, "detail": entry.detail}
    row |= {name: entry.source[name] for name in _ORIGIN}
    if entry.structure is None:
        return row | {"formula": "", "lattice": [], "species": [], "frac": []}
    plain = structure_to_dict(entry.structure)
    return row | {
        "formula": entry.structure.composition.reduced_formula,
        "lattice": [x for vector in plain["lattice"] for x in vector],
        "species": plain["species"],
        "frac": [x for position in plain["frac_coords"] for x in position],
    }


def _entry(row: dict[str, Any]) -> Entry:
    structure = None
    if row["species"]:
        structure = structure_from_dict(
            {
                "lattice": [row["lattice"][i : i + 3] for i in (0, 3, 6)],
                "species": row["species"],
                "frac_coords": [row["frac"][i : i + 3] for i in range(0, len(row["frac"]), 3)],
            }
        )
    source = origin(id=row["source_id"], **{name: row[name] for name in _ORIGIN})
    return Entry(row["id"], structure, source, row["problem"], row["detail"])


def content(crystals: Crystals, only: Mapping[str, str] | None = None) -> str:
    """What a table of these crystals holds, as a key: source, options that matter, ids, and the state of own files."""
    chosen = getattr(crystals, crystals.source, None)
    options = {} if chosen is None else chosen.model_dump(mode="json", exclude={"cache", "batch", "offline"})
    files: list[Path] = []
    if crystals.source == "files":
        named = crystals.files.paths if only is None else [of_source(s) for s in only.values()]
        files = sorted({member for path in named for member in members(path)})
    states = [[str(f), f.stat().st_mtime_ns, f.stat().st_size] for f in files]
    return json.dumps([crystals.source, options, None if only is None else sorted(only.items()), states])


def holds(path: Path, key: str) -> bool:
    """Whether a table is there that was written under this key."""
    return path.exists() and (pq.read_schema(path).metadata or {}).get(_KEY) == key.encode()


def write(path: str | Path, entries: Iterable[Entry], key: str = "") -> None:
    """Write entries as they come, whole or not at all; a batch at a time is in memory.

    Args:
        path: Table to write.
        entries: What a source delivers.
        key: What :func:`content` calls it.
    """
    schema = SCHEMA.with_metadata({_KEY: key})
    with replaced(path) as temporary, pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
        rows: list[dict[str, Any]] = []
        for entry in entries:
            rows.append(_row(entry))
            if len(rows) == _BATCH:
                writer.write_table(pa.Table.from_pylist(rows, schema))
                rows = []
        writer.write_table(pa.Table.from_pylist(rows, schema))


def opened(path: str | Path, schema: pa.Schema, made_by: str) -> pq.ParquetFile:
    """A table with the columns of a schema.

    Args:
        path: Parquet file.
        schema: Its columns.
        made_by: The script that writes such tables, for the message.

    Raises:
        InputError: if it is missing, damaged, or another table.
    """
    try:
        table = pq.ParquetFile(path)
    except FileNotFoundError:
        raise InputError(f"{path}: no such table; scripts/{made_by}.py writes it") from None
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path}: can't be read as a Parquet file ({str(error).splitlines()[0]})") from error
    if table.schema_arrow.names != schema.names:
        raise InputError(f"{path}: isn't a table that scripts/{made_by}.py has written")
    return table


def read(path: str | Path, ids: Iterable[str] | None = None) -> Iterator[Entry]:
    """The entries of a table in their order, or those with the given ids.

    Raises:
        InputError: if there is no such table.
    """
    with opened(path, SCHEMA, "collect") as table:
        wanted = None if ids is None else pa.array(sorted(ids), pa.string())
        for batch in table.iter_batches(_BATCH):
            kept = batch if wanted is None else batch.filter(pc.is_in(batch["id"], value_set=wanted))
            yield from map(_entry, kept.to_pylist())


def one(path: str | Path, id: str) -> Entry:
    """The entry of one crystal.

    Raises:
        InputError: if there is no table, or the source didn't deliver the crystal, or not as an ordered structure.
    """
    found = next(read(path, [id]), None)
    if found is None:
        raise InputError(f"crystals.sheet: the source doesn't offer the crystal '{id}' of the sample sheet")
    if found.structure is None:
        raise InputError(f"crystals.sheet: the crystal '{id}' can't be used: {found.detail or found.problem}")
    return found
