"""Sub-pixel refinement: the offset of each disk from its candidate position, with its uncertainty, learned.

Around a candidate the counts are read along rays through the disk's edge, beside the vacuum probe as it would look
there. A small network, the same for every ray and coupled around the circle, says how far out the edge lies on each
ray and how sure that is. The centre is the weighted mean that these edges, and what was known of it before, agree on;
the sum of their weights is its inverse covariance (Nix & Weigend, ICNN 1994). What a network has to learn is thus
one-dimensional: where an edge is in spite of contrast, which it has seen in disks cut from dynamical diffraction
(:mod:`fourdcrystal.refiner_training`).
"""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from fourdcrystal import bfloat16, files, weightfiles
from fourdcrystal.errors import InputError
from fourdcrystal.vacuum import Template, Vacuum

FORMAT = "refiner 3"
SHIPPED = Path(__file__).parent / "data" / "refiner.safetensors"
SIZE = 33  # side of a crop [px]
RAYS = 48
DIRECTIONS = torch.stack([f(2 * math.pi * torch.arange(RAYS) / RAYS) for f in (torch.cos, torch.sin)], -1)  # (RAYS, 2)
DEPTHS = torch.arange(-8.0, 4.5, 0.75)  # samples of a ray from the probe's edge, outwards [px]
NEAR = 2.0  # standard deviation of a candidate's error along each axis, where nothing better is known [px]
PASSES = 3  # at most; each one starts from the offset of the one before
SETTLED = 0.1  # stated deviations; a disk that would move by less in a further pass gets none
SLOWEST = 0.4  # of a step is the next one's, at most: they shrink by the same factor each time, mostly 0.03 to 0.2
AT_ONCE = {"cpu": 128, "cuda": 2**14}  # crops that are worked on at a time: what stays in a core's cache
FARTHEST = 2.5  # px; from the candidate, and of an edge from where it is expected


def rays(radius: Tensor) -> Tensor:
    """Where rays are read, from the disk's centre [px], (B, RAYS, depths, 2), for radii (B, RAYS)."""
    return (radius[..., None] + DEPTHS.to(radius.device))[..., None] * DIRECTIONS.to(radius.device)[:, None]


def read(images: Tensor, places: Tensor, centre: Tensor) -> Tensor:
    """Images (B, S, S) at places (B or 1, RAYS, depths, 2) from centres (B, 2) [px], (B, RAYS, depths)."""
    half = images.shape[-1] // 2
    unit = (places / half).flip(-1) + (centre / half).flip(-1)[:, None, None]
    return torch.nn.functional.grid_sample(images[:, None], unit, "bilinear", "border", align_corners=True)[:, 0]


class Around(nn.Module):
    """Two convolutions around the circle beside a shortcut, (N, RAYS, width) to the same.

    Args:
        width: Channels.
        dilation: Rays between neighbours that are seen.
    """

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.first = nn.Conv1d(width, width, 3, dilation=dilation)
        self.second = nn.Conv1d(width, width, 3, dilation=dilation)
        self.gain = nn.Parameter(torch.tensor(0.25))

    def forward(self, x: Tensor) -> Tensor:
        """Rays (N, RAYS, width) to the same, each with what its neighbours on the circle know."""
        return torch.addcmul(x, self.gain, _circular(_circular(x, self.first), self.second))


def _circular(x: Tensor, layer: nn.Conv1d) -> Tensor:
    """ReLU, and a convolution of width 3 around the circle, (N, RAYS, width).

    As that of images one pixel high whose channels lie side by side in memory, which is fastest.
    """
    d = layer.dilation[0]
    around = bfloat16.rectified_(torch.cat([x[:, -d:], x, x[:, :d]], 1))
    image = around.permute(0, 2, 1)[:, :, None]
    made = nn.functional.conv2d(image, layer.weight[:, :, None], layer.bias, dilation=(1, d))
    return made[:, :, 0].permute(0, 2, 1)


class Refiner(nn.Module):
    """From crops and the probe at the candidates to offsets and precisions.

    Args:
        width: Channels of a ray.

    Attributes:
        in_bfloat16: Whether convolutions are computed with 8 bits of mantissa: half the time or less where a machine
            has instructions for it, and positions that differ by 0.0005 px in the median (docs/decisions/0051).
    """

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.width, self.in_bfloat16 = width, False
        self.stem = nn.Conv1d(3 * len(DEPTHS) + 2, width, 1)
        self.body = nn.Sequential(*(Around(width, dilation) for dilation in (1, 2, 4, 8, 1)))
        self.head = nn.Conv1d(width, 2, 1)
        nn.init.zeros_(self.head.weight)
        self.head.bias = nn.Parameter(torch.tensor([0.0, -1.0]))

    def forward(self, counts: Tensor, probe: Tensor, centre: Tensor, radius: Tensor) -> tuple[Tensor, Tensor]:
        """What counts say about centres, a Gaussian likelihood: its moment P d, (N, 2), and precision P, (N, 2, 2).

        Its maximum lies d [px] from ``centre``; P is the inverse covariance [1/px²]. Arguments as of :meth:`edges`.
        """
        edge, weight, normal = self.edges(counts, probe, centre, radius)
        precision = torch.einsum("nr,nri,nrj->nij", weight, normal, normal)
        return torch.einsum("nr,nri->ni", weight * edge, normal), precision

    def edges(self, counts: Tensor, probe: Tensor, centre: Tensor, radius: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """How far out the edge lies on each ray [px], (N, RAYS), its weight [1/px²], and the ray's direction, (..., 2).

        Args:
            counts: Crops, (N, SIZE, SIZE).
            probe: Vacuum probe of plateau 1 at ``centre``, (N, SIZE, SIZE).
            centre: Where rays are read from [px from the crop's middle], (N, 2), within two pixels of the disk's own.
            radius: Of the probe's outline at each ray [px], (N, RAYS), or (1, RAYS) where all have the same.
        """
        places = rays(radius)
        mean = ((counts * probe).sum((-2, -1)) / probe.sum((-2, -1)) + 0.02)[:, None, None]
        relative, reference = read(counts, places, centre) / mean, read(probe, places, centre)
        scalars = torch.stack([torch.log10(mean[:, 0, 0]), (radius.mean(1) / 8).expand(len(counts))], -1)
        inputs = torch.cat(
            [
                relative.sqrt().clamp(max=4),
                relative.clamp(max=8) / 2,
                reference,
                scalars[:, None].expand(-1, RAYS, -1),
            ],
            -1,
        )
        with torch.autocast(counts.device.type, torch.bfloat16, enabled=self.in_bfloat16):
            stem = nn.functional.linear(inputs, self.stem.weight[..., 0], self.stem.bias)
            body = bfloat16.rectified_(self.body(stem))
            out = nn.functional.linear(body, self.head.weight[..., 0], self.head.bias).float()
        edge, weight = FARTHEST * torch.tanh(out[..., 0] / FARTHEST), torch.exp(out[..., 1].clamp(-9, 10))
        return edge, weight, DIRECTIONS.to(counts.device).expand(len(counts), -1, -1)


def posterior(
    network: Refiner, counts: Tensor, probe: Tensor, centre: Tensor, radius: Tensor, expected: Tensor, near: Tensor
) -> tuple[Tensor, Tensor]:
    """Most likely centres [px from the crops' middles], (N, 2), and their inverse covariances [1/px²], (N, 2, 2).

    Args:
        network: Refiner.
        counts: Crops, (N, SIZE, SIZE).
        probe: Vacuum probe of plateau 1 at ``centre``, (N, SIZE, SIZE).
        centre: Where rays are read from [px from the crops' middles], (N, 2).
        radius: Of the probe's outline at each ray [px], (N, RAYS) or (1, RAYS).
        expected: Where the centres were expected before anything was seen [px from the crops' middles], (N, 2).
        near: Standard deviation of that along each axis [px], (N,).
    """
    moment, precision = network(counts, probe, centre, radius)
    known = near[:, None] ** -2
    precision = precision + known[..., None] * torch.eye(2, device=counts.device)
    return centre + torch.linalg.solve(precision, moment + known * (expected - centre)), precision


def crops(patterns: Tensor, index: Tensor, middles: Tensor) -> Tensor:
    """Crops of SIZE x SIZE pixels around whole-pixel positions, zero outside the frame, (N, SIZE, SIZE).

    Args:
        patterns: (B, X, Y).
        index: Pattern of each crop, (N,).
        middles: Pixel in the middle of each crop, within the frame, (N, 2) integers.
    """
    framed = nn.functional.pad(patterns, (SIZE // 2,) * 4)
    windows = framed.unfold(1, SIZE, 1).unfold(2, SIZE, 1)  # a view: one for each pixel
    return windows[index, middles[:, 0], middles[:, 1]]


def converged(
    network: Refiner,
    counts: Tensor,
    probe: Callable[[Tensor, Tensor], Tensor],
    radius: Tensor,
    candidate: Tensor,
    near: float = NEAR,
) -> tuple[Tensor, Tensor]:
    """Centres after all passes [px from the crops' middles], (N, 2), and standard uncertainties per axis [px], (N,).

    Args:
        network: Trained.
        counts: Crops, (N, SIZE, SIZE).
        probe: Gives the vacuum probe of plateau 1 at centres (M, 2) of the crops with numbers (M,), (M, SIZE, SIZE).
        radius: Of the probe's outline at each ray [px], (N, RAYS) or (1, RAYS).
        candidate: Where to start [px from the crops' middles], (N, 2).
        near: Standard deviation of a candidate's error along each axis [px].
    """
    count, device = len(candidate), candidate.device
    prior = candidate.new_full((count,), near)
    centre, sigma = candidate.clone(), candidate.new_empty(count)
    step, following = candidate.new_full((count,), math.inf), candidate.new_empty(count)
    moving = torch.arange(count, device=device)
    for _ in range(PASSES):
        for some in moving.split(AT_ONCE.get(device.type, AT_ONCE["cpu"])):
            before, first = centre[some], candidate[some]
            each = radius if len(radius) == 1 else radius[some]
            found, precision = posterior(network, counts[some], probe(before, some), before, each, first, prior[some])
            now = first + (found - first).clamp(-FARTHEST, FARTHEST)
            determinant = precision[:, 0, 0] * precision[:, 1, 1] - precision[:, 0, 1] ** 2
            centre[some] = now
            sigma[some] = torch.sqrt((precision[:, 0, 0] + precision[:, 1, 1]) / (2 * determinant))
            moved, last = (now - before).norm(dim=1), step[some]
            step[some] = moved
            following[some] = moved * torch.where(last.isfinite(), moved / last, SLOWEST).clamp(max=SLOWEST)
        moving = moving[following[moving] > SETTLED * sigma[moving]]
    return centre, sigma


@dataclass(frozen=True)
class Placed:
    """What a refiner has to know of a vacuum probe.

    Attributes:
        template: The probe in crops, for many centres.
        outline: Its radius at each ray [px], (1, RAYS).
    """

    template: Template
    outline: Tensor


def placed(probe: Vacuum, device: torch.device | str = "cpu") -> Placed:
    """A vacuum probe got ready to be placed in many crops."""
    outline = torch.as_tensor(probe.radii(RAYS), dtype=torch.float32, device=device)[None]
    return Placed(probe.template(SIZE, device), outline)


@torch.inference_mode()
def refine(
    network: Refiner, patterns: Tensor, probe: Placed, index: Tensor, positions: Tensor
) -> tuple[Tensor, Tensor]:
    """Refined positions [px], (N, 2), and their standard uncertainties per axis [px], (N,).

    Args:
        network: Trained.
        patterns: Counts, (B, X, Y).
        probe: Vacuum probe.
        index: Pattern of each candidate, (N,).
        positions: Candidates [px], (N, 2), within about two pixels of the disks' centres.
    """
    size = torch.tensor(patterns.shape[-2:], device=positions.device)
    positions = positions.float()
    middles = torch.minimum(positions.round().long().clamp(min=0), size - 1)
    seen, start = crops(patterns.float(), index, middles), positions - middles
    where, sigma = converged(network, seen, lambda at, _: probe.template.at(at), probe.outline, start)
    return middles + where, sigma


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
    metadata, weights = weightfiles.read(path, "refiner", device)
    if metadata.get("format") != FORMAT:
        raise InputError(f"{path}: has format {metadata.get('format', 'none')!r}; this version reads {FORMAT!r}")
    try:
        width = int(metadata["width"])
        network = weightfiles.fitted(lambda: Refiner(width), weights).to(device)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{path}: weights and width don't fit each other ({error})") from error
    network.in_bfloat16 = bfloat16.fast_on(torch.device(device))
    return network.eval()
