"""Made-up Bragg disks with known centres and with contrast inside, by the batch: what sub-pixel refinement learns from.

A crop holds one disk near its middle and its neighbours on a lattice. Inside each disk intensity varies as dynamical
diffraction makes it vary: smoothly at random, as thickness fringes of a two-beam rocking curve, and as excess and
deficiency lines. Then come background, the camera's point spread and counting noise.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from fourdcrystal.artefacts import point_spread

WAVES = 4  # cosines that make a random smooth field
REACH = 2  # neighbours along each lattice vector, either way
NEAREST = 13  # disks that are drawn, the nearest ones: others are outside the crop but for the smallest lattices


@dataclass(frozen=True)
class Crops:
    """Crops of patterns around disks.

    Attributes:
        counts: Electrons, (B, S, S).
        probe: Vacuum probe at the middle of its own crop, maximum about 1, (B, S, S).
        offset: Disk's centre from the middle of the crop, S // 2 [px], (B, 2).
        electrons: Expected electrons in the disk, (B,).
        radius: Of the probe [px], (B,).
    """

    counts: Tensor
    probe: Tensor
    offset: Tensor
    electrons: Tensor
    radius: Tensor


def draw(count: int, generator: torch.Generator, size: int = 33) -> Crops:
    """Draw crops with random probes, lattices, contrast, background and dose.

    Args:
        count: Crops B.
        generator: Source of all randomness.
        size: Side of a crop S [px], odd.
    """

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(count, *shape, generator=generator)

    def decades(low: float, high: float, *shape: int) -> Tensor:
        return low * (high / low) ** uniform(0, 1, *shape)

    def normal(*shape: int) -> Tensor:
        return torch.randn(count, *shape, generator=generator)

    radius = decades(2.5, 11)
    edge = uniform(0.1, 0.5)
    stretch = _ellipse(uniform(0, 0.08), uniform(0, math.pi))
    offset = uniform(-0.5, 0.5, 2) + decades(0.05, 1.2, 1) * normal(2)
    centres = offset[:, None] + _lattice(radius, uniform(0, 1, 6))  # (B, D, 2) from the middle, the disk itself first
    axis = torch.arange(size, dtype=torch.float32) - size // 2
    grid = torch.stack(torch.meshgrid(axis, axis, indexing="ij"), -1)
    local = grid[None, None] - centres[:, :, None, None]  # (B, D, S, S, 2) from each disk's own centre
    shape = _disk(local, radius, edge, stretch)
    brightness = torch.exp(uniform(0.3, 1.5, 1) * normal(centres.shape[1]))
    brightness[:, 0] = 1
    contrast = _contrast(local / radius[:, None, None, None, None], generator)
    own = shape[:, 0] * contrast[:, 0]
    pattern = (brightness[..., None, None] * shape * contrast).sum(1)
    electrons = decades(15, 3e5)
    scale = electrons / own.sum((-2, -1)).clamp(min=1e-6)
    slope = (grid[None] * normal(2)[:, None, None]).sum(-1) / size
    level = decades(1e-3, 0.6) * (1 + slope).clamp(min=0.2).flatten(1).T
    background = level.T.reshape(count, size, size)
    blur = uniform(0, 0.8) * (uniform(0, 1) < 0.7)
    expected = point_spread(_padded(pattern + background), blur)[:, 4:-4, 4:-4]
    counts = torch.poisson(expected * scale[:, None, None], generator=generator)
    # the probe's own centre is known only as well as its image's centroid
    vacuum = _disk(grid[None, None] - 0.02 * normal(1, 1, 1, 2), radius, edge, stretch)[:, 0]
    vacuum = point_spread(_padded(vacuum), blur)[:, 4:-4, 4:-4]
    quality = decades(50, 5e4)[:, None, None]
    probe = torch.poisson(vacuum * quality, generator=generator) / quality
    return Crops(counts, probe, offset, electrons, radius)


def _padded(images: Tensor) -> Tensor:
    return torch.nn.functional.pad(images[:, None], (4, 4, 4, 4), mode="replicate")[:, 0]


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


def _disk(local: Tensor, radius: Tensor, edge: Tensor, stretch: Tensor) -> Tensor:
    """Probe's intensity at positions from its centre, (B, D, S, S)."""
    r = torch.einsum("bij,bdxyj->bdxyi", stretch, local).norm(dim=-1)
    return torch.sigmoid((radius[:, None, None, None] - r) / edge[:, None, None, None])


def _contrast(local: Tensor, generator: torch.Generator) -> Tensor:
    """Intensity inside disks, about 1 on average, (B, D, S, S).

    Args:
        local: Positions from each disk's centre in units of its radius, (B, D, S, S, 2).
        generator: Source of randomness.
    """
    shape = local.shape[:2]

    def uniform(low: float, high: float, *more: int) -> Tensor:
        return low + (high - low) * torch.rand(*shape, *more, generator=generator)

    def directed(angle: Tensor) -> Tensor:
        n = torch.stack([torch.cos(angle), torch.sin(angle)], -1)
        return (local * n[:, :, None, None]).sum(-1)

    def over(values: Tensor) -> Tensor:
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
