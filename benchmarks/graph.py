"""How long Snakemake thinks about large data sets: dry runs and finished graphs of thousands of crystals.

    python benchmarks/graph.py [--configfile config/paper.yaml] [--sizes 3287:1 3287:20 30000:100] [--local 200:1]

Sample sheets are made up and outputs are empty files. Prints wall time, CPU time and peak memory of each Snakemake
process as a Markdown table, with machine and date. The second table is of whole local runs up to the simulation,
in which every script is replaced by one that makes an empty file: what is left is Snakemake's own time per crystal.
"""

import argparse
import csv
import datetime
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from fourdcrystal import sheet

ROOT = Path(__file__).parent.parent


def write_sheet(path: Path, count: int) -> None:
    """Write a sample sheet of so many made-up crystals in classes of a dozen."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, sheet.COLUMNS)
        writer.writeheader()
        for i in range(count):
            name = f"made-{i:06d}"
            row = dict.fromkeys(sheet.COLUMNS, name) | {"prototype": f"class_{i // 12}", "class_size": 144}
            row |= {"split": "train" if i % 10 else "test", "spacegroup": 225, "crystal_system": "cubic"}
            writer.writerow(row)


def finish(command: list[str], folder: Path) -> None:
    """Make every output an empty file, as if all jobs had run; Snakemake itself lists them."""
    listed = subprocess.run([*command, "--summary"], cwd=folder, capture_output=True, text=True, check=True).stdout
    for line in listed.splitlines()[1:]:
        path = folder / line.split("\t")[0]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    now = time.time()
    for path in folder.rglob("*"):
        os.utime(path, (now, now))  # nothing is older than what it is made from


STAND_IN = """#!/bin/sh
# instead of python: makes what follows -o
while [ $# -gt 1 ]; do
    if [ "$1" = -o ]; then
        case "$2" in *.zarr) made="$2/zarr.json" ;; *) made="$2" ;; esac
        mkdir -p "${made%/*}" && : > "$made"
    fi
    shift
done
"""


def without_scripts(folder: Path) -> tuple[list[str], dict[str, str]]:
    """Command that starts Snakemake with this interpreter, and an environment, for which `python` makes empty files.

    Rules find `python` beside the interpreter that runs Snakemake.
    """
    programs = folder / "programs"
    programs.mkdir()
    (programs / "python").write_text(STAND_IN)
    (programs / "python").chmod(0o755)
    (programs / "interpreter").symlink_to(Path(sys.executable).resolve())
    paths = [path for path in sys.path if path.endswith("site-packages")]
    return [str(programs / "interpreter")], {"PYTHONPATH": os.pathsep.join([str(ROOT / "src"), *paths])}


def measured(command: list[str], folder: Path, **environment: str) -> tuple[float, float, float, str]:
    """Wall time [s], CPU time [s], peak memory [MB] and output of a command."""
    started = time.monotonic()
    with tempfile.TemporaryFile("w+") as out:
        environment = os.environ | environment
        child = subprocess.Popen(command, cwd=folder, stdout=out, stderr=subprocess.STDOUT, text=True, env=environment)
        _, status, usage = os.wait4(child.pid, 0)
        out.seek(0)
        text = out.read()
    if status:
        raise SystemExit(f"{' '.join(command)} failed:\n{text[-3000:]}")
    return time.monotonic() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, text


def arguments(configuration: Path, per_job: int) -> list[str]:
    """Snakemake's arguments for a sample sheet in the present folder."""
    settings = ["--configfile", str(configuration.resolve()), "--config"]
    settings += [f"crystals={{sheet: crystals.csv, per_job: {per_job}}}", "results=results"]
    return ["-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), *settings]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--configfile", type=Path, default=ROOT / "config" / "paper.yaml")
    parser.add_argument("--sizes", nargs="*", default=["3287:1", "3287:20", "30000:100"], metavar="CRYSTALS:PER_JOB")
    parser.add_argument("--local", nargs="*", default=["200:1", "2000:20"], metavar="CRYSTALS:PER_JOB")
    args = parser.parse_args()
    print(
        f"{datetime.date.today()}, {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}\n"
    )
    print("| crystals | per job | Snakemake's | wall s | CPU s | peak MB |\n|---|---|---|---|---|---|")
    for count, per_job in (map(int, size.split(":")) for size in args.sizes):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            write_sheet(folder / "crystals.csv", count)
            command = [sys.executable, *arguments(args.configfile, per_job)]
            for what in ("dry run", "finished graph"):
                wall, cpu, memory, text = measured([*command, "--dry-run", "--quiet", "rules"], folder)
                done = "Nothing to be done" in text
                if done != (what == "finished graph"):
                    raise SystemExit(f"the {what} of {count} crystals is not what it should be:\n{text[-3000:]}")
                print(f"| {count:,} | {per_job} | {what} | {wall:.1f} | {cpu:.1f} | {memory:.0f} |", flush=True)
                if not done:
                    finish(command, folder)
    print("\n| crystals | per job | cores | wall s | ms per crystal |\n|---|---|---|---|---|")
    for count, per_job in (map(int, size.split(":")) for size in args.local):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            write_sheet(folder / "crystals.csv", count)
            program, environment = without_scripts(folder)
            target = "simulate" if per_job == 1 else "simulate_shard"
            command = [*program, *arguments(args.configfile, per_job), "--cores", "2", "--quiet", "all"]
            wall, *_ = measured([*command, "--until", target], folder, **environment)
            made = len(list((folder / "results").glob("stores/*" if per_job == 1 else "shards/*")))
            if made != -(-count // per_job):
                raise SystemExit(f"{made} jobs have left a result")
            print(f"| {count:,} | {per_job} | 2 | {wall:.1f} | {wall / count * 1000:.0f} |", flush=True)


if __name__ == "__main__":
    main()
