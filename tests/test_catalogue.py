"""The catalogue: one row per quartet, in columns, in a fixed order, and it knows when stores have changed."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_up import row, silicon, write

from fourdcrystal import catalogue, sheet, stores
from fourdcrystal.errors import InputError

SCRIPT = Path(__file__).parents[1] / "scripts" / "catalogue.py"


@pytest.fixture
def dataset(tmp_path):
    """Two crystals, 12 and 18 quartets."""
    for i, name in enumerate(("Si-2", "Si-1")):
        write(tmp_path / "patterns" / f"{name}.zarr", seed=i, orientations=2 + i)
    sheet.write(tmp_path / "crystals.csv", [row("Si-2", "test"), row("Si-1", "train")])
    return tmp_path


def make(folder: Path) -> Path:
    table = catalogue.build(folder / "patterns", sheet.read(folder / "crystals.csv"))
    catalogue.write(folder / "catalogue.parquet", table)
    return folder / "catalogue.parquet"


def test_every_quartet_has_one_row_that_leads_to_it(dataset):
    table = catalogue.read(make(dataset))
    assert list(table.columns) == list(catalogue.COLUMNS)
    assert table.groupby("crystal", observed=True).size().to_dict() == {"Si-1": 18, "Si-2": 12}
    assert not table.duplicated(["crystal", "orientation", "energy", "semiangle", "thickness"]).any()
    chosen = table.iloc[17]
    store = stores.open(dataset / "patterns" / f"{chosen.crystal}.zarr")
    quartet = store.isel(
        orientation=chosen.orientation, energy=chosen.energy, semiangle=chosen.semiangle, thickness=chosen.thickness
    )
    assert (chosen.energy_eV, chosen.semiangle_mrad, chosen.thickness_A) == (200e3, 3.0, 400.0)
    assert float(quartet.thickness) == chosen.thickness_A
    assert chosen.zone_axis == "0 0 3"
    assert chosen.mistilt_mrad == pytest.approx(20.0)
    assert float(quartet.cbed.sum() / store.probe[0, 1].sum()) == pytest.approx(chosen.intensity, rel=2e-3)


def test_the_same_stores_give_the_same_bytes(dataset):
    path = make(dataset)
    first = path.read_bytes()
    assert make(dataset).read_bytes() == first
    assert catalogue.identity(path) == catalogue.identity(make(dataset))


def test_text_is_columnar_so_that_millions_of_rows_fit_in_memory(dataset):
    table = catalogue.read(make(dataset))
    assert all(
        isinstance(table[c].dtype, pd.CategoricalDtype) for c, (kind, _) in catalogue.COLUMNS.items() if kind == "text"
    )
    numbers = sum(np.dtype(kind).itemsize for kind, _ in catalogue.COLUMNS.values() if kind != "text")
    assert numbers + 6 * 4 <= 64  # bytes per row: 6.5 million rows stay below half a gigabyte


def test_rows_keep_their_numbers_when_a_split_is_chosen(dataset):
    path = make(dataset)
    test = catalogue.read(path, splits=["test"], columns=["crystal", "thickness_A"])
    assert set(test["crystal"]) == {"Si-2"}
    assert list(test.index) == list(range(18, 30))
    with pytest.raises(InputError, match="split tset is unknown; allowed are train"):
        catalogue.read(path, splits=["tset"])


def test_a_store_made_again_makes_the_catalogue_stale(dataset):
    path = make(dataset)
    catalogue.check_fresh(path, dataset / "patterns")
    write(dataset / "patterns" / "Si-2.zarr", seed=99)
    with pytest.raises(InputError, match=r"catalogue.parquet: is stale, .*Si-2.zarr has been made again"):
        catalogue.check_fresh(path, dataset / "patterns")
    catalogue.check_fresh(path, dataset / "patterns", crystals=["Si-1"])
    (dataset / "patterns" / "Si-1.zarr").rename(dataset / "elsewhere")
    with pytest.raises(InputError, match=r"Si-1\.zarr: is missing"):
        catalogue.check_fresh(path, dataset / "patterns")


def test_a_swapped_store_is_refused(dataset):
    (dataset / "patterns" / "Si-1.zarr").rename(dataset / "x")
    (dataset / "patterns" / "Si-2.zarr").rename(dataset / "patterns" / "Si-1.zarr")
    with pytest.raises(InputError, match=r"Si-1\.zarr: holds patterns of a crystal whose id is Si-2, not Si-1"):
        make(dataset)


def test_a_sheet_without_its_stores_gets_one_sentence(dataset):
    with pytest.raises(InputError, match="the sheet of crystals is empty"):
        catalogue.build(dataset / "patterns", [])
    with pytest.raises(InputError, match=r"Ge-1\.zarr: is not a complete Zarr store"):
        catalogue.build(dataset / "patterns", [row("Ge-1", "train")])
    with pytest.raises(InputError, match=r"Si-1\.zarr: holds patterns of a crystal whose prototype is A_cF8_227_a"):
        catalogue.build(dataset / "patterns", [replace(row("Si-1", "train"), prototype="A_cF4_225_a")])


@pytest.mark.parametrize(
    ("content", "said"), [(None, "no such catalogue"), (b"PAR1", "can't be read"), (b"", "can't be read")]
)
def test_a_missing_or_damaged_catalogue_gets_one_sentence(tmp_path, content, said):
    path = tmp_path / "catalogue.parquet"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=said):
        catalogue.read(path)


def test_another_parquet_file_is_not_a_catalogue(tmp_path):
    pd.DataFrame({"a": [1]}).to_parquet(tmp_path / "x.parquet")
    with pytest.raises(InputError, match="is not a catalogue"):
        catalogue.read(tmp_path / "x.parquet")


def test_the_command_line_makes_the_catalogue_and_says_what_is_wrong_in_one_sentence(dataset):
    command = [sys.executable, SCRIPT, dataset / "crystals.csv", dataset / "patterns", "-o", dataset / "c.parquet"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "30 quartets" in done.stdout
    (dataset / "patterns" / "Si-1.zarr" / "zarr.json").unlink()
    failed = subprocess.run(command, capture_output=True, text=True)
    assert failed.returncode == 2
    assert failed.stderr.startswith("error: ") and failed.stderr.count("\n") == 1
    assert silicon("Si-1").id in failed.stderr
