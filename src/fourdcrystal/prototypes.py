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
    get_protostructure_label_from_moyopy,
    get_prototype_from_protostructure,
)
from pymatgen.core import Structure
from pymatgen.core.structure_matcher import StructureMatcher

from fourdcrystal.selection import OTHER
from fourdcrystal.source_aflow import class_names

LENGTH_TOLERANCE, SITE_TOLERANCE, ANGLE_TOLERANCE = 0.2, 0.3, 5.0  # PrototypeDatabaseMatcher's own; angle in degrees
TIGHTER, TIGHTEST = 0.8, 0.01  # factor per round, and the length tolerance at which it stops

Counts = tuple[int, ...]


@dataclass(frozen=True)
class Prototype:
    """A library entry: its class name and its reduced primitive cell."""

    name: str
    reduced: Structure


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
            self._by_counts[counts(reduced)].append(Prototype(name, reduced))
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
        matcher = StructureMatcher(LENGTH_TOLERANCE, SITE_TOLERANCE, ANGLE_TOLERANCE, primitive_cell=True)
        found = _matching(matcher, candidates, reduced)
        while len(found) > 1:
            matcher.ltol *= TIGHTER
            matcher.stol *= TIGHTER
            matcher.angle_tol *= TIGHTER
            found = _matching(matcher, candidates, reduced)
            if matcher.ltol < TIGHTEST:
                break
        return found


def reduce(structure: Structure) -> Structure:
    """The Niggli-reduced primitive cell, by the same two steps as pymatgen's matcher."""
    return PrototypeDatabaseMatcher._preprocess_structure(structure)


def _matching(matcher: StructureMatcher, candidates: list[Prototype], reduced: Structure) -> list[str]:
    return [p.name for p in candidates if matcher.fit_anonymous(p.reduced, reduced, skip_structure_reduction=True)]


@cache
def library() -> Library:
    """The library, built once per process (about 2 s)."""
    return Library()


def class_of(matches: list[str]) -> str:
    """Class of a crystal: its prototype's name, the first in the library's order if several fit, or ``other``."""
    return matches[0] if matches else OTHER


def protostructure(structure: Structure) -> str:
    """The second tier, which classifies everything: space group and Wyckoff positions in canonical form.

    Such as ``AB_cF8_216_a_c``. Found by moyopy within 0.1 Å and made canonical over the choices of origin and setting
    by pymatgen (Parackal et al., Phys. Rev. Mater. 8, 103801, 2024). It looks like an AFLOW label but can't be
    compared with those of the library, of which fewer than half are canonical.
    """
    label = get_protostructure_label_from_moyopy(structure, raise_errors=True)
    return get_prototype_from_protostructure(label)
