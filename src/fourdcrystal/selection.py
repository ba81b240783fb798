"""Which crystals make the data set: the square-root law.

Classes of structures differ in size by four orders of magnitude. Taking crystals in proportion would drown the rare
prototypes, taking the same number of each would waste the variety of the common ones. The law lies in between: of a
class of N crystals, √N are taken.
"""

import difflib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fourdcrystal.crystal_settings import Crystals
from fourdcrystal.errors import InputError
from fourdcrystal.seeds import generator
from fourdcrystal.sheet import OTHER, Row
from fourdcrystal.source_aflow import class_names
from fourdcrystal.splits import Member, split


@dataclass(frozen=True)
class Candidate:
    """A crystal that can be simulated; see :class:`fourdcrystal.sheet.Row` for the attributes."""

    id: str
    prototype: str
    formula: str
    spacegroup: int
    crystal_system: str
    protostructure: str
    source_id: str


def shares(weights: np.ndarray, lower: np.ndarray, upper: np.ndarray, total: int) -> np.ndarray:
    """Real-valued shares of a total, in proportion to weights as far as the bounds let them.

    Solves Σ clip(c·w, lower, upper) = total for c by bisection.

    Args:
        weights: (N,), positive.
        lower: (N,).
        upper: (N,), not below ``lower``; Σ lower ≤ total ≤ Σ upper.
        total: What to share.

    Returns:
        (N,)
    """
    low, high = 0.0, float((upper / weights).max())
    for _ in range(200):
        middle = (low + high) / 2
        if np.clip(middle * weights, lower, upper).sum() < total:
            low = middle
        else:
            high = middle
    return np.clip(high * weights, lower, upper)


def draw_whole(quotas: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Whole numbers that differ from the quotas by less than one, keep their (whole) sum and have them as their mean.

    Systematic sampling of the fractional parts in random order (Madow 1949).
    """
    whole = np.floor(quotas + 1e-9).astype(int)
    rest = np.clip(quotas - whole, 0, None)
    missing = round(float(quotas.sum())) - int(whole.sum())
    if missing == 0:
        return whole
    order = rng.permutation(len(quotas))
    ends = np.cumsum(rest[order])
    ends *= missing / ends[-1]
    picked = np.searchsorted(ends, rng.uniform(0, 1) + np.arange(missing), side="right")
    whole[order[np.minimum(picked, len(order) - 1)]] += 1
    return whole


def law(sizes: Mapping[str, int], crystals: Crystals, systems: Mapping[str, str], seed: int) -> dict[str, int]:
    """How many crystals of each class are taken: n = round(√N), or √N scaled to a wanted total, within the bounds.

    Args:
        sizes: Number of candidates N of each class.
        crystals: total, per_class_min, per_class_max, stratify and split.hold_out are used.
        systems: Crystal system of each class; with ``stratify`` a total smaller than all classes is first shared among
            these, at least one for each.
        seed: Seed of the run.

    Raises:
        InputError: if the total is below what the least numbers ask for, or beyond what there is.
    """
    names = sorted(sizes)
    size = np.array([sizes[n] for n in names])
    least = np.array([max(crystals.per_class_min, n in crystals.split.hold_out) for n in names])
    most = np.full(len(names), crystals.per_class_max or size.max())
    upper = np.minimum(size, np.maximum(most, least))
    lower = np.minimum(size, least)
    if crystals.total is None:
        taken = np.clip(np.round(np.sqrt(size)).astype(int), lower, upper)
        return dict(zip(names, taken.tolist(), strict=True))
    if crystals.total < lower.sum():
        raise InputError(
            f"crystals.total: {crystals.total} is fewer than the {lower.sum()} that per_class_min "
            f"{crystals.per_class_min} asks for in {len(names)} classes; allowed are a larger total or per_class_min: 0"
        )
    if crystals.total > upper.sum():
        raise InputError(
            f"crystals.total: {crystals.total} is more than the {upper.sum()} crystals that the source, limits and "
            "per_class_max leave to choose from"
        )
    quotas = shares(np.sqrt(size), lower, upper, crystals.total)
    rng = generator(seed, "selection", "classes")
    if not crystals.stratify:
        return dict(zip(names, draw_whole(quotas, rng).tolist(), strict=True))
    taken = np.zeros(len(names), int)
    member = np.array([systems[n] for n in names])
    kinds = np.unique(member)
    bounds = [(lower[member == k].sum(), upper[member == k].sum()) for k in kinds]
    one = int(sum(max(1, low) for low, _ in bounds) <= crystals.total)  # one of each system, where the total allows
    per_system = largest_remainder(
        shares(
            np.array([quotas[member == k].sum() for k in kinds]),
            np.array([max(one, low) for low, _ in bounds]),
            np.array([high for _, high in bounds]),
            crystals.total,
        )
    )
    for kind, number in zip(kinds, per_system, strict=True):
        here = member == kind
        inner = shares(np.sqrt(size[here]), lower[here], upper[here], int(number))
        taken[here] = draw_whole(inner, rng)
    return dict(zip(names, taken.tolist(), strict=True))


def largest_remainder(quotas: np.ndarray) -> np.ndarray:
    """Whole numbers with the quotas' sum: rounded down, then one more for the largest remainders (Hamilton)."""
    whole = np.floor(quotas + 1e-9).astype(int)
    missing = round(float(quotas.sum())) - int(whole.sum())
    whole[np.argsort(whole - quotas, kind="stable")[:missing]] += 1
    return whole


def choose(members: Sequence[Candidate], number: int, stratify: bool, rng: np.random.Generator) -> list[Candidate]:
    """Draw a class's crystals without replacement; ``stratify`` draws from its crystal systems in proportion."""
    shuffled = [members[i] for i in rng.permutation(len(members))]
    if not stratify:
        return shuffled[:number]
    of_system: dict[str, list[Candidate]] = defaultdict(list)
    for candidate in shuffled:
        of_system[candidate.crystal_system].append(candidate)
    kinds = sorted(of_system)
    numbers = largest_remainder(np.array([len(of_system[k]) for k in kinds]) * number / len(members))
    return [c for k, n in zip(kinds, numbers, strict=True) for c in of_system[k][:n]]


def select(candidates: Sequence[Candidate], crystals: Crystals, seed: int) -> list[Row]:
    """The sample sheet: crystals by the square-root law, each with its split, sorted by id.

    The draw within a class depends on the seed and that class alone.

    Raises:
        InputError: if nothing is left to select, a prototype to be held out is unknown, or the total can't be met.
    """
    classes: dict[str, list[Candidate]] = defaultdict(list)
    for candidate in sorted(candidates, key=lambda c: c.id):
        if crystals.other or candidate.prototype != OTHER:
            classes[candidate.prototype].append(candidate)
    if not classes:
        raise InputError(
            f"crystals: source '{crystals.source}' leaves no crystal to select; allowed are wider crystals.limits, "
            "other structures, or other: true"
        )
    # a prototype of the library that no crystal here has is held out already: one list serves several sources; not so
    # where classes are protostructure labels, which look like its names but can't be compared with them
    absent = class_names() if crystals.classes == "aflow" else []
    for name in sorted(set(crystals.split.hold_out).difference(classes, absent)):
        close = difflib.get_close_matches(name, classes, n=1)
        hint = f"did you mean '{close[0]}'?" if close else f"there are {len(classes)} others"
        raise InputError(f"crystals.split.hold_out: no crystal within the limits has the prototype '{name}'; {hint}")
    systems = {
        name: Counter(c.crystal_system for c in members).most_common(1)[0][0] for name, members in classes.items()
    }
    taken = law({name: len(members) for name, members in classes.items()}, crystals, systems, seed)
    chosen = [
        candidate
        for name in sorted(classes)
        for candidate in choose(classes[name], taken[name], crystals.stratify, generator(seed, "selection", name))
    ]
    if not chosen:
        raise InputError("crystals: the selection is empty; allowed are a larger per_class_min or total")
    splits = split([Member(c.id, c.prototype, c.formula, c.protostructure) for c in chosen], crystals.split, seed)
    return [
        Row(
            id=c.id,
            prototype=c.prototype,
            class_size=len(classes[c.prototype]),
            split=splits[c.id],
            formula=c.formula,
            spacegroup=c.spacegroup,
            crystal_system=c.crystal_system,
            protostructure=c.protostructure,
            source_id=c.source_id,
        )
        for c in sorted(chosen, key=lambda c: c.id)
    ]
