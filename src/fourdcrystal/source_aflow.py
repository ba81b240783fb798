"""The embedded source: crystals of the AFLOW Library of Crystallographic Prototypes, part 1, shipped with pymatgen.

288 real crystals, one for each prototype. No key, no network.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from importlib.metadata import version

from pymatgen.analysis.prototypes import AFLOW_PROTOTYPE_LIBRARY

from fourdcrystal.crystals import safe_id
from fourdcrystal.sources import Entry, ordered, origin

LICENCE = "MIT (as distributed with pymatgen)"
CITATION = (
    "M. J. Mehl et al., The AFLOW Library of Crystallographic Prototypes: Part 1, Comput. Mater. Sci. 136 (2017) "
    "S1-S828, doi:10.1016/j.commatsci.2017.01.017"
)


def class_names() -> list[str]:
    """A unique name for each prototype of the library, in its order.

    The AFLOW label, such as ``AB_cF8_216_c_a``. A label says which Wyckoff positions are taken, not where the atoms are
    on them: 24 of the 288 prototypes share theirs with another one and get their crystal's formula added, such as
    ``AB2_oP6_58_a_g-FeS2`` (marcasite) and ``AB2_oP6_58_a_g-CaCl2`` (hydrophilite).
    """
    labels = [entry["tags"]["aflow"] for entry in AFLOW_PROTOTYPE_LIBRARY]
    count = Counter(labels)
    return [
        label if count[label] == 1 else f"{label}-{entry['snl'].structure.composition.reduced_formula}"
        for label, entry in zip(labels, AFLOW_PROTOTYPE_LIBRARY, strict=True)
    ]


def entries(options: None = None, only: Mapping[str, str] | None = None) -> Iterator[Entry]:
    """The library's crystals, by their class names, with ids such as ``ZnS-AB_cF8_216_c_a``."""
    release = f"pymatgen-core {version('pymatgen-core')}"
    labelled = zip(AFLOW_PROTOTYPE_LIBRARY, class_names(), strict=True)
    for entry, name in sorted(labelled, key=lambda pair: pair[1]):
        structure, problem = ordered(entry["snl"].structure)
        formula = entry["snl"].structure.composition.reduced_formula
        identity = safe_id(f"{formula}-{entry['tags']['aflow']}")
        yield Entry(identity, structure, origin("AFLOW prototypes", name, release, LICENCE, CITATION), problem)
