"""Space group, primitive cell and protostructure label of a crystal, by moyopy."""

import logging
from typing import cast

import moyopy
import numpy as np
from pymatgen.core import Structure

SYMPREC = 0.01  # Å; the usual tolerance for measured structures
LABEL_TOLERANCES = (0.1, 0.01, 1e-4)  # Å; the first is what pymatgen labels with
UNLABELLED = "unlabelled"

# moyopy notes for every non-primitive cell that operations of the primitive cell are left out: no matter for what is
# asked of it here
logging.getLogger("moyo").setLevel(logging.ERROR)


def spacegroup(structure: Structure) -> tuple[int, np.ndarray, int]:
    """Space group and primitive cell within 0.01 Å.

    Returns:
        The international number, lattice rows of the primitive cell [Å] (3, 3) and its number of sites; space group 1
        and the cell as it is, where moyopy finds no symmetry that is consistent.
    """
    matrix = structure.lattice.matrix
    numbers = [site.specie.Z for site in structure]
    try:
        found = moyopy.MoyoDataset(
            moyopy.Cell(matrix.tolist(), structure.frac_coords.tolist(), numbers), symprec=SYMPREC
        )
    except ValueError:
        return 1, matrix, len(numbers)
    return found.number, np.array(found.prim_std_cell.basis), len(found.prim_std_cell.numbers)


def protostructure(structure: Structure) -> str:
    """The second tier of classes, which has a name for everything: space group and Wyckoff positions.

    Such as ``AB_cF8_216_a_c``: found within 0.1 Å (less where that contradicts itself), made canonical over choices of
    origin and setting by pymatgen (Parackal et al., Phys. Rev. Mater. 8, 103801, 2024). It looks like an AFLOW label
    but can't be compared with those of the library, of which fewer than half are canonical.
    """
    # loads the whole library, seconds that orientations and colours, which use this module too, don't need
    from pymatgen.analysis.prototypes import get_protostructure_label_from_moyopy, get_prototype_from_protostructure

    for tolerance in LABEL_TOLERANCES:
        try:
            label = get_protostructure_label_from_moyopy(structure, raise_errors=True, symprec=tolerance)
        except ValueError:
            continue
        return get_prototype_from_protostructure(cast(str, label))  # none only where errors are not raised
    return UNLABELLED
