"""The layout of a store: its arrays with their dimensions, types and units, and what its axes mean."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from fourdcrystal.orientation import Orientation

FORMAT, FORMAT_VERSION = "4D-Crystal patterns", 1

PATTERN = ("orientation", "energy", "semiangle", "thickness")
IMAGE = ("qx", "qy")
LABEL = ("orientation", "energy")

# name: dimensions, type, unit, meaning
ARRAYS: dict[str, tuple[tuple[str, ...], str, str, str]] = {
    "cbed": ((*PATTERN, *IMAGE), "float16", "1", "diffraction intensity over the vacuum probe's maximum"),
    "probe": (("energy", "semiangle", *IMAGE), "float16", "1", "vacuum probe over its maximum"),
    "vg": ((*LABEL, *IMAGE), "float16", "V", "map of the structure factors |V_g| of excited reflections"),
    "qz": (
        (*LABEL, *IMAGE),
        "float16",
        "1/Å",
        "map of the reflections' height g_z along the beam; 0 where vg is negligible",
    ),
    "intensity": (PATTERN, "float32", "1", "fraction of the beam that reaches the detector"),
    "seam_fraction": (PATTERN, "float32", "1", "fraction of the beam near the supercell's lateral seam"),
    "reflection_orientation": (("reflection",), "int32", "1", "index of the orientation"),
    "reflection_hkl": (("reflection", "index"), "int32", "1", "Miller indices h, k, l"),
    "reflection_g": (("reflection", "axis"), "float64", "1/Å", "reciprocal lattice vector in the laboratory"),
    "reflection_vg": (("reflection",), "complex64", "V", "structure factor V_g, thermal vibration included"),
    "rotation": (("orientation", "axis", "crystal_axis"), "float64", "1", "active rotation R of the crystal, r' = R r"),
    "purpose": (("orientation",), "string", "", "unrotated, zone_axis, mistilted or random"),
    "zone_axis": (("orientation", "index"), "int32", "1", "zone axis u, v, w; 0, 0, 0 for none"),
    "mistilt": (("orientation",), "float64", "rad", "angle between beam and zone axis"),
    "energy": (("energy",), "float64", "eV", "beam energy"),
    "semiangle": (("semiangle",), "float64", "mrad", "convergence semi-angle"),
    "thickness": (("thickness",), "float64", "Å", "thickness of the crystal"),
    "qx": (("qx",), "float64", "1/Å", "scattering vector along the first axis, zero at n // 2"),
    "qy": (("qy",), "float64", "1/Å", "scattering vector along the second axis, zero at n // 2"),
}
DESCRIBED = "rotation purpose zone_axis mistilt"  # coordinates that are not dimensions, as CF names them


@dataclass(frozen=True)
class Axes:
    """What the axes of a store's arrays mean.

    Attributes:
        orientations: One :class:`fourdcrystal.orientation.Orientation` each.
        energy: Beam energies [eV].
        semiangle: Convergence semi-angles [mrad].
        thickness: Exit planes [Å].
        shape: Pixels along qx and qy.
        dq: Size of a pixel [1/Å].
    """

    orientations: "Sequence[Orientation]"
    energy: Sequence[float]
    semiangle: Sequence[float]
    thickness: Sequence[float]
    shape: tuple[int, int]
    dq: float

    def sizes(self) -> dict[str, int]:
        """Length of every axis that is known before the reflections are."""
        counts = {"energy": len(self.energy), "semiangle": len(self.semiangle), "thickness": len(self.thickness)}
        fixed = {"index": 3, "axis": 3, "crystal_axis": 3, "qx": self.shape[0], "qy": self.shape[1]}
        return {"orientation": len(self.orientations), **counts, **fixed}

    def coordinates(self) -> dict[str, NDArray[Any]]:
        """The arrays that describe the axes."""
        turned = self.orientations
        return {
            "rotation": np.array([o.rotation for o in turned], dtype=np.float64),
            "purpose": np.array([o.purpose for o in turned], dtype=object),
            "zone_axis": np.array([o.zone_axis or (0, 0, 0) for o in turned], dtype=np.int32),
            "mistilt": np.array([o.mistilt for o in turned], dtype=np.float64),
            "energy": np.array(self.energy, dtype=np.float64),
            "semiangle": np.array(self.semiangle, dtype=np.float64),
            "thickness": np.array(self.thickness, dtype=np.float64),
            **{q: (np.arange(n) - n // 2) * self.dq for q, n in zip(IMAGE, self.shape, strict=True)},
        }


def asked(recipe: Mapping[str, Any]) -> dict[str, list[float]]:
    """Energies [eV], semi-angles [mrad] and thicknesses [Å] that a recipe asks for, by the names of their axes."""
    microscope = recipe["microscope"]
    values = (microscope["energy"], microscope["semiangle_cutoff"], recipe["specimen"]["thickness"])
    return dict(zip(PATTERN[1:], values, strict=True))
