"""Crystals that everybody knows, and one of every Bravais lattice."""

from pymatgen.core import Lattice, Structure

SILICON = Structure.from_spacegroup("Fd-3m", Lattice.cubic(5.4310), ["Si"], [[0, 0, 0]])
GOLD = Structure.from_spacegroup("Fm-3m", Lattice.cubic(4.0782), ["Au"], [[0, 0, 0]])
GALLIUM_ARSENIDE = Structure.from_spacegroup("F-43m", Lattice.cubic(5.6533), ["Ga", "As"], [[0, 0, 0], [0.25] * 3])
STRONTIUM_TITANATE = Structure.from_spacegroup(
    "Pm-3m", Lattice.cubic(3.905), ["Sr", "Ti", "O"], [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0]]
)
SAPPHIRE = Structure.from_spacegroup(
    "R-3c", Lattice.hexagonal(4.7589, 12.991), ["Al", "O"], [[0, 0, 0.35219], [0.30633, 0, 0.25]]
)

# a primitive cell of each of the 14 Bravais lattices, a = 4 Å and what the system leaves free
_METRIC = {
    "triclinic": Lattice.from_parameters(4.0, 4.6, 5.3, 81, 103, 97),
    "monoclinic": Lattice.monoclinic(4.0, 4.6, 5.3, 108),
    "orthorhombic": Lattice.orthorhombic(4.0, 4.6, 5.3),
    "tetragonal": Lattice.tetragonal(4.0, 5.3),
    "rhombohedral": Lattice.rhombohedral(4.0, 75),
    "hexagonal": Lattice.hexagonal(4.0, 5.3),
    "cubic": Lattice.cubic(4.0),
}
_CENTRINGS = {
    "P": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "C": [[0.5, -0.5, 0], [0.5, 0.5, 0], [0, 0, 1]],
    "I": [[-0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0.5, 0.5, -0.5]],
    "F": [[0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]],
}
BRAVAIS_LATTICES = {
    f"{system} {centring}": Lattice(_CENTRINGS[centring] @ _METRIC[system].matrix)
    for system, centrings in {
        "triclinic": "P",
        "monoclinic": "PC",
        "orthorhombic": "PCIF",
        "tetragonal": "PI",
        "rhombohedral": "P",
        "hexagonal": "P",
        "cubic": "PIF",
    }.items()
    for centring in centrings
}
TRICLINIC = Structure(BRAVAIS_LATTICES["triclinic P"], ["Fe", "Si"], [[0, 0, 0], [0.45, 0.52, 0.55]])
