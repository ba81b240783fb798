"""The sample sheet crystals.csv: which crystals a data set has, and which of them the network never sees.

Reading it takes the standard library only, so that the workflow knows its crystals while it is being parsed.
"""

import csv
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from fourdcrystal.errors import InputError
from fourdcrystal.files import replaced

SPLITS = ("train", "validation", "test", "test_prototype")
OTHER = "other"  # the class of crystals that have no prototype of the library
ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class Row:
    """One crystal of a data set.

    Attributes:
        id: Safe as a file name.
        prototype: Name of its class.
        class_size: How many crystals the source offers in that class, within the limits.
        split: One of :data:`SPLITS`.
        formula: Reduced formula.
        spacegroup: International number.
        crystal_system: triclinic to cubic.
        protostructure: Canonical label of space group and Wyckoff positions, known also where there is no prototype.
        source_id: What the source calls it.
    """

    id: str
    prototype: str
    class_size: int
    split: str
    formula: str
    spacegroup: int
    crystal_system: str
    protostructure: str
    source_id: str


COLUMNS = tuple(f.name for f in fields(Row))


def write(path: str | Path, rows: Iterable[Row]) -> None:
    """Write a sample sheet, whole or not at all."""
    with replaced(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)


def read(path: str | Path) -> list[Row]:
    """The rows of a sample sheet.

    Raises:
        InputError: naming the file, the line and what is allowed there.
    """
    try:
        with Path(path).open(newline="") as file:
            reader = csv.DictReader(file)
            lines = list(reader)
            columns = reader.fieldnames or []
    except FileNotFoundError:
        raise InputError(f"crystals.sheet: {path} does not exist") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"crystals.sheet: {path} can't be read as a CSV file ({error})") from error
    if missing := [c for c in COLUMNS if c not in columns]:
        raise InputError(f"{path}: lacks the column {missing[0]}; a sample sheet has {', '.join(COLUMNS)}")
    if not lines:
        raise InputError(f"{path}: lists no crystal")
    rows: dict[str, Row] = {}
    for number, line in enumerate(lines, start=2):
        row = _row(line, f"{path}: line {number}")
        if row.id in rows:
            raise InputError(f"{path}: line {number}: the id {row.id} is there twice; ids must differ")
        rows[row.id] = row
    return list(rows.values())


def _row(line: dict[str, str], where: str) -> Row:
    if any(line[c] is None for c in COLUMNS):
        raise InputError(f"{where}: has fewer cells than the header")
    if not ID.fullmatch(line["id"]):
        raise InputError(f"{where}: id '{line['id']}' can't name a file; allowed are letters, digits, '.', '_' and '-'")
    if line["split"] not in SPLITS:
        raise InputError(f"{where}: split '{line['split']}' is none of {', '.join(SPLITS)}")
    cells: dict[str, Any] = {c: line[c] for c in COLUMNS}
    for column, most in (("class_size", 10**9), ("spacegroup", 230)):
        text = line[column]
        if not re.fullmatch(r"[0-9]{1,10}", text) or not 1 <= int(text) <= most:
            raise InputError(f"{where}: {column} is '{text}'; allowed are whole numbers from 1 to {most}")
        cells[column] = int(text)
    return Row(**cells)


def counts_beside(path: str | Path) -> Path:
    """Where the counts of a selection lie: ``crystals.counts.json`` beside ``crystals.csv``."""
    return Path(path).with_suffix(".counts.json")


def one(path: str | Path, id: str) -> Row:
    """The row of one crystal.

    Raises:
        InputError: if the sheet can't be read or has no such crystal.
    """
    for row in read(path):
        if row.id == id:
            return row
    raise InputError(f"{path}: has no crystal '{id}'")


def divide(ids: Sequence[str], per_job: int) -> dict[str, list[str]]:
    """Crystals that are simulated together, in the order of the sheet, by the name of their job."""
    starts = range(0, len(ids), per_job)
    return {f"{number:05d}": list(ids[start : start + per_job]) for number, start in enumerate(starts)}
