"""Kill the workflow at random moments until it has finished: is what it leaves whole, and the same as undisturbed?

Runs the miniature production up to the catalogue, or a target of yours, once undisturbed; then again, with SIGKILL of
Snakemake and all its jobs (or of one job alone) at random moments, so many times. After every kill each store and
catalogue that can be opened is verified. Prints how it went; exit status 1 where anything differs.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from fourdcrystal import checksums, verification
from fourdcrystal.errors import InputError

ROOT = Path(__file__).parents[1]


def command(target: str) -> list[str]:
    """Snakemake's command line for a target."""
    made = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--configfile", "miniature.yaml"]
    return [*made, "--cores", "2", "--quiet", "all", "--rerun-incomplete", "--nolock", "--", target]


def descendants(pid: int) -> list[int]:
    """Processes that a process has started, and they in turn."""
    listed = subprocess.run(["ps", "-eo", "pid,ppid"], capture_output=True, text=True, check=True).stdout
    pairs = [tuple(map(int, line.split())) for line in listed.splitlines()[1:]]
    found = [pid]
    for parent in found:
        found += [child for child, of in pairs if of == parent]
    return found[1:]


def check(results: Path) -> int:
    """Verify what can be opened; how many stores there are."""
    stores = [path for path in (results / "patterns").glob("*.zarr") if (path / "zarr.json").exists()]
    for store in stores:
        if problems := verification.of_store(store):
            sys.exit(f"half-written: {problems[0]}")
    table = results / "catalogue.parquet"
    if table.exists() and (problems := verification.of_catalogue(table, results / "patterns")):
        sys.exit(f"half-written: {problems[0]}")
    return len(stores)


def identities(results: Path) -> dict[str, str]:
    """Checksums of all stores and of the catalogue."""
    files = [*(results / "patterns").glob("*.zarr/zarr.json"), results / "catalogue.parquet"]
    return {file.relative_to(results).as_posix(): checksums.stated(file) for file in files}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="to work in; must not exist")
    parser.add_argument("--kills", type=int, default=100, help="kills in all")
    parser.add_argument("--longest", type=float, help="longest time until a kill, s; none: of a whole run")
    parser.add_argument("--target", default="results/catalogue.parquet", help="what is made")
    args = parser.parse_args()
    if args.folder.exists():
        raise InputError(f"{args.folder}: exists already")
    chance = random.Random(0)
    undisturbed, disturbed = args.folder / "undisturbed", args.folder / "disturbed"
    for folder in (undisturbed, disturbed):
        folder.mkdir(parents=True)
        shutil.copy(ROOT / "tests" / "miniature.yaml", folder)
    start = time.monotonic()
    subprocess.run(command(args.target), cwd=undisturbed, check=True, capture_output=True)
    duration, expected = time.monotonic() - start, identities(undisturbed / "results")
    print(f"undisturbed: {duration:.0f} s, {len(expected)} files")
    killed, finished, jobs = 0, 0, 0
    while killed < args.kills:
        run = subprocess.Popen(
            command(args.target), cwd=disturbed, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            run.wait(chance.uniform(0, args.longest or duration))
        except subprocess.TimeoutExpired:
            children = descendants(run.pid)
            alone = bool(children) and chance.random() < 0.3
            for pid in [chance.choice(children)] if alone else [run.pid, *children]:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue  # it has just finished
            run.wait()
            killed, jobs = killed + 1, jobs + alone
        check(disturbed / "results")
        if run.returncode == 0:
            finished += 1
            if identities(disturbed / "results") != expected:
                sys.exit("the finished result differs from the undisturbed one")
            shutil.rmtree(disturbed / "results")
    subprocess.run(command(args.target), cwd=disturbed, check=True, capture_output=True)
    if identities(disturbed / "results") != expected:
        sys.exit("the finished result differs from the undisturbed one")
    left = [path.name for path in (disturbed / "results").rglob(".*") if path.is_dir()]
    print(f"{killed} kills ({jobs} of one job alone), {finished + 1} times finished, every time with the same bytes")
    print(f"left behind: {', '.join(left) or 'nothing'}")


if __name__ == "__main__":
    main()
