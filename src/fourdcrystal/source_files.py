"""The microscopist's own materials: CIF, POSCAR and pymatgen JSON files, folders of them, and parquet tables.

A file that is named in the settings must be good: what is wrong with it is said at once. In folders and tables, of
which nobody looked at every member, bad ones are counted and left out.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pymatgen.core import Lattice, Structure
from pymatgen.io.cif import CifFile, CifParser
from pymatgen.io.vasp import Poscar

from fourdcrystal.crystal_settings import Files
from fourdcrystal.crystals import safe_id
from fourdcrystal.errors import InputError
from fourdcrystal.sources import PARTIAL_OCCUPANCY, UNREADABLE, Entry, ordered, origin
from fourdcrystal.structurefiles import KINDS, kind, members

MOST_SITES = 500_000  # of a CIF before equal ones are merged; Limits.max_sites bounds what is simulated
LONGEST = 200  # characters of a symmetry operation: its reader's pattern takes the cube of a number's digits
_OPERATIONS = (
    "_space_group_symop_operation_xyz",
    "_symmetry_equiv_pos_as_xyz",
    "_space_group_symop.operation_xyz",
    "_symmetry_equiv.pos_as_xyz",
)


def _read(path: Path) -> list[Structure]:
    """The structures of one file. Readers raise all sorts of exceptions; the caller words them."""
    if kind(path) == "cif":
        _check_size(path)
        return CifParser(path).parse_structures(primitive=False, on_error="raise")
    if kind(path) == "poscar":
        return [Poscar.from_file(path, check_for_potcar=False).structure]
    content = json.loads(path.read_text())
    return [Structure.from_dict(one) for one in (content if isinstance(content, list) else [content])]


def _check_size(path: Path) -> None:
    """Refuse a CIF that would keep its reader busy for hours: many sites or symmetric copies, endless operations.

    Raises:
        ValueError: saying which, and how many are read.
    """
    for block in CifFile.from_file(path).data.values():
        positions = block.data.get("_atom_site_fract_x", [])
        operations = next((block.data[name] for name in _OPERATIONS if name in block.data), [""] * 192)
        count = (1 if isinstance(positions, str) else len(positions)) * min(max(len(operations), 1), 192)
        if count > MOST_SITES:
            raise ValueError(f"up to {count} sites; at most {MOST_SITES} are read")
        longest = max(map(len, [operations] if isinstance(operations, str) else operations), default=0)
        if longest > LONGEST:
            raise ValueError(f"a symmetry operation of {longest} characters; at most {LONGEST} are read")


def structures(path: Path) -> list[Structure]:
    """The structures of one file.

    Raises:
        InputError: naming the file and the first line of what its reader said.
    """
    try:
        found = _read(path)
    except Exception as error:
        said = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(f"{path}: can't be read as {kind(path).upper()} ({said})") from error
    if not found:
        raise InputError(f"{path}: holds no structure")
    return found


def _table(path: Path, options: Files) -> Iterator[Entry]:
    """Entries of a parquet table: an id, lattice (a, b, c [Å], α, β, γ [degree], or nine numbers), species, frac."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as table:
            names = set(table.schema_arrow.names)
            key = next((n for n in ("id", "material_id") if n in names), None)
            if key is None or not {"lattice", "species", "frac"} <= names:
                raise InputError(
                    f"{path}: has the columns {', '.join(sorted(names))}; needed are id, lattice, species, frac"
                )
            for batch in table.iter_batches(1000, columns=[key, "lattice", "species", "frac"]):
                for row in batch.to_pylist():
                    yield _entry(path, row[key], row, options)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path}: can't be read as a parquet table ({str(error).splitlines()[0]})") from error


def _entry(path: Path, id: Any, row: dict[str, Any], options: Files) -> Entry:
    """The entry of a table's row."""
    if id is None:
        raise InputError(f"{path}: has a row without an id; every crystal needs one")
    source = origin("files", f"{path}#{id}", "", options.licence, options.citation)
    try:
        structure, problem = ordered(_from_row(row))
        detail = ""
    except Exception as error:
        structure, problem, detail = None, UNREADABLE, f"{path}: row {id}: {error}"
    return Entry(safe_id(str(id)), structure, source, problem, detail)


def _from_row(row: dict[str, Any]) -> Structure:
    numbers = row["lattice"]
    lattice = Lattice.from_parameters(*numbers) if len(numbers) == 6 else Lattice(numbers)
    frac = row["frac"]
    return Structure(lattice, row["species"], [frac[i : i + 3] for i in range(0, len(frac), 3)])


def entries(options: Files, only: Mapping[str, str] | None = None) -> Iterator[Entry]:
    """The structures of all files, with their file names as ids.

    Raises:
        InputError: if a path is missing, or a file that the settings name can't be read or has shared sites.
    """
    if not options.paths:
        raise InputError(f"crystals.files.paths: is empty, but source is files; allowed are folders and {KINDS}")
    for given, path in [(named, path) for named in options.paths for path in members(named)]:
        if kind(path) == "parquet":
            yield from _table(path, options)
            continue
        name = safe_id(
            path.stem if kind(path) != "poscar" or path.suffix.lower() in (".poscar", ".vasp") else path.name
        )
        try:
            found = structures(path)
        except InputError as error:
            if path == given:
                raise
            source = origin("files", str(path), "", options.licence, options.citation)
            yield Entry(name, None, source, UNREADABLE, str(error))
            continue
        for n, raw in enumerate(found, start=1):
            structure, problem = ordered(raw)
            if problem and path == given:
                raise InputError(f"{path}: has {_what(problem)}; allowed are crystals with one element on every site")
            label = str(path) if len(found) == 1 else f"{path}#{n}"
            source = origin("files", label, "", options.licence, options.citation)
            detail = f"{path}: has {_what(problem)}" if problem else ""
            yield Entry(name if len(found) == 1 else f"{name}-{n}", structure, source, problem, detail)


def _what(problem: str) -> str:
    return "sites that several elements share or that are partly empty" if problem == PARTIAL_OCCUPANCY else problem
