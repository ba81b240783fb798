"""The documentation site builds without a warning, and what it tells people to run, runs."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

PAGES = ["tutorial.md", *sorted(f"howto/{path.name}" for path in (ROOT / "docs" / "howto").glob("*.md"))]
FENCE = re.compile(r"^```(\w+)(?: title=\"([^\"]+)\")?\n(.*?)^```$", re.DOTALL | re.MULTILINE)

# Commands that are shown but can't run in a test of this page: by what runs them instead.
ELSEWHERE = {
    "pip install -c requirements.lock -e '.[gpu]'": "needs a GPU's driver",
    "pip install torch": "gigabytes of CUDA",
    "python scripts/verify.py s3://bucket/results": "tests/test_places.py",
    "python scripts/preview.py --catalogue s3://": "tests/test_places.py",
    "python scripts/train.py experiment=cpu paths.catalogue=s3://": "tests/test_places.py",
    "tmux new": "a terminal",
    "make .venv/.demo": ".ci/run",
    "snakemake --workflow-profile workflow/profiles/slurm": "tests/test_slurm.py",
    "snakemake --unlock": "tests/test_slurm.py",
    "snakemake --cores 8 --resources gpu=2": "tests/test_gpus.py",
}


def blocks(page: str) -> list[tuple[str, str, str]]:
    """Language, title and text of each fenced block of a page."""
    return FENCE.findall((ROOT / "docs" / page).read_text())


def checkout(folder: Path) -> Path:
    """A folder that a reader of the documentation stands in: a copy of the repository's working files."""
    folder.mkdir()
    for name in ("Snakefile", "pyproject.toml", "requirements.lock"):
        shutil.copy2(ROOT / name, folder)
    for name in ("workflow", "scripts", "envs", "config", "profiles", "tests"):
        shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_page_run_one_after_the_other(page, production, tmp_path):
    folder = checkout(tmp_path / "checkout")
    if page != "tutorial.md":
        shutil.copytree(production.results, folder / "results", symlinks=True, copy_function=shutil.copy2)
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    programs = {"bash": ["bash", "-euo", "pipefail", "-c"], "python": [sys.executable, "-W", "ignore", "-c"]}
    ran = 0
    for language, title, text in blocks(page):
        if title:
            (folder / title).write_text(text)
        elif language in programs:
            command = [*programs[language], text]
            done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600)
            assert done.returncode == 0, f"{page}:\n{text}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
            ran += 1
    assert ran


@pytest.mark.parametrize("page", [*PAGES, "slurm.md"])
def test_a_command_that_is_only_shown_is_run_elsewhere(page):
    for line in re.findall(r"^    (\S.*)$", re.sub(FENCE, "", (ROOT / "docs" / page).read_text()), re.MULTILINE):
        command = line.split("#")[0].replace(".venv/bin/", "").strip()
        assert any(command.startswith(known) for known in ELSEWHERE), f"{page}: nobody runs '{command}'"


def test_the_site_builds_with_warnings_as_errors_and_shows_every_page(tmp_path):
    pytest.importorskip("mkdocs", reason="the site needs the extra dev")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    settings = (tmp_path / "site" / "reference" / "settings.html").read_text()
    assert "microscope.semiangle_cutoff" in settings
    commands = (tmp_path / "site" / "reference" / "commands.html").read_text()
    for script in (ROOT / "scripts").glob("*.py"):
        assert f"scripts/{script.name}" in commands
    for page in (tmp_path / "site").rglob(
        "*.html"
    ):  # also legible without a network: Material fetches what draws mermaid
        fetched = re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="https?://[^"]*|class="mermaid"', page.read_text())
        assert not fetched, f"{page.name}: {fetched[0]}"
    assert "house.svg" in (tmp_path / "site" / "architecture.html").read_text()
    assert "<math" in (tmp_path / "site" / "equations.html").read_text()
    assert "excitation error" in (tmp_path / "site" / "reference" / "api" / "reflections.html").read_text().lower()
