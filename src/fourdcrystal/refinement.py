"""Sub-pixel refinement: the offset of each disk from its candidate position, with its uncertainty, learned.

Around a candidate the counts are read along rays through the disk's edge, beside the vacuum probe as it would look
there. A small network, the same for every ray and coupled around the circle, says how far out the edge lies on each
ray and how sure that is; the offset is the weighted mean that these edges agree on, and the sum of their weights its
inverse covariance (Nix & Weigend, ICNN 1994). What a network has to learn is thus one-dimensional: where an edge is in
spite of contrast, which it has seen in disks cut from dynamical diffraction (:mod:`fourdcrystal.refiner_training`).
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

from fourdcrystal import disks, files
from fourdcrystal.errors import InputError
from fourdcrystal.vacuum import Vacuum

FORMAT = "refiner 2"
SHIPPED = Path(__file__).parent / "data" / "refiner.safetensors"
CALIBRATION = 1.2  # stated deviations held 56-62 % of errors on validation crystals, not 68 %
SIZE = 33  # side of a crop [px]
RAYS = 48
DEPTHS = torch.arange(-8.0, 4.5, 0.75)  # samples of a ray from the probe's edge, outwards [px]
NEAR = 0.7  # standard deviation of a candidate's error along each axis before anything is seen [px]
PASSES = 3  # each one starts from the offset of the one before
FARTHEST = 2.0  # px; from the candidate


def rays(radius: Tensor) -> Tensor:
    """Where rays are read, from the disk's centre [px], (B, RAYS, depths, 2), for radii (B, RAYS)."""
    angle = 2 * math.pi * torch.arange(RAYS, device=radius.device) / RAYS
    normal = torch.stack([angle.cos(), angle.sin()], -1)
    return (radius[..., None] + DEPTHS.to(radius.device))[..., None] * normal[:, None]


def read(images: Tensor, places: Tensor) -> Tensor:
    """Images (B, S, S) at places [px from their middle], (B, RAYS, depths, 2), bilinear, (B, RAYS, depths)."""
    unit = places / (images.shape[-1] // 2)
    made = torch.nn.functional.grid_sample(images[:, None], unit.flip(-1), "bilinear", "border", align_corners=True)
    return made[:, 0]


class Around(nn.Module):
    """Two convolutions around the circle beside a shortcut.

    Args:
        width: Channels.
        dilation: Rays between neighbours that are seen.
    """

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.first = nn.Conv1d(width, width, 3, padding=dilation, dilation=dilation, padding_mode="circular")
        self.second = nn.Conv1d(width, width, 3, padding=dilation, dilation=dilation, padding_mode="circular")
        self.gain = nn.Parameter(torch.tensor(0.25))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.gain * self.second(torch.relu(self.first(torch.relu(x))))


class Refiner(nn.Module):
    """From crops and the probe at the candidates to offsets and precisions.

    Args:
        width: Channels of a ray.
    """

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.width = width
        self.stem = nn.Conv1d(3 * len(DEPTHS) + 2, width, 1)
        self.body = nn.Sequential(*(Around(width, dilation) for dilation in (1, 2, 4, 8, 1)))
        self.head = nn.Conv1d(width, 2, 1)
        nn.init.zeros_(self.head.weight)
        with torch.no_grad():
            self.head.bias.copy_(torch.tensor([0.0, -1.0]))

    def forward(self, counts: Tensor, probe: Tensor, centre: Tensor, radius: Tensor) -> tuple[Tensor, Tensor]:
        """Offset of each disk's centre from ``centre`` [px], (N, 2), and its inverse covariance [1/px²], (N, 2, 2).

        Args:
            counts: Crops, (N, SIZE, SIZE).
            probe: Vacuum probe of plateau 1 at ``centre``, (N, SIZE, SIZE).
            centre: Candidates [px from the crop's middle], (N, 2).
            radius: Of the probe's outline at each ray [px], (N, RAYS).
        """
        places = rays(radius)
        at = places + centre[:, None, None]
        mean = ((counts * probe).sum((-2, -1)) / probe.sum((-2, -1)) + 0.02)[:, None, None]
        seen, reference = read(counts, at), read(probe, at)
        relative = seen / mean
        scalars = torch.stack([torch.log10(mean[:, 0, 0]), radius.mean(1) / 8], -1)
        inputs = torch.cat(
            [
                relative.sqrt().clamp(max=4),
                relative.clamp(max=8) / 2,
                reference,
                scalars[:, None].expand(-1, RAYS, -1),
            ],
            -1,
        )
        out = self.head(torch.relu(self.body(self.stem(inputs.mT))))
        edge, weight = out[:, 0], torch.exp(out[:, 1].clamp(-12, 9))
        normal = places[:, :, -1] / places[:, :, -1].norm(dim=-1, keepdim=True)
        precision = (
            torch.einsum("nr,nri,nrj->nij", weight, normal, normal) + torch.eye(2, device=counts.device) / NEAR**2
        )
        moment = torch.einsum("nr,nri->ni", weight * edge, normal)
        return torch.linalg.solve(precision, moment), precision


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


def converged(
    network: Refiner, counts: Tensor, probe: Callable[[Tensor], Tensor], radius: Tensor, candidate: Tensor
) -> tuple[Tensor, Tensor]:
    """Centres after all passes [px from the crops' middles], (N, 2), and standard uncertainties per axis [px], (N,).

    Args:
        network: Trained.
        counts: Crops, (N, SIZE, SIZE).
        probe: Gives the vacuum probe of plateau 1 at centres (N, 2), (N, SIZE, SIZE).
        radius: Of the probe's outline at each ray [px], (N, RAYS).
        candidate: Where to start [px from the crops' middles], (N, 2).
    """
    centre = candidate
    for _ in range(PASSES):
        offset, precision = network(counts, probe(centre), centre, radius)
        centre = candidate + (centre + offset - candidate).clamp(-FARTHEST, FARTHEST)
    determinant = precision[:, 0, 0] * precision[:, 1, 1] - precision[:, 0, 1] ** 2
    return centre, CALIBRATION * torch.sqrt((precision[:, 0, 0] + precision[:, 1, 1]) / (2 * determinant))


@torch.inference_mode()
def refine(
    network: Refiner, patterns: Tensor, probe: Vacuum, index: Tensor, positions: Tensor, batch: int = 1024
) -> tuple[Tensor, Tensor]:
    """Refined positions [px], (N, 2), and their standard uncertainties per axis [px], (N,).

    Args:
        network: Trained.
        patterns: Counts, (B, X, Y).
        probe: Vacuum probe.
        index: Pattern of each candidate, (N,).
        positions: Candidates [px], (N, 2), within about two pixels of the disks' centres.
        batch: Crops at a time.
    """
    size = torch.tensor(patterns.shape[-2:], device=positions.device)
    refined, sigma = positions.clone().float(), torch.empty(len(positions), device=positions.device)
    pixels = disks.grid(SIZE).to(positions.device)
    outline = torch.as_tensor(probe.radii(RAYS), dtype=torch.float32, device=positions.device)
    for start in range(0, len(positions), batch):
        part = slice(start, start + batch)
        candidate = positions[part].float()
        middles = torch.minimum(candidate.round().long().clamp(min=0), size - 1)
        seen = crops(patterns.float(), index[part], middles)
        where, sigma[part] = converged(
            network,
            seen,
            lambda centre: probe.sample(pixels - centre[:, None, None]),
            outline.expand(len(seen), -1),
            candidate - middles,
        )
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
    return network.eval()
