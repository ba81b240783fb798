"""Classical Bragg-disk detection: correlation with the vacuum probe, as py4DSTEM does it.

Own implementation of the method of Savitzky et al., Microsc. Microanal. 27, 712 (2021), with the sub-pixel steps of
Guizar-Sicairos et al., Opt. Lett. 33, 156 (2008), for all patterns of a batch at once. It is what the network is
compared with.
"""

from typing import Literal

import numpy as np
import torch
from torch import Tensor

from fourdcrystal.peaks import Peaks, maxima

Subpixel = Literal["none", "parabolic", "multicorr"]
UPSAMPLING = 16
THRESHOLD = 0.02  # weakest disk over the strongest, where nothing better is known
SMOOTHING = 2.0  # px; standard deviation of the Gaussian that smooths the correlation before maxima are sought
MOST = 200  # disks of one pattern


def plateau(probe: np.ndarray) -> float:
    """Intensity within a vacuum probe's disk: the median of all that is brighter than half its maximum."""
    return float(np.median(probe[probe > probe.max() / 2]))


def radius(probe: np.ndarray) -> float:
    """Radius of a vacuum probe's disk [px]: of the circle with its area, where its edge counts by halves."""
    return float(np.sqrt(np.clip((probe / plateau(probe) - 0.1) / 0.8, 0, 1).sum() / np.pi))


def centre(probe: np.ndarray) -> tuple[float, float]:
    """Centre of mass of a vacuum probe above a tenth of its maximum [px]."""
    weight = np.where(probe > probe.max() / 10, probe, 0).astype(float)
    rows, columns = np.indices(probe.shape)
    return float((weight * rows).sum() / weight.sum()), float((weight * columns).sum() / weight.sum())


def centred(probe: np.ndarray) -> np.ndarray:
    """The probe moved by a Fourier shift so that its centre lies on the zero frequency's pixel, n // 2."""
    x, y = centre(probe)
    n, m = probe.shape
    ramp = np.exp(2j * np.pi * (np.fft.fftfreq(n)[:, None] * (x - n // 2) + np.fft.fftfreq(m)[None] * (y - m // 2)))
    return np.real(np.fft.ifft2(np.fft.fft2(probe) * ramp))


def round_probe(shape: tuple[int, int], centre: tuple[float, float], radius: float, edge: float = 0.5) -> np.ndarray:
    """A flat vacuum probe with a logistic edge, (X, Y), maximum 1; all lengths in px."""
    rows, columns = np.indices(shape)
    return 1 / (1 + np.exp((np.hypot(rows - centre[0], columns - centre[1]) - radius) / edge))


def brightest_disk(image: np.ndarray, radius: float) -> tuple[float, float]:
    """Centre of the brightest disk of a radius [px] in an image, to about a pixel."""
    at_corner = np.fft.ifftshift(round_probe(image.shape, (image.shape[0] // 2, image.shape[1] // 2), radius))
    total = np.fft.irfft2(np.fft.rfft2(image) * np.fft.rfft2(at_corner).conj(), s=image.shape)
    x, y = np.unravel_index(np.argmax(total), image.shape)
    return float(x), float(y)


def kernel(probe: np.ndarray) -> np.ndarray:
    """Correlation kernel: the normalised probe minus a normalised sine-squared sigmoid, so that it sums to zero.

    The edge of what is subtracted goes from the probe's radius to twice that.

    Args:
        probe: Vacuum probe, (X, Y), anywhere on the detector.

    Returns:
        Kernel with its centre at pixel (0, 0), (X, Y).
    """
    size = radius(probe)
    positive = np.fft.ifftshift(centred(probe))
    frequencies = [np.fft.fftfreq(n, 1 / n) for n in probe.shape]
    distance = np.hypot(*np.meshgrid(*frequencies, indexing="ij"))
    edge = np.cos(np.pi / 2 * np.clip((distance - size) / size, 0, 1)) ** 2
    return positive / positive.sum() - edge / edge.sum()


def detect(
    patterns: np.ndarray,
    probe: np.ndarray,
    subpixel: Subpixel = "multicorr",
    square_root: bool = False,
    threshold: float = 0.005,
    upsampling: int = UPSAMPLING,
    device: str = "cpu",
) -> Peaks:
    """Disks of patterns by correlation with the vacuum probe; a pattern that is empty or not finite has none.

    Two are at least the probe's radius apart, and half of it from the frame's edge.

    Args:
        patterns: Counts, (N, X, Y).
        probe: Vacuum probe, (X, Y).
        subpixel: none, a parabola through the neighbours, or DFT upsampling around the parabola's maximum.
        square_root: Correlate square roots of counts and probe, which evens out the counting noise.
        threshold: Weakest disk that is kept, as a fraction of the strongest.
        upsampling: Points per pixel of the upsampled correlation.
        device: Where to compute.

    Returns:
        Peaks; intensity is the height of the smoothed correlation.
    """
    size = radius(probe)
    images = torch.as_tensor(np.ascontiguousarray(patterns, dtype=np.float32), device=device)
    finite = torch.isfinite(images).all(2).all(1)
    images = torch.where(finite[:, None, None], images, 0.0)
    template = np.sqrt(np.clip(probe, 0, None)) if square_root else probe
    if square_root:
        images = images.clamp(min=0).sqrt()
    conjugate = torch.as_tensor(kernel(template), dtype=torch.float32, device=device)
    spectrum = torch.fft.rfft2(images) * torch.fft.rfft2(conjugate).conj()
    correlation = torch.fft.irfft2(spectrum, s=images.shape[-2:]).clamp(min=0)
    smooth = _smoothed(correlation)
    floor = (threshold * smooth.amax(dim=(1, 2))).clamp(min=1e-12)
    b, x, y = maxima(smooth, floor, size, max(1, round(size / 2)))
    keep = _first(b)
    b, x, y = b[keep], x[keep], y[keep]
    if not len(b):
        return Peaks.none()
    positions, height = torch.stack([x, y], dim=1).double(), smooth[b, x, y]
    if subpixel != "none":
        positions, height = _parabolic(smooth, b, x, y)
    if subpixel == "multicorr":
        positions = _upsampled(spectrum, images.shape[-2:], b, positions, upsampling)
    return Peaks.of(b.cpu().numpy(), positions.cpu().numpy(), height.cpu().numpy())


def _first(pattern: Tensor) -> Tensor:
    counts = torch.bincount(pattern)
    return torch.arange(len(pattern), device=pattern.device) - (torch.cumsum(counts, 0) - counts)[pattern] < MOST


def _smoothed(images: Tensor) -> Tensor:
    """Gaussian filter, mirrored at the edges as scipy.ndimage does; products with band matrices are fastest."""
    rows, columns = (_gaussian(n, SMOOTHING, images) for n in images.shape[-2:])
    return rows @ images @ columns.T


def _gaussian(n: int, sigma: float, like: Tensor) -> Tensor:
    """Matrix that smooths n numbers, mirrored about the edges of the first and last pixel, (n, n)."""
    reach = int(4 * sigma + 0.5)
    offsets = torch.arange(-reach, reach + 1, device=like.device)
    weights = torch.exp(-(offsets**2) / (2 * sigma**2))
    at = torch.remainder(torch.arange(n, device=like.device)[:, None] + offsets, 2 * n)
    at = torch.where(at < n, at, 2 * n - 1 - at)
    matrix = torch.zeros(n, n, device=like.device)
    return matrix.scatter_add_(1, at, (weights / weights.sum()).expand(n, -1)).to(like.dtype)


def _parabolic(image: Tensor, b: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Vertex of the parabola through a maximum and its two neighbours, along each axis; and the height there."""
    top = image[b, x, y].double()
    shifts = []
    for i, j in ((1, 0), (0, 1)):
        before, after = image[b, x - i, y - j].double(), image[b, x + i, y + j].double()
        curvature = 4 * top - 2 * before - 2 * after
        shifts.append(torch.where(curvature > 0, (after - before) / curvature.clamp(min=1e-300), 0.0).clamp(-0.5, 0.5))
        top = top + torch.where(curvature > 0, (after - before) * shifts[-1] / 4, 0.0)
    return torch.stack([x + shifts[0], y + shifts[1]], dim=1), top


def _waves(frequency: Tensor, start: Tensor, grid: Tensor) -> Tensor:
    """exp(2πi f (start + x)) for starts (P, K) and the grid's points x, (P, K · points, frequencies)."""

    def wave(turns: Tensor) -> Tensor:  # whole turns are taken off before the precision is reduced
        """exp(2πi turns), complex64."""
        phase = (2 * np.pi * (turns - turns.round())).float()
        return torch.complex(phase.cos(), phase.sin())

    made = wave(start[..., None, None] * frequency) * wave(grid[:, None] * frequency)
    return made.flatten(1, 2)


def _upsampled(spectrum: Tensor, shape: torch.Size, b: Tensor, start: Tensor, factor: int, chunk: int = 16) -> Tensor:
    """Maximum of the DFT-upsampled correlation within 0.75 px of half-pixel starts, then a parabola on the fine grid.

    Args:
        spectrum: Half spectra of the correlations (rfft2), (B, X, Y // 2 + 1).
        shape: (X, Y) of the patterns.
        b: Pattern of each peak, ascending, (N,).
        start: Parabolic positions [px], (N, 2).
        factor: Points per pixel.
        chunk: Patterns treated at a time; bounds memory.
    """
    n, m = shape
    start = torch.round(start * 2) / 2
    steps = int(np.ceil(1.5 * factor))
    grid = (torch.arange(steps, device=b.device) - steps // 2).double() / factor
    row_frequency = torch.fft.fftfreq(n, device=b.device).double()
    column_frequency = torch.fft.rfftfreq(m, device=b.device).double()
    # a half spectrum stands for both halves: every column but the first (and the last of an even size) counts twice
    twice = torch.full_like(column_frequency, 2.0)
    twice[0] = 1.0
    if m % 2 == 0:
        twice[-1] = 1.0
    spectrum = spectrum * twice.to(spectrum.real.dtype)
    # peaks of each pattern side by side, so that all of a pattern's share one product with its spectrum
    counts = torch.bincount(b, minlength=len(spectrum))
    rank = torch.arange(len(b), device=b.device) - (torch.cumsum(counts, 0) - counts)[b]
    table = start.new_zeros(len(spectrum), int(counts.max()), 2)
    table[b, rank] = start
    found = torch.empty_like(table)
    for first in range(0, len(spectrum), chunk):
        some = table[first : first + chunk]
        most = max(1, int(counts[first : first + chunk].max()))
        columns = _waves(column_frequency, some[:, :most, 1], grid)
        lines = (spectrum[first : first + chunk] @ columns.mT).unflatten(2, (most, steps))
        rows = _waves(row_frequency, some[:, :most, 0], grid).unflatten(1, (most, steps))
        fine = (rows @ lines.permute(0, 2, 1, 3)).real.reshape(-1, steps, steps)
        index = fine.flatten(1).argmax(1)
        i, j = index // steps, index % steps
        ii, jj = i.clamp(1, steps - 2), j.clamp(1, steps - 2)
        refined, _ = _parabolic(fine, torch.arange(len(fine), device=b.device), ii, jj)
        on_edge = torch.stack([i != ii, j != jj], dim=1)
        offset = torch.where(on_edge, torch.stack([i, j], dim=1).double(), refined)
        found[first : first + chunk, :most] = ((offset - steps // 2) / factor).unflatten(0, (-1, most))
    return start + found[b, rank]
