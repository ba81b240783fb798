"""What a run has cost: Snakemake's benchmark files, gathered into a table and a picture."""

import json
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from fourdcrystal import costs, plots

# stages in the order of the data flow, so that tables and pictures read from source to result
ORDER = (
    "collect",
    "classify",
    "select_crystals",
    "census",
    "crystals",
    "supercells",
    "simulate",
    "simulate_shard",
    "catalogue",
    "train",
    "evaluate",
    "make_scan",
    "detect",
)
DEAREST = 30  # classes in the picture


def read(folder: str | Path) -> pd.DataFrame:
    """All jobs that left a benchmark file: ``folder/{rule}.tsv``, or ``folder/{rule}/{name}.tsv``.

    Returns:
        One row per job: rule, name, s (wall seconds), cpu_s, mem_MB (peak resident memory), gpus. Missing readings are
        NaN: Snakemake takes none of a job that ends within its first sampling interval.
    """
    return pd.DataFrame(list(costs.read(folder)), columns=["rule", "name", "s", "cpu_s", "mem_MB", "gpus"])


def by_class(results: str | Path, classes: Mapping[str, str]) -> pd.DataFrame:
    """Cost of simulating the crystals of each class, the dearest first.

    Args:
        results: Folder of all outputs: the benchmark files of single crystals or the records of jobs of several.
        classes: Class of each crystal, by id.

    Returns:
        One row per class: crystals, mean_s and longest_s (wall time per crystal [s]), peak_memory_MB. Empty if nothing
        was measured.
    """
    jobs = read(Path(results) / "benchmarks")
    rows = [jobs.loc[jobs["rule"] == "simulate", ["name", "s", "mem_MB"]]]
    for record in sorted(Path(results, "shards").glob("*.json")):
        made = json.loads(record.read_text())
        rows.append(pd.DataFrame([{"name": id, "s": part["s"], "mem_MB": part["mem_MB"]} for id, part in made.items()]))
    measured = pd.concat(rows).dropna(subset=["s"])
    grouped = measured.assign(prototype=measured["name"].map(classes)).groupby("prototype")
    table = pd.DataFrame(
        {
            "crystals": grouped.size(),
            "mean_s": grouped["s"].mean(),
            "longest_s": grouped["s"].max(),
            "peak_memory_MB": grouped["mem_MB"].max(),
        }
    )
    return table.sort_values("mean_s", ascending=False, kind="stable")


def by_rule(jobs: pd.DataFrame) -> pd.DataFrame:
    """Cost of each rule: number of jobs, total and longest wall time [s], CPU time [s], largest memory [MB]."""
    grouped = jobs.groupby("rule")
    table = pd.DataFrame(
        {
            "jobs": grouped.size(),
            "wall_s": grouped["s"].sum(),
            "longest_s": grouped["s"].max(),
            "cpu_s": grouped["cpu_s"].sum(),
            "peak_memory_MB": grouped["mem_MB"].max(),
        }
    )
    position = {rule: i for i, rule in enumerate(ORDER)}
    return table.loc[sorted(table.index, key=lambda rule: (position.get(rule, len(ORDER)), rule))]


def draw(path: str | Path, table: pd.DataFrame) -> None:
    """Draw bars of wall time [s] and of peak memory [GB] per rule, from :func:`by_rule`."""
    names = [f"{rule} ({jobs})" for rule, jobs in table["jobs"].items()]
    _bars(path, names, "rule (jobs)", "wall time of all jobs together [s]", table["wall_s"], table["peak_memory_MB"])


def draw_classes(path: str | Path, table: pd.DataFrame) -> None:
    """The same per class of crystals, for the :data:`DEAREST` ones, from :func:`by_class`."""
    shown = table.head(DEAREST)
    names = [f"{name} ({crystals})" for name, crystals in shown["crystals"].items()]
    title = "prototype (crystals)" + (f", {DEAREST} dearest of {len(table)}" if len(table) > DEAREST else "")
    _bars(path, names, title, "wall time to simulate a crystal [s]", shown["mean_s"], shown["peak_memory_MB"])


def _bars(path: str | Path, names: list[str], of: str, spent: str, seconds: pd.Series, memory_MB: pd.Series) -> None:
    with plots.figure(path, 1, 2, size=(3.8, 0.3 * len(names) + 1.2)) as (_, ((time, memory),)):
        for axis, values, unit in ((time, seconds, "s"), (memory, memory_MB / 1000, "GB")):
            bars = axis.barh(names, values.fillna(0))
            axis.bar_label(
                bars, [f"{v:.3g} {unit}" if v == v else "not measured" for v in values], padding=3, fontsize=7
            )
            axis.margins(x=0.28)
            axis.invert_yaxis()
        memory.set_yticks([])
        time.set_xlabel(spent)
        time.set_ylabel(of)
        memory.set_xlabel("largest memory of one job [GB]")
