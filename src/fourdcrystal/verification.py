"""Whether a data set is what it says: every byte, the contract, the physics, and the catalogue against the stores.

Checksums alone prove nothing: whoever edits a store can edit them, too. So a store whose bytes are whole is also
compared with the layout, with its recipe, and with itself.
"""

import json
import math
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fourdcrystal import catalogue, checksums, contract, stores
from fourdcrystal.errors import InputError
from fourdcrystal.layout import ARRAYS
from fourdcrystal.sheet import OTHER, Row
from fourdcrystal.sheet import read as read_sheet

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, order=True)
class Problem:
    """Something that is wrong.

    Attributes:
        file: The store, or the catalogue.
        array: Array or column; ``zarr.json`` for a store's metadata; empty where it is the file as a whole.
        what: In words.
    """

    file: str
    array: str
    what: str

    def __str__(self) -> str:
        return f"{self.file}: {f'{self.array}: ' if self.array else ''}{self.what}"


def of_store(path: Path, crystal: str | None = None) -> list[Problem]:
    """All that is wrong with a store.

    Args:
        path: The store.
        crystal: Id of the crystal it should be of; none: any.
    """
    found = [Problem(str(path), array, what) for array, what in _of_bytes(path)]
    try:
        about = stores.metadata(path)
        if crystal is not None and about["crystal"]["id"] != crystal:
            found.append(Problem(str(path), "", f"holds the crystal {about['crystal']['id']}, not {crystal}"))
        if not found:
            found += [Problem(str(path), array, what) for array, what in contract.breaches(path, about)]
    except Exception as error:  # whatever damaged data make a library do: the store is what is wrong
        if not found:
            found.append(Problem(str(path), "", f"can't be read ({type(error).__name__}: {error})"))
    return found


def _of_bytes(path: Path) -> Iterator[tuple[str, str]]:
    """What differs from the checksums: (array, what)."""
    try:
        about = stores.metadata(path)
    except InputError as error:
        yield "", str(error).removeprefix(f"{path}: ")
        return
    text = (path / "zarr.json").read_bytes()
    try:
        if checksums.of_self(text) != checksums.stated(path / "zarr.json"):
            yield "zarr.json", "differs from its checksum"
    except ValueError:
        yield "zarr.json", "has no checksum of itself"
    recorded = about["checksums"] if isinstance(about["checksums"], dict) else {}
    on_disk = checksums.of_arrays(path)
    for name in sorted({*recorded, *on_disk, *ARRAYS} - {checksums.SELF}):
        if name not in on_disk:
            yield name, "is missing"
        elif name not in recorded:
            yield name, "is not one of the store's arrays" if name not in ARRAYS else "has no checksum"
        elif recorded[name] != on_disk[name]:
            yield name, "differs from its checksum"
    for stray in sorted(p.name for p in path.iterdir() if p.is_file() and p.name != "zarr.json"):
        yield stray, "is not part of the store"


def of_catalogue(path: Path, patterns: Path, sheet: Path | None = None) -> list[Problem]:
    """All that is wrong with a catalogue, compared with the stores themselves and with the sheet of crystals.

    Args:
        path: catalogue.parquet.
        patterns: Folder of the stores.
        sheet: crystals.csv, which says what is held out; none: splits are only checked to be consistent.

    Raises:
        InputError: if the sheet can't be used.
    """
    try:
        if checksums.of_self(path.read_bytes()) != checksums.stated(path):
            return [Problem(str(path), "", "differs from its checksum")]
        table, identities = catalogue.read(path), catalogue.identities(path)
    except (OSError, ValueError, InputError) as error:
        return [Problem(str(path), "", str(error).removeprefix(f"{path}: "))]
    found = [Problem(str(path), "split", what) for what in _of_splits(table, sheet)]
    for crystal in sorted({*identities, *table["crystal"].cat.categories}):
        mine = table[table["crystal"] == crystal]
        store = patterns / f"{crystal}.zarr"
        if not store.exists():
            found.append(Problem(str(store), "", f"is missing, but {path.name} lists its quartets"))
            continue
        try:
            if checksums.identity(store) != identities.get(crystal):
                found.append(Problem(str(path), "", f"is stale: {store} has been made again since"))
            found += _of_rows(path, mine, store)
        except (OSError, ValueError, KeyError, InputError) as error:
            found.append(Problem(str(path), "", f"can't be compared with {store} ({error})"))
    return found


def _of_splits(table: "pd.DataFrame", sheet: Path | None) -> Iterator[str]:
    """Splits that let a network see what it is tested on."""
    pairs = table[["crystal", "prototype", "split"]].drop_duplicates().astype(str)
    for crystal, splits in pairs.groupby("crystal")["split"]:
        if len(set(splits)) > 1:
            yield f"crystal {crystal} is in {' and '.join(sorted(set(splits)))}"
    for prototype, splits in pairs.groupby("prototype")["split"]:
        others = sorted(set(splits) - {"test_prototype"})
        if prototype == OTHER:
            continue  # no prototype, but what has none: its crystals are held out by their Wyckoff positions
        if others and len(others) < len(set(splits)):
            yield f"prototype {prototype} is held out, but also in {', '.join(others)}"
    if sheet is not None:
        asked = {row.id: row.split for row in read_sheet(sheet)}
        for crystal, split in zip(pairs["crystal"], pairs["split"], strict=True):
            if asked.get(crystal) != split:
                yield f"crystal {crystal} is in {split}, but {sheet} says {asked.get(crystal, 'nothing of it')}"


def _of_rows(path: Path, mine: "pd.DataFrame", store: Path) -> list[Problem]:
    """Rows of one crystal against its store."""
    if mine.empty:
        return [Problem(str(path), "crystal", f"has no row of {store}")]
    first = mine.iloc[0]
    listed = Row(
        str(first.crystal),
        str(first.prototype),
        1,
        str(first.split),
        str(first.formula),
        int(first.spacegroup),
        "",
        "",
        "",
    )
    expected = catalogue.table(catalogue.rows(store, listed)).to_pandas()
    if len(expected) != len(mine):
        return [Problem(str(path), "", f"has {len(mine)} rows of {store}, which has {len(expected)} quartets")]
    found = []
    for name in catalogue.COLUMNS:
        have, want = mine[name].astype(expected[name].dtype).to_numpy(), expected[name].to_numpy()
        if len(wrong := np.flatnonzero(have != want)):
            row = mine.index[wrong[0]]
            found.append(Problem(str(path), name, f"row {row} says {have[wrong[0]]}, {store} says {want[wrong[0]]}"))
    return found


def quartets(store: Path) -> int:
    """How many a store's metadata promise; none where they can't be read."""
    try:
        content = json.loads((store / "zarr.json").read_bytes())
        return math.prod(content["consolidated_metadata"]["metadata"]["cbed"]["shape"][:4])
    except (OSError, ValueError, KeyError, TypeError):
        return 0


@dataclass(frozen=True)
class Verdict:
    """Result of a verification."""

    stores: int
    quartets: int
    bytes: int
    problems: list[Problem]
    others: list[str] = field(default_factory=list)  # stores beside the data set, of an earlier selection or newer

    def words(self) -> str:
        """A line for each problem, and one for the whole."""
        lines = [str(problem) for problem in self.problems]
        lines += [f"{store}: is not in the catalogue, and not verified" for store in self.others]
        good = f"{len(self.problems)} problems" if self.problems else "nothing wrong"
        whole = f"{good} in {self.stores} stores, {self.quartets} quartets, {self.bytes / 1e6:.1f} MB"
        return "\n".join([*lines, whole])


def verify(path: Path, workers: int = 1, sheet: Path | None = None) -> Verdict:
    """Verify a store, a folder of stores, or a data set (a folder with catalogue.parquet and patterns/).

    Args:
        path: The store or folder.
        workers: Processes that share the stores.
        sheet: crystals.csv, with which a data set's splits are compared; none: the folder's own, if there is one.

    Raises:
        InputError: if there is nothing to verify, or the sheet can't be used.
    """
    others: list[str] = []
    if (path / "zarr.json").is_file() or path.suffix == ".zarr":
        members, problems = [path], []
    elif (path / "catalogue.parquet").exists():
        patterns = path / "patterns"
        there = sorted(patterns.glob("*.zarr"))
        listed = _listed(path / "catalogue.parquet", there)
        members = [store for store in there if store.stem in listed]
        others = [str(store) for store in there if store not in members]
        selected = path / "crystals.csv"
        sheet = selected if sheet is None and selected.exists() else sheet
        problems = of_catalogue(path / "catalogue.parquet", patterns, sheet)
    else:
        members, problems = sorted(path.glob("*.zarr")), []
    if not members and not problems:
        raise InputError(f"{path}: holds no store (*.zarr) and no catalogue.parquet; there is nothing to verify")
    with ProcessPoolExecutor(min(workers, max(1, len(members)))) as pool:
        of_each = list(pool.map(of_store, members, [None if m == path else m.stem for m in members]))
    return Verdict(
        stores=len(members),
        quartets=sum(map(quartets, members)),
        bytes=sum(f.stat().st_size for store in members for f in store.rglob("*") if f.is_file()),
        problems=sorted(problems + [problem for found in of_each for problem in found]),
        others=others,
    )


def _listed(path: Path, there: list[Path]) -> set[str]:
    """Crystals of a catalogue; where it can't be read, all whose stores are there."""
    try:
        return set(catalogue.identities(path))
    except (ValueError, InputError):
        return {store.stem for store in there}
