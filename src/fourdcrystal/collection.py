"""The collected structures of a source: one parquet table that carries what was found, and why the rest was not."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fourdcrystal.crystals import structure_from_dict, structure_to_dict
from fourdcrystal.errors import InputError
from fourdcrystal.files import replaced
from fourdcrystal.sources import Entry, origin

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


def write(path: str | Path, entries: Iterable[Entry]) -> None:
    """Write entries as they come, whole or not at all; a batch at a time is in memory."""
    with replaced(path) as temporary, pq.ParquetWriter(temporary, SCHEMA, compression="zstd") as writer:
        rows: list[dict[str, Any]] = []
        for entry in entries:
            rows.append(_row(entry))
            if len(rows) == _BATCH:
                writer.write_table(pa.Table.from_pylist(rows, SCHEMA))
                rows = []
        writer.write_table(pa.Table.from_pylist(rows, SCHEMA))


def read(path: str | Path, ids: Iterable[str] | None = None) -> Iterator[Entry]:
    """The entries of a table in their order, or those with the given ids."""
    with pq.ParquetFile(path) as table:
        wanted = None if ids is None else pa.array(sorted(ids), pa.string())
        for batch in table.iter_batches(_BATCH):
            kept = batch if wanted is None else batch.filter(pc.is_in(batch["id"], value_set=wanted))
            yield from map(_entry, kept.to_pylist())


def one(path: str | Path, id: str) -> Entry:
    """The entry of one crystal.

    Raises:
        InputError: if the source didn't deliver it, or not as an ordered structure.
    """
    found = next(read(path, [id]), None)
    if found is None:
        raise InputError(f"crystals.sheet: the source doesn't offer the crystal '{id}' of the sample sheet")
    if found.structure is None:
        raise InputError(f"crystals.sheet: the crystal '{id}' can't be used: {found.detail or found.problem}")
    return found
