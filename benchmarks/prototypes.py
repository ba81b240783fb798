"""Prototype matching side by side: pymatgen's matcher against ours on a sample, then ours on a whole table.

Both run in one process on the same structures, and every answer is compared. Times are CPU times of one core.
"""

import argparse
import datetime
import os
import platform
import random
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from pymatgen.analysis.prototypes import AFLOW_PROTOTYPE_LIBRARY, PrototypeDatabaseMatcher

from fourdcrystal import limits, prototypes, source_aflow, source_files, symmetry
from fourdcrystal.crystal_settings import Files
from fourdcrystal.sources import Entry

TABLE = Path(__file__).parents[2] / "shared" / "data" / "crystals" / "mp_45k.parquet"


def timed(function: Callable, entries: list[Entry]) -> tuple[list, float]:
    """Answers, and CPU seconds for all of them."""
    start = time.process_time()
    answers = [function(entry) for entry in entries]
    return answers, time.process_time() - start


def multiples(entries: list[Entry], seed: int) -> list[Entry]:
    """The same crystals in multiple cells of 21 to 200 sites, as databases of relaxed supercells have them."""
    rng = np.random.default_rng(seed)
    found = []
    for entry in entries:
        times = np.ones(3, int)
        while len(entry.structure) * times.prod() <= 20:
            times[rng.integers(3)] += 1
        found.append(Entry(entry.id, entry.structure * times))
    return found


def prototypes_themselves(number: int, seed: int) -> list[Entry]:
    """The library's own cells of 21 to 200 sites, strained and perturbed: the worst case, as nearly all match."""
    rng = np.random.default_rng(seed)
    found = [entry["snl"].structure for entry in AFLOW_PROTOTYPE_LIBRARY]
    found = [structure for structure in found if 20 < len(structure) <= 200]
    chosen = [found[i].copy() for i in rng.permutation(len(found))[:number]]
    for structure in chosen:
        structure.apply_strain(rng.uniform(-0.03, 0.03, 3))
        structure.perturb(0.02)
    return [Entry(str(n), structure) for n, structure in enumerate(chosen)]


def side_by_side(sample: list[Entry]) -> None:
    """Print a row for each matcher, with ratio and agreement."""
    names = source_aflow.class_names()
    position = {id(entry["tags"]): n for n, entry in enumerate(AFLOW_PROTOTYPE_LIBRARY)}
    reference = PrototypeDatabaseMatcher(pd.DataFrame(AFLOW_PROTOTYPE_LIBRARY))
    theirs, slow = timed(lambda e: reference.get_prototypes(e.structure) or [], sample)
    ours, fast = timed(lambda e: prototypes.loaded().matches(e.structure), sample)
    same = sum([names[position[id(t["tags"])]] for t in a] == b for a, b in zip(theirs, ours, strict=True))
    n = len(sample)
    print(f"| pymatgen | {n} | {slow / n * 1e3:.1f} | 1 | | {sum(map(bool, theirs))} |")
    ratio, agreement = f"{slow / fast:.0f}", f"{same} of {n}"
    print(f"| ours | {n} | {fast / n * 1e3:.2f} | {ratio} | {agreement} | {sum(map(bool, ours))} |", flush=True)


def machine() -> str:
    """CPU of this machine."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    models = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return f"{models[0] if models else platform.processor()}, {os.cpu_count()} cores"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--table", type=Path, default=TABLE, help="parquet table of structures")
    parser.add_argument("--sample", type=int, default=150, help="structures for the side-by-side comparison")
    parser.add_argument("--large", type=int, default=60, help="structures of more sites for the same")
    parser.add_argument("--whole", type=int, default=None, help="structures for ours alone; none: all")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if not args.table.exists():
        parser.exit(message=f"{args.table} is absent: nothing to compare on\n")
    warnings.simplefilter("ignore")

    print(f"{datetime.date.today()}, {machine()}, Python {platform.python_version()}, load {os.getloadavg()[0]:.1f}\n")
    entries = [e for e in source_files.entries(Files(paths=[args.table])) if e.structure is not None]
    random.Random(args.seed).shuffle(entries)
    sample, whole = entries[: args.sample], entries[: args.whole]

    library = prototypes.loaded()
    header = "| {} | structures | CPU ms each | ratio | agree | with a prototype |\n|---|---|---|---|---|---|"
    print(header.format("cells of up to 20 sites"))
    side_by_side(sample)
    print("\n" + header.format("the same crystals, cells of 21 to 200 sites"))
    side_by_side(multiples(sample[: args.large], args.seed))
    print("\n" + header.format("prototypes themselves, cells of 21 to 200 sites"))
    side_by_side(prototypes_themselves(args.large, args.seed))
    print()

    steps = {
        "prototype": lambda e: library.matches(e.structure),
        "protostructure label": lambda e: symmetry.protostructure(e.structure),
        "space group, primitive cell, distances": lambda e: limits.measure(e.structure),
    }
    n, total, found = len(whole), 0.0, []
    print("| ours, the whole table | structures | CPU s | CPU ms each |")
    print("|---|---|---|---|")
    for name, step in steps.items():
        answers, seconds = timed(step, whole)
        found, total = found or answers, total + seconds
        print(f"| {name} | {n} | {seconds:.0f} | {seconds / n * 1e3:.2f} |", flush=True)
    print(f"| together | {n} | {total:.0f} | {total / n * 1e3:.2f} |\n")
    print(f"with a prototype: {sum(map(bool, found)) / n:.1%}; several fit: {sum(len(f) > 1 for f in found)}")


if __name__ == "__main__":
    main()
