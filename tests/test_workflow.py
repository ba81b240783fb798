"""The workflow: what enters the graph, what reruns, what resumes, and what is refused before anything starts."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, Production, new_production


def jobs(dry_run: str) -> dict[str, int]:
    """Number of jobs per rule in the output of ``snakemake -n``."""
    table = dry_run.split("Job stats:")[1]
    return {m[1]: int(m[2]) for m in re.finditer(r"^(\w+) +(\d+)$", table, re.MULTILINE) if m[1] != "total"}


def test_a_clean_checkout_shows_one_chain_of_jobs_per_crystal(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "-n", "--config", f"results={tmp_path}"],
        cwd=ROOT,
        text=True,
        capture_output=True,
        check=True,
    )
    found = jobs(done.stdout)
    sheet = (ROOT / "config" / "crystals.csv").read_text().splitlines()
    assert found["simulate"] == found["supercells"] == len(sheet) - 1 >= 12
    assert found["catalogue"] == found["train"] == found["detect"] == 1
    assert found["evaluate"] == 2, "the network that is trained, and the shipped one"


def test_the_graph_of_rules_flows_from_crystals_to_detection():
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "--rulegraph"], cwd=ROOT, text=True, capture_output=True, check=True
    )
    for rule in ("crystals", "supercells", "simulate", "catalogue", "train", "evaluate", "make_scan", "detect"):
        assert f'label = "{rule}"' in done.stdout


def test_the_graph_in_the_readme_is_the_one_that_snakemake_draws():
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "--rulegraph", "mermaid-js"],
        cwd=ROOT,
        text=True,
        capture_output=True,
        check=True,
    )

    def edges(text: str) -> set[tuple[str, str]]:
        names = dict(re.findall(r"(id\d+)\[(\w+)\]", text))
        return {(names[a], names[b]) for a, b in re.findall(r"(id\d+) --> (id\d+)", text)}

    assert edges((ROOT / "README.md").read_text()) == edges(done.stdout), "run: make dag"


def test_parsing_the_snakefile_imports_nothing_heavy(tmp_path):
    program = (
        "import sys\nfrom snakemake.cli import main\n"
        f"sys.argv = ['snakemake', '-n', '--quiet', 'all', '--config', 'results={tmp_path}']\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit as stop:\n    assert not stop.code, stop.code\n"
        "heavy = {'torch', 'abtem', 'zarr', 'pymatgen', 'xarray', 'pytorch_lightning'} & set(sys.modules)\n"
        "assert not heavy, heavy\nprint('light')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, text=True, capture_output=True)
    assert done.stdout.endswith("light\n"), done.stdout + done.stderr


def test_a_finished_production_has_nothing_to_do(production):
    assert "Nothing to be done" in production.snakemake("-n").stdout


CHANGES = [
    ({"microscope": {"energy": "100e3"}}, {"simulate", "catalogue", "train", "evaluate"}, {"crystals"}),
    ({"labels": {"width": 2.0}}, {"simulate", "catalogue", "train"}, {"crystals"}),
    ({"orientations": {"random": 2}}, {"supercells", "simulate", "catalogue"}, {"crystals"}),
    ({"evaluation": {"patterns": 6}}, {"evaluate"}, {"crystals", "simulate", "catalogue", "train", "detect"}),
    (
        {"scans": {"wedge": {"simulate": {"dose": 1e4}}}},
        {"make_scan", "detect"},
        {"crystals", "simulate", "catalogue", "train", "evaluate"},
    ),
]


@pytest.mark.parametrize(("change", "rerun", "kept"), CHANGES, ids=[next(iter(c)) for c, _, _ in CHANGES])
def test_a_changed_setting_reruns_what_depends_on_it_and_nothing_else(production, tmp_path, change, rerun, kept):
    content = yaml.safe_load(production.configuration.read_text())
    merge(content, change)
    changed = tmp_path / "changed.yaml"
    changed.write_text(yaml.safe_dump(content))
    found = set(jobs(Production(production.folder, changed).snakemake("-n").stdout))
    assert rerun <= found
    assert not kept & found


def merge(content: dict, change: dict) -> None:
    for key, value in change.items():
        if isinstance(value, dict) and isinstance(content.get(key), dict):
            merge(content[key], value)
        else:
            content[key] = value


def test_a_production_killed_in_the_middle_resumes_and_ends_the_same(production, tmp_path):
    killed = new_production(tmp_path / "killed")
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--cores", "2"]
    running = subprocess.Popen(
        [*command, "--configfile", str(killed.configuration), "--until", "catalogue"],
        cwd=killed.folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 120
    while not list(killed.results.glob("patterns/*.zarr/zarr.json")):
        assert time.monotonic() < deadline
        assert running.poll() is None, "ended before it could be killed"
        time.sleep(0.05)
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    killed.snakemake("--unlock")
    killed.snakemake("--cores", "2", "--until", "catalogue")
    assert same_files(production.results / "patterns", killed.results / "patterns")


def same_files(one: Path, other: Path) -> bool:
    """Whether two folders hold the same files with the same bytes."""

    def content(folder: Path) -> dict[Path, bytes]:
        return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    return content(one) == content(other)


def test_how_many_crystals_share_a_job_changes_neither_data_nor_paths(production, tmp_path):
    shared = new_production(tmp_path)
    shared.snakemake("--cores", "2", "--until", "catalogue", "--config", "crystals={per_job: 4}")
    assert len(list(shared.results.glob("shards/*.json"))) == 2
    assert same_files(production.results / "patterns", shared.results / "patterns")
    assert (production.results / "catalogue.parquet").read_bytes() == (
        shared.results / "catalogue.parquet"
    ).read_bytes()


def test_a_job_of_several_crystals_keeps_the_stores_that_are_complete(production, tmp_path):
    copy = production.copy(tmp_path / "copy")
    before = {path: path.stat().st_mtime_ns for path in copy.results.glob("patterns/*.zarr/zarr.json")}
    made_again = sorted(before)[0]
    made_again.unlink()
    copy.snakemake("--cores", "2", "--until", "catalogue", "--config", "crystals={per_job: 4}")
    after = {path: path.stat().st_mtime_ns for path in before}
    assert {path for path in before if after[path] != before[path]} == {made_again}


BAD = [
    ({"microscop": {}}, "did you mean 'microscope'"),
    ({"microscope": {"energy": "-200e3"}}, "microscope.energy"),
    ({"microscope": {"semiangle_cutoff": 45}}, "larger than the detector"),
    ({"detector": {"sampling": 0.5}}, "anti-aliased limit"),
    ({"microscope": {"semiangle_cutoff": 0.5}}, "too small for the probe"),
    ({"crystals": {"sheet": "nowhere.csv"}}, "nowhere.csv"),
    ({"scans": {"mine": {"scan": "nowhere.npz"}}}, "nowhere.npz"),
    ({"training": {"experiments": ["dmo"]}}, "dmo"),
]


@pytest.mark.parametrize(("change", "says"), BAD, ids=[json.dumps(c) for c, _ in BAD])
def test_bad_input_is_refused_in_one_sentence_before_anything_starts(tmp_path, change, says):
    made = new_production(tmp_path)
    content = yaml.safe_load(made.configuration.read_text())
    merge(content, change)
    made.configuration.write_text(yaml.safe_dump(content))
    done = made.snakemake("--cores", "1", check=False)
    assert done.returncode != 0
    (sentence,) = [line for line in done.stdout.splitlines() if line.startswith("error: ")]
    assert says in sentence
    assert "Traceback" not in done.stdout
    assert not made.results.exists()


def test_every_script_explains_itself():
    for script in sorted((ROOT / "scripts").glob("*.py")):
        done = subprocess.run([sys.executable, str(script), "--help"], text=True, capture_output=True, cwd=ROOT)
        assert done.returncode == 0, f"{script.name}: {done.stderr}"
        assert len(script.read_text().splitlines()) <= 45, f"{script.name} holds more than a command line"


def test_every_rule_runs_a_script_of_its_name():
    text = "".join(path.read_text() for path in smk_files())
    for name, body in re.findall(r"^ *(?:rule|checkpoint) (\w+):\n(.*?)(?=^\S|\Z)", text, re.MULTILINE | re.DOTALL):
        if "shell:" in body:
            assert f"$SCRIPTS/{name}.py" in body
            assert (ROOT / "scripts" / f"{name}.py").exists()


def smk_files() -> list[Path]:
    return [ROOT / "Snakefile", *sorted((ROOT / "workflow" / "rules").glob("*.smk"))]


MODULE = """
configfile: "miniature.yaml"

module diffraction:
    snakefile: "{snakefile}"
    config: config

use rule * from diffraction as diffraction_*

rule mine:
    input: rules.diffraction_catalogue.output
    output: "mine.txt"
    shell: "wc -c {{input}} > {{output}}"
"""


def test_another_workflow_uses_this_one_as_a_module(production, tmp_path):
    other = new_production(tmp_path)
    (other.folder / "Snakefile").write_text(MODULE.format(snakefile=ROOT / "Snakefile"))
    command = [sys.executable, "-m", "snakemake", "--cores", "2", "--workflow-profile", "none", "mine"]
    done = subprocess.run(command, cwd=other.folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == 0, done.stdout[-4000:]
    assert same_files(production.results / "patterns", other.results / "patterns")
    assert (other.folder / "mine.txt").read_text().split()[1] == "results/catalogue.parquet"
