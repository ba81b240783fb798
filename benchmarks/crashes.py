"""Kill the rules simulate, catalogue and train at random moments: is what they leave whole, and the end the same?

The miniature production is made once, undisturbed. Then Snakemake runs one rule after the other again, on a copy
without what that rule makes, and is killed by SIGKILL: its job alone, Snakemake alone (its job then goes on beside the
next run's), or everything; half of the times at any moment of the job's life, half of the times while it writes. After
every kill whatever can be opened is verified. The next run goes on with what was left; in the end the result is
compared byte for byte.

    python benchmarks/crashes.py results/crashes --kills 25 --seed 1

adds 25 kills to the tally in that folder and prints all of them; docs/decisions/0034-killed-at-any-moment.md has a run.
"""

import argparse
import hashlib
import json
import os
import platform
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import torch

from fourdcrystal import checkpoints, checksums, modelfile, sheet, verification

ROOT = Path(__file__).parents[1]
MODEL = "models/miniature"
WRITING = {"simulate": "patterns", "catalogue": ".", "train": MODEL}  # folders in which hidden ones are written
KILLED = ("its job", "Snakemake", "everything")


def command(target: str) -> list[str]:
    """Snakemake's command line for a target; locks of killed runs are ignored."""
    made = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--configfile", "miniature.yaml"]
    return [*made, "--cores", "1", "--quiet", "all", "--notemp", "--nolock", "--", target]


def made_by(rule: str, results: Path) -> list[Path]:
    """Files and folders that a rule has made; one crystal stands for all."""
    if rule == "simulate":
        crystal = sheet.read(results / "crystals.csv")[0].id
        return [results / "stores" / f"{crystal}.json", results / "patterns" / f"{crystal}.zarr"]
    return [results / "catalogue.parquet"] if rule == "catalogue" else [results / MODEL]


def target(rule: str, results: Path) -> str:
    """What is asked of Snakemake to run just this rule."""
    first = made_by(rule, results)[0]
    return (Path("results") / first.relative_to(results) / ("model.safetensors" if rule == "train" else "")).as_posix()


def identity(rule: str, results: Path) -> str:
    """All that a rule has made, but for times of day: equal where it is equal byte for byte."""
    made = made_by(rule, results)[-1]
    if rule == "simulate":
        return json.dumps(checksums.of_arrays(made)) + checksums.of_self((made / "zarr.json").read_bytes())
    if rule == "catalogue":
        return checksums.of_self(made.read_bytes())
    weights = hashlib.sha256((made / "model.safetensors").read_bytes()).hexdigest()
    history = [line.split(",") for line in (made / "history.csv").read_text().splitlines()]
    timed = history[0].index("seconds")
    return json.dumps([weights, [[cell for i, cell in enumerate(row) if i != timed] for row in history]])


def broken(rule: str, results: Path) -> list[str]:
    """What can be opened, but isn't whole."""
    made = made_by(rule, results)[-1]
    if rule == "simulate":
        return (
            [str(problem) for problem in verification.of_store(made).problems] if (made / "zarr.json").exists() else []
        )
    if rule == "catalogue":
        return [str(p) for p in verification.of_catalogue(made, results / "patterns")] if made.exists() else []
    if (checkpoint := made / checkpoints.NAME).exists():
        torch.load(checkpoint, map_location="cpu", weights_only=True)
    if (model := made / "model.safetensors").exists():
        modelfile.load(model)
    return []


def processes() -> dict[int, list[int]]:
    """Children of every process."""
    listed = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    children: dict[int, list[int]] = {}
    for line in listed.splitlines():
        pid, parent = map(int, line.split())
        children.setdefault(parent, []).append(pid)
    return children


def descendants(pid: int) -> list[int]:
    """Processes that a process has started, and they in turn."""
    children, found = processes(), [pid]
    for parent in found:
        found += children.get(parent, [])
    return found[1:]


def killed(pids: list[int]) -> None:
    """End processes at once, those that are still there."""
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue  # it has just finished


@dataclass
class Timing:
    """Of a rule, undisturbed: how long its job lives and how long it writes [s]."""

    job: float
    writing: float


def script_of(rule: str, pids: list[int]) -> int | None:
    """The process of the rule's script."""
    for pid in pids:
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if len(words) > 1 and b"python" in words[0] and words[1].endswith(f"/{rule}.py".encode()):
            return pid
    return None


def hidden(folder: Path) -> bool:
    """Whether something is being written in a folder."""
    return folder.is_dir() and any(entry.name.startswith(".") and entry.is_dir() for entry in os.scandir(folder))


class Run:
    """One run of Snakemake for one rule."""

    def __init__(self, rule: str, folder: Path, asked: str) -> None:
        self.rule, self.writing = rule, folder / "results" / WRITING[rule]
        self.process = subprocess.Popen(
            command(asked), cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )

    def job(self) -> int | None:
        """The script's process, as soon as there is one; none: Snakemake has ended without."""
        while self.process.poll() is None:
            if found := script_of(self.rule, descendants(self.process.pid)):
                return found
            time.sleep(0.02)
        return None

    def writes(self) -> bool:
        """Wait until the job writes; false: it has ended before."""
        while self.process.poll() is None:
            if hidden(self.writing):
                return True
            time.sleep(0.001)
        return False


def measured(rule: str, folder: Path, asked: str) -> Timing:
    """Run a rule undisturbed and time its job."""
    run = Run(rule, folder, asked)
    run.job()
    start = time.monotonic()
    run.writes()
    wrote = time.monotonic()
    if run.process.wait():
        sys.exit(f"{rule} fails undisturbed")
    return Timing(time.monotonic() - start, time.monotonic() - wrote)


def undisturbed(folder: Path) -> dict[str, Timing]:
    """The production that others are compared with, made if it isn't there; timings of the rules."""
    made, timings = folder / "undisturbed", folder / "timings.json"
    if not timings.exists():
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir(parents=True)
        shutil.copy(ROOT / "tests" / "miniature.yaml", made)
        subprocess.run(command(f"results/{MODEL}/model.safetensors"), cwd=made, check=True, capture_output=True)
        found = {}
        for rule in WRITING:
            copy = without(rule, made, folder / "timed")
            found[rule] = vars(measured(rule, copy, target(rule, made / "results")))
            if identity(rule, copy / "results") != identity(rule, made / "results"):
                sys.exit(f"{rule} doesn't make the same twice, undisturbed")
            shutil.rmtree(copy)
        timings.write_text(json.dumps(found))
    return {rule: Timing(**values) for rule, values in json.loads(timings.read_text()).items()}


def without(rule: str, production: Path, copy: Path) -> Path:
    """A copy of a production as it was before a rule ran."""
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(production, copy, symlinks=True)
    for path in made_by(rule, copy / "results"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return copy


def disturb(rule: str, folder: Path, asked: str, timing: Timing, chance: random.Random) -> dict[str, str] | None:
    """Run a rule and kill it at a random moment; what was done, or nothing where it ended before."""
    run, what = Run(rule, folder, asked), chance.choice(KILLED)
    moment = "while it writes" if chance.random() < 0.5 else "at any moment"
    job = run.job()
    if job is None:
        return None
    if moment == "while it writes":
        run.writes()
        time.sleep(chance.uniform(0, timing.writing))
    else:
        time.sleep(chance.uniform(0, timing.job))
    if run.process.poll() is not None:
        return None
    main = run.process.pid
    killed({"its job": [job], "Snakemake": [main], "everything": [main, *descendants(main)]}[what])
    run.process.wait()
    return {"rule": rule, "killed": what, "moment": moment}


def ended(rule: str) -> None:
    """Wait for jobs whose Snakemake was killed: comparing needs a moment at which nobody writes."""
    while script_of(rule, [int(p.name) for p in Path("/proc").iterdir() if p.name.isdigit()]) is not None:
        time.sleep(0.1)


def campaign(folder: Path, kills: int, seed: int) -> None:
    """Kill so many times more, each rule in turn until it has ended, and note it in the tally."""
    timings, chance = undisturbed(folder), random.Random(seed)
    whole, copy, tally = folder / "undisturbed", folder / "disturbed", folder / "tally.jsonl"
    done = 0
    with tally.open("a") as notes:
        while done < kills:
            for rule, timing in timings.items():
                asked = target(rule, whole / "results")
                without(rule, whole, copy)
                for _ in range(chance.randint(1, 5)):
                    if note := disturb(rule, copy, asked, timing, chance):
                        done += 1
                        if broken(rule, copy / "results"):
                            ended(rule)  # an older job may have replaced the store while it was read
                        if problems := broken(rule, copy / "results"):
                            sys.exit(f"half-written after {note}: {problems[0]}")
                        resumes = rule == "train" and (copy / "results" / MODEL / checkpoints.NAME).exists()
                        print(json.dumps(note | {"resumes": resumes}), file=notes, flush=True)
                subprocess.run(command(asked), cwd=copy, check=True, capture_output=True)
                ended(rule)
                if identity(rule, copy / "results") != identity(rule, whole / "results"):
                    sys.exit(f"{rule} ends with other bytes than undisturbed")
                print(json.dumps({"rule": rule, "ended": "the same"}), file=notes, flush=True)
    shutil.rmtree(copy)


def table(folder: Path) -> str:
    """All kills so far, as Markdown."""
    notes = [json.loads(line) for line in (folder / "tally.jsonl").read_text().splitlines()]
    counts = Counter((n["rule"], n["killed"], n["moment"]) for n in notes if "killed" in n)
    ends = Counter(n["rule"] for n in notes if "ended" in n)
    moments = ("at any moment", "while it writes")
    heads = [f"{what} {moment}" for what in KILLED for moment in moments]
    lines = [["rule", *heads, "kills", "times ended, the same bytes"], ["---"] * (len(heads) + 3)]
    for rule in WRITING:
        cells = [counts[rule, what, moment] for what in KILLED for moment in moments]
        lines.append([rule, *cells, sum(cells), ends[rule]])
    lines.append(["all", *([""] * len(heads)), sum(counts.values()), sum(ends.values())])
    resumed = sum(n.get("resumes", False) for n in notes)
    rows = "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines)
    return f"{rows}\n{resumed} kills of the training left a checkpoint to go on from.\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="to work in")
    parser.add_argument("--kills", type=int, default=100, help="kills to add")
    parser.add_argument("--seed", type=int, default=0, help="of moments and victims")
    args = parser.parse_args()
    campaign(args.folder.resolve(), args.kills, args.seed)
    print(f"{date.today()}, {platform.machine()}, {os.cpu_count()} cores\n\n{table(args.folder)}")


if __name__ == "__main__":
    main()
