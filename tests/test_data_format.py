"""docs/data_format.md says what stores and detections hold, and its examples run."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import xarray
from made_up import row, write

from fourdcrystal import bragg_vectors, catalogue
from fourdcrystal.layout import ARRAYS

PAGE = Path(__file__).parents[1] / "docs" / "data_format.md"


def lines(header: str, table: int = 0) -> list[str]:
    """Rows of a table under a heading."""
    section = PAGE.read_text().split(f"## {header}\n")[1].split("\n## ")[0]
    return re.findall(r"^\|---[|-]*\n((?:\|.*\n)+)", f"{section}\n", re.MULTILINE)[table].splitlines()


def cells(header: str, table: int) -> list[list[str]]:
    """First and second cell of the rows of a table, names taken apart."""
    rows = [line.split(" | ") for line in lines(header, table)]
    return [[name, row[1].strip()] for row in rows for name in row[0].strip("| ").split(", ")]


def test_the_table_of_arrays_is_the_layout():
    expected = [
        f"| {name} | {', '.join(dims)} | {kind} | {units} | {meaning.replace('|', '&#124;')} |"
        for name, (dims, kind, units, meaning) in ARRAYS.items()
    ]
    assert lines("Arrays of a store") == expected


def test_the_table_of_columns_is_the_catalogue():
    expected = [f"| {name} | {kind} | {meaning} |" for name, (kind, meaning) in catalogue.COLUMNS.items()]
    assert lines("The catalogue") == expected


def test_the_table_of_bragg_vectors_has_their_columns_and_units():
    assert cells("What detection writes", 0) == [[name, unit] for name, unit in bragg_vectors.UNITS.items()]


def test_the_tables_of_what_detection_writes_are_what_it_writes(production):
    folder = production.results / "detection" / "wedge"
    stores = [xarray.open_zarr(folder / f"{name}.zarr", consolidated=False) for name in ("strain", "orientation")]
    written = {str(name): array.attrs.get("units", "bits") for store in stores for name, array in store.items()}
    assert {name: unit for name, unit in cells("What detection writes", 1) if name != "ipf_colour"} == written
    keys = [name for name, _ in cells("What detection writes", 2)]
    assert sorted(keys) == sorted(json.loads((folder / "summary.json").read_text()))


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
