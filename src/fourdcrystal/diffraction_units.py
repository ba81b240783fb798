"""Units of axes in the diffraction plane, as files name them."""

import re

from fourdcrystal.electrons import wavelength

# what one unit of an axis is in 1/Å; mrad depends on the energy
UNITS = {
    "1/å": 1.0,
    "1/a": 1.0,
    "a^-1": 1.0,
    "å^-1": 1.0,
    "å-1": 1.0,
    "a-1": 1.0,
    "1/nm": 0.1,
    "nm^-1": 0.1,
    "nm-1": 0.1,
    "1/pm": 100.0,
}


def in_inverse_angstrom(scale: float, units: str, energy: float | None) -> float | None:
    """Pixel size [1/Å] from an axis' scale and unit; None where the unit isn't one of the diffraction plane.

    Args:
        scale: Of the axis.
        units: As the file has it.
        energy: Beam energy [eV], for mrad and rad.
    """
    plain = re.sub(r"[\s$\\{}]", "", units).lower().replace("angstrom", "å").replace("⁻¹", "^-1").replace("**", "^")
    if plain in UNITS:
        return abs(scale) * UNITS[plain]
    if plain in ("mrad", "rad") and energy is not None:
        return abs(scale) * (1e-3 if plain == "mrad" else 1.0) / wavelength(energy)
    return None
