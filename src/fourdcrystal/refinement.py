"""Sub-pixel refinement: the offset of each disk from its candidate position, with its uncertainty, learned.

A small convolutional network looks at a crop of the pattern around a candidate and at the vacuum probe, and gives the
offset of the disk's centre and the logarithm of its standard deviation in one pass (Nix & Weigend, ICNN 1994). It has
seen contrast inside disks, which pulls every correlation's maximum away from the centre.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from fourdcrystal import disks, files
from fourdcrystal.errors import InputError
from fourdcrystal.layers import centroid, fourier_shift

FORMAT = "refiner 1"
SIZE = 33  # side of a crop [px]
NEAR = 1.5  # typical distance of a candidate from its disk's centre [px]
RECENTRED = 2  # passes: the second one sees the disk in the middle


class DilatedBlock(nn.Module):
    """Two dilated 3x3 convolutions beside a shortcut."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.first, self.second = (
            nn.Conv2d(channels, channels, 3, padding=dilation, dilation=dilation) for _ in range(2)
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(torch.relu(self.first(torch.relu(x))))


def edges(images: Tensor) -> Tensor:
    """Length of the gradient by central differences, (N, S, S)."""
    padded = nn.functional.pad(images[:, None], (1, 1, 1, 1), mode="replicate")[:, 0]
    dx, dy = padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1], padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2]
    return torch.sqrt(dx**2 + dy**2 + 1e-12)


def correlated(images: Tensor, kernels: Tensor) -> Tensor:
    """Cross-correlations with kernels in the middle of their crops, mean 0 and standard deviation 1, (N, S, S)."""
    padded = 2 * SIZE  # no wrap-around
    spectrum = torch.fft.rfft2(images - images.mean((-2, -1), keepdim=True), s=(padded, padded))
    product = spectrum * torch.fft.rfft2(kernels, s=(padded, padded)).conj()
    half = SIZE // 2
    image = torch.fft.irfft2(product, s=(padded, padded)).roll((half, half), (-2, -1))[:, :SIZE, :SIZE]
    return (image - image.mean((-2, -1), keepdim=True)) / (image.std((-2, -1), keepdim=True) + 1e-6)


class Refiner(nn.Module):
    """From crops to offsets and uncertainties.

    It starts from two correlations, of the pattern with the probe and of their edges, the latter being nearly blind to
    smooth contrast. Where the disk's centre may be is a distribution over every second pixel near the candidate; its
    mean is the offset (integral regression: Sun et al., ECCV 2018), and features averaged with it tell the uncertainty.

    Args:
        width: Channels.
    """

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.width = width
        self.stem = nn.Sequential(
            nn.Conv2d(6, width // 2, 3, padding=1), nn.ReLU(), nn.Conv2d(width // 2, width, 3, stride=2, padding=1)
        )
        self.body = nn.Sequential(*(DilatedBlock(width, dilation) for dilation in (1, 2, 4, 1)))
        self.centre = nn.Conv2d(width, 1, 1)
        self.gains = nn.Parameter(torch.tensor([1.0, 2.0]))
        self.certainty = nn.Sequential(nn.Linear(width + 1, 64), nn.ReLU(), nn.Linear(64, 3))
        steps = (torch.arange(SIZE // 2 + 1) * 2 - SIZE // 2).float()
        self.register_buffer("grid", torch.stack(torch.meshgrid(steps, steps, indexing="ij"), -1).reshape(-1, 2))
        # other disks of the crop are not meant
        self.register_buffer("prior", -(self.grid**2).sum(-1) / (2 * NEAR**2))
        nn.init.zeros_(self.certainty[-1].weight)
        nn.init.zeros_(self.certainty[-1].bias)

    def forward(self, counts: Tensor, probe: Tensor) -> tuple[Tensor, Tensor]:
        """Offset of the disk from the crop's middle [px], (N, 2), and log of its standard deviation per axis, (N,).

        Args:
            counts: Electrons, (N, SIZE, SIZE).
            probe: Vacuum probe, centred, in any unit, (N, SIZE, SIZE).
        """
        probe = probe / probe.amax((-2, -1), keepdim=True).clamp(min=1e-12)
        # the disk's mean intensity [electrons per pixel] where the candidate says it is
        mean = ((counts * probe).sum((-2, -1)) / probe.sum((-2, -1)) + 0.05)[:, None, None]
        relative, noise = counts / mean, torch.log10(mean) / 2
        root = relative.sqrt().clamp(max=4)
        maps = torch.stack([correlated(root, probe), correlated(edges(root), edges(probe))], 1)
        inputs = torch.stack([root, relative.clamp(max=8) / 2, probe, noise.expand_as(counts)], 1)
        features = torch.relu(self.body(self.stem(torch.cat([inputs, maps], 1))))
        logits = self.centre(features)[:, 0] + (self.gains[:, None, None] * maps[:, :, ::2, ::2]).sum(1)
        likely = (logits.flatten(1) + self.prior).softmax(-1)  # (N, 17 * 17)
        pooled = torch.einsum("ncp,np->nc", features.flatten(2), likely)
        out = self.certainty(torch.cat([pooled, noise[:, 0]], 1))
        return likely @ self.grid + out[:, :2], out[:, 2]


def negative_log_likelihood(offset: Tensor, log_sigma: Tensor, true: Tensor, beta: float = 0.5) -> Tensor:
    """Gaussian negative log-likelihood, each sample weighted by σ^(2β) (Seitzer et al., ICLR 2022); a scalar.

    Args:
        offset: Predicted [px], (N, 2).
        log_sigma: Logarithm of the standard deviation [px], (N,).
        true: [px], (N, 2).
        beta: 0: the plain likelihood; 1: errors weigh as in least squares.
    """
    sigma = log_sigma.clamp(-6, 3)
    each = ((offset - true) ** 2).sum(-1) / (2 * torch.exp(2 * sigma)) + 2 * sigma
    return (each * torch.exp(2 * beta * sigma).detach()).mean()


def centred_probe(probe: Tensor) -> Tensor:
    """The vacuum probe's crop with its centroid in the middle, (SIZE, SIZE).

    Args:
        probe: (X, Y), sides even.
    """
    x, y = probe.shape
    shift = torch.tensor([x // 2, y // 2], dtype=probe.dtype) - centroid(probe).cpu()
    moved = torch.fft.irfft2(fourier_shift(torch.fft.rfft2(probe), shift.to(probe.device)), s=(x, y)).clamp(min=0)
    return crops(moved[None], torch.zeros(1, dtype=torch.long), torch.tensor([[x // 2, y // 2]]))[0]


def crops(patterns: Tensor, index: Tensor, middles: Tensor) -> Tensor:
    """Crops of SIZE x SIZE pixels around whole-pixel positions, zero outside the frame, (N, SIZE, SIZE).

    Args:
        patterns: (B, X, Y).
        index: Pattern of each crop, (N,).
        middles: Pixel in the middle of each crop, (N, 2) integers.
    """
    half = SIZE // 2
    padded = nn.functional.pad(patterns, (half, half, half, half))
    steps = torch.arange(SIZE, device=patterns.device)
    middles = middles.to(patterns.device)
    rows, columns = middles[:, 0, None] + steps, middles[:, 1, None] + steps
    return padded[index.to(patterns.device)[:, None, None], rows[:, :, None], columns[:, None, :]]


@torch.inference_mode()
def refine(
    network: Refiner, patterns: Tensor, probe: Tensor, index: Tensor, positions: Tensor, batch: int = 2048
) -> tuple[Tensor, Tensor]:
    """Refined positions [px], (N, 2), and their standard uncertainties per axis [px], (N,).

    Args:
        network: Trained.
        patterns: Counts, (B, X, Y).
        probe: Vacuum probe, (X, Y).
        index: Pattern of each candidate, (N,).
        positions: Candidates [px], (N, 2), within a few pixels of the disks' centres.
        batch: Crops at a time.
    """
    known = centred_probe(probe.float())
    size = torch.tensor(patterns.shape[-2:], device=positions.device)
    refined, sigma = positions.clone().float(), torch.empty(len(positions), device=positions.device)
    for start in range(0, len(positions), batch):
        part = slice(start, start + batch)
        where = refined[part]
        for _ in range(RECENTRED):
            middles = torch.minimum(where.round().long().clamp(min=0), size - 1)
            seen = crops(patterns.float(), index[part], middles)
            offset, log_sigma = network(seen, known.expand_as(seen))
            where = middles + offset
        refined[part], sigma[part] = where, torch.exp(log_sigma)
    return refined, sigma


def train(
    steps: int,
    batch_size: int = 64,
    seed: int = 0,
    width: int = 24,
    learning_rate: float = 3e-3,
    progress: Callable[[int, float], None] = lambda step, loss: None,
) -> Refiner:
    """Train a refiner on made-up disks; weights are averaged over the last thousand steps or so.

    Args:
        steps: Optimiser steps.
        batch_size: Crops per step. Each batch is drawn once and seen in four orientations of the square.
        seed: Of everything.
        width: Channels.
        learning_rate: Highest one, of AdamW with one cycle.
        progress: Told the step and its loss.
    """
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    network = Refiner(width)
    decay = min(0.999, 1 - 5 / steps)
    average = torch.optim.swa_utils.AveragedModel(
        network, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(decay)
    )
    optimiser = torch.optim.AdamW(network.parameters(), learning_rate, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, learning_rate, total_steps=steps + 1, pct_start=0.03, cycle_momentum=False
    )
    for step in range(steps):
        if step % 4 == 0:
            made = disks.draw(batch_size, generator, SIZE)
            first = int(torch.randint(8, (), generator=generator))
        counts, probe, true = _turned(made, (first + 3 * (step % 4)) % 8)
        loss = negative_log_likelihood(*network(counts, probe), true)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        average.update_parameters(network)
        progress(step + 1, loss.item())
    return average.module.eval()


def _turned(made: disks.Crops, which: int) -> tuple[Tensor, Tensor, Tensor]:
    """Counts, probe and offset in one of the eight orientations of the square."""
    counts, probe, offset = made.counts, made.probe, made.offset
    for axis in (0, 1):
        if which & (1 << axis):
            counts, probe = counts.flip(axis + 1), probe.flip(axis + 1)
            offset = offset * torch.tensor([-1.0, 1.0] if axis == 0 else [1.0, -1.0])
    if which & 4:
        counts, probe, offset = counts.mT, probe.mT, offset.flip(-1)
    return counts, probe, offset


def save(path: Path, network: Refiner, about: dict[str, Any]) -> None:
    """Write a refiner, whole or not at all: safetensors weights with JSON metadata."""
    metadata = {"format": FORMAT, "width": str(network.width), "about": json.dumps(about, sort_keys=True)}
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    with files.replaced(path) as temporary:
        save_file(weights, temporary, metadata)


def load(path: Path, device: str | torch.device = "cpu") -> Refiner:
    """Read a refiner; nothing in the file is executed.

    Raises:
        InputError: if the file is missing or isn't a refiner.
    """
    try:
        with safe_open(path, framework="pt", device=str(device)) as opened:
            metadata = opened.metadata() or {}
            weights = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: can't be read as a refiner ({error})") from error
    if metadata.get("format") != FORMAT:
        raise InputError(f"{path}: has format {metadata.get('format', 'none')!r}; this version reads {FORMAT!r}")
    network = Refiner(int(metadata["width"])).to(device)
    network.load_state_dict(weights)
    return network.eval()
