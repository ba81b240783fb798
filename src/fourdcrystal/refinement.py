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
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from fourdcrystal import files
from fourdcrystal.errors import InputError
from fourdcrystal.vacuum import Template, Vacuum

FORMAT = "refiner 3"
SHIPPED = Path(__file__).parent / "data" / "refiner.safetensors"
CALIBRATION = 1.12  # of stated deviations, from multislice patterns of validation crystals with blind candidates
SIZE = 33  # side of a crop [px]
RAYS = 48
DEPTHS = torch.arange(-8.0, 4.5, 0.75)  # samples of a ray from the probe's edge, outwards [px]
NEAR = 1.0  # standard deviation of a candidate's error along each axis, where nothing better is known [px]
PASSES = 3  # at most; each one starts from the offset of the one before
SETTLED = 0.25  # stated deviations; a disk that a pass moved by less gets no further one
FARTHEST = 2.5  # px; from the candidate, and of an edge from where it is expected


def rays(radius: Tensor) -> Tensor:
    """Where rays are read, from the disk's centre [px], (B, RAYS, depths, 2), for radii (B, RAYS)."""
    angle = 2 * math.pi * torch.arange(RAYS, device=radius.device) / RAYS
    normal = torch.stack([angle.cos(), angle.sin()], -1)
    return (radius[..., None] + DEPTHS.to(radius.device))[..., None] * normal[:, None]


def read(images: Tensor, places: Tensor, centre: Tensor) -> Tensor:
    """Images (B, C, S, S) at places (B or 1, RAYS, depths, 2) from centres (B, 2) [px], (B, C, RAYS, depths)."""
    unit = (places.flip(-1) + centre.flip(-1)[:, None, None]) / (images.shape[-1] // 2)
    return torch.nn.functional.grid_sample(images, unit, "bilinear", "border", align_corners=True)


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
        return torch.addcmul(x, self.gain, _circular(torch.relu(_circular(torch.relu(x), self.first)), self.second))


def _circular(x: Tensor, layer: nn.Conv1d) -> Tensor:
    """A convolution of width 3 around the circle, (N, RAYS, width), as one matrix product, which is fastest."""
    d, rays = layer.dilation[0], x.shape[1]
    around = torch.cat([x[:, -d:], x, x[:, :d]], 1)
    neighbours = torch.cat([around[:, i * d : i * d + rays] for i in range(3)], -1)
    return nn.functional.linear(neighbours, layer.weight.transpose(1, 2).flatten(1), layer.bias)


class Refiner(nn.Module):
    """From crops and the probe at the candidates to offsets and precisions.

    Args:
        width: Channels of a ray.

    Attributes:
        bfloat16: Whether the convolutions are computed with 8 bits of mantissa: half the time or less where a machine
            has instructions for it, and positions that differ by 0.0005 px in the median (docs/decisions/0051).
    """

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.width, self.bfloat16 = width, False
        self.stem = nn.Conv1d(3 * len(DEPTHS) + 2, width, 1)
        self.body = nn.Sequential(*(Around(width, dilation) for dilation in (1, 2, 4, 8, 1)))
        self.head = nn.Conv1d(width, 2, 1)
        nn.init.zeros_(self.head.weight)
        with torch.no_grad():
            self.head.bias.copy_(torch.tensor([0.0, -1.0]))

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
        seen, reference = read(torch.stack([counts, probe], 1), places, centre).unbind(1)
        relative = seen / mean
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
        with torch.autocast(counts.device.type, torch.bfloat16, enabled=self.bfloat16):
            stem = nn.functional.linear(inputs, self.stem.weight[..., 0], self.stem.bias)
            out = nn.functional.linear(torch.relu(self.body(stem)), self.head.weight[..., 0], self.head.bias).float()
        edge, weight = FARTHEST * torch.tanh(out[..., 0] / FARTHEST), torch.exp(out[..., 1].clamp(-9, 10))
        normal = (places[:, :, -1] / places[:, :, -1].norm(dim=-1, keepdim=True)).expand(len(counts), -1, -1)
        return edge, weight, normal


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
        middles: Pixel in the middle of each crop, (N, 2) integers.
    """
    steps = torch.arange(SIZE, device=patterns.device) - SIZE // 2
    places = middles.to(patterns.device)[..., None] + steps
    size = torch.tensor(patterns.shape[-2:], device=patterns.device)[:, None]
    there = (places >= 0) & (places < size)
    rows, columns = torch.minimum(places.clamp(min=0), size - 1).unbind(1)
    made = patterns[index.to(patterns.device)[:, None, None], rows[:, :, None], columns[:, None]]
    return made * (there[:, 0, :, None] & there[:, 1, None])


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
    prior = candidate.new_full((len(candidate),), near)
    centre, sigma = candidate.clone(), torch.empty(len(candidate), device=candidate.device)
    moving = torch.arange(len(candidate), device=candidate.device)
    for _ in range(PASSES):
        before = centre[moving]
        each = radius if len(radius) == 1 else radius[moving]
        first = candidate[moving]
        found, precision = posterior(network, counts[moving], probe(before, moving), before, each, first, prior[moving])
        now = first + (found - first).clamp(-FARTHEST, FARTHEST)
        determinant = precision[:, 0, 0] * precision[:, 1, 1] - precision[:, 0, 1] ** 2
        stated = CALIBRATION * torch.sqrt((precision[:, 0, 0] + precision[:, 1, 1]) / (2 * determinant))
        centre[moving], sigma[moving] = now, stated
        moving = moving[(now - before).norm(dim=1) > SETTLED * stated]
    return centre, sigma


@torch.inference_mode()
def refine(
    network: Refiner, patterns: Tensor, probe: Vacuum, index: Tensor, positions: Tensor, batch: int = 256
) -> tuple[Tensor, Tensor]:
    """Refined positions [px], (N, 2), and their standard uncertainties per axis [px], (N,).

    Args:
        network: Trained.
        patterns: Counts, (B, X, Y).
        probe: Vacuum probe.
        index: Pattern of each candidate, (N,).
        positions: Candidates [px], (N, 2), within about two pixels of the disks' centres.
        batch: Crops at a time; what they need stays in a core's cache.
    """
    size = torch.tensor(patterns.shape[-2:], device=positions.device)
    refined, sigma = positions.clone().float(), torch.empty(len(positions), device=positions.device)
    template: Template = probe.template(SIZE, positions.device)
    outline = torch.as_tensor(probe.radii(RAYS), dtype=torch.float32, device=positions.device)[None]
    for start in range(0, len(positions), batch):
        part = slice(start, start + batch)
        candidate = positions[part].float()
        middles = torch.minimum(candidate.round().long().clamp(min=0), size - 1)
        seen = crops(patterns.float(), index[part], middles)
        where, sigma[part] = converged(network, seen, lambda at, _: template.at(at), outline, candidate - middles)
        refined[part] = middles + where
    return refined, sigma


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
    network.bfloat16 = has_bfloat16(torch.device(device))
    return network.eval()


def has_bfloat16(device: torch.device) -> bool:
    """Whether a device multiplies bfloat16 faster than single precision; where it is emulated it would be slower."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and torch.cpu._is_avx512_bf16_supported()  # torch 2.7 has no public name for it
