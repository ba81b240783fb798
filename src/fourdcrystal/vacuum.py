"""The vacuum probe between the pixels of its image, from its own edge.

A disk's edge is sharper than a pixel is wide, so no interpolation of the image says what a disk looks like that lies
half a pixel farther: bicubic interpolation alone costs 0.15 px of position. But the edge crosses the pixels at every
phase along its circumference, so many pixels together know its profile to a fraction of a pixel, as the slanted edge
of ISO 12233 does for a camera. The outline is a slowly varying radius R(θ); what profile and outline don't explain,
such as structure inside the aperture, is interpolated.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fourdcrystal import correlation, disks, interpolation

REACH = 4.0  # of the profile on both sides of the edge [px]
KNOT = 0.25  # spacing of the profile's knots [px]
STIFFNESS = 3e-3  # of the profile: what a unit second difference costs, over what pixels of the edge say
HARMONICS = 4  # of the outline
ROUNDS = 6  # of fitting profile and outline in turn
FINE = 8  # samples of a template per pixel: read linearly, as the profile between its knots is
FARTHEST = 3.0  # px from the middle of a crop that a template's disk can lie


@dataclass(frozen=True)
class Vacuum:
    """A vacuum probe of plateau 1 that can be placed anywhere.

    Attributes:
        centre: Its centre in its own image [px], (2,): of the outline.
        radius: Mean radius of the outline, where its area is that of the probe [px].
        outline: Cosine and sine coefficients of R(θ) - radius for the harmonics 2 to HARMONICS [px], (n, 2).
        profile: Intensity at the distances -REACH to REACH from the outline, KNOT apart, (2 REACH / KNOT + 1,).
        residual: What they don't explain, centred on n // 2, (X, Y).
    """

    centre: np.ndarray
    radius: float
    outline: np.ndarray
    profile: np.ndarray
    residual: np.ndarray

    def radii(self, rays: int) -> np.ndarray:
        """Distance of the outline from the centre at angles from the first axis to the second [px], (rays,)."""
        angle = 2 * np.pi * np.arange(rays) / rays
        m = np.arange(2, 2 + len(self.outline))[:, None]
        return self.radius + self.outline[:, 0] @ np.cos(m * angle) + self.outline[:, 1] @ np.sin(m * angle)

    def sample(self, offsets: Tensor) -> Tensor:
        """Intensity at offsets from the centre [px], (..., 2) to (...)."""
        distance = offsets.norm(dim=-1) - self.radius
        angle = torch.atan2(offsets[..., 1], offsets[..., 0])
        for m, (c, s) in enumerate(self.outline.tolist(), start=2):
            distance = distance - c * torch.cos(m * angle) - s * torch.sin(m * angle)
        table = torch.as_tensor(self.profile, dtype=offsets.dtype, device=offsets.device)
        at = ((distance + REACH) / KNOT).clamp(0, len(table) - 1.001)
        low = at.long()
        value = table[low] + (at - low) * (table[low + 1] - table[low])
        residual = torch.as_tensor(self.residual, dtype=offsets.dtype, device=offsets.device)
        return (value + interpolation.bicubic(residual, offsets)).clamp(min=0)

    def template(self, size: int, device: torch.device | str = "cpu") -> "Template":
        """The probe in crops of ``size`` pixels a side, for many centres; single precision."""
        half = size // 2 + FARTHEST
        fine = torch.linspace(-half, half, round(2 * half * FINE) + 1, dtype=torch.float64)
        image = self.sample(torch.stack(torch.meshgrid(fine, fine, indexing="ij"), -1))
        return Template(image.float().to(device), half, (disks.grid(size) / half).flip(-1).to(device))


@dataclass(frozen=True)
class Template:
    """A vacuum probe, sampled finely once, so that placing it many times costs little.

    Attributes:
        image: Intensity FINE times a pixel, from -half to half along both axes.
        half: Its half width [px].
        pixels: Of a crop, from its middle, in half widths, the last axis first, (S, S, 2).
    """

    image: Tensor
    half: float
    pixels: Tensor

    def at(self, centres: Tensor) -> Tensor:
        """Crops with the probe at centres [px from their middles], (N, 2), to (N, S, S)."""
        places = self.pixels - (centres / self.half).flip(-1)[:, None, None]
        images = self.image.expand(len(centres), 1, -1, -1)
        return torch.nn.functional.grid_sample(images, places, "bilinear", "border", align_corners=True)[:, 0]


def of_probe(probe: np.ndarray) -> Vacuum:
    """The vacuum probe of its image, (X, Y) in any unit."""
    image = np.asarray(probe, float) / correlation.plateau(probe)
    radius = correlation.radius(probe)
    centre = np.array(correlation.centre(probe))
    coefficients = np.zeros(2 * HARMONICS)  # of the outline; the first harmonic is a displacement of the centre
    grid = np.moveaxis(np.indices(image.shape), 0, -1).astype(float)
    near = np.hypot(*np.moveaxis(grid - centre, -1, 0)) < radius + REACH + 2
    pixels, value = grid[near], image[near]
    profile = np.zeros(round(2 * REACH / KNOT) + 1)
    for _ in range(ROUNDS):
        design, distance = _outline(pixels - centre, radius, coefficients)
        profile = _profile(distance, value)
        knots = np.arange(len(profile)) * KNOT - REACH
        slope = np.interp(distance, knots, np.gradient(profile, KNOT))
        # a larger radius moves the profile outwards: intensity changes by -slope δR
        rows = -slope[:, None] * design
        misfit = value - np.interp(distance, knots, profile)
        damping = 1e-3 * np.trace(rows.T @ rows) / rows.shape[1] * np.eye(rows.shape[1])
        coefficients = coefficients + np.linalg.solve(rows.T @ rows + damping, rows.T @ misfit)
        centre = centre + coefficients[:2]
        coefficients[:2] = 0
    _, distance = _outline(grid - centre, radius, coefficients)
    explained = np.interp(distance, np.arange(len(profile)) * KNOT - REACH, profile)
    residual = np.where(np.hypot(*np.moveaxis(grid - centre, -1, 0)) < radius + REACH, image - explained, 0.0)
    moved = _at_centre(residual, centre)
    return Vacuum(centre, radius, coefficients[2:].reshape(-1, 2), profile, moved)


def _at_centre(residual: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """The residual moved so that ``centre`` lies on n // 2."""
    x, y = residual.shape
    pixels = np.moveaxis(np.indices((x, y)), 0, -1)
    grid = torch.as_tensor(pixels - np.array([x // 2, y // 2]) + centre, dtype=torch.float64)
    return interpolation.bicubic(torch.as_tensor(residual), grid - torch.tensor([x // 2, y // 2])).numpy()


def _outline(offsets: np.ndarray, radius: float, coefficients: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Harmonics at the angles of offsets, (..., 2 HARMONICS), and distances from the outline, (...)."""
    x, y = np.moveaxis(offsets, -1, 0)
    angle = np.arctan2(y, x)
    design = np.stack([f(m * angle) for m in range(1, HARMONICS + 1) for f in (np.cos, np.sin)], -1)
    return design, np.hypot(x, y) - radius - design @ coefficients


def _profile(distance: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Values at the knots of the piecewise linear profile that fits pixels best and is smooth (P-spline)."""
    size = round(2 * REACH / KNOT) + 1
    at = (np.clip(distance, -REACH, REACH) + REACH) / KNOT
    low = np.minimum(at.astype(int), size - 2)
    design = np.zeros((len(at), size))
    rows = np.arange(len(at))
    design[rows, low], design[rows, low + 1] = 1 - (at - low), at - low
    bend = np.diff(np.eye(size), 2, axis=0)
    stiffness = STIFFNESS * len(at) * KNOT / (2 * REACH)
    return np.linalg.solve(design.T @ design + stiffness * bend.T @ bend + 1e-9 * np.eye(size), design.T @ value)
