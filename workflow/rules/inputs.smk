"""What the settings and the sample sheet mean for single jobs: paths, and functions of a job's wildcards."""

import functools
import json

from snakemake.exceptions import WorkflowError

from fourdcrystal import experiment
from fourdcrystal import sheet as sample_sheet
from fourdcrystal import structurefiles

CRYSTALS = f"{RESULTS}/crystals"
CLASSES = f"{CRYSTALS}/classes.parquet"
SHEET = settings.crystals.sheet
# what the selection of the sheet rejected, where it was kept beside the sheet
COUNTS = [path for path in ([sample_sheet.counts_beside(SHEET)] if SHEET else []) if path.exists()]
# all that a source offers, or the crystals of the sample sheet only
STRUCTURES = f"{CRYSTALS}/{'listed' if SHEET else 'structures'}.parquet"

# What decides which structure an id stands for; the other options of a source only say how to get it.
IDENTITY = {
    "aflow": [],
    "files": ["crystals.files.licence", "crystals.files.citation"],
    "mp": ["crystals.mp.endpoint", "crystals.mp.database_version"],
    "optimade": ["crystals.optimade.provider"],
}[settings.crystals.source]
SOURCE = ["crystals.source"] + ([] if settings.crystals.source == "aflow" else [f"crystals.{settings.crystals.source}"])

try:
    STRUCTURE_FILES = (
        [str(file) for path in settings.crystals.files.paths for file in structurefiles.members(path)]
        if settings.crystals.source == "files"
        else []
    )
    if SHEET:
        sample_sheet.read(SHEET)  # what is wrong with it is said before anything starts
    for name, scan in settings.scans.items():
        for key in ("scan", "probe", "crystal"):
            path = getattr(scan, key)
            if path is not None and not path.exists():
                raise InputError(f"scans.{name}.{key}: {path} does not exist")
        if scan.experiment not in (None, *settings.training.experiments):
            raise InputError(
                f"scans.{name}.experiment: '{scan.experiment}' is not trained here; training.experiments has"
                f" {', '.join(settings.training.experiments)}"
            )
except InputError as error:
    sys.exit(f"error: {error}")

TRAINING = HOME / "config" / "train"
SIMULATED_SCANS = [name for name, scan in settings.scans.items() if scan.simulate is not None]


def sheet_path(wildcards):
    """The frozen sample sheet, or the one that the checkpoint selects."""
    return str(SHEET) if SHEET else checkpoints.select_crystals.get().output.sheet


@functools.cache
def sheet_rows(path, changed):
    return {row.id: row for row in sample_sheet.read(path)}


def rows(wildcards):
    path = sheet_path(wildcards)
    return sheet_rows(path, os.stat(path).st_mtime_ns)


def crystal_ids(wildcards):
    """Ids of all crystals of the data set: for rules that gather one file per crystal."""
    return list(rows(wildcards))


def crystal_row(wildcards):
    """What the sample sheet says about a crystal, but for its split, on which no pattern depends."""
    row = rows(wildcards).get(wildcards.crystal)
    if row is None:
        raise WorkflowError(f"{sheet_path(wildcards)} has no crystal '{wildcards.crystal}'")
    return row


def identity(row):
    kept = [row.prototype, row.formula, row.spacegroup, row.crystal_system, row.source_id]
    return json.dumps([kept, recipe.part(settings, "crystals.source", *IDENTITY)])


def crystal_identity(wildcards):
    return identity(crystal_row(wildcards))


def crystal_file(wildcards):
    """The user's own file that a crystal comes from; databases have none."""
    if settings.crystals.source != "files":
        return []
    return structurefiles.of_source(crystal_row(wildcards).source_id)


def shards(wildcards):
    """Names of the jobs that simulate several crystals each, and the crystals of each."""
    return sample_sheet.divide(crystal_ids(wildcards), settings.crystals.per_job)


def shard_identities(wildcards):
    """What the crystals of a shard are: a changed one makes its shard again."""
    return [identity(rows(wildcards)[id]) for id in shards(wildcards)[wildcards.shard]]


def finished_patterns(wildcards):
    """What says that all stores are there: links to their metadata, or records of the jobs that made several each."""
    if settings.crystals.per_job == 1:
        return expand(f"{RESULTS}/stores/{{crystal}}.json", crystal=crystal_ids(wildcards))
    return expand(f"{RESULTS}/shards/{{shard}}.json", shard=shards(wildcards))


def composed(wildcards):
    """The experiment as Hydra composes it: a changed learning rate trains again, a changed comment doesn't."""
    try:
        made = experiment.compose(wildcards.experiment, TRAINING, (f"seed={settings.seed}",))
        experiment.check_data(made, settings)
    except InputError as error:
        sys.exit(f"error: {error}")
    return experiment.as_parameter(made)


def learned_from(wildcards):
    """The catalogue that an experiment learns from; refused while jobs are planned if it couldn't."""
    composed(wildcards)
    return f"{RESULTS}/catalogue.parquet"


def evaluated_model(wildcards):
    """The network of an experiment, or the one that is shipped."""
    if wildcards.experiment == "shipped":
        return str(HOME / "src" / "fourdcrystal" / "data" / "network.safetensors")
    return f"{RESULTS}/models/{wildcards.experiment}/model.safetensors"


def scan_files(wildcards):
    """The scan; its vacuum probe and crystal where those are files of their own; the network that searches it."""
    scan = settings.scans[wildcards.scan]
    found = {"scan": f"{RESULTS}/scans/{wildcards.scan}.npz" if scan.simulate else scan.scan}
    found |= {name: path for name, path in (("probe", scan.probe), ("crystal", scan.crystal)) if path}
    if scan.find == "trained":
        found["model"] = f"{RESULTS}/models/{scan.experiment or settings.training.experiments[0]}/model.safetensors"
    return found


def scan_chunks(wildcards):
    """What says that the jobs that share the search of a scan are done; nothing where one job does it all."""
    count = settings.scans[wildcards.scan].chunks
    folder = f"{RESULTS}/detection/{wildcards.scan}/chunks"
    return [f"{folder}/{i}-of-{count}" for i in range(1, count + 1)] if count > 1 else []


def scan_options(wildcards, input):
    """How a scan is searched, and what its file doesn't say, as options of the command."""
    scan = settings.scans[wildcards.scan]
    options = {
        "--probe": input.get("probe"),
        "--model": input.get("model", scan.find),
        "--refine": scan.refine,
        "--sampling": scan.sampling,
        "--energy": scan.energy,
        "--semiangle": scan.semiangle,
        "--bin": scan.bin,
    }
    return [word for name, value in options.items() if value is not None for word in (name, str(value))]


def analysis_options(wildcards, input):
    """What strain and orientation are relative to, as options of the command."""
    scan = settings.scans[wildcards.scan]
    options = {
        "--crystal": input.get("crystal"),
        "--zone-axis": None if scan.zone_axis is None else ",".join(map(str, scan.zone_axis)),
        "--reference": scan.reference,
    }
    return [word for name, value in options.items() if value is not None for word in (f"{name}={value}",)]


def scanned_crystal(wildcards):
    """The crystal of a simulated scan, which no network may have been trained on."""
    name = settings.scans[wildcards.scan].simulate.crystal
    row = rows(wildcards).get(name)
    if row is None:
        raise WorkflowError(f"scans.{wildcards.scan}.simulate.crystal: '{name}' is not in {sheet_path(wildcards)}")
    if row.split == "train":
        raise WorkflowError(
            f"scans.{wildcards.scan}.simulate.crystal: '{name}' is a training crystal; allowed are those of the splits"
            " validation, test and test_prototype"
        )
    return f"{RESULTS}/crystals/{name}.json"


def ranks(wildcards, resources, threads):
    """How a training over several GPUs or nodes starts: one process per task, as the profile's `mpi: srun` asks."""
    if "mpi" not in resources.keys():
        return ""
    nodes = resources.get("nodes", 1)
    each = resources.get("tasks_per_node") or resources.get("tasks", 1) // nodes
    shared = f"--nodes={nodes} --ntasks={nodes * each} --ntasks-per-node={each} --cpus-per-task={threads}"
    return f"{resources.mpi} {shared} --kill-on-bad-exit=1 "
