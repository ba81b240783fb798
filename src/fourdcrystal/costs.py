"""What a plan will cost: core-hours, GPU-hours and bytes of jobs to come, from benchmark files of finished ones.

Snakemake reads this while it parses the workflow: nothing heavy is imported here.
"""

import ast
import csv
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from fourdcrystal import box, places, recipe
from fourdcrystal.instrument_settings import box_edge
from fourdcrystal.settings import Settings

HOUR = 3600.0
SAMPLE = 20  # stores whose sizes are looked at; more would make a dry run wait for the file system
STORING = ("simulate", "simulate_shard")


@dataclass(frozen=True)
class Job:
    """A finished job: wall and CPU time [s], peak resident memory [MB] (NaN if it was too short), GPUs that it held."""

    rule: str
    name: str
    s: float
    cpu_s: float
    mem_MB: float
    gpus: int


@dataclass(frozen=True)
class Planned:
    """Jobs of one rule to come: how many, for how many crystals in all, and GPUs that each asks for."""

    jobs: int
    crystals: int
    gpus: int

    def plus(self, crystals: int, gpus: int) -> Self:
        """The same with one job more."""
        return type(self)(self.jobs + 1, self.crystals + crystals, max(self.gpus, gpus))


@dataclass(frozen=True)
class Cost:
    """What the planned jobs of a rule will need (bytes: of stores), and the number of records that say so.

    None where nothing comparable has been recorded.
    """

    rule: str
    jobs: int
    core_hours: float | None
    gpu_hours: float | None
    bytes: float | None
    records: int


def read(folder: str | Path) -> Iterator[Job]:
    """Finished jobs from Snakemake's benchmark files ``folder/{rule}.tsv`` and ``folder/{rule}/{name}.tsv``."""
    for path in sorted(Path(folder).rglob("*.tsv")):
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
        if rows:
            rule, *name = path.relative_to(folder).with_suffix("").parts
            row = rows[-1]
            resources = ast.literal_eval(row["resources"]) if row.get("resources", "").startswith("{") else {}
            s, cpu_s, mem_MB = (_number(row[column]) for column in ("s", "cpu_time", "max_rss"))
            yield Job(rule, "/".join(name), s, cpu_s, mem_MB, int(resources.get("gpu", 0)))


def _number(text: str) -> float:
    return float("nan") if text in ("-", "NA") else float(text)


def work(settings: Settings) -> float:
    """Arithmetic per crystal: points of every wave in every slice of every displaced copy (point-slices)."""
    specimen = settings.specimen
    copies = specimen.thermal.configurations if specimen.thermal.model == "frozen_phonon" else 1
    slices = copies * specimen.thickness[-1] / specimen.slice_thickness
    points = box.grid(specimen, settings.detector).n ** 2
    return quartets(settings) / len(specimen.thickness) * slices * points


def volume(settings: Settings) -> float:
    """Volume of a crystal's supercells [Å³]: their atoms grow with it, whatever beams go through them."""
    specimen = settings.specimen
    return orientations(settings) * box_edge(specimen, settings.detector) ** 2 * specimen.thickness[-1]


def orientations(settings: Settings) -> int:
    """Orientations per crystal."""
    turned = settings.orientations
    return turned.unrotated + turned.zone_axes + turned.mistilted + turned.random


def quartets(settings: Settings) -> int:
    """Quartets per crystal."""
    beam, planes = settings.microscope, settings.specimen.thickness
    return orientations(settings) * len(beam.energy) * len(beam.semiangle_cutoff) * len(planes)


# rules whose work grows with the recipe, and what it grows with
SIMULATION = {"supercells": volume, "simulate": work, "simulate_shard": work}


def estimate(planned: Mapping[str, Planned], results: str | Path, settings: Settings) -> list[Cost]:
    """Costs of planned jobs, from those that ran before.

    Core-hours are CPU time, or wall time where that is longer. GPU-hours are wall times of jobs that held a GPU. Times
    of simulations recorded with another recipe are scaled by :func:`work`, those of supercells by :func:`volume`, sizes
    of stores by their quartets' pixels.

    Args:
        planned: Jobs to come, by rule.
        results: Folder with the ``benchmarks``, ``shards`` and ``patterns`` of earlier jobs.
        settings: What is planned.

    Raises:
        InputError: if a store's recipe is of another version of this package.
    """
    folder = Path(results)
    done: dict[str, list[Job]] = {}
    for job in read(folder / "benchmarks"):
        if job.rule == "simulate_shard" and not _record(folder, job).exists():
            continue  # it has been begun again: for how many crystals these times are isn't known
        done.setdefault(job.rule, []).append(job)
    size, made = _stores(folder / "patterns")
    growth = {rule: grows(settings) / grows(made) if made else 1.0 for rule, grows in SIMULATION.items()}
    pixels = _pixels(settings) / _pixels(made) if made else 1.0
    costs = []
    for rule, plan in planned.items():
        units = plan.crystals if rule in SIMULATION else plan.jobs
        parts = [rule]
        if rule == "simulate_shard" and rule not in done:  # what it does, one crystal at a time
            parts = ["supercells", "simulate"]
        scales = [units * growth.get(part, 1.0) / HOUR for part in parts]
        cores = [_per_unit(done.get(part, []), folder, gpu=False) for part in parts]
        held = [job for job in done.get(parts[-1], []) if job.gpus]
        gpus = _per_unit(held, folder, gpu=True)
        costs.append(
            Cost(
                rule,
                plan.jobs,
                _sum(scales, cores),
                _sum([scales[-1] * plan.gpus], [gpus]) if plan.gpus else 0.0,
                None if size is None else plan.crystals * size * pixels if rule in STORING else 0.0,
                len(done.get(parts[-1], [])),
            )
        )
    return costs


def _sum(factors: list[float], seconds: list[float | None]) -> float | None:
    """Seconds, each times its factor; none where one of them is."""
    known = [factor * s for factor, s in zip(factors, seconds, strict=True) if s is not None]
    return sum(known) if len(known) == len(seconds) else None


def _per_unit(jobs: list[Job], results: Path, gpu: bool) -> float | None:
    """Mean seconds per crystal of simulations, per job of other rules; none without records."""
    if not jobs:
        return None
    units = [len(json.loads(_record(results, job).read_text())) if job.rule == "simulate_shard" else 1 for job in jobs]
    return sum(job.s if gpu else max(job.s, job.cpu_s) for job in jobs) / sum(units)


def _record(results: Path, job: Job) -> Path:
    """What a job of several crystals says of each."""
    return results / "shards" / f"{job.name}.json"


def _stores(patterns: Path) -> tuple[float | None, Settings | None]:
    """Mean size of finished stores [bytes] and the recipe of the newest; none if there is no store."""
    found = sorted(patterns.glob("*.zarr/zarr.json"), key=lambda path: path.stat().st_mtime_ns)[-SAMPLE:]
    if not found:
        return None, None
    sizes = [sum(places.at(path.parent).sizes().values()) for path in found]
    made = json.loads(found[-1].read_text())["attributes"]["recipe"]
    return sum(sizes) / len(sizes), recipe.validate(made, str(found[-1]))


def _pixels(made: Settings) -> float:
    return quartets(made) * math.prod(made.detector.shape)


def table(costs: Sequence[Cost]) -> str:
    """The estimate as lines for a terminal; empty if there is nothing to estimate."""
    if not costs:
        return ""
    rows = [
        ("rule", "jobs", "core-hours", "GPU-hours", "stores", "from"),
        *((cost.rule, f"{cost.jobs:,}", *_figures(cost), f"{cost.records:,} jobs") for cost in costs),
    ]
    known = [cost for cost in costs if cost.core_hours is not None]
    if known:
        total = Cost(
            "total",
            sum(cost.jobs for cost in costs),
            sum(cost.core_hours or 0.0 for cost in known),
            None if any(cost.gpu_hours is None for cost in known) else sum(cost.gpu_hours or 0.0 for cost in known),
            None if any(cost.bytes is None for cost in costs) else sum(cost.bytes or 0.0 for cost in costs),
            0,
        )
        rows.append(("total of what is known", f"{total.jobs:,}", *_figures(total), ""))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["Estimate, from the benchmark files of earlier jobs:"]
    for name, *figures in rows:
        shown = (f"{figure:>{width}}" for figure, width in zip(figures, widths[1:], strict=True))
        lines.append("  ".join((f"{name:<{widths[0]}}", *shown)).rstrip())
    if any(None in (cost.core_hours, cost.gpu_hours, cost.bytes) for cost in costs):
        lines.append("-: no such job has run yet (with a GPU). Let one run, for instance one crystal, and ask again.")
    return "\n".join(lines) + "\n"


def _figures(cost: Cost) -> tuple[str, str, str]:
    core, gpu = ("-" if value is None else f"{value:.3g}" for value in (cost.core_hours, cost.gpu_hours))
    return core, gpu, "-" if cost.bytes is None else _bytes(cost.bytes)


def _bytes(count: float) -> str:
    if not count:
        return ""
    power = min(int(math.log(count, 1000)), 4)
    return f"{count / 1000**power:.3g} {('B', 'kB', 'MB', 'GB', 'TB')[power]}"
