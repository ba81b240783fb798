"""Strain and rotation of the crystal from its reciprocal lattice, with uncertainties.

Measured basis vectors are those of a reference under G = G₀ Fᵀ (rows). The crystal's deformation in real space is
A = F⁻ᵀ = V R: stretch V in the laboratory's frame after a rotation R. Strain is V - 1, rotation θ the angle of R,
positive from axis 0 towards axis 1.
"""

import math
from dataclasses import dataclass

import numpy as np

from fourdcrystal.lattice import Lattices

COMPONENTS = ("e_xx", "e_yy", "e_xy", "theta")
CUT = 0.3  # of the patterns, off either end of a median


@dataclass(frozen=True)
class Strain:
    """Strain of each pattern; NaN where no lattice could be fitted.

    Attributes:
        values: e_xx, e_yy, e_xy (tensor, not engineering shear) and θ [rad], (P, 4). x is the detector's axis 0.
        covariance: Of the distortion's slopes along x and y, (P, 2, 2): the same for what either axis of the detector
            sees of them, and what one sees is independent of the other.
    """

    values: np.ndarray
    covariance: np.ndarray

    @property
    def sigma(self) -> np.ndarray:
        """Standard uncertainties of the values, (P, 4)."""
        xx, yy = self.covariance[:, 0, 0], self.covariance[:, 1, 1]
        shear = (xx + yy) / 4  # of F_xy and F_yx, which are independent
        return np.sqrt(np.stack([xx, yy, shear, shear], axis=-1))

    def where(self, patterns: np.ndarray) -> "Strain":
        """The same in some patterns, (P,) bool, and NaN elsewhere."""
        nowhere = ~patterns
        return Strain(
            np.where(nowhere[:, None], np.nan, self.values), np.where(nowhere[:, None, None], np.nan, self.covariance)
        )


def reference(lattices: Lattices, region: np.ndarray | None = None) -> np.ndarray:
    """Reference basis: the middle over all patterns, or over those of a region, (2, 2) [px]; NaN without a lattice.

    Of each component the mean of the middle two fifths of the patterns: in a scan of few patterns the median is one of
    them, and the error of that one would be in the strain of all.

    Args:
        lattices: Fitted lattices.
        region: Mask of the patterns that count as unstrained, (P,); none: all.
    """
    used = lattices.fitted if region is None else lattices.fitted & region
    if not used.any():
        return np.full((2, 2), np.nan)
    ordered = np.sort(lattices.vectors[used], axis=0)
    cut = min(math.ceil(CUT * len(ordered)), (len(ordered) - 1) // 2)
    return ordered[cut : len(ordered) - cut].mean(0)


def of_distortion(distortion: np.ndarray) -> np.ndarray:
    """e_xx, e_yy, e_xy and θ [rad], (..., 4), of reciprocal-space distortions F, (..., 2, 2)."""
    finite = np.isfinite(distortion).all((-2, -1))
    safe = np.where(finite[..., None, None], distortion, np.eye(2))
    deformation = np.linalg.inv(safe).swapaxes(-1, -2)
    left, singular, right = np.linalg.svd(deformation)
    stretch = left @ (singular[..., None] * left.swapaxes(-1, -2))
    rotation = left @ right
    theta = np.arctan2(rotation[..., 1, 0], rotation[..., 0, 0])
    strain = np.stack([stretch[..., 0, 0] - 1, stretch[..., 1, 1] - 1, stretch[..., 0, 1], theta], axis=-1)
    return np.where(finite[..., None], strain, np.nan)


def of_lattices(lattices: Lattices, basis: np.ndarray) -> Strain:
    """Strain of every pattern relative to a reference basis [px], rows, (2, 2)."""
    inverse = np.linalg.inv(basis)
    transposed = inverse @ lattices.vectors  # Fᵀ
    values = of_distortion(transposed.swapaxes(-1, -2))
    # rows of Fᵀ are linear in (a, b): covariance of its column for each detector axis
    return Strain(values, inverse @ lattices.covariance[:, 1:, 1:] @ inverse.T)


def in_frame(strain: Strain, angle: float) -> Strain:
    """The same strain in axes turned by an angle [rad] from axis 0 towards axis 1; θ stays."""
    c, s = np.cos(angle), np.sin(angle)
    xx, yy, xy, theta = strain.values.T
    values = [
        c * c * xx + s * s * yy + 2 * c * s * xy,
        s * s * xx + c * c * yy - 2 * c * s * xy,
        c * s * (yy - xx) + (c * c - s * s) * xy,
        theta,
    ]
    turn = np.array([[c, s], [-s, c]])
    return Strain(np.stack(values, axis=-1), turn @ strain.covariance @ turn.T)
