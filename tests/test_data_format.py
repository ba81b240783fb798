"""docs/data_format.md says what stores hold, and its examples run."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from made_up import row, write

from fourdcrystal import catalogue
from fourdcrystal.layout import ARRAYS

PAGE = Path(__file__).parents[1] / "docs" / "data_format.md"


def lines(header: str) -> list[str]:
    """Rows of the table under a heading."""
    section = PAGE.read_text().split(f"## {header}\n")[1].split("\n## ")[0]
    return [
        line for line in section.splitlines() if line.startswith("| ") and not line.startswith(("| array", "| column"))
    ]


def test_the_table_of_arrays_is_the_layout():
    expected = [
        f"| {name} | {', '.join(dims)} | {kind} | {units} | {meaning.replace('|', '&#124;')} |"
        for name, (dims, kind, units, meaning) in ARRAYS.items()
    ]
    assert lines("Arrays of a store") == expected


def test_the_table_of_columns_is_the_catalogue():
    expected = [f"| {name} | {kind} | {meaning} |" for name, (kind, meaning) in catalogue.COLUMNS.items()]
    assert lines("The catalogue") == expected


@pytest.mark.parametrize("example", re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL))
def test_the_examples_run(tmp_path, example):
    names = {"CaF2-AB2_cF12_225_a_c": "train", "Si-1": "test_prototype"}
    for name in names:
        write(tmp_path / "results" / "patterns" / f"{name}.zarr")
    listed = [row(name, split) for name, split in names.items()]
    catalogue.write(
        tmp_path / "results" / "catalogue.parquet", catalogue.build(tmp_path / "results" / "patterns", listed)
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", example], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
