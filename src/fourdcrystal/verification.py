"""Whether a data set is what it says: every byte, the contract, the physics, and the catalogue against the stores.

Checksums alone prove nothing: whoever edits a store can edit them, too. So a store whose bytes are whole is also
compared with the layout, with its recipe, and with itself.
"""

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import threadpoolctl
from numcodecs import blosc

from fourdcrystal import catalogue, checksums, contents, contract, places, stores
from fourdcrystal.errors import InputError
from fourdcrystal.files import write_text
from fourdcrystal.layout import ARRAYS
from fourdcrystal.places import Location
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


@dataclass(frozen=True)
class Verified:
    """One store, verified.

    Attributes:
        quartets: How many it holds.
        bytes: Of all its files.
        problems: All that is wrong.
    """

    quartets: int
    bytes: int
    problems: list[Problem]


def of_store(location: Location, crystal: str | None = None) -> Verified:
    """Verify a store, in one pass over its bytes.

    Args:
        location: The store.
        crystal: Id of the crystal it should be of; none: any.
    """
    place, sizes = places.at(location), {}
    count, found = 0, []
    try:
        sizes = place.sizes()
        content = stores.content(location, place)
        about, gathered = content["attributes"], content["consolidated_metadata"]["metadata"]
        if crystal is not None and about["crystal"]["id"] != crystal:
            found.append(("", f"holds the crystal {about['crystal']['id']}, not {crystal}"))
        held = contents.read(place, list(sizes), gathered)
        count = math.prod(gathered["cbed"]["shape"][:4])
        found += _of_bytes(place.read("zarr.json"), about["checksums"], held, sizes)
        found = found or list(contract.breaches(held, content))
    except InputError as error:
        found.append(("", str(error).removeprefix(f"{location}: ")))
    except Exception as error:  # whatever damaged data make a library do: the store is what is wrong
        if not found:
            found.append(("", f"can't be read ({type(error).__name__}: {error})"))
    return Verified(count, sum(sizes.values()), [Problem(str(location), array, what) for array, what in found])


def _of_bytes(
    text: bytes, recorded: Mapping[str, str], held: contents.Contents, names: Iterable[str]
) -> Iterator[tuple[str, str]]:
    """What differs from the checksums: (array, what)."""
    if checksums.of_self(text) != checksums.stated(text):
        yield "zarr.json", "differs from its checksum"
    for name in sorted({*recorded, *held.checksums, *ARRAYS} - {checksums.SELF}):
        if name not in held.checksums:
            yield name, "is missing"
        elif name not in recorded:
            yield name, "is not one of the store's arrays" if name not in ARRAYS else "has no checksum"
        elif recorded[name] != held.checksums[name]:
            yield name, "differs from its checksum"
    for stray in sorted(name for name in names if "/" not in name and name != "zarr.json"):
        yield stray, "is not part of the store"


def of_catalogue(location: Location, patterns: Location, sheet: Path | None = None) -> list[Problem]:
    """All that is wrong with a catalogue, compared with the stores themselves and with the sheet of crystals.

    Args:
        location: catalogue.parquet.
        patterns: Folder of the stores.
        sheet: crystals.csv, which says what is held out; none: splits are only checked to be consistent.

    Raises:
        InputError: if the sheet can't be used.
    """
    name = str(location)
    try:
        whole = places.content(location)
        if checksums.of_self(whole) != checksums.stated(whole):
            return [Problem(name, "", "differs from its checksum")]
        table, identities = catalogue.read(location), catalogue.identities(location)
    except (OSError, ValueError, InputError) as error:
        return [Problem(name, "", str(error).removeprefix(f"{location}: "))]
    found = [Problem(name, "split", what) for what in _of_splits(table, sheet)]
    rows = table.groupby("crystal", observed=True).indices
    for crystal in sorted({*identities, *table["crystal"].cat.categories}):
        store = places.inside(patterns, f"{crystal}.zarr")
        try:
            if checksums.identity(store) != identities.get(crystal):
                found.append(Problem(name, "", f"is stale: {store} has been made again since"))
            found += _of_rows(name, table.iloc[rows.get(crystal, [])], store)
        except FileNotFoundError:
            found.append(Problem(str(store), "", f"is missing, but {name.rpartition('/')[2]} lists its quartets"))
        except (OSError, ValueError, KeyError, InputError) as error:
            found.append(Problem(name, "", f"can't be compared with {store} ({error})"))
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


def _of_rows(path: str, mine: "pd.DataFrame", store: Location) -> list[Problem]:
    """Rows of one crystal against its store."""
    if mine.empty:
        return [Problem(path, "crystal", f"has no row of {store}")]
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
        return [Problem(path, "", f"has {len(mine)} rows of {store}, which has {len(expected)} quartets")]
    found = []
    for name in catalogue.COLUMNS:
        have, want = mine[name].astype(expected[name].dtype).to_numpy(), expected[name].to_numpy()
        if len(wrong := np.flatnonzero(have != want)):
            row = mine.index[wrong[0]]
            found.append(Problem(path, name, f"row {row} says {have[wrong[0]]}, {store} says {want[wrong[0]]}"))
    return found


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

    def write(self, path: Path) -> None:
        """Write as JSON, whole or not at all."""
        write_text(path, json.dumps(asdict(self), indent=1) + "\n")


def verify(location: Location, workers: int = 1, sheet: Path | None = None) -> Verdict:
    """Verify a store, a folder of stores, or a data set (a folder with catalogue.parquet and patterns/).

    Args:
        location: The store or folder.
        workers: Processes that share the stores.
        sheet: crystals.csv, with which a data set's splits are compared; none: the folder's own, if there is one.

    Raises:
        InputError: if there is nothing to verify, it can't be read, or the sheet can't be used.
    """
    others, problems = [], []
    members: list[tuple[Location, str | None]] = [(location, None)]
    if not str(location).rstrip("/").endswith(".zarr") and not _has(location, "zarr.json"):
        table = places.inside(location, "catalogue.parquet")
        complete = _has(location, "catalogue.parquet")
        patterns = places.inside(location, "patterns") if complete else location
        there = [name.removesuffix(".zarr") for name in places.at(patterns).folders() if _is_store(name)]
        if complete:
            problems = of_catalogue(table, patterns, sheet or _own_sheet(location))
            listed = _listed(table, there)
            others = [str(places.inside(patterns, f"{crystal}.zarr")) for crystal in there if crystal not in listed]
            there = [crystal for crystal in there if crystal in listed]
        members = [(places.inside(patterns, f"{crystal}.zarr"), crystal) for crystal in there]
    if not members and not problems:
        raise InputError(f"{location}: holds no store (*.zarr) and no catalogue.parquet; there is nothing to verify")
    of_each = _of_all(members, workers)
    return Verdict(
        stores=len(of_each),
        quartets=sum(each.quartets for each in of_each),
        bytes=sum(each.bytes for each in of_each),
        problems=sorted(problems + [problem for each in of_each for problem in each.problems]),
        others=others,
    )


def _of_all(members: Sequence[tuple[Location, str | None]], workers: int) -> list[Verified]:
    """Verify stores, in processes that share them where that is worth their start."""
    processes = min(workers, len(members))
    if processes < 2:
        return [of_store(*member) for member in members]
    # new processes, not copies of this one: its threads, an object store's above all, don't survive being copied
    with ProcessPoolExecutor(processes, get_context("spawn"), alone) as pool:
        return list(pool.map(of_store, *zip(*members, strict=True), chunksize=max(1, len(members) // (8 * processes))))


def alone() -> None:
    """Keep a process to one thread: there is one for each core."""
    threadpoolctl.threadpool_limits(1)
    blosc.set_nthreads(1)


def _is_store(name: str) -> bool:
    return name.endswith(".zarr") and not name.startswith(".")


def _has(location: Location, name: str) -> bool:
    """Whether there is a file; one that is there but can't be read must not pass for one that isn't."""
    try:
        places.at(location).part(name, 0, 1)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise InputError(f"{location}: {name} can't be read ({error})") from error
    return True


def _own_sheet(location: Location) -> Path | None:
    """The sheet beside a data set on disk, if there is one."""
    own = places.inside(location, "crystals.csv")
    return own if isinstance(own, Path) and own.exists() else None


def _listed(table: Location, there: Sequence[str]) -> set[str]:
    """Crystals of a catalogue; where it can't be read, all whose stores are there."""
    try:
        return set(catalogue.identities(table))
    except (ValueError, InputError):
        return set(there)
