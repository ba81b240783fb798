"""Prototype, symmetry and measures of every collected crystal: parallel, resumable, with progress."""

import hashlib
import json
import multiprocessing
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from fourdcrystal import collection
from fourdcrystal.crystals import structure_to_dict
from fourdcrystal.files import replaced
from fourdcrystal.limits import Measures

if TYPE_CHECKING:
    from pymatgen.core import Structure

VERSION = 1  # of the results: parts of an interrupted run with another one are not taken over
Task = tuple[list[tuple[str, "Structure"]], Path]  # ids and structures, and where what they are is written
_PART = 100  # structures that one worker does at a time, and that an interruption can lose


@dataclass(frozen=True)
class Classified:
    """What a crystal is.

    Attributes:
        id: Its id.
        prototype: Class by the AFLOW library, or ``other``.
        matches: All prototypes of the library that fit; mostly one or none.
        protostructure: Canonical label of space group and Wyckoff positions.
        measures: Size, edge, shortest distance, heaviest element, space group.
    """

    id: str
    prototype: str
    matches: tuple[str, ...]
    protostructure: str
    measures: Measures


def classify(id: str, structure: "Structure") -> Classified:
    """Classify one structure."""
    from fourdcrystal import limits, prototypes, symmetry

    measures = limits.measure(structure)
    if measures.distance < limits.COINCIDENT:  # no crystal; rejected by every limit
        return Classified(id, prototypes.OTHER, (), "", measures)
    matches = prototypes.loaded().matches(structure)
    label = symmetry.protostructure(structure)
    return Classified(id, prototypes.class_of(matches), tuple(matches), label, measures)


def _flat(found: Classified) -> dict[str, Any]:
    row = asdict(found)
    return row | row.pop("measures")


def _part(task: Task) -> int:
    """Classify a part and write it; what an earlier run wrote is kept."""
    part, path = task
    if not path.exists():
        table = pa.Table.from_pylist([_flat(classify(*known)) for known in part], _SCHEMA)
        with replaced(path) as temporary:
            pq.write_table(table, temporary)
    return len(part)


_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("prototype", pa.string()),
        ("matches", pa.list_(pa.string())),
        ("protostructure", pa.string()),
        ("sites", pa.int64()),
        pa.field("edge", pa.float64(), metadata={"units": "Å"}),
        pa.field("distance", pa.float64(), metadata={"units": "Å"}),
        ("heaviest", pa.int64()),
        ("spacegroup", pa.int64()),
    ]
)


def _tasks(structures: Path, folder: Path) -> Iterator[Task]:
    part: list[tuple[str, Structure]] = []
    for entry in collection.read(structures):
        if entry.structure is None:
            continue
        part.append((entry.id, entry.structure))
        if len(part) == _PART:
            yield part, folder / _name(part)
            part = []
    if part:
        yield part, folder / _name(part)


def _name(part: list[tuple[str, "Structure"]]) -> str:
    """A part's file name tells its content, so a part of other structures can't be mistaken for it."""
    content = [VERSION, *([id, structure_to_dict(structure)] for id, structure in part)]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:24] + ".parquet"


def run(structures: Path, output: Path, workers: int) -> None:
    """Classify all collected structures.

    Args:
        structures: Table of :mod:`fourdcrystal.collection`.
        output: Table of :class:`Classified`, in the same order. Parts lie beside it until it is complete; a run that
            was interrupted goes on after the last complete part.
        workers: Processes.
    """
    folder = output.with_suffix(".parts")
    total = collection.opened(structures, collection.SCHEMA, "collect").metadata.num_rows
    paths: list[Path] = []

    def noted() -> Iterator[Task]:
        """The tasks, whose files are remembered on the way."""
        for task in _tasks(structures, folder):
            paths.append(task[1])
            yield task

    # forked workers share the library; imported before, built once
    from fourdcrystal import prototypes

    prototypes.loaded()
    with tqdm(total=total, desc="classify", unit="crystal") as bar:
        if workers == 1:
            for done in map(_part, noted()):
                bar.update(done)
        else:
            with multiprocessing.get_context("fork").Pool(workers) as pool:
                for done in pool.imap(_part, noted()):
                    bar.update(done)
    with replaced(output) as temporary, pq.ParquetWriter(temporary, _SCHEMA, compression="zstd") as writer:
        for path in paths:
            writer.write_table(pq.read_table(path))
        if not paths:
            writer.write_table(_SCHEMA.empty_table())
    shutil.rmtree(folder, ignore_errors=True)


def read(path: Path) -> Iterator[Classified]:
    """The rows of a table that :func:`run` wrote.

    Raises:
        InputError: if there is no such table.
    """
    names = [f.name for f in fields(Measures)]
    for row in collection.opened(path, _SCHEMA, "classify").read().to_pylist():
        measures = Measures(**{name: row[name] for name in names})
        yield Classified(row["id"], row["prototype"], tuple(row["matches"]), row["protostructure"], measures)
