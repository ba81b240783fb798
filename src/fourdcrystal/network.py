"""The two networks behind one interface: (pattern, vacuum probe, pixel) to maps of U_g and of heights q_z.

Both begin with the correlation of pattern and probe in Fourier space. ``ccunet`` (Munshi et al., Microsc. Microanal.
27 (Suppl 1), 2774 (2021)) transforms it back and goes on with a real U-Net; ``fcunet`` (Munshi et al., npj Comput.
Mater. 8, 254 (2022)) runs a complex U-Net on the spectrum, transforms its result back and ends with real convolutions.

Two images can't tell q_z in 1/Å: reflections are bright where the Ewald sphere cuts them, at q_z = -λ|q|²/2, so what a
pattern shows is q_z over λ dq², in squares of pixels. Nor can they tell V_g in volts: a wave obeys
dψ/dz = i (λ/4π ∇² + σV) ψ, so with lengths across in 1/dq and heights in 1/(λ dq²) it knows the potential as
σV / (π λ dq²) = U_g / dq² with U_g = 2 m e V_g / h² and the relativistic mass, again in squares of pixels. The networks
say these two, whatever the energy and the size of a pixel; who knows both multiplies (docs/decisions/0044, 0057).

What a picture can't tell, knowledge of crystals can: the same picture is of strong potentials in a thin crystal on
large pixels, or of weak ones in a thick crystal on small pixels, and V_g of real crystals are alike in volts. So
networks are told the size of a pixel, too (docs/decisions/0058).
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from fourdcrystal import layers
from fourdcrystal.errors import InputError
from fourdcrystal.experiment import Model

HEIGHT = 2000.0  # px²; q_z / λ dq² of the Ewald sphere 63 px from the direct beam: the network's numbers are near 1
STRENGTH = 32.0  # px²; |U_g| / dq² of 1 V at pixels of 0.016 1/Å, so that these numbers are near 1, too

USUAL = (6.4e-6, 0.0327)  # 1/Å, V; λ dq² and dq² h² / 2 m e of pixels of 0.016 1/Å, about, at 80 to 200 kV

AREA = 128.0**2  # px; over which a pattern's counts have a mean of 1: the network's numbers are near 1


def compress(ug: Tensor) -> Tensor:
    """√(U_g / STRENGTH): the scale on which strong and weak reflections are learned alike; they span three decades."""
    return (ug.clamp(min=0) / STRENGTH).sqrt()


def expand(root: Tensor) -> Tensor:
    """U_g [px²] from its root; the inverse of :func:`compress` where that is positive."""
    return STRENGTH * root.clamp(min=0) ** 2


def normalised(counts: Tensor) -> Tensor:
    """Square-rooted counts over the root of their sum: uniform noise whatever the intensity, and no units.

    Over their sum and not their mean, as how much of nothing a camera sees around the disks doesn't change these.

    Args:
        counts: (B, 1, X, Y), in any unit, not negative.
    """
    total = counts.sum((-2, -1), keepdim=True) / AREA
    return (counts / total.clamp(min=torch.finfo(counts.dtype).tiny)).clamp(min=0).sqrt()


def told(pixel: Tensor) -> Tensor:
    """What a network is told of pixels: logarithms of both their sizes over usual ones, 0 where not known, (B, 2).

    Args:
        pixel: λ dq² [1/Å] and dq² h² / 2 m e [V] (:class:`fourdcrystal.pixels.Pixel`), (B, 2); NaN: not known.
    """
    usual = torch.tensor(USUAL, dtype=pixel.dtype, device=pixel.device)
    return torch.nan_to_num(torch.log(pixel / usual))


def everywhere(known: Tensor, image: Tensor) -> Tensor:
    """Numbers (B, C), or (1, C), as channels that are the same all over images (B, ..., X, Y): (B, C, X, Y)."""
    return known[:, :, None, None].expand(image.shape[0], -1, *image.shape[-2:])


class DiskNetwork(nn.Module, ABC):
    """What both variants share: inputs, outputs and their scales.

    Args:
        model: Architecture.
    """

    head: nn.Conv2d

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model
        self.correlation = layers.ProbeCorrelation(list(model.powers))
        self.gain = nn.Parameter(torch.zeros(2, 2))  # powers of the pixel's sizes that both outputs are multiplied by

    def raw(self, cbed: Tensor, probe: Tensor, pixel: Tensor) -> Tensor:
        """What the loss sees: √(U_g / STRENGTH) (may be negative) and q_z / (λ dq² HEIGHT), (B, 2, X, Y).

        Args:
            cbed: Counts, (B, 1, X, Y).
            probe: Vacuum probe in any unit, (B, 1, X, Y).
            pixel: See :func:`told`, (B, 2), or (1, 2) for all.

        Raises:
            InputError: if a side isn't a multiple of patch · 2^depth.
        """
        step = self.model.step
        if cbed.shape[-2] % step or cbed.shape[-1] % step:
            raise InputError(
                f"patterns of {cbed.shape[-2]} x {cbed.shape[-1]} px don't fit a network of model.depth "
                f"{self.model.depth} and model.patch {self.model.patch}; "
                f"allowed are sides that are multiples of {step} px"
            )
        known = told(pixel)
        # products, which keep single precision where a matrix product may not
        factor = torch.exp((known[:, None] * self.gain).sum(-1))
        return self.maps(normalised(cbed), probe, known) * factor[:, :, None, None]

    @abstractmethod
    def maps(self, pattern: Tensor, probe: Tensor, known: Tensor) -> Tensor:
        """The variant's own part of :meth:`raw`, from the normalised pattern."""

    def exact_head(self, features: Tensor) -> Tensor:
        """The last layer in single precision, whatever the others have: its numbers are potentials and heights."""
        with torch.autocast(features.device.type, enabled=False):
            return self.head(features.to(self.head.weight.dtype))

    def forward(self, cbed: Tensor, probe: Tensor, pixel: Tensor) -> dict[str, Tensor]:
        """Maps ``ug`` [dq²] and ``qz`` [λ dq²], each (B, 1, X, Y), of patterns [counts] and probes, each (B, 1, X, Y).

        ``qz`` times λ dq² is the height [1/Å]; ``ug`` times dq² / :func:`fourdcrystal.electrons.scattering` is |V_g|
        [V]. ``pixel`` is what :func:`told` takes.

        Raises:
            InputError: if a side isn't a multiple of patch · 2^depth.
        """
        raw = self.raw(cbed, probe, pixel)
        return {"ug": expand(raw[:, :1]), "qz": raw[:, 1:] * HEIGHT}


class CCUNet(DiskNetwork):
    """Correlation transformed back, beside the pattern itself, into a real U-Net (2021)."""

    def __init__(self, model: Model) -> None:
        super().__init__(model)
        channels, area = 1 + len(model.powers), model.patch**2
        self.unet = layers.UNet(channels * area + 2, model.width, model.depth, model.blocks, complex_valued=False)
        self.head = layers.RealConv2d(model.width, 2 * area, 1)

    def maps(self, pattern: Tensor, probe: Tensor, known: Tensor) -> Tensor:
        """See :meth:`DiskNetwork.maps`; (B, 1, X, Y) each to (B, 2, X, Y)."""
        correlation = torch.fft.irfft2(self.correlation(pattern, probe), s=pattern.shape[-2:])
        # hybrid and phase correlations have other scales than the pattern
        correlation = correlation / correlation.square().mean((-2, -1), keepdim=True).sqrt().clamp(min=1e-6)
        # squares of pixels as channels: the same detail at a fraction of the convolutions' cost (Shi et al., CVPR 2016)
        folded = nn.functional.pixel_unshuffle(torch.cat([pattern, correlation], 1), self.model.patch)
        folded = torch.cat([folded, everywhere(known, folded)], 1)
        return nn.functional.pixel_shuffle(self.exact_head(self.unet(folded)), self.model.patch)


class FCUNet(DiskNetwork):
    """Complex U-Net on the correlation's spectrum, inverse transform, real convolutions (2022)."""

    def __init__(self, model: Model) -> None:
        super().__init__(model)
        self.unet = layers.UNet(len(model.powers), model.width, model.depth, model.blocks, complex_valued=True)
        self.tail = nn.Sequential(
            layers.RealConv2d(model.width + 3, 2 * model.width),
            nn.ReLU(),
            layers.RealConv2d(2 * model.width, 2 * model.width),
            nn.ReLU(),
        )
        self.head = layers.RealConv2d(2 * model.width, 2, 1)

    def maps(self, pattern: Tensor, probe: Tensor, known: Tensor) -> Tensor:
        """See :meth:`DiskNetwork.maps`; (B, 1, X, Y) each to (B, 2, X, Y)."""
        image = torch.fft.irfft2(self.correlation(pattern, probe), s=pattern.shape[-2:])
        # the whole spectrum with zero frequency in the middle: neighbours in frequency are neighbours on the grid
        spectrum = torch.fft.fftshift(torch.fft.fft2(image, norm="ortho"), dim=(-2, -1))
        filtered = torch.fft.ifftshift(self.unet(spectrum), dim=(-2, -1))
        back = torch.fft.ifft2(filtered, norm="ortho").real
        return self.exact_head(self.tail(torch.cat([back, pattern, everywhere(known, pattern)], 1)))


NETWORKS: dict[str, type[DiskNetwork]] = {"ccunet": CCUNet, "fcunet": FCUNet}


def build(model: Model) -> DiskNetwork:
    """A network with random weights (of torch's global generator) whose maps are empty at first."""
    built = NETWORKS[model.name](model)
    nn.init.zeros_(built.head.weight)
    # channels side by side in memory: convolutions are a third to a half faster on CPUs with matrix units
    return built.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # not among torch's annotations
