"""What every stage needs: validated settings, where results go, and the interpreter that runs the scripts."""

import atexit
import os
import shlex
import sys
from pathlib import Path

from fourdcrystal import controller, costs, gpus, recipe
from fourdcrystal.errors import InputError

try:
    origin = ", ".join(map(str, workflow.configfiles or workflow.overwrite_configfiles))
    settings = recipe.validate(dict(config), origin or "config")
except InputError as error:
    # one sentence instead of a traceback through the Snakefile
    sys.exit(f"error: {error}")

RESULTS = str(settings.results)

# This checkout, also where another workflow uses it as a module
HOME = Path(str(workflow.current_basedir)).parents[1]

# For the shell commands of rules. `python` is the one that runs Snakemake, also when its environment is not activated; one
# that --sdm conda activates for a rule still comes first, and finds the package of this checkout.
os.environ.update(PATH=f"{os.path.dirname(sys.executable)}{os.pathsep}{os.environ.get('PATH', '')}")
shell.prefix(f"export PYTHONPATH={HOME}/src SCRIPTS={HOME}/scripts; ")

# Threads of a job that can use a whole machine: Snakemake scales them down to --cores; the SLURM profile says what a node
# gives. (The number of cores itself would differ between the login node and the job, and SLURM would refuse the job.)
WHOLE_MACHINE = 64

if "snakemake_executor_plugin_slurm" in sys.modules:
    controller.outlast(sys.modules["snakemake_executor_plugin_slurm"])

# A GPU each for jobs that can use one, where there is one; `--resources gpu=2` limits how many run side by side. On a
# cluster the profile asks for GPUs.
GPU = 1 if gpus.visible() else 0


wildcard_constraints:
    crystal=r"[A-Za-z0-9][A-Za-z0-9._-]*",
    experiment=r"[A-Za-z0-9][A-Za-z0-9_-]*",
    scan=r"[A-Za-z0-9][A-Za-z0-9_-]*",


# "shipped" is the network of this package, which nothing here trains
EVALUATED = [*settings.training.experiments, *(["shipped"] if settings.evaluation.shipped else [])]

# The last output of every stage: what `all` asks for, and what reports wait for.
production_outputs = [
    f"{RESULTS}/crystals/census.json",
    *(f"{RESULTS}/{name}" for name in ("catalogue.parquet", "verification.json", "data_card.md")),
    *(f"{RESULTS}/{name}" for name in ("histograms.png", "quartets.html")),
    *(f"{RESULTS}/models/{experiment}/model.safetensors" for experiment in settings.training.experiments),
    *(f"{RESULTS}/evaluation/{experiment}/summary.json" for experiment in EVALUATED),
    *(f"{RESULTS}/detection/{scan}/summary.json" for scan in settings.scans),
]


@atexit.register  # Snakemake calls no hook at the end of a dry run
def estimate_costs():
    """Say after a dry run what the jobs would need, judged by those that ran before."""
    if (
        workflow.executor_plugin is None
        or not workflow.dryrun
        or "all" in map(str, workflow.output_settings.quiet or ())
    ):
        return
    planned = {}
    for job in {*workflow.dag.needrun_jobs(), *workflow.dag.finished_jobs}:
        if job.benchmark:  # what has none takes seconds
            name, gpus = job.rule.name, job.resources.get("gpu", 0)
            crystals = len(shards(job.wildcards)[job.wildcards.shard]) if name == "simulate_shard" else 1
            planned[name] = planned.get(name, costs.Planned(0, 0, 0)).plus(crystals, gpus)
    if "select_crystals" in planned and settings.crystals.total:
        # which crystals, nobody knows yet, but how many
        names = ("supercells", "simulate") if settings.crystals.per_job == 1 else ("simulate_shard",)
        asked = workflow.resource_settings.overwrite_resources
        for name in names:
            gpus = int(asked.get(name, {}).get("gpu", GPU)) if name in costs.STORING else 0
            jobs = -(-settings.crystals.total // settings.crystals.per_job)
            planned[name] = costs.Planned(jobs, settings.crystals.total, gpus)
    order = {rule.name: number for number, rule in enumerate(workflow.rules)}
    in_order = {name: planned[name] for name in sorted(planned, key=order.get)}
    try:
        print(costs.table(costs.estimate(in_order, RESULTS, settings)), end="")
    except InputError as error:
        print(f"no estimate of costs: {error}")
