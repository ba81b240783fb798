"""Layers that are special to diffraction: Fourier-space correlation with the probe, and complex convolution."""

from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn


def centroid(image: Tensor) -> Tensor:
    """Centre of mass of an image's bright part [px].

    Between a quarter and three quarters of the maximum a pixel's mass rises from 0 to 1: neither the noise on top of a
    disk nor a weak background around it has a say, only its edge.

    Args:
        image: (..., X, Y), not negative.

    Returns:
        (..., 2) along the last two axes; pixel centres are integers.
    """
    x, y = image.shape[-2:]
    smooth = nn.functional.avg_pool2d(image.reshape(-1, 1, x, y), 3, 1, 1, count_include_pad=False)
    maximum = smooth.amax((-2, -1), keepdim=True)
    mass = (2 * smooth / maximum.clamp(min=torch.finfo(image.dtype).tiny) - 0.5).clamp(0, 1).reshape(image.shape)
    total = mass.sum((-2, -1)).clamp(min=torch.finfo(mass.dtype).tiny)
    grids = [torch.arange(n, dtype=mass.dtype, device=mass.device) for n in (x, y)]
    return torch.stack([(mass.sum(-1) * grids[0]).sum(-1) / total, (mass.sum(-2) * grids[1]).sum(-1) / total], -1)


def fourier_shift(spectrum: Tensor, shift: Tensor) -> Tensor:
    """Spectrum of an image moved by a sub-pixel shift (Fourier shift theorem).

    Args:
        spectrum: Half spectrum of the image (torch.fft.rfft2), (..., X, Y // 2 + 1), of an image with even Y.
        shift: Displacement [px] along the last two axes, (..., 2).
    """
    x, y = spectrum.shape[-2], 2 * (spectrum.shape[-1] - 1)
    # frequencies by hand: ONNX has no fftfreq
    kx = (torch.arange(x, device=shift.device) + x // 2) % x - x // 2
    ky = torch.arange(y // 2 + 1, device=shift.device)
    phase = -2 * torch.pi * (shift[..., 0, None, None] * kx[:, None] / x + shift[..., 1, None, None] * ky / y)
    return spectrum * torch.complex(phase.cos(), phase.sin())


class ProbeCorrelation(nn.Module):
    """Correlation of a pattern with the vacuum probe as spectra, F(pattern) · conj F(probe) |F F|^(p-1).

    Exponent p = 1 is the cross-correlation, 0.5 the hybrid and 0 the phase correlation (Pekin et al., Ultramicroscopy
    176, 170 (2017)). The probe is first moved so that its centroid lies at the image's centre: peaks of the
    correlation are then disk positions, however the probe's image was centred.

    Args:
        powers: Exponents p, one channel each.
    """

    def __init__(self, powers: list[float]) -> None:
        super().__init__()
        self.powers = powers

    def forward(self, pattern: Tensor, probe: Tensor) -> Tensor:
        """Half spectra of the correlations, (B, len(powers), X, Y // 2 + 1) complex.

        Args:
            pattern: (B, 1, X, Y).
            probe: (B, 1, X, Y); only its shape matters, not its scale.
        """
        # the centre goes to pixel (0, 0): correlation then leaves disks where they are
        kernel = fourier_shift(torch.fft.rfft2(probe), -centroid(probe))
        largest = kernel.abs().amax((-2, -1), keepdim=True).clamp(min=torch.finfo(probe.dtype).tiny)
        kernel = kernel / largest  # unit sum: the correlation is a local mean
        product = torch.fft.rfft2(pattern) * kernel.conj()
        size = product.abs()
        floor = 1e-4 * size.amax((-2, -1), keepdim=True) + 1e-12  # phase correlation must not amplify rounding errors
        return torch.cat([product if p == 1 else product * (size + floor) ** (p - 1) for p in self.powers], 1)


class ComplexConv2d(nn.Module):
    """Convolution of complex images with complex kernels, W * z = (A * x - B * y) + i (B * x + A * y).

    Trabelsi et al., Deep Complex Networks, ICLR 2018, section 3.2; done as one real convolution of stacked parts.

    Args:
        inputs: Channels in.
        outputs: Channels out.
        size: Side of the kernel, odd.
        stride: Step of the convolution.
    """

    def __init__(self, inputs: int, outputs: int, size: int = 3, stride: int = 1) -> None:
        super().__init__()
        self.stride, self.padding = stride, size // 2
        # |W|² has a mean of 2 / fan-in, as in He's initialisation of real kernels
        scale = (1 / (inputs * size * size)) ** 0.5
        self.real = nn.Parameter(torch.randn(outputs, inputs, size, size) * scale)
        self.imag = nn.Parameter(torch.randn(outputs, inputs, size, size) * scale)
        self.bias = nn.Parameter(torch.zeros(2 * outputs))

    def forward(self, z: Tensor) -> Tensor:
        """(B, inputs, X, Y) complex to (B, outputs, X / stride, Y / stride) complex."""
        weight = torch.cat([torch.cat([self.real, -self.imag], 1), torch.cat([self.imag, self.real], 1)], 0)
        stacked = torch.cat([z.real, z.imag], 1).to(weight.dtype)
        out = nn.functional.conv2d(stacked, weight, self.bias, self.stride, self.padding)
        out = out.to(torch.promote_types(out.dtype, torch.float32))  # there are no complex numbers of half precision
        return torch.complex(*out.chunk(2, 1))


class ComplexReLU(nn.Module):
    """ReLU of the real and of the imaginary part (Trabelsi et al. 2018, section 3.4)."""

    def forward(self, z: Tensor) -> Tensor:
        """Apply the non-linearity to both parts of z, of any shape."""
        return torch.complex(z.real.relu(), z.imag.relu())


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut.

    Args:
        inputs: Channels in.
        outputs: Channels out.
        convolution: nn.Conv2d-like class, or ComplexConv2d.
        activation: Class of the non-linearity.
    """

    def __init__(self, inputs: int, outputs: int, convolution: type[nn.Module], activation: type[nn.Module]) -> None:
        super().__init__()
        self.first, self.second = convolution(inputs, outputs), convolution(outputs, outputs)
        self.shortcut = convolution(inputs, outputs, 1) if inputs != outputs else nn.Identity()
        self.activation = activation()
        self.gain = nn.Parameter(torch.tensor(0.25))  # residual branches start small: no normalisation is needed

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, X, Y) to (B, outputs, X, Y)."""
        return self.activation(self.shortcut(x) + self.gain * self.second(self.activation(self.first(x))))


class RealConv2d(nn.Conv2d):
    """nn.Conv2d with the signature of ComplexConv2d and He's initialisation."""

    def __init__(self, inputs: int, outputs: int, size: int = 3, stride: int = 1) -> None:
        super().__init__(inputs, outputs, size, stride, size // 2)
        nn.init.kaiming_normal_(self.weight, nonlinearity="relu")
        nn.init.zeros_(cast(Tensor, self.bias))  # there is one unless a layer is asked to have none


def doubled(x: Tensor) -> Tensor:
    """Each pixel as 2 x 2 pixels, real or complex."""
    if x.is_complex():
        return torch.complex(doubled(x.real), doubled(x.imag))
    return nn.functional.interpolate(x, scale_factor=2, mode="nearest")


class UNet(nn.Module):
    """U-Net (Ronneberger et al., MICCAI 2015) of residual blocks, real or complex.

    Args:
        inputs: Channels in.
        width: Channels at the finest level, doubled at each of ``depth`` coarser ones; also the channels out.
        depth: Halvings of the image.
        blocks: Residual blocks per level and side.
        complex_valued: Of complex convolutions.
    """

    def __init__(self, inputs: int, width: int, depth: int, blocks: int, complex_valued: bool) -> None:
        super().__init__()
        convolution: type[nn.Module] = ComplexConv2d if complex_valued else RealConv2d
        activation: type[nn.Module] = ComplexReLU if complex_valued else nn.ReLU

        def stage(inputs: int, outputs: int) -> nn.Sequential:
            """The residual blocks of one level and side."""
            widths = [inputs] + [outputs] * blocks
            return nn.Sequential(*(ResidualBlock(a, b, convolution, activation) for a, b in pairwise(widths)))

        widths = [width * 2**i for i in range(depth + 1)]
        self.stem = convolution(inputs, width)
        self.encoders = nn.ModuleList([stage(w, w) for w in widths])
        self.downs = nn.ModuleList([convolution(a, b, 3, 2) for a, b in pairwise(widths)])
        self.ups = nn.ModuleList([convolution(b, a, 1) for a, b in pairwise(widths)])
        self.decoders = nn.ModuleList([stage(w, w) for w in widths[:-1]])

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, X, Y) to (B, width, X, Y)."""
        x, skips = self.stem(x), []
        for level, encoder in enumerate(self.encoders):
            x = encoder(x)
            if level < len(self.downs):
                skips.append(x)
                x = self.downs[level](x)
        for level in reversed(range(len(skips))):
            x = self.decoders[level](skips[level] + doubled(self.ups[level](x)))
        return x
