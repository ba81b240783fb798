"""Where crystal structures come from: one small interface, four sources.

A source is a generator of :class:`Entry`, one for everything that it offers, also for what it can't deliver as an
ordered structure: that is counted, never lost. Each source lives in a module of its own and is imported when asked for.
"""

import importlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fourdcrystal.crystal_settings import Crystals
from fourdcrystal.errors import InputError

if TYPE_CHECKING:
    from pymatgen.core import Structure

# Why an entry can't be used. The words are counted in the census and shown in the report.
PARTIAL_OCCUPANCY = "partial occupancy"
UNREADABLE = "unreadable"
NO_ELEMENT = "species that are no chemical elements"
NO_VOLUME = "cell without volume"
NO_ATOMS = "no atoms"
MISSING = "not in the database"
DEPRECATED = "deprecated in the database"
NON_COMMERCIAL = "not for commercial use"

_LEAST_VOLUME = 0.1  # Å³ per atom; a neutral atom takes a hundred times as much


@dataclass(frozen=True)
class Entry:
    """What a source says about one crystal.

    Attributes:
        id: Safe as a file name, unique within the source, the same in every run.
        structure: As the source has it; None where ``problem`` says why there is none.
        source: name, id, database_version, licence and citation.
        problem: Empty, or why the entry can't be used: one of this module's words.
        detail: One sentence for the log where ``problem`` needs one.
    """

    id: str
    structure: "Structure | None"
    source: dict[str, str] = field(default_factory=dict)
    problem: str = ""
    detail: str = ""


def origin(name: str, id: str, database_version: str = "", licence: str = "", citation: str = "") -> dict[str, str]:
    """The ``source`` of an entry; every store carries it, so that whoever made the structure gets the credit."""
    return {
        "name": name,
        "id": id,
        "database_version": database_version,
        "licence": licence,
        "citation": citation,
    }


def ordered(structure: "Structure") -> tuple["Structure | None", str]:
    """The structure with plain elements on its sites, or None and what stands against it.

    Oxidation states and isotopes are dropped: scattering factors are those of neutral atoms.
    """
    from pymatgen.core import DummySpecies, Structure

    if not len(structure):
        return None, NO_ATOMS
    if not _LEAST_VOLUME * len(structure) <= structure.volume < math.inf:  # nor where it is no number
        return None, NO_VOLUME
    if not all(map(math.isfinite, structure.frac_coords.ravel().tolist())):
        return None, UNREADABLE
    if not structure.is_ordered:
        return None, PARTIAL_OCCUPANCY
    symbols = []
    for site in structure:
        specie = site.specie
        if isinstance(specie, DummySpecies):
            return None, NO_ELEMENT
        symbols.append("H" if specie.symbol in ("D", "T") else specie.symbol)
    return Structure(structure.lattice, symbols, structure.frac_coords), ""


def entries(crystals: Crystals, only: Mapping[str, str] | None = None) -> Iterator[Entry]:
    """Everything that the chosen source offers.

    Args:
        crystals: The section of settings that names the source and its options.
        only: The crystals of a sample sheet, what the source calls them by their ids; none: all.

    Yields:
        Entries in an order that is the same in every run.

    Raises:
        InputError: if the source can't be reached or read; nothing has been lost then.
    """
    module = importlib.import_module(f"fourdcrystal.source_{crystals.source}")
    seen: dict[str, str] = {}
    for entry in module.entries(getattr(crystals, crystals.source, None), only):
        if entry.id in seen:
            raise InputError(
                f"crystals.{crystals.source}: {entry.source.get('id')} and {seen[entry.id]} both give the crystal id "
                f"'{entry.id}'; ids must differ, so rename one of the two"
            )
        seen[entry.id] = entry.source.get("id", "")
        if only is None or entry.id in only:
            yield entry
