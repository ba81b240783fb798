"""Made-up quartets for tests of the network: disks on a lattice with smooth random contrast inside, and their table."""

import math

import torch

from fourdcrystal.electrons import scattering, wavelength


def disk(shape, centre, radius, edge=0.35):
    """A disk with a soft edge, (X, Y); centre (..., 2) and radius [px] broadcast."""
    x, y = (torch.arange(n, dtype=torch.float32) for n in shape)
    r = torch.hypot(x[:, None] - centre[..., 0, None, None], y - centre[..., 1, None, None])
    return torch.sigmoid((radius - r) / edge)


def quartets(n, shape=(64, 64), radius=3.0, dq=0.04, spacing=11.0, contrast=0.5, seed=0):
    """A batch as the data module gives it: cbed and probe (probe's maximum 1), dq, energy, g and strengths."""
    generator = torch.Generator().manual_seed(seed)
    centre = torch.tensor([shape[0] // 2, shape[1] // 2], dtype=torch.float32)
    h = torch.arange(-8, 9, dtype=torch.float32)
    hk = torch.stack(torch.meshgrid(h, h, indexing="ij"), -1).reshape(-1, 2)
    # the direct beam first, then by distance
    hk = hk[hk.norm(dim=1).argsort()]
    batch = {"cbed": [], "probe": [], "g": [], "vg": []}
    for _ in range(n):
        angle, stretch = torch.rand(2, generator=generator)
        a, s = math.pi * float(angle), spacing * (0.9 + 0.3 * float(stretch))
        basis = s * torch.tensor([[math.cos(a), math.sin(a)], [-1.1 * math.sin(a), 1.1 * math.cos(a)]])
        xy = hk @ basis
        strength = 10 * torch.exp(-xy.norm(dim=1) / (1.5 * spacing)) * (0.3 + torch.rand(len(xy), generator=generator))
        inside = (xy.abs() < min(shape) / 2 - 1).all(1)
        strength = torch.where(inside, strength, 0.0)
        waves = torch.randn(len(xy), 2, generator=generator) / radius
        phase = 2 * math.pi * torch.rand(len(xy), generator=generator)
        px = centre + xy
        images = disk(shape, px, radius)
        x, y = (torch.arange(k, dtype=torch.float32) for k in shape)
        ripple = torch.cos(
            waves[:, 0, None, None] * (x[:, None] - px[:, 0, None, None])
            + waves[:, 1, None, None] * (y - px[:, 1, None, None])
            + phase[:, None, None]
        )
        amplitude = (strength / 20) ** 2
        batch["cbed"].append((amplitude[:, None, None] * images * (1 + contrast * ripple)).sum(0))
        batch["probe"].append(disk(shape, centre, radius))
        qz = 0.0125 * (xy * dq).square().sum(1)
        batch["g"].append(torch.cat([xy * dq, qz[:, None]], 1))
        batch["vg"].append(strength)
    stacked = {name: torch.stack(values) for name, values in batch.items()}
    return stacked | {
        "dq": torch.full((n,), dq),
        "curvature": torch.full((n,), wavelength(200e3) * dq**2),
        "volts": torch.full((n,), dq**2 / scattering(200e3)),
        "energy": torch.full((n,), 200e3),
        "row": torch.arange(n),
    }
