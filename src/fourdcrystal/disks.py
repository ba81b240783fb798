"""Bragg disks with known centres and with contrast inside, by the batch: what sub-pixel refinement learns from.

A crop holds one disk near its middle and its neighbours on a lattice. Contrast inside disks is cut from rocking maps
(:mod:`fourdcrystal.rocking`), so it is what dynamical diffraction makes of real crystals, or it is made up: smooth at
random, thickness fringes of a two-beam rocking curve, excess and deficiency lines. Counting noise and background come
last, so that one expected crop is seen at many doses.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

WAVES = 4  # cosines that make a random smooth field
REACH = 2  # neighbours along each lattice vector, either way
NEAREST = 9  # disks that are drawn, the nearest ones: others are outside the crop but for the smallest lattices
RADIUS = (2.5, 11.0)  # px
EDGE = (0.2, 0.7)  # px; width of the logistic edge
APERTURE = (3.0, 30.0)  # radius of a disk over the spacing of a rocking map's directions
ELECTRONS = (15.0, 2e6)  # in the disk
BACKGROUND = (1e-3, 1.5)  # mean of its plane over the mean inside the disk
FAULTY = 0.1  # share of crops with dead, weak and hot pixels
FAULTS = (0.0, 0.0, 0.5, 2.0, 5.0)  # what such pixels count, over what they should; three in a crop


@dataclass(frozen=True)
class Disks:
    """Crops of patterns around disks, as expected without noise.

    Attributes:
        expected: Intensity, the disk's own sum being 1, (B, S, S).
        offset: Disk's centre from the middle of the crop, S // 2 [px], (B, 2).
        radius: Of the probe [px], (B,).
        edge: Width of its logistic edge [px], (B,).
        stretch: What makes the outline an ellipse, (B, 2, 2).
    """

    expected: Tensor
    offset: Tensor
    radius: Tensor
    edge: Tensor
    stretch: Tensor

    def __len__(self) -> int:
        return len(self.radius)

    def where(self, index: Tensor) -> "Disks":
        """Some of the crops."""
        return Disks(*(getattr(self, field.name)[index] for field in fields(self)))

    @classmethod
    def joined(cls, parts: Sequence["Disks"]) -> "Disks":
        """Several batches as one."""
        return cls(*(torch.cat([getattr(part, field.name) for part in parts]) for field in fields(cls)))

    def probe(self, centre: Tensor) -> Tensor:
        """The vacuum probe of each crop with plateau 1 at ``centre`` [px from the middle], (B, 2), (B, S, S)."""
        local = grid(self.expected.shape[-1]) - centre[:, None, None]
        return shape(local[:, None], self.radius, self.edge, self.stretch)[:, 0]

    def radii(self, rays: int) -> Tensor:
        """Distance of the outline from the centre at angles from the first axis to the second [px], (B, rays)."""
        angle = 2 * math.pi * torch.arange(rays) / rays
        normal = torch.stack([angle.cos(), angle.sin()], -1)
        return self.radius[:, None] / torch.einsum("bij,rj->bri", self.stretch, normal).norm(dim=-1)

    def counts(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Counts at random doses and backgrounds, (B, S, S), and the electrons expected in each disk, (B,)."""
        count, size = len(self), self.expected.shape[-1]
        electrons = decades(ELECTRONS, generator, count)
        area = math.pi * self.radius**2
        tilt = torch.randn(count, 1, 1, 2, generator=generator)
        plane = (1 + (grid(size) * tilt).sum(-1) / size).clamp(min=0.2)
        level = decades(BACKGROUND, generator, count) / area
        expected = self.expected + level[:, None, None] * plane
        counts = torch.poisson(expected * electrons[:, None, None], generator=generator)
        return _with_faults(counts, generator), electrons


class Rocking:
    """Rocking maps of many crystals, (maps, thickness, reflection, n, n), from the files of a folder."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.maps = torch.stack([torch.from_numpy(np.load(path)["relative"]) for path in paths])

    def contrast(self, local: Tensor, generator: torch.Generator) -> Tensor:
        """Intensity inside disks, 1 on average, (B, D, S, S); one crystal and thickness for all disks of a crop.

        Args:
            local: Positions from each disk's centre in units of its radius, (B, D, S, S, 2).
            generator: Source of randomness.
        """
        crops, disks, size = local.shape[:3]
        maps, thicknesses, reflections, side = self.maps.shape[:4]

        def pick(most: int, *shape: int) -> Tensor:
            """Random whole numbers below a limit."""
            return torch.randint(most, shape, generator=generator)

        aperture = decades(APERTURE, generator, crops).clamp(max=side / 2 - 3)
        room = (side / 2 - 1 - aperture)[:, None]
        tilt = room * (2 * torch.rand(crops, 2, generator=generator) - 1)
        turn = _rotation(2 * math.pi * torch.rand(crops, generator=generator))
        panels = self.maps[pick(maps, crops, 1), pick(thicknesses, crops, 1), pick(reflections, crops, disks)].float()
        at = torch.einsum("bij,bdxyj->bdxyi", turn, local.clamp(-1.5, 1.5)) * aperture[:, None, None, None, None]
        unit = (at + tilt[:, None, None, None]) / ((side - 1) / 2)
        flat = unit.reshape(crops * disks, size, size, 2).flip(-1)
        panels = panels.reshape(crops * disks, 1, side, side)
        made = torch.nn.functional.grid_sample(panels, flat, "bilinear", "border", align_corners=True)
        made = made.reshape(crops, disks, size, size)
        inside = (local.norm(dim=-1) < 1).float()
        return made / (
            (made * inside).sum((-2, -1), keepdim=True) / inside.sum((-2, -1), keepdim=True).clamp(min=1)
        ).clamp(min=1e-6)


def draw(count: int, generator: torch.Generator, size: int, rocking: Rocking | None = None) -> Disks:
    """Draw crops with random probes, lattices and contrast.

    Args:
        count: Crops B.
        generator: Source of all randomness.
        size: Side of a crop S [px], odd.
        rocking: Where contrast is cut from; none: made up.
    """

    def uniform(low: float, high: float, *more: int) -> Tensor:
        """Uniform random numbers for each crop, (B, ...)."""
        return low + (high - low) * torch.rand(count, *more, generator=generator)

    radius, edge = decades(RADIUS, generator, count), uniform(*EDGE)
    stretch = _ellipse(uniform(0, 0.1), uniform(0, math.pi))
    offset = uniform(-0.5, 0.5, 2)
    centres = offset[:, None] + _lattice(radius, uniform(0, 1, 6))  # (B, D, 2) from the middle, the disk itself first
    local = grid(size) - centres[:, :, None, None]  # (B, D, S, S, 2) from each disk's own centre
    in_radii = local / radius[:, None, None, None, None]
    contrast = _made_up(in_radii, generator) if rocking is None else rocking.contrast(in_radii, generator)
    brightness = torch.exp(uniform(0.3, 1.5, 1) * torch.randn(count, centres.shape[1], generator=generator))
    each = shape(local, radius, edge, stretch) * contrast
    own = each[:, 0].sum((-2, -1)).clamp(min=1e-6)
    brightness[:, 0] = 1
    expected = (brightness[..., None, None] * each).sum(1) / own[:, None, None]
    return Disks(expected, offset, radius, edge, stretch)


def _with_faults(counts: Tensor, generator: torch.Generator) -> Tensor:
    """Counts (B, S, S), in some of them three pixels dead, weak or hot."""
    crops, size = counts.shape[:2]
    some = torch.nonzero(torch.rand(crops, generator=generator) < FAULTY)[:, 0]
    where = torch.randint(size * size, (len(some), 3), generator=generator)
    gain = torch.tensor(FAULTS)[torch.randint(len(FAULTS), where.shape, generator=generator)]
    flat = counts.reshape(crops, -1)
    flat[some[:, None], where] = flat[some[:, None], where] * gain
    return flat.reshape(counts.shape)


def decades(limits: tuple[float, float], generator: torch.Generator, *shape: int) -> Tensor:
    """Log-uniform random numbers."""
    low, high = limits
    return low * (high / low) ** torch.rand(*shape, generator=generator)


def grid(size: int) -> Tensor:
    """Pixels from the middle of a crop [px], (S, S, 2)."""
    axis = torch.arange(size, dtype=torch.float32) - size // 2
    return torch.stack(torch.meshgrid(axis, axis, indexing="ij"), -1)


def shape(local: Tensor, radius: Tensor, edge: Tensor, stretch: Tensor) -> Tensor:
    """Probe's intensity at positions from its centre (B, D, S, S, 2), (B, D, S, S)."""
    r = torch.einsum("bij,bdxyj->bdxyi", stretch, local).norm(dim=-1)
    return torch.sigmoid((radius[:, None, None, None] - r) / edge[:, None, None, None])


def _rotation(angle: Tensor) -> Tensor:
    c, s = torch.cos(angle), torch.sin(angle)
    return torch.stack([torch.stack([c, -s], -1), torch.stack([s, c], -1)], -2)


def _ellipse(ratio: Tensor, angle: Tensor) -> Tensor:
    """Symmetric matrices that shorten radii along one direction, (B, 2, 2)."""
    n = torch.stack([torch.cos(angle), torch.sin(angle)], -1)
    return torch.eye(2) - (ratio / (1 + ratio))[:, None, None] * n[:, :, None] * n[:, None, :]


def _lattice(radius: Tensor, u: Tensor) -> Tensor:
    """Positions of the disk and its neighbours [px], (B, D, 2), from random numbers u (B, 6)."""
    lengths = radius[:, None] * (1.9 + 5 * u[:, :2] ** 2)
    first, between = 2 * math.pi * u[:, 2], math.radians(50) + math.radians(80) * u[:, 3]
    a = lengths[:, :1] * torch.stack([torch.cos(first), torch.sin(first)], -1)
    b = lengths[:, 1:] * torch.stack([torch.cos(first + between), torch.sin(first + between)], -1)
    steps = range(-REACH, REACH + 1)
    hk = torch.tensor(sorted(((h, k) for h in steps for k in steps), key=lambda p: p[0] ** 2 + p[1] ** 2))
    places = hk[None, :, :1] * a[:, None] + hk[None, :, 1:] * b[:, None]
    nearest = places.norm(dim=-1).argsort(dim=1)[:, :NEAREST]
    return places.gather(1, nearest[..., None].expand(-1, -1, 2))


def _made_up(local: Tensor, generator: torch.Generator) -> Tensor:
    """Intensity inside disks, about 1 on average, (B, D, S, S).

    Args:
        local: Positions from each disk's centre in units of its radius, (B, D, S, S, 2).
        generator: Source of randomness.
    """
    shape = local.shape[:2]

    def uniform(low: float, high: float, *more: int) -> Tensor:
        """Uniform random numbers for each disk, (B, D, ...)."""
        return low + (high - low) * torch.rand(*shape, *more, generator=generator)

    def directed(angle: Tensor) -> Tensor:
        """Distance from each disk's centre along a direction [radii], (B, D, S, S)."""
        n = torch.stack([torch.cos(angle), torch.sin(angle)], -1)
        return (local * n[:, :, None, None]).sum(-1)

    def over(values: Tensor) -> Tensor:
        """One number for all pixels of a disk."""
        return values[..., None, None]

    # crops are alike inside: one kind of contrast for all disks of a crop, as thickness and crystal are
    strength = torch.rand(shape[0], 1, generator=generator).expand(shape)
    wavenumber = (0.5 + 2.5 * torch.rand(shape[0], 1, generator=generator)).expand(shape)
    field = torch.zeros(local.shape[:-1])
    for _ in range(WAVES):
        k = over(wavenumber) * torch.randn(*shape, 1, 1, 2, generator=generator)[..., 0]
        angle = uniform(0, 2 * math.pi)
        field += torch.cos(k * directed(angle) + over(uniform(0, 2 * math.pi)))
    smooth = torch.exp(1.6 * over(strength) * field / math.sqrt(WAVES / 2))
    # two-beam rocking curve, sin²(πt√(s² + 1/ξ²)) / (s²ξ² + 1), with s linear across the disk
    s = over(uniform(-3, 3)) + over(uniform(0, 3)) * directed(uniform(0, 2 * math.pi))
    thick = over(uniform(0.2, 2.5))
    root = torch.sqrt(s**2 + 1)
    fringes = torch.sin(math.pi * thick * root) ** 2 / root**2
    fringes = fringes / fringes.mean((-2, -1), keepdim=True).clamp(min=1e-3)
    mixed = over((uniform(0, 1) < 0.5) * uniform(0.3, 1))
    # an excess or deficiency line across the disk
    width = over(uniform(0.05, 0.5))
    line = torch.exp(-0.5 * ((directed(uniform(0, 2 * math.pi)) - over(uniform(-1.2, 1.2))) / width) ** 2)
    lines = 1 + over((uniform(0, 1) < 0.4) * uniform(-0.95, 1.5)) * line
    return smooth * (1 - mixed + mixed * fringes.clamp(max=8)) * lines
