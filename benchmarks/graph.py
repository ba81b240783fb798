"""How long Snakemake thinks about large data sets: dry runs and finished graphs of thousands of crystals.

    python benchmarks/graph.py [--configfile config/paper.yaml] [--sizes 3287:1 3287:20 30000:100]

Sample sheets are made up and outputs are empty files. Prints wall time, CPU time and peak memory of
each Snakemake process as a Markdown table, with the machine and the date.
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


def measured(command: list[str], folder: Path) -> tuple[float, float, float, str]:
    """Wall time [s], CPU time [s], peak memory [MB] and output of a command."""
    started = time.monotonic()
    with tempfile.TemporaryFile("w+") as out:
        child = subprocess.Popen(command, cwd=folder, stdout=out, stderr=subprocess.STDOUT, text=True)
        _, status, usage = os.wait4(child.pid, 0)
        out.seek(0)
        text = out.read()
    if status:
        raise SystemExit(f"{' '.join(command)} failed:\n{text[-3000:]}")
    return time.monotonic() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--configfile", type=Path, default=ROOT / "config" / "paper.yaml")
    parser.add_argument("--sizes", nargs="+", default=["3287:1", "3287:20", "30000:100"], metavar="CRYSTALS:PER_JOB")
    args = parser.parse_args()
    print(
        f"{datetime.date.today()}, {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}\n"
    )
    print("| crystals | per job | Snakemake's | wall s | CPU s | peak MB |\n|---|---|---|---|---|---|")
    for count, per_job in (map(int, size.split(":")) for size in args.sizes):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            write_sheet(folder / "crystals.csv", count)
            command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")]
            command += ["--configfile", str(args.configfile.resolve()), "--config"]
            command += [f"crystals={{sheet: crystals.csv, per_job: {per_job}}}", "results=results"]
            for what in ("dry run", "finished graph"):
                wall, cpu, memory, text = measured([*command, "--dry-run", "--quiet", "rules"], folder)
                done = "Nothing to be done" in text
                if done != (what == "finished graph"):
                    raise SystemExit(f"the {what} of {count} crystals is not what it should be:\n{text[-3000:]}")
                print(f"| {count:,} | {per_job} | {what} | {wall:.1f} | {cpu:.1f} | {memory:.0f} |", flush=True)
                if not done:
                    finish(command, folder)


if __name__ == "__main__":
    main()
