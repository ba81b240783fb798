"""Which crystals the network never sees: test crystals, and prototypes that are held out whole."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

from fourdcrystal.crystal_settings import Split
from fourdcrystal.seeds import generator
from fourdcrystal.sheet import OTHER


class Classed(Protocol):
    """What the splits look at: a row of the sheet, a candidate for it, a :class:`Member`."""

    @property
    def id(self) -> str:
        """Id."""

    @property
    def prototype(self) -> str:
        """Class by the AFLOW library, or ``other``."""

    @property
    def protostructure(self) -> str:
        """Label of space group and Wyckoff positions."""


class Member(NamedTuple):
    """What the splits need to know of a selected crystal; see :class:`fourdcrystal.sheet.Row`."""

    id: str
    prototype: str
    formula: str
    protostructure: str


def group(crystal: Classed) -> str:
    """Prototype of a crystal; of the class ``other``, which is none, its protostructure label."""
    return crystal.prototype if crystal.prototype != OTHER else f"{OTHER}:{crystal.protostructure}"


def families(crystals: Iterable[Classed]) -> dict[str, str]:
    """What is held out together: crystals that share a prototype or a protostructure label, also by way of others.

    The two tiers cut differently: crystals of one label can be of two prototypes, or only some of them of any, since
    the matcher and the symmetry have tolerances of their own. With either tier alone a held-out crystal could have a
    close relative among those that are trained on.

    Returns:
        Name of the family by id of the crystal: the first of its groups in alphabetical order.
    """
    crystals = list(crystals)
    above: dict[tuple[str, str], tuple[str, str]] = {}

    def root(node: tuple[str, str]) -> tuple[str, str]:
        """The node that stands for all that are tied to this one."""
        while (higher := above.setdefault(node, node)) != node:
            above[node] = above[higher]  # halves the path, so that long chains stay cheap
            node = higher
        return node

    for crystal in crystals:
        pair = root(("prototype", group(crystal))), root(("label", crystal.protostructure))
        above[max(pair)] = min(pair)
    names: dict[tuple[str, str], str] = {}
    for crystal in crystals:
        top = root(("label", crystal.protostructure))
        names[top] = min(names.get(top, group(crystal)), group(crystal))
    return {crystal.id: names[root(("label", crystal.protostructure))] for crystal in crystals}


def split(members: Sequence[Member], settings: Split, seed: int) -> dict[str, str]:
    """Split crystals into training, validation and test crystals, and prototypes that are held out whole.

    A test crystal's prototype always has a training crystal: what it shows is generalisation to new crystals, and
    test_prototype shows generalisation to new prototypes. Where every prototype has one crystal, as in the AFLOW
    library, there can be no test crystals. Crystals of one compound and prototype (databases have duplicates) stay
    together. Prototypes are held out by :func:`families`, and of large ones fewer, so that no more crystals are held
    out than as many families of mean size have.

    Args:
        members: Crystals that were selected.
        settings: Fractions, and prototypes that are held out in any case.
        seed: Seed of the run.

    Returns:
        One of ``fourdcrystal.sheet.SPLITS`` by id.
    """
    rng = generator(seed, "split")
    family = families(members)
    size = Counter(family.values())
    held_out = {family[m.id] for m in members if m.prototype in settings.hold_out}
    others = sorted(set(size) - held_out)
    number = min(round(settings.test_prototypes * len(size)), len(held_out) + max(0, len(others) - 1))
    most = number * len(members) / max(1, len(size))
    for name in (others[i] for i in rng.permutation(len(others))):
        # a large family would hold out far more crystals than the fraction
        if len(held_out) < number and sum(size[f] for f in held_out) + size[name] <= most:
            held_out.add(name)
    found = {m.id: "test_prototype" if family[m.id] in held_out else "train" for m in members}
    compounds: dict[tuple[str, str], list[str]] = defaultdict(list)
    for member in sorted(members):
        if found[member.id] == "train":
            compounds[group(member), member.formula].append(member.id)
    training = Counter(p for p, _ in compounds)  # compounds of each prototype that are left for training
    ordered = sorted(compounds, key=lambda c: compounds[c])
    drawn = [ordered[i] for i in rng.permutation(len(ordered))]
    tested = set()
    wanted = {"test": round(settings.test * len(members)), "validation": round(settings.validation * len(members))}
    for word in ("test", "validation"):
        for compound in drawn:
            ids, prototype = compounds[compound], compound[0]
            alone = training[prototype] == 1
            if found[ids[0]] != "train" or len(ids) > wanted[word] or training.total() == 1:
                continue
            if alone and (word == "test" or prototype in tested):
                continue
            found |= dict.fromkeys(ids, word)
            training[prototype] -= 1
            wanted[word] -= len(ids)
            if word == "test":
                tested.add(prototype)
    return found
