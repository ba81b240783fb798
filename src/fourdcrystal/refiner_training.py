"""Training of the sub-pixel refiner: crops of disks with known centres, the loss, and what came out.

Validation crystals are others than training crystals (:func:`fourdcrystal.rocking.divided`); all figures are theirs.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from fourdcrystal import bfloat16, checkpoints, disks, files, refiner, rocking
from fourdcrystal.disks import Disks, Rocking
from fourdcrystal.errors import InputError
from fourdcrystal.progress import Progress
from fourdcrystal.refiner import Refiner

VALIDATION = 4096  # crops of validation crystals
SPREAD = (0.2, 1.0)  # standard deviation along each axis of what is known of a centre before [px]
RAYS_FIRST = 500  # steps in which single rays are taught where their edge is, ever less
WARM = 200  # steps in which the learning rate rises
COOLED = 0.25  # share of the steps, the last ones, over which it falls to nothing
AVERAGED = 0.995  # of the averaged weights that stays at each step
KEPT = 100  # steps between checkpoints
CANDIDATES = 0.35  # standard deviation of a validation candidate's error along each axis [px]
ELECTRONS = ((30, 300), (300, 1e3), (1e3, 1e4), (1e4, disks.ELECTRONS[1]))  # in a disk; figures are stated for each


@dataclass(frozen=True)
class Recipe:
    """What a training depends on, beside its rocking maps.

    Attributes:
        crops: Expected crops that are drawn once and seen at ever other doses.
        steps: Optimiser steps.
        batch: Crops per step.
        width: Channels of a ray.
        learning_rate: Highest one.
        seed: Of everything.
    """

    crops: int
    steps: int
    batch: int
    width: int
    learning_rate: float
    seed: int


@dataclass(frozen=True)
class Figures:
    """How a refiner does on disks of a range of doses.

    Attributes:
        least: Fewest electrons in a disk.
        most: Most electrons in a disk.
        disks: How many.
        candidates: Median distance of the candidates from the centres [px].
        median: Median distance of the refined positions from the centres [px].
        coverage: Fraction of errors along an axis within the stated deviation; 0.68 if Gaussian and well stated.
    """

    least: float
    most: float
    disks: int
    candidates: float
    median: float
    coverage: float

    def words(self) -> str:
        """One line."""
        return (
            f"{self.least:g} to {self.most:g} electrons, {self.disks} disks: candidates {self.candidates:.3f} px, "
            f"refined {self.median:.3f} px (medians), {100 * self.coverage:.0f} % within the stated deviation"
        )


def make(maps: Path, recipe: Recipe, output: Path, per_crystal: int = 1, start: Path | None = None) -> list[Figures]:
    """Make the rocking maps that are missing, train a refiner on them, and write it, with its figures beside it (JSON).

    Args:
        maps: Folder of the rocking maps; those that are there are kept.
        recipe: Of the training.
        output: Refiner's file (.safetensors).
        per_crystal: Rocking maps of each crystal.
        start: Refiner of the same width to go on from; none: random weights.

    A training that was killed goes on from OUTPUT.checkpoint, which is removed at its end.

    Returns:
        Figures on the validation crystals.
    """
    learnt, kept = rocking.divided(rocking.written(maps, rocking.crystals(), per_crystal, seed=0))
    made = collection(recipe.crops, recipe.seed, Rocking(learnt))
    first = None if start is None else refiner.load(start)
    checkpoint = output.with_suffix(".checkpoint")
    with Progress(recipe.steps, "training", "steps") as progress:
        network = train(
            made,
            recipe.steps,
            recipe.batch,
            recipe.seed,
            recipe.width,
            recipe.learning_rate,
            lambda step, loss: progress.add(1),
            checkpoint,
            first,
        )
    figures = validate(network, validation(Rocking(kept)))
    about = asdict(recipe) | {"maps": len(learnt), "validation_maps": len(kept)}
    about["start"] = None if start is None else hashlib.sha256(start.read_bytes()).hexdigest()
    refiner.save(output, network, about)
    with files.replaced(output.with_suffix(".json")) as temporary:
        temporary.write_text(json.dumps(about | {"figures": [asdict(f) for f in figures]}, indent=1) + "\n")
    checkpoint.unlink(missing_ok=True)
    return figures


def validation(source: Rocking | None, count: int = VALIDATION) -> Disks:
    """Expected crops that figures are measured on, the same ones for the same rocking maps."""
    generator = torch.Generator().manual_seed(99)
    return Disks.joined(
        [disks.draw(min(128, count - i), generator, refiner.SIZE, source) for i in range(0, count, 128)]
    )


@torch.inference_mode()
def validate(network: Refiner, made: Disks) -> list[Figures]:
    """Figures of a refiner, as :func:`fourdcrystal.refiner.refine` uses it, for each range of :data:`ELECTRONS`."""
    generator = torch.Generator().manual_seed(1)
    counts, electrons = made.counts(generator)
    candidate = made.offset + CANDIDATES * torch.randn(len(made), 2, generator=generator)
    centre, sigma = refiner.converged(
        network,
        counts,
        lambda at, which: made.where(which).probe(at),
        made.radii(refiner.RAYS),
        candidate,
        CANDIDATES,
    )
    error = (centre - made.offset).abs()
    before = (candidate - made.offset).norm(dim=1)
    found = []
    for least, most in ELECTRONS:
        some = (electrons >= least) & (electrons < most)
        median = error[some].norm(dim=1).median().item()
        held = (error < sigma[:, None])[some].float().mean().item()
        found.append(Figures(least, most, int(some.sum()), before[some].median().item(), median, held))
    return found


def collection(count: int, seed: int, rocking: Rocking | None, batch: int = 128) -> Disks:
    """Expected crops to learn from: a quarter of them with made-up contrast, the others from rocking maps if given."""
    generator = torch.Generator().manual_seed(seed)
    parts = []
    for number in range(-(-count // batch)):
        source = None if number % 4 == 0 else rocking
        parts.append(disks.draw(min(batch, count - number * batch), generator, refiner.SIZE, source))
    return Disks.joined(parts)


def train(
    made: Disks,
    steps: int,
    batch_size: int,
    seed: int,
    width: int,
    learning_rate: float,
    progress: Callable[[int, float], None] = lambda step, loss: None,
    checkpoint: Path | None = None,
    start: Refiner | None = None,
) -> Refiner:
    """Train a refiner on crops with known centres; the averaged weights of the last steps are what is returned.

    Args:
        made: Expected crops; each is seen at ever other doses, from ever other candidates, in eight orientations.
        steps: Optimiser steps.
        batch_size: Crops per step.
        seed: Of everything.
        width: Channels.
        learning_rate: Highest one, of AdamW; it rises, stays, and falls over the last quarter of the steps.
        progress: Told the step and its loss.
        checkpoint: File that a training which was killed goes on from; as long as the learning rate hadn't begun to
            fall, with more or fewer steps, too. One of other crops or settings is removed.
        start: Refiner whose weights are learned further; none: random ones.

    Raises:
        InputError: if the refiner to start with is of another width.
    """
    if start is not None and start.width != width:
        raise InputError(f"--start names a refiner of width {start.width}; --width must be the same, not {width}")
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    network = Refiner(width)
    if start is not None:
        network.load_state_dict(start.state_dict())
    network.in_bfloat16 = bfloat16.fast_on(torch.device("cpu"))
    average = torch.optim.swa_utils.AveragedModel(
        network, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(min(AVERAGED, 1 - min(0.5, 20 / steps)))
    )
    optimiser = torch.optim.AdamW(network.parameters(), learning_rate, weight_decay=1e-4)
    parts: dict[str, nn.Module | torch.optim.Optimizer]
    parts, first = {"network": network, "average": average, "optimiser": optimiser}, 0
    weights = [] if start is None else list(start.state_dict().values())
    origin = {
        "batch": batch_size,
        "seed": seed,
        "width": width,
        "learning_rate": learning_rate,
        "crops": _hashed([made.expected, made.offset]),
        "start": _hashed(weights),
    }
    if checkpoint is not None and checkpoints.resumable(checkpoint, origin) is not None:
        state = torch.load(checkpoint, weights_only=True)
        for name, part in parts.items():
            part.load_state_dict(state[name])
        generator.set_state(state["generator"])
        first = state["step"]
    network.train()
    for step in range(first, steps):
        for group in optimiser.param_groups:
            group["lr"] = learning_rate * schedule(step, steps)
        some = turned(made.where(torch.randint(len(made), (batch_size,), generator=generator)), step % 8)
        loss = cost(network, some, generator, 0.0 if start is not None else max(0.0, 1 - step / RAYS_FIRST))
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        average.update_parameters(network)
        progress(step + 1, loss.item())
        if checkpoint is not None and (step + 1) % KEPT == 0:
            state = {name: part.state_dict() for name, part in parts.items()}
            state["origin"] = json.dumps(origin, sort_keys=True)
            with files.replaced(checkpoint) as temporary:
                torch.save(state | {"generator": generator.get_state(), "step": step + 1}, temporary)
    trained = cast(Refiner, average.module).eval()
    trained.in_bfloat16 = False
    return trained


def _hashed(tensors: list[Tensor]) -> str:
    """Checksum of tensors' numbers, to the bit."""
    whole = hashlib.sha256()
    for tensor in tensors:
        whole.update(tensor.detach().cpu().contiguous().numpy().data)
    return whole.hexdigest()


def schedule(step: int, steps: int) -> float:
    """Learning rate of a step over the highest one: a short rise, a plateau, and a linear fall to nothing."""
    return min(1.0, (step + 1) / min(WARM, COOLED * steps), (steps - step) / (COOLED * steps))


def cost(network: Refiner, some: Disks, generator: torch.Generator, rays: float = 0.0) -> Tensor:
    """Loss of a batch at random doses, centres known before to random precision, read from random places near them.

    What was known before is given explicitly, so what the network learns is what counts say, whatever the candidates.

    Args:
        network: Refiner.
        some: Crops.
        generator: Source of randomness.
        rays: Weight of the error of each single ray's edge. At first the network is wrong everywhere, and trusting no
            ray would be best; without this it stays there.
    """
    counts, _ = some.counts(generator)
    spread = disks.decades(SPREAD, generator, len(some), 1)
    expected = some.offset + spread * torch.randn(len(some), 2, generator=generator)
    away = spread * torch.randn(len(some), 2, generator=generator)
    centre = expected + away * (torch.rand(len(some), 1, generator=generator) < 0.5)
    seen = counts, some.probe(centre), centre, some.radii(refiner.RAYS)
    found, precision = refiner.posterior(network, *seen, expected, spread[:, 0])
    loss = negative_log_likelihood(found, precision, some.offset)
    if rays > 0:
        edge, _, normal = network.edges(*seen)
        true = torch.einsum("nri,ni->nr", normal, some.offset - centre)
        loss = loss + rays * nn.functional.huber_loss(edge, true, delta=0.5)
    return loss


def turned(made: Disks, which: int) -> Disks:
    """Crops in one of the eight orientations of the square."""
    expected, offset, stretch = made.expected, made.offset, made.stretch
    for axis in (0, 1):
        if which & (1 << axis):
            sign = torch.tensor([-1.0, 1.0] if axis == 0 else [1.0, -1.0])
            expected, offset = expected.flip(axis + 1), offset * sign
            stretch = stretch * sign * sign[:, None]
    if which & 4:
        expected, offset, stretch = expected.mT, offset.flip(-1), stretch.flip(-1, -2)
    return Disks(expected, offset, made.radius, made.edge, stretch)


def negative_log_likelihood(offset: Tensor, precision: Tensor, true: Tensor, beta: float = 0.5) -> Tensor:
    """Gaussian negative log-likelihood, each sample weighted by σ^(2β) (Seitzer et al., ICLR 2022); a scalar.

    Args:
        offset: Predicted [px], (N, 2).
        precision: Inverse covariance [1/px²], (N, 2, 2).
        true: [px], (N, 2).
        beta: 0: the plain likelihood; 1: errors weigh as in least squares.
    """
    error = offset - true
    determinant = precision[:, 0, 0] * precision[:, 1, 1] - precision[:, 0, 1] ** 2
    each = torch.einsum("ni,nij,nj->n", error, precision, error) / 2 - torch.log(determinant) / 2
    return (each * determinant.detach() ** (-beta / 2)).mean()
