"""How fast networks learn, against what the hardware allows: samples per second, share of the peak, loader ratio.

Peak: the best rate of a large matrix product in single precision, measured here. Share: floating-point operations of
forward and backward pass (counted by torch) per second of those passes, over the peak. Loader ratio: time to make a
batch (reading, artefacts, labels) over the time of the passes; well below 1 the network never waits for workers.

    python benchmarks/training.py --catalogue results/catalogue.parquet --patterns results/patterns
"""

import argparse
import platform
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from fourdcrystal import experiment, learner
from fourdcrystal.data import QuartetData

TREE = Path(__file__).parents[1] / "config" / "train"
VARIANTS = {
    "ccunet, patches of 2 px (demo)": ("model=ccunet",),
    "ccunet, patches of 1 px": ("model=ccunet", "model.patch=1", "model.width=16"),
    "fcunet": ("model=fcunet",),
}


def best(work: Callable[[], object], device: torch.device, rounds: int) -> float:
    """Least time of several rounds [s], so that other load on the machine matters less."""
    times = []
    for _ in range(rounds):
        if device.type == "cuda":
            torch.cuda.synchronize()
        start = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return min(times)


def peak(device: torch.device) -> float:
    """Operations per second of a matrix product of 2048 x 2048."""
    a = torch.rand(2048, 2048, device=device)
    return 2 * 2048**3 / best(lambda: a @ a, device, 10)


def measure(overrides: tuple[str, ...], args: argparse.Namespace, limit: float) -> str:
    """One row of the table."""
    device = torch.device(args.device)
    settings = experiment.compose("demo", TREE, (*overrides, f"data.batch_size={args.batch_size}"))
    module = QuartetData(args.catalogue, args.patterns, args.batch_size, 0)
    chosen = module.train_dataloader()
    batches = [batch for _, batch in zip(range(args.rounds), chosen, strict=False)]
    made = learner.Learner(settings, 1.5).to(device)
    numbers = iter(chosen)
    loading = best(lambda: next(numbers), device, args.rounds)
    batch = {name: values.to(device) for name, values in batches[0].items()}
    artefacts = best(lambda: made.recorded(batch, "benchmark"), device, args.rounds)
    seen = made.recorded(batch, "benchmark")

    def passes() -> None:
        raw = made.raw(seen)
        made.loss(raw, seen)["loss"].backward()

    with FlopCounterMode(display=False) as counter:
        passes()
    seconds = best(passes, device, args.rounds)
    share = counter.get_total_flops() / seconds / limit
    rate = args.batch_size / (seconds + artefacts + loading)
    parameters = sum(p.numel() for p in made.network.parameters())
    cells = (
        f"{parameters:,}",
        f"{counter.get_total_flops() / args.batch_size / 1e9:.2f}",
        f"{1e3 * loading / args.batch_size:.2f}",
        f"{1e3 * artefacts / args.batch_size:.2f}",
        f"{1e3 * seconds / args.batch_size:.2f}",
        f"{rate:.1f}",
        f"{share:.0%}",
        f"{(loading + artefacts) / seconds:.2f}",
    )
    return " | ".join(cells)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--catalogue", type=Path, default=Path("results/catalogue.parquet"))
    parser.add_argument("--patterns", type=Path, default=Path("results/patterns"))
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    limit = peak(torch.device(args.device))
    print(
        f"{date.today()}, {platform.processor() or platform.machine()}, {args.threads} threads, {args.device}, "
        f"peak {limit / 1e9:.0f} GFLOP/s, batches of {args.batch_size}\n"
    )
    columns = "parameters | GFLOP | load, ms | artefacts, ms | passes, ms | samples/s | share of peak | loader ratio"
    print(f"| network | {columns} |\n|{'---|' * 9}")
    for name, overrides in VARIANTS.items():
        print(f"| {name} | {measure(overrides, args, limit)} |", flush=True)


if __name__ == "__main__":
    main()
