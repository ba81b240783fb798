"""Which structure prototype a crystal has, exactly as pymatgen's own matcher says, at a fraction of its cost.

pymatgen's ``PrototypeDatabaseMatcher`` compares a structure with every prototype of the AFLOW library. Nearly all of
these comparisons are decided by counting: an anonymous match needs the same number of sites of each element, up to
renaming, in the reduced primitive cells. The library is therefore indexed by these counts, and what fits no entry is
rejected before its cell is even reduced.
"""

from collections import defaultdict
from dataclasses import dataclass
from functools import cache
from math import gcd

from pymatgen.analysis.prototypes import (
    AFLOW_PROTOTYPE_LIBRARY,
    PrototypeDatabaseMatcher,
)
from pymatgen.core import Structure

from fourdcrystal.matching import Cell, Tolerances, fits
from fourdcrystal.sheet import OTHER
from fourdcrystal.source_aflow import class_names

TIGHTER, TIGHTEST = 0.8, 0.01  # PrototypeDatabaseMatcher's factor per round, and where the length tolerance stops it
Counts = tuple[int, ...]


@dataclass(frozen=True)
class Prototype:
    """A library entry: its class name and its reduced primitive cell."""

    name: str
    cell: Cell


def counts(structure: Structure) -> Counts:
    """How many sites each element has, in ascending order: an anonymous formula of the cell."""
    amounts: dict[str, int] = defaultdict(int)
    for site in structure:
        amounts[site.specie.symbol] += 1
    return tuple(sorted(amounts.values()))


class Library:
    """The AFLOW prototypes, indexed by how many sites of each element their reduced cells have."""

    def __init__(self) -> None:
        self._by_counts: dict[Counts, list[Prototype]] = defaultdict(list)
        for name, entry in zip(class_names(), AFLOW_PROTOTYPE_LIBRARY, strict=True):
            reduced = reduce(entry["snl"].structure)
            self._by_counts[counts(reduced)].append(Prototype(name, Cell(reduced)))
        self._by_ratio: dict[Counts, set[int]] = defaultdict(set)
        for known in self._by_counts:
            unit = gcd(*known)
            self._by_ratio[tuple(n // unit for n in known)].add(unit)

    def possible(self, structure: Structure) -> bool:
        """Whether a prototype could match. False is certain: reduction only divides all counts by one integer."""
        known = counts(structure)
        units = gcd(*known)
        return any(units % unit == 0 for unit in self._by_ratio.get(tuple(n // units for n in known), ()))

    def matches(self, structure: Structure) -> list[str]:
        """Names of the prototypes that ``PrototypeDatabaseMatcher.get_prototypes`` returns, in its order.

        If several match, all tolerances are tightened by 0.8 until a single one (or none) is left, or the length
        tolerance falls below 0.01.
        """
        if not self.possible(structure):
            return []
        reduced = reduce(structure)
        candidates = self._by_counts.get(counts(reduced), [])
        if not candidates:
            return []
        cell, tolerances = Cell(reduced), Tolerances()
        found = [p.name for p in candidates if fits(p.cell, cell, tolerances)]
        while len(found) > 1:
            tolerances = tolerances.tightened(TIGHTER)
            # all candidates again, as pymatgen does: a tighter search may pair atoms in another way
            found = [p.name for p in candidates if fits(p.cell, cell, tolerances)]
            if tolerances.length < TIGHTEST:
                break
        return found


def reduce(structure: Structure) -> Structure:
    """The Niggli-reduced primitive cell, by the same two steps as pymatgen's matcher."""
    return PrototypeDatabaseMatcher._preprocess_structure(structure)


@cache
def loaded() -> Library:
    """The library, built once per process (about 2 s)."""
    return Library()


def class_of(matches: list[str]) -> str:
    """Class of a crystal: its prototype's name, the first in the library's order if several fit, or ``other``."""
    return matches[0] if matches else OTHER
