"""How single atoms scatter electrons: Lobato's factors in volts, the interaction constant and thermal damping."""

import importlib.util
import json
import math
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fourdcrystal.electrons import REST_ENERGY, wavelength
from fourdcrystal.errors import InputError
from fourdcrystal.instrument_settings import Thermal

if TYPE_CHECKING:
    from pymatgen.core import Structure

# h² / (2π m e) [V Å²]: what turns a scattering factor in Å into the Fourier transform of a potential in V Å³
VOLTS = 47.877645

# B [Å²] of elemental crystals at 280 K: Peng, Ren, Dudarev & Whelan, Acta Cryst. A52 (1996) 456, table 1
ELEMENTAL_B = {
    "Li": 4.595, "Be": 0.404, "C": 0.142, "Na": 6.364, "Mg": 1.731, "Al": 0.746, "Si": 0.463, "K": 10.239,
    "Ca": 1.908, "Sc": 0.712, "Ti": 0.491, "V": 0.546, "Cr": 0.239, "Fe": 0.310, "Ni": 0.340, "Cu": 0.526,
    "Zn": 1.091, "Ge": 0.573, "Rb": 12.604, "Sr": 3.622, "Y": 0.817, "Zr": 0.543, "Nb": 0.429, "Mo": 0.205,
    "Pd": 0.425, "Ag": 0.702, "Sn": 1.083, "Cs": 16.770, "Ba": 2.928, "La": 1.774, "Tb": 0.966, "Ho": 0.802,
    "Ta": 0.308, "W": 0.153, "Pt": 0.356, "Au": 0.593, "Pb": 2.034, "Th": 0.698,
}  # fmt: skip
USUAL_B = 0.6  # Å²; of elements without a value of their own, as is usual in inorganic crystals at room temperature
LARGEST_B_IN_COMPOUNDS = 2.0  # Å²; soft metals (K: 10 Å²) are bound more tightly in compounds (KCl: 2 Å²)


@cache
def lobato() -> dict[str, np.ndarray]:
    """Parameters of Lobato & Van Dyck (Acta Cryst. A70 (2014) 636) by element, (2, 5): a [Å] and b [Å²].

    They are abTEM's own table, read from its folder: importing abTEM takes longer than a small crystal's potential.
    """
    spec = importlib.util.find_spec("abtem")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("abTEM, whose table of scattering factors is used, is not installed")
    folder = Path(spec.origin).parent
    table = json.loads((folder / "parametrizations" / "data" / "lobato.json").read_text())
    return {symbol: np.array(values) for symbol, values in table.items()}


def factor(symbol: str, k2: np.ndarray) -> np.ndarray:
    """Electron scattering factor of an atom at rest [Å], without the relativistic mass.

    f(k) = Σ a (2 + b k²) / (1 + b k²)²; Lobato & Van Dyck (2014), eq. 16.

    Args:
        symbol: Chemical symbol.
        k2: Squared spatial frequencies q² = 1/d² [1/Å²], any shape; NumPy or CuPy.

    Raises:
        InputError: for an element that Lobato's table doesn't have (beyond Lr).
    """
    try:
        a, b = lobato()[symbol]
    except KeyError:
        raise InputError(f"element {symbol} has no electron scattering factor; allowed are H to Lr") from None
    return sum(ai * (2 + bi * k2) / (1 + bi * k2) ** 2 for ai, bi in zip(a, b, strict=True))


def interaction(energy: float) -> float:
    """Interaction constant σ = 2π m e λ / h² [1/(V Å)] at a beam energy [eV], with the relativistic mass m.

    Kirkland, Advanced Computing in Electron Microscopy (2010), eq. 5.6; σ = λ γ / VOLTS.
    """
    return (1 + energy / REST_ENERGY) * wavelength(energy) / VOLTS


def b_factors(structure: "Structure", thermal: Thermal) -> dict[str, float]:
    """Isotropic B = 8π²⟨u²⟩ of every element [Å²]: given, from the table of elements, or zero.

    Raises:
        InputError: if a B is given for what is no element.
    """
    if unknown := sorted(set(thermal.elements) - set(lobato())):
        raise InputError(f"specimen.thermal.elements: {unknown[0]} is no element; allowed are symbols such as Si")
    symbols = sorted({site.specie.symbol for site in structure})
    if thermal.model == "none":
        return dict.fromkeys(symbols, 0.0)
    limit = LARGEST_B_IN_COMPOUNDS if len(symbols) > 1 else math.inf
    usual = {s: min(ELEMENTAL_B.get(s, USUAL_B), limit) if thermal.B is None else thermal.B for s in symbols}
    return {s: thermal.elements.get(s, b) for s, b in usual.items()}
