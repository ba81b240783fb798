"""A crystal: what every later stage knows about it, and the JSON file that carries it."""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pymatgen.core import Lattice, Structure
from pymatgen.core.structure import StructureError

from fourdcrystal.errors import InputError
from fourdcrystal.files import write_text
from fourdcrystal.sheet import ID, Row
from fourdcrystal.sources import Entry

SYSTEMS = ("triclinic", "monoclinic", "orthorhombic", "tetragonal", "trigonal", "hexagonal", "cubic")
_FORMAT = "fourdcrystal crystal 1"


@dataclass(frozen=True)
class Crystal:
    """An ordered crystal structure with its class and its origin.

    Attributes:
        id: Safe as a file name, and the same in every run.
        structure: As the source has it (not reduced, not rotated), one element per site.
        prototype: Name of the structure prototype's class.
        spacegroup: International number, 1 to 230.
        crystal_system: One of :data:`SYSTEMS`.
        source: name, id, database_version, licence and citation: where it comes from.
    """

    id: str
    structure: Structure
    prototype: str
    spacegroup: int
    crystal_system: str
    source: dict[str, str] = field(default_factory=dict)

    @property
    def formula(self) -> str:
        """Reduced formula, such as SrTiO3."""
        return self.structure.composition.reduced_formula


def safe_id(name: str) -> str:
    """A crystal's id made from a name: what can't be in a file name becomes ``-``."""
    made = re.sub(r"[^A-Za-z0-9._-]+", "-", name).lstrip("._-")
    return made or "crystal"


def crystal_system(spacegroup: int) -> str:
    """Crystal system of an international space group number (International Tables A, table 2.1.1.1)."""
    for last, system in zip((2, 15, 74, 142, 167, 194, 230), SYSTEMS, strict=True):
        if 1 <= spacegroup <= last:
            return system
    raise ValueError(f"space group {spacegroup} is not between 1 and 230")


def listed(row: Row, entry: Entry) -> Crystal:
    """The crystal that a row of the sample sheet means, with the structure that the source delivered.

    Raises:
        InputError: if the source now has another compound under that id than when the sheet was made, or nothing that
            can be used.
    """
    if entry.structure is None:
        raise InputError(
            f"crystals.sheet: '{row.id}' is {row.formula} in the sample sheet but can't be used any more "
            f"({entry.problem}); make a new sheet or use the old database version"
        )
    formula = entry.structure.composition.reduced_formula
    if formula != row.formula:
        raise InputError(
            f"crystals.sheet: '{row.id}' is {row.formula} in the sample sheet but {formula} in the source; "
            "the source has changed, so make a new sheet or use the old database version"
        )
    return Crystal(row.id, entry.structure, row.prototype, row.spacegroup, row.crystal_system, entry.source)


def structure_to_dict(structure: Structure) -> dict[str, Any]:
    """Lattice rows [Å], elements and fractional coordinates as plain lists."""
    return {
        "lattice": structure.lattice.matrix.tolist(),
        "species": [site.specie.symbol for site in structure],
        "frac_coords": structure.frac_coords.tolist(),
    }


def structure_from_dict(content: dict[str, Any]) -> Structure:
    """The structure that :func:`structure_to_dict` described; numbers survive bit for bit."""
    return Structure(Lattice(content["lattice"]), content["species"], content["frac_coords"])


def write(path: str | Path, crystal: Crystal) -> None:
    """Write a crystal as JSON (lengths in Å), whole or not at all."""
    content = {
        "format": _FORMAT,
        "id": crystal.id,
        "formula": crystal.formula,
        "prototype": crystal.prototype,
        "spacegroup": crystal.spacegroup,
        "crystal_system": crystal.crystal_system,
        "source": crystal.source,
        "structure": structure_to_dict(crystal.structure),
    }
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def read(path: str | Path) -> Crystal:
    """Read a crystal that :func:`write` wrote.

    Raises:
        InputError: if the file is missing, damaged or of another format, or its id can't name a file.
    """
    try:
        content = json.loads(Path(path).read_text())
    except FileNotFoundError:
        raise InputError(f"{path}: no such crystal file") from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: can't be read as a crystal file ({error})") from error
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise InputError(f"{path}: is not a crystal file of this program (no format '{_FORMAT}')")
    try:
        structure = structure_from_dict(content["structure"])
        made = Crystal(
            id=str(content["id"]),
            structure=structure,
            prototype=str(content["prototype"]),
            spacegroup=int(content["spacegroup"]),
            crystal_system=str(content["crystal_system"]),
            source={str(name): str(value) for name, value in content["source"].items()},
        )
    except (AttributeError, KeyError, TypeError, ValueError, StructureError) as error:
        raise InputError(f"{path}: is damaged ({type(error).__name__}: {error})") from error
    if not (np.isfinite(structure.lattice.matrix).all() and np.isfinite(structure.frac_coords).all()):
        raise InputError(f"{path}: is damaged: the structure has numbers that are not finite")
    if not structure.volume > 0:
        raise InputError(f"{path}: is damaged: the cell has no volume")
    if not ID.fullmatch(made.id):
        raise InputError(f"{path}: the id {made.id!r} can't name a file; allowed are letters, digits, '.', '_' and '-'")
    return made
