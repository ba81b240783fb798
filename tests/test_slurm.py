"""The same production through the SLURM profile, on a real cluster: undisturbed, then with what happens to clusters."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, Production, new_production
from services import slurm
from test_detection_workflow import as_found_by_one_job, shared_scan
from test_workflow import same_files

from fourdcrystal import verification

REASON = slurm.missing()
pytestmark = pytest.mark.skipif(REASON is not None, reason=str(REASON))

SHARDS = "crystals={per_job: 3}"  # two jobs of three crystals
ALIVE = {"PENDING", "CONFIGURING", "RUNNING", "COMPLETING"}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with slurm.Cluster(tmp_path_factory.mktemp("slurm")) as started:
        os.environ["SLURM_CONF"] = str(started.configuration)
        yield started
        del os.environ["SLURM_CONF"]


def edited_profile(folder: Path, **changes: dict[str, object]) -> Path:
    """The profile as its user edits it: for nodes of 6 GB, and earlier looks at the queue, since jobs are short."""
    profile = yaml.safe_load((ROOT / "workflow" / "profiles" / "slurm" / "profile.v9+.yaml").read_text())
    for resources in (profile["default-resources"], *profile["set-resources"].values()):
        resources["mem_mb"] = "1500 * attempt"
    for rule, resources in changes.items():
        profile["set-resources"][rule] |= resources
    profile |= {"jobs": 4, "latency-wait": 10, "max-status-checks-per-second": 1}
    profile["slurm-init-seconds-before-status-checks"] = 5
    profile["set-threads"] = dict.fromkeys(profile["set-threads"], 1)
    path = folder / "profile" / "profile.v9+.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(yaml.safe_dump(profile))
    return path.parent


def start(production: Production, *arguments: str, until: str = "catalogue", **changes) -> subprocess.Popen[bytes]:
    """Snakemake on the cluster, in the background."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--until", until]
    command += ["--configfile", str(production.configuration), *arguments]
    command += ["--workflow-profile", str(edited_profile(production.folder, **changes))]
    with (production.folder / "snakemake.log").open("ab") as log:
        return subprocess.Popen(command, cwd=production.folder, stdout=log, stderr=log, start_new_session=True)


def said(production: Production) -> str:
    return (production.folder / "snakemake.log").read_text()


def ended(run: subprocess.Popen[bytes], production: Production, seconds: float = 900) -> None:
    """Wait for the end of a run, which must be a good one."""
    try:
        code = run.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(run.pid, signal.SIGKILL)
        pytest.fail(f"hangs after {seconds:.0f} s:\n{said(production)[-4000:]}")
    assert code == 0, said(production)[-4000:]


def jobs(cluster: slurm.Cluster, production: Production, rule: str) -> list[dict[str, str]]:
    """The jobs of a rule in a production, as the controller tells of them."""
    mine = [job for job in cluster.jobs() if job["WorkDir"] == str(production.folder)]
    return [job for job in mine if job["Comment"].startswith(f"rule_{rule}")]


def at_work(cluster: slurm.Cluster, production: Production, rule: str, log: str) -> dict[str, str]:
    """A job of a rule that runs, once its script has begun."""
    found: list[dict[str, str]] = []

    def begun() -> bool:
        running = {job["JobId"]: job for job in jobs(cluster, production, rule) if job["JobState"] == "RUNNING"}
        scripts = {pid for pid, words in processes(production) if log in words}
        found[:] = running.values()
        return bool(found and scripts)

    cluster.wait(begun, f"a job of {rule} at work", seconds=300)
    return found[0]


def processes(production: Production) -> Iterator[tuple[int, str]]:
    """Number and command line of every process that works in a production's folder."""
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if (entry / "cwd").readlink() == production.folder:
                yield int(entry.name), (entry / "cmdline").read_text().replace("\0", " ")
        except OSError:
            continue  # it has just ended


def freeze(cluster: slurm.Cluster, production: Production, script: str) -> None:
    """Stop the processes of a script, wherever they are, as soon as there is one."""

    def stopped() -> bool:
        # srun starts a program by its whole path, a shell by its name
        found = [pid for pid, words in processes(production) if re.match(rf"(\S*/)?python\S* \S*{script}", words)]
        for pid in found:
            send(pid, signal.SIGSTOP)
        return bool(found)

    cluster.wait(stopped, f"{script} to run, so that it can be stopped")


def send(pid: int, how: signal.Signals) -> None:
    """Signal a process that may just have ended."""
    with suppress(ProcessLookupError):
        os.kill(pid, how)


def complete(cluster: slurm.Cluster, production: Production, reference: Production) -> None:
    """Whether a data set is whole, verified, and the same as an undisturbed one, with nothing left beside it."""
    cluster.wait(lambda: not any(job["JobState"] in ALIVE for job in cluster.jobs()), "orphans to end", seconds=300)
    patterns = production.results / "patterns"
    assert same_files(reference.results / "patterns", patterns)
    assert verification.of_catalogue(production.results / "catalogue.parquet", patterns) == []
    for store in patterns.glob("*.zarr"):
        assert verification.of_store(store).problems == []
    assert not list(patterns.glob(".*")), "a writer that was cut off has left nothing"


@pytest.fixture
def timed(record_property):
    """A block whose wall time is told at the end of the test run (conftest.py)."""

    @contextmanager
    def block(what: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        record_property("took", f"SLURM, {what}: {time.monotonic() - began:.0f} s")

    return block


def test_a_cluster_makes_the_same_data_set_as_a_workstation(cluster, production, tmp_path, timed):
    remote = new_production(tmp_path)
    with timed("6 crystals, a job each, on 2 GPU nodes"):
        ended(start(remote), remote)
    complete(cluster, remote, production)
    simulated = jobs(cluster, remote, "simulate")
    assert len(simulated) == 6
    assert {job["JobState"] for job in simulated} == {"COMPLETED"}
    assert all("gpu" in job["TresPerJob"] for job in simulated), "each simulation had a GPU of its own"
    assert {job["NodeList"] for job in simulated} <= {"n2", "n3"}, "only these nodes have GPUs"


def cancelled(cluster: slurm.Cluster, job: dict[str, str]) -> None:
    cluster.run("scancel", job["JobId"])


def node_lost(cluster: slurm.Cluster, job: dict[str, str]) -> None:
    cluster.run("scontrol", "update", f"NodeName={job['NodeList']}", "State=DOWN", "Reason=test")


def controller_gone(cluster: slurm.Cluster, job: dict[str, str]) -> None:
    cluster.stop_controller()
    time.sleep(25)
    cluster.start_controller()


@pytest.mark.parametrize(
    ("fault", "states"),
    [
        (cancelled, {"CANCELLED", "COMPLETED"}),
        (node_lost, {"NODE_FAIL", "COMPLETED"}),
        (controller_gone, {"COMPLETED"}),
    ],
    ids=["a job is cancelled", "a node is lost", "the controller is gone for 25 s"],
)
def test_a_fault_of_the_cluster_costs_time_but_no_data(cluster, production, tmp_path, timed, fault: Callable, states):
    remote = new_production(tmp_path)
    with timed(fault.__name__.replace("_", " ")):
        run = start(remote, "--config", SHARDS)
        fault(cluster, at_work(cluster, remote, "simulate_shard", "simulate_shard.py"))
        ended(run, remote)
    for node in cluster.nodes:
        cluster.run("scontrol", "update", f"NodeName={node}", "State=RESUME")
    for pid, _ in processes(remote):  # on a node that is lost nobody ends them; here it's the same machine
        send(pid, signal.SIGKILL)
    complete(cluster, remote, production)
    found = jobs(cluster, remote, "simulate_shard")
    assert {job["JobState"] for job in found} == states
    assert sum(job["JobState"] == "COMPLETED" for job in found) == 2


def test_a_job_over_its_memory_is_sent_again_with_more(cluster, production, tmp_path, timed):
    remote = new_production(tmp_path)
    with timed("over its memory"):
        ended(start(remote, "--config", SHARDS, simulate_shard={"mem_mb": "300 if attempt == 1 else 1500"}), remote)
    complete(cluster, remote, production)
    found = jobs(cluster, remote, "simulate_shard")
    assert sum(job["JobState"] == "COMPLETED" for job in found) == 2
    # SLURM looks at a job's memory now and then: on a loaded machine one may end before it was seen
    over = sum(job["JobState"] != "COMPLETED" for job in found)
    assert over >= 1, "300 MB are too few for either job"
    again = [job for job in found if job["JobState"] == "COMPLETED" and job["MinMemoryNode"] == "1500M"]
    assert len(again) == over


def test_a_job_over_its_time_is_ended_and_sent_again_with_more(cluster, production, tmp_path, timed):
    remote = new_production(tmp_path)
    with timed("over its time"):
        run = start(remote, "--config", SHARDS, simulate_shard={"runtime": "1 if attempt == 1 else 30"})
        at_work(cluster, remote, "simulate_shard", "simulate_shard.py")
        freeze(cluster, remote, "simulate_shard.py")  # as if the file system had stopped answering
        ended(run, remote)
    complete(cluster, remote, production)
    states = [job["JobState"] for job in jobs(cluster, remote, "simulate_shard")]
    assert "TIMEOUT" in states
    assert states.count("COMPLETED") == 2


def test_a_killed_snakemake_is_started_again_beside_its_orphans(cluster, production, tmp_path, timed):
    remote = new_production(tmp_path)
    with timed("SIGKILL of Snakemake, restart beside the orphan"):
        run = start(remote, "--config", SHARDS)
        at_work(cluster, remote, "simulate_shard", "simulate_shard.py")
        run.kill()
        run.wait()
        assert any(job["JobState"] == "RUNNING" for job in jobs(cluster, remote, "simulate_shard"))
        remote.snakemake("--unlock")
        ended(start(remote, "--config", SHARDS), remote)
    complete(cluster, remote, production)


TRAINED = {"slurm_partition": "cpu", "gpu": 0, "mpi": "srun", "nodes": 2, "tasks": 2}


def test_training_runs_over_two_nodes_and_goes_on_after_preemption(cluster, production, tmp_path, timed, monkeypatch):
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")  # this cluster's nodes have no names of their own
    undisturbed, preempted = (production.copy(tmp_path / name) for name in ("undisturbed", "preempted"))
    for copy in (undisturbed, preempted):
        (copy.results / "models" / "miniature" / "model.safetensors").unlink()
    with timed("training on 2 nodes"):
        ended(start(undisturbed, until="train", train=TRAINED), undisturbed)
    with timed("training on 2 nodes, preempted"):
        run = start(preempted, until="train", train=TRAINED)
        job = at_work(cluster, preempted, "train", "train.py")
        checkpoint = preempted.results / "models" / "miniature" / "checkpoint.ckpt"
        cluster.wait(checkpoint.exists, "the first checkpoint", seconds=300)
        freeze(cluster, preempted, "train.py")  # or it may be ready before it is preempted
        cluster.run("scontrol", "requeue", job["JobId"])
        ended(run, preempted)
    (log,) = (preempted.results / "logs" / "train").glob("*.log")
    assert "2 processes" in log.read_text()
    assert "going on from" in log.read_text()
    model = Path("models", "miniature", "model.safetensors")
    assert (undisturbed.results / model).read_bytes() == (preempted.results / model).read_bytes()


def test_jobs_on_several_nodes_share_a_scan(cluster, tmp_path, timed):
    remote = shared_scan(tmp_path)
    with timed("a scan in two parts, put together by a third job"):
        ended(start(remote, until="detect"), remote)
    as_found_by_one_job(remote)
    found = jobs(cluster, remote, "detect_chunk")
    assert [job["JobState"] for job in found] == ["COMPLETED"] * 2
    assert {job["NodeList"] for job in found} <= {"n2", "n3"}, "only these nodes have GPUs"
