"""Whether the network waits for its data: training steps from the stores beside the same steps from memory.

Both are timed in turns, in one process, with the network, losses and artefacts of an experiment. Then: reading alone,
and what millions of rows cost (a catalogue as long as the 2021 data set's). Prints Markdown;
docs/decisions/0031-loading.md holds a run.

    python benchmarks/loading.py results --experiment demo
"""

import argparse
import multiprocessing
import os
import platform
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import date
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from fourdcrystal import catalogue, experiment, quartets
from fourdcrystal.data import QuartetData
from fourdcrystal.learner import Learner
from fourdcrystal.order import Order

ROWS = 6_500_000


class Steps:
    """Training steps of an experiment's network on a device."""

    def __init__(self, settings: experiment.Experiment, device: str) -> None:
        self._learner = Learner(settings, width=1.5).to(device).train()
        self._optimiser = torch.optim.AdamW(self._learner.parameters(), 1e-4)
        self._device, self._count = device, 0

    def step(self, batch: dict[str, torch.Tensor]) -> None:
        """One step, finished when it returns."""
        batch = {name: values.to(self._device, non_blocking=True) for name, values in batch.items()}
        batch = self._learner.recorded(batch, "train", self._count)
        raw = self._learner.raw(batch)
        loss = self._learner.loss(raw, batch)["loss"]
        self._optimiser.zero_grad()
        loss.backward()
        self._optimiser.step()
        float(loss.detach())
        self._count += 1


def endless(data: QuartetData) -> Iterator[dict[str, torch.Tensor]]:
    """Batches of one epoch after the other."""
    loader = data.train_dataloader()
    while True:
        yield from loader


def seconds(steps: Steps, batches: Iterator[dict[str, torch.Tensor]], count: int, clock: Callable[[], float]) -> float:
    """Time of so many steps, with what it takes to get their batches."""
    start = clock()
    for batch in islice(batches, count):
        steps.step(batch)
    return clock() - start


def compare(results: Path, settings: experiment.Experiment, device: str, workers: int, turns: int, count: int) -> None:
    """One line of the table: speed from the stores over speed from memory, medians over turns."""
    size = settings.data.batch_size
    data = QuartetData(results / "catalogue.parquet", results / "patterns", size, seed=0, workers=workers)
    stored = endless(data)
    held = cycle([{name: v.clone() for name, v in batch.items()} for batch in islice(stored, 8)])
    steps = Steps(settings, device)
    # one process on a CPU is timed by its CPU time, which doesn't depend on what else the machine does
    clock = time.process_time if device == "cpu" and workers == 0 else time.perf_counter
    seconds(steps, held, 2, clock), seconds(steps, stored, 2, clock)
    from_memory, from_stores = [], []
    for _ in range(turns):
        from_memory.append(seconds(steps, held, count, clock) / count)
        from_stores.append(seconds(steps, stored, count, clock) / count)
    memory, stores = statistics.median(from_memory), statistics.median(from_stores)
    name = f"{settings.model.name}, {settings.model.width} channels"
    print(
        f"| {name} | {device} | {size} | {workers} | {1e3 * memory:.1f} | {1e3 * stores:.1f} "
        f"| **{100 * memory / stores:.1f} %** |"
    )


def reading(results: Path) -> None:
    """Reading and decoding alone."""
    chosen = quartets.select(results / "catalogue.parquet", results / "patterns", "train")
    places = np.random.default_rng(0).permutation(len(chosen))[: len(chosen) // 16 * 16].reshape(-1, 16)
    list(map(chosen.__getitem__, places))  # opens the stores
    start = time.process_time()
    for batch in places:
        chosen[batch]
    took = time.process_time() - start
    x, y = chosen.shape()
    print(f"\nReading alone: {1e3 * took / places.size:.2f} ms of CPU per quartet of {x} x {y} px, files cached.")


def millions(results: Path) -> None:
    """Start-up and memory with a catalogue of :data:`ROWS` rows."""
    table = pq.read_table(results / "catalogue.parquet")
    copies = -(-ROWS // table.num_rows)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "catalogue.parquet"
        one = table.combine_chunks()
        long = pa.concat_tables([one] * copies).unify_dictionaries().combine_chunks().slice(0, ROWS)
        train = pa.array(np.zeros(len(long), np.int32))
        split = pa.DictionaryArray.from_arrays(train, pa.array(["train"]))
        long = long.set_column(long.schema.get_field_index("split"), "split", split)
        about = pq.read_metadata(results / "catalogue.parquet").metadata[b"fourdcrystal"].decode()
        blank = about.replace(catalogue.identity(results / "catalogue.parquet"), "0" * 64)
        catalogue.write(path, long.replace_schema_metadata({"fourdcrystal": blank}))
        del long, one, table
        process = multiprocessing.get_context("spawn").Process(target=first_batch, args=(path, results / "patterns"))
        process.start()
        process.join()


def first_batch(path: Path, patterns: Path) -> None:
    """Start-up and peak memory of a fresh process, until it has its first batch of training."""
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    chosen = quartets.select(path, patterns, "train")
    batches = iter(Order(chosen.shards(), 16, seed=0))
    chosen[next(batches)]
    took = time.process_time() - start
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1e3
    size = path.stat().st_size / 1e6
    print(f"\n{len(chosen):,} rows, {size:.0f} MB: first batch after {took:.1f} s of CPU, {grown:.0f} MB more at peak.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, help="folder with catalogue.parquet and patterns/")
    parser.add_argument("--experiment", default="demo", help="of config/train/experiment")
    parser.add_argument("--device", default="cpu", help="cpu, cuda")
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1], help="each is measured")
    parser.add_argument("--turns", type=int, default=7, help="of each kind")
    parser.add_argument("--steps", type=int, default=6, help="in each turn")
    args = parser.parse_args()
    settings = experiment.compose(args.experiment, Path(__file__).parents[1] / "config" / "train")
    print(
        f"Measured {date.today()}, {platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads.\n"
    )
    print("| network | device | batch | workers | from memory, ms/step | from stores, ms/step | ratio |")
    print("|---|---|---|---|---|---|---|")
    for workers in args.workers:
        compare(args.results, settings, args.device, workers, args.turns, args.steps)
    reading(args.results)
    millions(args.results)


if __name__ == "__main__":
    main()
