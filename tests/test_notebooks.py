"""The notebooks run from their first cell to their last; the second one in py4DSTEM's own environment."""

import os
import subprocess

import nbclient
import nbformat
import pytest
from conftest import ROOT
from services import environments

NOTEBOOKS = ROOT / "docs" / "notebooks"


def read(name: str) -> nbformat.NotebookNode:
    return nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the first notebook has run: its cells assert that strain and rotation are those that were put in."""
    path = tmp_path_factory.mktemp("notebooks")
    client = nbclient.NotebookClient(
        read("from_file_to_strain_map"), timeout=600, kernel_name="python3", resources={"metadata": {"path": str(path)}}
    )
    client.execute()
    return path


@pytest.mark.slow
def test_from_a_file_to_a_strain_map(folder):
    written = {path.name for path in (folder / "out").iterdir()}
    assert {"bragg_vectors.h5", "strain.zarr", "orientation.png", "summary.json"} <= written


@pytest.mark.slow
def test_bragg_vectors_in_py4dstem(folder):
    python = environments.python("py4dstem", environments.PY4DSTEM)
    cells = [cell.source for cell in read("bragg_vectors_in_py4dstem").cells if cell.cell_type == "code"]
    done = subprocess.run(
        [python, "-W", "ignore", "-c", "\n".join(cells)],
        cwd=folder,
        env=os.environ | {"MPLBACKEND": "Agg"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "e_xx of the columns" in done.stdout


@pytest.mark.parametrize("name", sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb")))
def test_notebooks_are_kept_without_outputs(name):
    cells = [cell for cell in read(name).cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in cells)
