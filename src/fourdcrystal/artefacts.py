"""What a real microscope and camera do to a pattern, applied to whole batches on their device, and labels that follow.

Order, as in the instrument: inelastic background, then the projector's affine distortion (ellipse, rotation, camera
length) and displacement, then the camera's point spread, counting noise, hot and dead pixels, and its frame. Every
sample has a random generator of its own, so a sample is the same in whatever batch, and on however many devices, it is
drawn.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fourdcrystal import interpolation, labels, seeds
from fourdcrystal.experiment import Artefacts

Batch = dict[str, Tensor]


def generators(rows: Sequence[int], seed: int, *purpose: str | int) -> list[torch.Generator]:
    """One random generator for each sample of a batch, from the run's seed, the purpose and the catalogue's row.

    They live on the CPU, whose numbers are the same on every machine; only counting noise is drawn on the device.
    """
    words = [int(seeds.generator(seed, "artefacts", *purpose, row).integers(2**62)) for row in rows]
    return [torch.Generator().manual_seed(word) for word in words]


@dataclass(frozen=True)
class Drawn:
    """Artefacts of each sample of a batch.

    Attributes:
        dose, probe_dose: Electrons in the pattern and in the probe's image, (B,).
        background: Fraction of electrons in the background, (B,).
        background_width: Half width at half maximum of its Lorentzian [1/Å], (B,).
        affine: Where q goes, linear part [px per px], (B, 2, 2).
        scale: Camera length over the data's, the determinant's root of ``affine``, (B,).
        shift: Displacement of the pattern [px], (B, 2).
        centring: Displacement of the probe's image [px], (B, 2).
        blur: Standard deviation of the camera's point spread [px], (B,).
        hot, dead: Fractions of hot and dead pixels, (B,).
        frame: Side of the camera's frame over that of the data's, (B,).
    """

    dose: Tensor
    probe_dose: Tensor
    background: Tensor
    background_width: Tensor
    affine: Tensor
    scale: Tensor
    shift: Tensor
    centring: Tensor
    blur: Tensor
    hot: Tensor
    dead: Tensor
    frame: Tensor


def draw(settings: Artefacts, samples: Sequence[torch.Generator], device: torch.device | str = "cpu") -> Drawn:
    """Draw the artefacts of each sample within the settings' ranges."""
    u = torch.stack([torch.rand(14, generator=g) for g in samples]).double()
    normal = torch.stack([torch.randn(2, generator=g) for g in samples]).double()

    def between(i: int, limits: list[float]) -> Tensor:
        """Uniform within limits, (B,)."""
        return limits[0] + u[:, i] * (limits[1] - limits[0])

    def decades(i: int, limits: list[float]) -> Tensor:
        """Log-uniform within limits, (B,)."""
        return limits[0] * (limits[1] / limits[0]) ** u[:, i]

    def rotation(angle: Tensor) -> Tensor:
        """Rotations by angles [rad], (B, 2, 2)."""
        c, s = torch.cos(angle), torch.sin(angle)
        return torch.stack([torch.stack([c, -s], -1), torch.stack([s, c], -1)], -2)

    # an ellipse of the same area: stretched by √ratio along a direction, shrunk by it across
    stretch = torch.sqrt(1 + settings.ellipticity * u[:, 4])
    direction = rotation(torch.pi * u[:, 5])
    ellipse = direction @ torch.diag_embed(torch.stack([stretch, 1 / stretch], -1)) @ direction.mT
    scale = decades(6, settings.camera_length)
    angle = torch.deg2rad(settings.rotation * (2 * u[:, 7] - 1))
    drawn = Drawn(
        dose=decades(0, settings.dose),
        probe_dose=decades(1, settings.probe_dose),
        background=between(2, settings.background),
        background_width=decades(3, settings.background_width),
        affine=scale[:, None, None] * ellipse @ rotation(angle),
        scale=scale,
        shift=settings.shift * (2 * u[:, 8:10] - 1),
        centring=settings.centring * normal,
        blur=between(10, settings.blur),
        hot=settings.hot * u[:, 11],
        dead=settings.dead * u[:, 12],
        frame=between(13, settings.frame),
    )
    return Drawn(**{name: value.float().to(device) for name, value in vars(drawn).items()})


def inelastic(probe: Tensor, width: Tensor) -> Tensor:
    """Inelastic background: a Lorentzian 1 / (q² + width²) convolved with the probe, normalised to unit sum, (B, X, Y).

    Args:
        probe: Vacuum probe, (B, X, Y), centred at n // 2.
        width: Half width at half maximum of the Lorentzian [px], (B,); Egerton, EELS in the Electron Microscope, ch. 3.
    """
    x, y = probe.shape[-2:]
    kx, ky = (torch.fft.fftfreq(n, 1 / n, device=probe.device) for n in (x, y))
    lorentzian = 1 / (kx[:, None] ** 2 + ky**2 + width[:, None, None] ** 2)
    image = torch.fft.irfft2(torch.fft.rfft2(lorentzian) * torch.fft.rfft2(probe), s=(x, y)).clamp(min=0)
    return image / image.sum((-2, -1), keepdim=True)


def warp(images: Tensor, affine: Tensor, shift: Tensor) -> Tensor:
    """Images whose content at centre + d moves to centre + affine d + shift; bicubic, zero outside, (B, X, Y).

    Args:
        images: (B, X, Y), centre at n // 2.
        affine: (B, 2, 2) [px per px].
        shift: (B, 2) [px].
    """
    x, y = images.shape[-2:]
    centre = torch.tensor([x // 2, y // 2], dtype=images.dtype, device=images.device)
    grid = torch.stack(
        torch.meshgrid(*(torch.arange(n, dtype=images.dtype, device=images.device) for n in (x, y)), indexing="ij"), -1
    )
    back = torch.linalg.inv(affine)
    source = torch.einsum("bij,bxyj->bxyi", back, grid - centre - shift[:, None, None]) + centre
    last = torch.tensor([x - 1, y - 1], dtype=images.dtype, device=images.device)
    unit = 2 * interpolation.unbiased(source) / last - 1
    # grid_sample counts its last axis from the image's last axis
    moved = torch.nn.functional.grid_sample(images[:, None], unit.flip(-1), "bicubic", "zeros", align_corners=True)
    return moved[:, 0].clamp(min=0)


def point_spread(images: Tensor, sigma: Tensor) -> Tensor:
    """Images blurred by a Gaussian point spread, exp(-2π²σ²k²) in frequency, (B, X, Y).

    Args:
        images: (B, X, Y).
        sigma: Standard deviation [px], (B,).
    """
    x, y = images.shape[-2:]
    kx, ky = torch.fft.fftfreq(x, device=images.device), torch.fft.rfftfreq(y, device=images.device)
    transfer = torch.exp(-2 * torch.pi**2 * sigma[:, None, None] ** 2 * (kx[:, None] ** 2 + ky**2))
    return torch.fft.irfft2(torch.fft.rfft2(images) * transfer, s=(x, y)).clamp(min=0)


def counted(
    pattern: Tensor, probe: Tensor, hot: Tensor, dead: Tensor, samples: Sequence[torch.Generator]
) -> tuple[Tensor, Tensor]:
    """Counts of expected electrons, with the same hot and dead pixels in both images.

    Args:
        pattern: Expected electrons, (B, X, Y).
        probe: The same of the vacuum probe.
        hot: Fraction of hot pixels, (B,).
        dead: Fraction of dead pixels, (B,).
        samples: Random generators, one for each sample.
    """
    counts = []
    for b, generator in enumerate(samples):
        device = pattern.device
        local = torch.Generator(device).manual_seed(int(torch.randint(2**62, (), generator=generator)))
        pair = torch.stack([pattern[b], probe[b]])
        chance, level = torch.rand((2, *pattern.shape[1:]), generator=local, device=device)
        noisy = torch.poisson(pair, generator=local)
        spikes = (0.2 + 2 * level) * pair.amax((-2, -1), keepdim=True)
        noisy = torch.where(chance < hot[b], noisy + spikes.round(), noisy)
        counts.append(torch.where(chance > 1 - dead[b], 0.0, noisy))
    stacked = torch.stack(counts)
    return stacked[:, 0], stacked[:, 1]


def apply(batch: Batch, settings: Artefacts, samples: Sequence[torch.Generator], width: float) -> Batch:
    """Patterns as a camera would record them, with labels drawn for where their disks then are.

    Args:
        batch: ``cbed`` and ``probe`` (B, X, Y), ``dq`` (B,) [1/Å per px], ``curvature`` λ dq² (B,) [1/Å], ``volts``
            (B,), the V_g whose U_g is 1 px² [V], ``g`` (B, N, 3) [1/Å], ``vg`` (B, N), the strength |V_g| w [V] of each
            reflection, 0 for padding; anything else passes through.
        settings: Ranges of the artefacts.
        samples: Random generators, one for each sample, see :func:`generators`.
        width: Standard deviation of a label peak [px].

    Returns:
        The batch with ``cbed`` and ``probe`` in counts (B, X, Y), ``dq``, ``curvature`` and ``volts`` for the new
        camera length, ``centres_px`` (B, N, 2), ``weights`` (B, N) [V] (0 outside the frame), and the maps ``vg`` [V],
        ``qz`` [1/Å], ``peaks`` (unit height whatever the strength), each (B, X, Y).
    """
    cbed, probe, dq = batch["cbed"], batch["probe"], batch["dq"]
    shape = cbed.shape[-2], cbed.shape[-1]
    drawn = draw(settings, samples, cbed.device)
    total = probe.sum((-2, -1), keepdim=True)
    fraction = drawn.background[:, None, None]
    expected = (1 - fraction) * cbed / total + fraction * inelastic(probe, drawn.background_width / dq)
    # pixels that are larger than the data's take in what lies beside a point: the variance of a square, less the data's
    larger = ((1 / drawn.scale**2 - 1).clamp(min=0) / 12).sqrt()
    expected, vacuum = point_spread(expected, larger), point_spread(probe / total, larger)
    expected = point_spread(warp(expected, drawn.affine, drawn.shift), drawn.blur)
    vacuum = point_spread(warp(vacuum, drawn.affine, drawn.centring), drawn.blur)
    # a warp changes areas; electrons are neither made nor lost by it
    area = drawn.scale[:, None, None] ** 2
    counts, probe_counts = counted(
        drawn.dose[:, None, None] * expected / area,
        drawn.probe_dose[:, None, None] * vacuum / area,
        drawn.hot,
        drawn.dead,
        samples,
    )
    size = torch.tensor(shape, dtype=dq.dtype, device=dq.device)
    centre = torch.div(size, 2, rounding_mode="floor")
    # of a smaller camera; beyond it is nothing, as where patterns are padded
    first, last = (centre + (sign * drawn.frame[:, None] * size / 2).round() for sign in (-1, 1))
    x, y = (torch.arange(n, device=dq.device) for n in shape)
    along = [(p >= first[:, i, None]) & (p < last[:, i, None]) for i, p in enumerate((x, y))]
    counts = counts * (along[0][:, :, None] & along[1][:, None])
    before = labels.positions(batch["g"], dq[:, None, None], shape)
    visible = ((before >= -0.5) & (before <= size - 0.5)).all(-1)  # the simulated frame shows nothing beyond its edge
    centres = torch.einsum("bij,bnj->bni", drawn.affine, before - centre) + centre + drawn.shift[:, None]
    visible &= ((centres >= first[:, None] - 0.5) & (centres < last[:, None] - 0.5)).all(-1)
    weights = torch.where(visible, batch["vg"], 0.0)
    vg, qz, peaks = maps(centres, weights, batch["g"][..., 2], shape, width)
    return batch | {
        "cbed": counts,
        "probe": probe_counts,
        "dq": dq / drawn.scale,
        "curvature": batch["curvature"] / drawn.scale**2,
        "volts": batch["volts"] / drawn.scale**2,
        "centres_px": centres,
        "weights": weights,
        "vg": vg,
        "qz": qz,
        "peaks": peaks,
    }


def maps(
    centres: Tensor, weights: Tensor, qz: Tensor, shape: tuple[int, int], width: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Label maps V_g [V], q_z [1/Å], and peaks of unit height whatever their strength, each (B, X, Y).

    Args:
        centres: Positions [px], (B, N, 2).
        weights: Strengths [V], (B, N); 0 leaves a reflection out.
        qz: Heights g_z [1/Å], (B, N).
        shape: Pixels along q_x and q_y.
        width: Standard deviation of a peak [px].
    """
    # padding and what lies outside the frame would be drawn for nothing: those that count come first, others are cut
    count = int((weights > 0).sum(1).max())
    first = (weights > 0).to(torch.uint8).argsort(dim=1, descending=True, stable=True)[:, :count]
    centres = centres.gather(1, first[..., None].expand(-1, -1, 2))
    weights, qz = weights.gather(1, first), qz.gather(1, first)
    both, height = labels.draw(centres, torch.stack([weights, (weights > 0).to(weights.dtype)]), qz, shape, width)
    return both[0], height[0], both[1].clamp(max=1)
