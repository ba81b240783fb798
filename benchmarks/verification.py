"""How fast a data set is verified, beside reading it and reading it with checksums, all in one run.

Processes take turns: each measurement is repeated, and the fastest counts. Files are in the page cache, so this is what
the processor allows; a disk or a network slower than that is what verification waits for. Prints Markdown;
docs/data_format.md holds a run.

    python benchmarks/verification.py results --workers 1 2
"""

import argparse
import os
import platform
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from datetime import date
from multiprocessing import get_context
from pathlib import Path

from fourdcrystal import checksums, places, verification


def read(store: Path) -> int:
    """Read all files of a store; bytes."""
    place = places.at(store)
    return sum(len(content) for content in place.several(place.sizes()))


def check(store: Path) -> int:
    """The same, with the checksum of every array; bytes."""
    checksums.of_arrays(store)
    return sum(places.at(store).sizes().values())


def verify(store: Path) -> int:
    """Verify a store; bytes."""
    verified = verification.of_store(store, store.stem)
    if verified.problems:
        raise SystemExit(f"the data set is not clean: {verified.problems[0]}")
    return verified.bytes


def rate(what: Callable[[Path], int], stores: list[Path], workers: int, turns: int) -> float:
    """Megabytes per second of processes at work; their start isn't counted."""
    with ProcessPoolExecutor(workers, get_context("spawn"), verification.alone) as pool:
        list(pool.map(what, stores[: 4 * workers]))
        rates = []
        for _ in range(turns):
            start = time.perf_counter()
            size = sum(pool.map(what, stores, chunksize=max(1, len(stores) // (8 * workers))))
            rates.append(size / (time.perf_counter() - start) / 1e6)
    return max(rates)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, help="folder with catalogue.parquet and patterns/")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], help="processes; each number is measured")
    parser.add_argument("--turns", type=int, default=3, help="of each measurement")
    args = parser.parse_args()
    stores = sorted((args.results / "patterns").glob("*.zarr"))
    start = time.perf_counter()
    verdict = verification.verify(args.results, max(args.workers))
    took = time.perf_counter() - start
    print(f"Measured {date.today()}, {platform.machine()}, {os.cpu_count()} cores, files in the page cache.")
    said = f"{verdict.words()}, with {max(args.workers)} processes in {took:.1f} s"
    print(f"{said}, their start and the catalogue included\n")
    print("| processes | reading, MB/s | and checksums, MB/s | verification, MB/s |")
    print("|---|---|---|---|")
    for workers in args.workers:
        row = [rate(what, stores, workers, args.turns) for what in (read, check, verify)]
        print(f"| {workers} | {row[0]:.0f} | {row[1]:.0f} | **{row[2]:.0f}** |")


if __name__ == "__main__":
    main()
