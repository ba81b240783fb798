"""What a run has cost: Snakemake's benchmark files, gathered into a table and a picture."""

from pathlib import Path

import pandas as pd

from fourdcrystal import plots

# stages in the order of the data flow, so that tables and pictures read from source to result
ORDER = (
    "collect",
    "classify",
    "select_crystals",
    "census",
    "crystals",
    "supercells",
    "simulate",
    "catalogue",
    "train",
    "evaluate",
    "make_scan",
    "detect",
)


def read(folder: str | Path) -> pd.DataFrame:
    """All jobs that left a benchmark file: ``folder/{rule}.tsv``, or ``folder/{rule}/{name}.tsv``.

    Returns:
        One row per job: rule, name, s (wall seconds), cpu_s, mem_MB (peak resident memory). Missing readings are NaN:
        Snakemake takes none of a job that ends within its first sampling interval.
    """
    rows = []
    for path in sorted(Path(folder).rglob("*.tsv")):
        last = pd.read_csv(path, sep="\t", na_values=["-", "NA"]).iloc[-1]
        rule, *name = path.relative_to(folder).with_suffix("").parts
        rows.append(
            {
                "rule": rule,
                "name": "/".join(name),
                "s": last["s"],
                "cpu_s": last["cpu_time"],
                "mem_MB": last["max_rss"],
            }
        )
    return pd.DataFrame(rows, columns=["rule", "name", "s", "cpu_s", "mem_MB"])


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
    with plots.figure(path, 1, 2, size=(3.8, 0.3 * len(table) + 1.2)) as (_, ((time, memory),)):
        for axis, values, unit in ((time, table["wall_s"], "s"), (memory, table["peak_memory_MB"] / 1000, "GB")):
            bars = axis.barh(names, values.fillna(0))
            axis.bar_label(
                bars, [f"{v:.3g} {unit}" if v == v else "not measured" for v in values], padding=3, fontsize=7
            )
            axis.margins(x=0.28)
            axis.invert_yaxis()
        memory.set_yticks([])
        time.set_xlabel("wall time of all jobs together (s)")
        time.set_ylabel("rule (jobs)")
        memory.set_xlabel("largest memory of one job (GB)")
