"""What every stage needs: validated settings, where results go, and the interpreter that runs the scripts."""

import os
import shlex
import sys
from pathlib import Path

from fourdcrystal import recipe
from fourdcrystal.errors import InputError

try:
    origin = ", ".join(map(str, workflow.configfiles or workflow.overwrite_configfiles))
    settings = recipe.validate(dict(config), origin or "config")
except InputError as error:
    # one sentence instead of a traceback through the Snakefile
    sys.exit(f"error: {error}")

RESULTS = str(settings.results)

# For the shell commands of rules. `python` is the one that runs Snakemake, also when its environment is not activated; one
# that --sdm conda activates for a rule still comes first, and finds the package of this checkout.
os.environ.update(PATH=f"{os.path.dirname(sys.executable)}{os.pathsep}{os.environ.get('PATH', '')}")
shell.prefix(f"export PYTHONPATH={workflow.basedir}/src SCRIPTS={workflow.basedir}/scripts; ")

# Threads of a job that can use a whole machine: Snakemake scales them down to --cores; the SLURM profile says what a node
# gives. (The number of cores itself would differ between the login node and the job, and SLURM would refuse the job.)
WHOLE_MACHINE = 64


wildcard_constraints:
    crystal=r"[A-Za-z0-9][A-Za-z0-9._-]*",
    experiment=r"[A-Za-z0-9][A-Za-z0-9_-]*",
    scan=r"[A-Za-z0-9][A-Za-z0-9_-]*",


# The last output of every stage: what `all` asks for, and what reports wait for.
production_outputs = [
    f"{RESULTS}/crystals/census.json",
    *(f"{RESULTS}/{name}" for name in ("catalogue.parquet", "verification.json", "data_card.md")),
    *(f"{RESULTS}/{name}" for name in ("histograms.png", "quartets.html")),
    *(f"{RESULTS}/models/{experiment}/model.safetensors" for experiment in settings.training.experiments),
    *(f"{RESULTS}/evaluation/{experiment}/summary.json" for experiment in settings.training.experiments),
    *(f"{RESULTS}/detection/{scan}/summary.json" for scan in settings.scans),
]
