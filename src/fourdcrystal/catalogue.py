"""The catalogue of a data set: one row per quartet, in columns, made from the stores and the sheet of crystals.

Rows are in the order of crystals' ids and then of the stores' axes, so the same stores give the same file. The file
also holds the checksum of every store it describes: what trains on it can tell whether they are still the same.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fourdcrystal import checksums, places
from fourdcrystal.errors import InputError
from fourdcrystal.files import replaced
from fourdcrystal.layout import PATTERN
from fourdcrystal.places import Location
from fourdcrystal.reader import StoreReader
from fourdcrystal.sheet import SPLITS, Row

if TYPE_CHECKING:
    import pandas as pd

FORMAT, FORMAT_VERSION = "4D-Crystal catalogue", 1
ROW_GROUP = 1 << 20  # rows that a reader decodes at a time

# name: type, meaning. Text is stored as a dictionary: a number per row, each word once.
COLUMNS: dict[str, tuple[str, str]] = {
    "crystal": ("text", "id; the store is patterns/{crystal}.zarr"),
    "prototype": ("text", "structure prototype's class"),
    "formula": ("text", "reduced formula"),
    "spacegroup": ("int16", "international number"),
    "split": ("text", "train, validation, test (of trained prototypes) or test_prototype (held out whole)"),
    "orientation": ("int32", "index in the store"),
    "energy": ("int16", "index in the store"),
    "semiangle": ("int16", "index in the store"),
    "thickness": ("int16", "index in the store"),
    "energy_eV": ("float32", "beam energy"),
    "semiangle_mrad": ("float32", "convergence semi-angle"),
    "thickness_A": ("float32", "thickness"),
    "purpose": ("text", "unrotated, zone_axis, mistilted or random"),
    "zone_axis": ("text", "u v w; empty for none"),
    "mistilt_mrad": ("float32", "angle between beam and zone axis"),
    "intensity": ("float32", "fraction of the beam on the detector"),
    "seam_fraction": ("float32", "fraction of the beam near the supercell's lateral seam"),
}
QUALITY = ("intensity", "seam_fraction")


def rows(path: Location, listed: Row) -> dict[str, Any]:
    """Columns of one store's quartets: an array each, or one value for all.

    Raises:
        InputError: if the store can't be used, or isn't of the crystal that the sheet lists.
    """
    store = StoreReader(path)
    about = store.attributes["crystal"]
    for name in ("id", "prototype", "formula", "spacegroup"):
        if about[name] != getattr(listed, name):
            raise InputError(
                f"{path}: holds patterns of a crystal whose {name} is {about[name]}, not {getattr(listed, name)} as "
                "the sheet of crystals says"
            )
    needed = (*PATTERN[1:], "purpose", "zone_axis", "mistilt", *QUALITY)
    data = {name: store.array(name) for name in needed}
    shape = data["intensity"].shape
    index = dict(zip(PATTERN, (i.ravel() for i in np.indices(shape)), strict=True))
    turned = index["orientation"]
    zones = np.array([" ".join(map(str, z)) if z.any() else "" for z in data["zone_axis"]], dtype=object)
    return {
        "crystal": listed.id,
        "prototype": listed.prototype,
        "formula": about["formula"],
        "spacegroup": about["spacegroup"],
        "split": listed.split,
        **index,
        "energy_eV": data["energy"][index["energy"]],
        "semiangle_mrad": data["semiangle"][index["semiangle"]],
        "thickness_A": data["thickness"][index["thickness"]],
        "purpose": data["purpose"].astype(object)[turned],
        "zone_axis": zones[turned],
        "mistilt_mrad": 1e3 * data["mistilt"][turned],
        **{name: data[name].ravel() for name in QUALITY},
    }


def table(columns: Mapping[str, Any]) -> pa.Table:
    """Columns of one store, from :func:`rows`, in the types of :data:`COLUMNS`."""
    count = len(columns["orientation"])
    arrays = []
    for name, (kind, _) in COLUMNS.items():
        values = columns[name]
        if kind == "text":
            words = pa.array([values] if isinstance(values, str) else values, type=pa.string()).dictionary_encode()
            codes = (
                words.indices.take(pa.array(np.zeros(count, np.int32))) if isinstance(values, str) else words.indices
            )
            arrays.append(pa.DictionaryArray.from_arrays(codes, words.dictionary))
        else:
            arrays.append(pa.array(np.broadcast_to(values, count).astype(kind)))
    return pa.table(arrays, names=list(COLUMNS))


def build(patterns: Path, sheet: Iterable[Row]) -> pa.Table:
    """The catalogue of a folder of stores.

    Args:
        patterns: Folder with a store ``{crystal}.zarr`` for every crystal of the sheet.
        sheet: The data set's crystals (:func:`fourdcrystal.sheet.read`), in any order.

    Raises:
        InputError: if there is no crystal, or a store is missing, can't be used, or isn't of the crystal listed.
    """
    listed = sorted(sheet, key=lambda row: row.id)
    if not listed:
        raise InputError(f"{patterns}: the sheet of crystals is empty; there is nothing to catalogue")
    paths = [patterns / f"{row.id}.zarr" for row in listed]
    tables = [table(rows(path, row)) for path, row in zip(paths, listed, strict=True)]
    identities = {row.id: checksums.identity(path) for row, path in zip(listed, paths, strict=True)}
    about = {"format": FORMAT, "format_version": FORMAT_VERSION, checksums.SELF: checksums.BLANK, "stores": identities}
    whole = pa.concat_tables(tables).unify_dictionaries().combine_chunks()
    return whole.replace_schema_metadata({"fourdcrystal": json.dumps(about)})


def write(path: str | Path, made: pa.Table) -> None:
    """Write a catalogue as Parquet, whole or not at all; the same bytes for the same table."""
    about = made.schema.metadata
    with replaced(path) as temporary:
        # the schema has no metadata of its own: the checksum must be in the file once, as plain text
        with pq.ParquetWriter(temporary, made.schema.remove_metadata(), compression="zstd") as writer:
            writer.write_table(made.replace_schema_metadata(None), row_group_size=ROW_GROUP)
            writer.add_key_value_metadata(about)
        checksums.state(temporary)


def _file(path: Location) -> Any:
    """What pyarrow reads a catalogue from: the path of a file, the bytes of an object."""
    return pa.BufferReader(places.content(path)) if places.remote(path) else path


def _about(path: Location) -> dict[str, Any]:
    try:
        found = pq.read_metadata(_file(path)).metadata or {}
    except FileNotFoundError:
        raise InputError(f"{path}: no such catalogue; `snakemake catalogue` makes it") from None
    except (OSError, UnicodeDecodeError, pa.ArrowException) as error:
        raise InputError(f"{path}: can't be read as a Parquet file ({error})") from error
    try:
        about = json.loads(found.get(b"fourdcrystal", b"{}"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: is damaged; its metadata can't be read ({error})") from error
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise InputError(f"{path}: is not a catalogue of 4D-Crystal quartets")
    if about.get("format_version") != FORMAT_VERSION:
        raise InputError(
            f"{path}: has the format version {about.get('format_version')}, but this program reads {FORMAT_VERSION}; "
            "a newer 4D-Crystal may read it"
        )
    return about


def read(path: Location, splits: Iterable[str] | None = None, columns: Iterable[str] | None = None) -> "pd.DataFrame":
    """Rows of a catalogue; the index is the row number in the file. Text columns are categorical.

    Args:
        path: catalogue.parquet.
        splits: Only these; none: all.
        columns: Only these; none: all.

    Raises:
        InputError: if the file is missing, damaged, not a catalogue, or of a newer format, or a split is unknown.
    """
    wanted = None if columns is None else list(dict.fromkeys([*columns, "split"]))
    try:
        chosen = _columns(path, wanted).to_pandas(ignore_metadata=True)
    except pa.ArrowException as error:
        raise InputError(f"{path}: is damaged ({error})") from error
    if splits is not None:
        splits = list(splits)
        if unknown := set(splits) - set(SPLITS):
            raise InputError(f"split {', '.join(sorted(unknown))} is unknown; allowed are {', '.join(SPLITS)}")
        chosen = chosen[chosen["split"].isin(splits)]
    return chosen if columns is None else chosen[list(columns)]


def arrow(path: Location, split: str, columns: Iterable[str]) -> pa.Table:
    """Some columns of one split's rows, in one piece and as they are in the file, for millions of rows.

    Args:
        path: catalogue.parquet.
        split: Which rows.
        columns: Their names; ``row``, the row number in the file, is added.

    Raises:
        InputError: as :func:`read`.
    """
    whole = _columns(path, [*columns, "split"]).unify_dictionaries().combine_chunks()
    splits = whole["split"].combine_chunks()
    number = pc.index(splits.dictionary, split).as_py()
    rows = np.flatnonzero(splits.indices.to_numpy() == number)
    chosen = whole if len(rows) == len(whole) else whole.take(pa.array(rows)).combine_chunks()
    return chosen.drop_columns("split").append_column("row", pa.array(rows))


def words(column: pa.ChunkedArray) -> tuple[list[str], NDArray[np.int32]]:
    """The words of a text column that occur in it, and each row's number among them."""
    whole = column.combine_chunks()
    codes = whole.indices.to_numpy()
    used = np.flatnonzero(np.bincount(codes, minlength=len(whole.dictionary)))
    numbers = np.zeros(len(whole.dictionary), np.int32)
    numbers[used] = np.arange(len(used))
    return whole.dictionary.take(pa.array(used)).to_pylist(), numbers[codes]


def _columns(path: Location, columns: list[str] | None) -> pa.Table:
    _about(path)
    try:
        return pq.read_table(_file(path), columns=columns, memory_map=True)
    except (OSError, UnicodeDecodeError, pa.ArrowException) as error:
        raise InputError(f"{path}: is damaged ({error})") from error


def identities(path: Location) -> dict[str, str]:
    """Checksum of each store that a catalogue describes, by crystal (see :func:`fourdcrystal.checksums.identity`).

    Raises:
        InputError: as :func:`read`.
    """
    return dict(_about(path)["stores"])


def identity(path: Location) -> str:
    """One checksum of the whole data set: the catalogue's, which holds those of the stores.

    Raises:
        InputError: as :func:`read`.
    """
    return str(_about(path)[checksums.SELF])


def check_fresh(path: Location, patterns: Location, crystals: Iterable[str] | None = None) -> None:
    """Refuse a catalogue whose stores are missing or have been made again since.

    Args:
        path: catalogue.parquet.
        patterns: Folder of the stores.
        crystals: Only these; none: all.

    Raises:
        InputError: naming the first such store.
    """
    known = identities(path)
    for crystal in sorted(known if crystals is None else crystals):
        store = places.inside(patterns, f"{crystal}.zarr")
        try:
            found = checksums.identity(store)
        except FileNotFoundError:
            raise InputError(f"{store}: is missing, but {path} lists its quartets") from None
        except ValueError as error:
            raise InputError(str(error)) from None
        if found != known[crystal]:
            raise InputError(f"{path}: is stale, {store} has been made again since; make the catalogue again")
