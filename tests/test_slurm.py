"""The same production through the SLURM profile, on a real cluster."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, Production, new_production
from services import slurm
from test_workflow import same_files

REASON = slurm.missing()
pytestmark = pytest.mark.skipif(REASON is not None, reason=str(REASON))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with slurm.Cluster(tmp_path_factory.mktemp("slurm")) as started:
        os.environ["SLURM_CONF"] = str(started.configuration)
        yield started
        del os.environ["SLURM_CONF"]


def edited_profile(folder: Path) -> Path:
    """The profile as its user edits it: for nodes of 6 GB, and earlier looks at the queue, since jobs are short."""
    profile = yaml.safe_load((ROOT / "workflow" / "profiles" / "slurm" / "profile.v9+.yaml").read_text())
    for resources in (profile["default-resources"], *profile["set-resources"].values()):
        resources["mem_mb"] = "1500 * attempt"
    profile |= {"jobs": 4, "latency-wait": 10, "max-status-checks-per-second": 1}
    profile["slurm-init-seconds-before-status-checks"] = 5
    profile["set-threads"] = dict.fromkeys(profile["set-threads"], 1)
    path = folder / "profile" / "profile.v9+.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(yaml.safe_dump(profile))
    return path.parent


def start(production: Production) -> subprocess.Popen[bytes]:
    """Snakemake on the cluster, in the background."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--until", "catalogue"]
    command += ["--configfile", str(production.configuration)]
    command += ["--workflow-profile", str(edited_profile(production.folder))]
    with (production.folder / "snakemake.log").open("ab") as log:
        return subprocess.Popen(command, cwd=production.folder, stdout=log, stderr=log, start_new_session=True)


def ended(run: subprocess.Popen[bytes], production: Production, seconds: float = 900) -> None:
    """Wait for the end of a run, which must be a good one."""
    code = run.wait(timeout=seconds)
    assert code == 0, (production.folder / "snakemake.log").read_text()[-4000:]


def test_a_cluster_makes_the_same_data_set_as_a_workstation(cluster, production, tmp_path):
    remote = new_production(tmp_path)
    began = time.monotonic()
    ended(start(remote), remote)
    print(f"6 crystals on 2 GPU nodes: {time.monotonic() - began:.0f} s")
    assert same_files(production.results / "patterns", remote.results / "patterns")
    simulated = [j for j in cluster.jobs() if "simulate" in j["Comment"] and j["WorkDir"] == str(remote.folder)]
    assert len(simulated) == 6
    assert {job["JobState"] for job in simulated} == {"COMPLETED"}
    assert all("gpu" in job["TresPerJob"] for job in simulated), "each simulation had a GPU of its own"
    assert {job["NodeList"] for job in simulated} <= {"n2", "n3"}, "only these nodes have GPUs"
