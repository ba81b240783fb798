"""A complete miniature production, made once and looked at by many tests."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# Two pytest workers share two cores; small tensors on more threads than cores are slower by an order of magnitude.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist looks at the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Workers take whole files, and one of them all tests that look at the miniature production."""
    for item in items:
        name = "production" if "production" in item.fixturenames else str(item.path)
        item.add_marker(pytest.mark.xdist_group(name))


@dataclass(frozen=True)
class Production:
    """A folder in which the workflow has run."""

    folder: Path
    configuration: Path

    @property
    def results(self) -> Path:
        return self.folder / "results"

    def snakemake(self, *arguments: str, check: bool = True, timeout: float = 600) -> subprocess.CompletedProcess[str]:
        """Run Snakemake in this folder with its configuration; standard error is merged into standard output."""
        command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")]
        command += ["--configfile", str(self.configuration), *arguments]
        done = subprocess.run(
            command, cwd=self.folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout
        )
        if check:
            assert done.returncode == 0, done.stdout[-6000:]
        return done

    def copy(self, to: Path) -> "Production":
        """The same production in another folder, with the times of files, so that nothing is out of date."""
        shutil.copytree(self.folder, to, symlinks=True, copy_function=shutil.copy2)
        return Production(to, to / self.configuration.name)


def new_production(folder: Path) -> Production:
    """A folder with the miniature configuration, in which nothing has run yet."""
    folder.mkdir(parents=True, exist_ok=True)
    return Production(folder, Path(shutil.copy2(ROOT / "tests" / "miniature.yaml", folder)))


@pytest.fixture(scope="session")
def production(tmp_path_factory) -> Production:
    """The miniature production, finished. Tests must not change it; they may change a copy."""
    made = new_production(tmp_path_factory.mktemp("miniature"))
    made.snakemake("--cores", "2")
    return made
