"""What positions of peaks are taken to mean: the reference of strain, its axes, the camera's ellipticity."""

import math
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from pymatgen.core import Structure

from fourdcrystal.peaks import Peaks


@dataclass(frozen=True)
class Analysis:
    """How maps are made from peaks.

    Attributes:
        region: Mask of the unstrained positions, whose lattices' middle two fifths are the reference, (P,); none: all.
        crystal: Structure of the specimen, if known: gives the zone axis and absolute orientations.
        zone_axis: [uvw] of it along the beam, if known.
        absolute: Strain is relative to the crystal's own lattice, not to the median.
        ellipse: Camera's distortion M, symmetric, determinant 1, (2, 2): a true offset v from the direct beam is seen
            as M v. Or ``crystal``: whatever makes the reference lattice the crystal's.
        frame: Angle from the detector's axis 0, towards axis 1, of the axis that e_xx is along [rad]; or ``lattice``:
            along the reference's first vector.
    """

    region: np.ndarray | None = None
    crystal: Structure | None = None
    zone_axis: tuple[int, int, int] | None = None
    absolute: bool = False
    ellipse: np.ndarray | Literal["crystal"] = field(default_factory=lambda: np.eye(2))
    frame: float | Literal["lattice"] = 0.0


PLAIN = Analysis()


def ellipse(ratio: float, angle: float) -> np.ndarray:
    """Distortion M that makes a circle an ellipse of the same area, (2, 2).

    Args:
        ratio: Of the ellipse's long axis to its short one.
        angle: Of the long axis, from the detector's axis 0 towards axis 1 [rad].
    """
    c, s = math.cos(angle), math.sin(angle)
    turn = np.array([[c, -s], [s, c]])
    return turn @ np.diag([math.sqrt(ratio), 1 / math.sqrt(ratio)]) @ turn.T


def axes(distortion: np.ndarray) -> tuple[float, float]:
    """Ratio of the long axis to the short one, and the long axis' angle [rad] in [0, π), of a distortion M."""
    values, vectors = np.linalg.eigh(distortion)
    return float(values[1] / values[0]), float(np.arctan2(vectors[1, 1], vectors[0, 1]) % math.pi)


def straightened(peaks: Peaks, distortion: np.ndarray, centre: np.ndarray) -> Peaks:
    """Peaks as a camera without distortion would have seen them, the point ``centre`` [px], (2,), left where it is."""
    if np.array_equal(distortion, np.eye(2)):
        return peaks
    moved = centre + (peaks.positions - centre) @ np.linalg.inv(distortion).T
    return replace(peaks, qx_px=moved[:, 0], qy_px=moved[:, 1])


def distorted(positions: np.ndarray, distortion: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """Where the camera sees positions that are straight [px], (N, 2)."""
    return centre + (positions - centre) @ distortion.T
