"""A quartet can be made again from its row alone, and a data set grows without touching what it has."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import zarr
from made_up import row, silicon

from fourdcrystal import (
    PATTERNS_VERSION,
    catalogue,
    checksums,
    collection,
    earlier,
    fanout,
    production,
    remake,
    sheet,
    sources,
    stores,
)
from fourdcrystal.errors import InputError
from fourdcrystal.settings import PATTERN_SECTIONS, Settings

SCRIPT = Path(__file__).parents[1] / "scripts" / "remake.py"
RECIPE = {
    "orientations": {"unrotated": True, "zone_axes": 1, "mistilted": 1, "random": 1},
    "microscope": {"energy": [100e3, 200e3], "semiangle_cutoff": [8, 10]},
    "specimen": {"thickness": [12, 20], "box": 20, "seam_limit": 1},
    "detector": {"shape": [32, 32], "sampling": 0.05},
}


def recipe(**changes) -> Settings:
    return Settings.model_validate({name: RECIPE[name] | changes.get(name, {}) for name in RECIPE})


def make(path: Path, settings: Settings) -> Path:
    crystal = silicon()
    production.write_patterns(path, crystal, *production.supercells(crystal, settings), settings)
    return path


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dataset")
    make(folder / "patterns" / "Si-1.zarr", recipe())
    catalogue.write(folder / "catalogue.parquet", catalogue.build(folder / "patterns", [row("Si-1", "train")]))
    return folder


@pytest.mark.parametrize("number", [0, 13, 31])
def test_a_quartet_made_again_alone_equals_the_stored_one_bit_by_bit(dataset, number):
    found = remake.row(dataset / "catalogue.parquet", dataset / "patterns", number)
    assert found.made["cbed"].max() > 1e-3
    assert found.differences() == {"probe": 0, "cbed": 0, "vg": 0, "qz": 0}


def test_the_command_line_says_whether_a_quartet_is_equal(dataset, tmp_path):
    def run(*arguments):
        command = [sys.executable, SCRIPT, "--results", dataset, *arguments]
        return subprocess.run(command, capture_output=True, text=True)

    good = run("--row", "5", "-o", tmp_path / "quartet.npz")
    assert (good.returncode, good.stderr) == (0, "")
    assert "equal bit by bit" in good.stdout
    assert sorted(np.load(tmp_path / "quartet.npz")) == ["cbed", "probe", "qz", "vg"]
    bad = run("--row", "32")
    assert bad.returncode == 2
    assert "has no row 32; allowed are 0 to 31" in bad.stderr and bad.stderr.count("\n") == 1


def test_a_store_of_another_version_of_the_simulation_is_not_compared(dataset, monkeypatch):
    monkeypatch.setattr(remake, "PATTERNS_VERSION", 10**6)
    with pytest.raises(InputError, match=rf"Si-1\.zarr: was made by version {PATTERNS_VERSION} of the simulation"):
        remake.row(dataset / "catalogue.parquet", dataset / "patterns", 0)


def simulated(monkeypatch) -> list[int]:
    """Counts the orientations that are simulated from now on."""
    calls = []
    real = production.Instrument.simulate
    monkeypatch.setattr(production.Instrument, "simulate", lambda *a: calls.append(1) or real(*a))
    return calls


@pytest.mark.parametrize(
    ("further", "made"),
    [
        ({"orientations": {"random": 3, "zone_axes": 2}}, 3),
        ({"specimen": {"thickness": [20]}}, 0),
        ({"microscope": {"energy": [200e3]}, "orientations": {"unrotated": False}}, 0),
        ({"microscope": {"semiangle_cutoff": [10]}}, 0),
    ],
)
def test_further_orientations_are_added_without_simulating_again_what_is_there(tmp_path, monkeypatch, further, made):
    grown, at_once = tmp_path / "grown.zarr", tmp_path / "at_once.zarr"
    make(grown, recipe())
    calls = simulated(monkeypatch)
    make(grown, recipe(**further))
    assert len(calls) == made
    assert checksums.identity(make(at_once, recipe(**further))) == checksums.identity(grown)


def test_a_further_thickness_leaves_the_patterns_that_are_there_as_they_are(tmp_path):
    path = make(tmp_path / "Si-1.zarr", recipe())
    before = stores.open(path).cbed.values
    make(path, recipe(specimen={"thickness": [12, 20, 30]}))
    np.testing.assert_array_equal(stores.open(path).cbed.values[:, :, :, :2], before)


@pytest.mark.parametrize(
    "change",
    [
        {"detector": {"sampling": 0.06}},
        {"specimen": {"slice_thickness": 1}},
        {"microscope": {"aberrations": {"defocus": 50}}},
        {"specimen": {"thickness": [12, 30]}},
    ],
)
def test_patterns_of_another_recipe_are_not_taken_over(tmp_path, change):
    path = make(tmp_path / "Si-1.zarr", recipe())
    dumped = recipe(**change).model_dump(mode="json", include=set(PATTERN_SECTIONS))
    assert earlier.usable(path, silicon(), dumped, PATTERNS_VERSION) is None


def test_a_damaged_store_is_not_taken_over(tmp_path):
    path = make(tmp_path / "Si-1.zarr", recipe())
    dumped = recipe().model_dump(mode="json", include=set(PATTERN_SECTIONS))
    assert earlier.usable(path, silicon(), dumped, PATTERNS_VERSION) is not None
    assert earlier.usable(path, silicon(), dumped, PATTERNS_VERSION + 1) is None
    kept = (path / "seam_fraction").rename(tmp_path / "seam_fraction")
    assert earlier.usable(path, silicon(), dumped, PATTERNS_VERSION) is None
    kept.rename(path / "seam_fraction")
    zarr.open_group(path, mode="r+", use_consolidated=False)["seam_fraction"][...] = 0
    assert earlier.usable(path, silicon(), dumped, PATTERNS_VERSION) is None
    assert earlier.usable(tmp_path / "nothing.zarr", silicon(), dumped, PATTERNS_VERSION) is None


def test_a_version_that_changed_labels_alone_takes_over_the_patterns_before_it(tmp_path, monkeypatch):
    path = tmp_path / "Si-1.zarr"
    monkeypatch.setattr(production, "PATTERNS_VERSION", 5)
    make(path, recipe())
    calls = simulated(monkeypatch)
    monkeypatch.setattr(production, "PATTERNS_VERSION", 6)
    make(path, recipe())
    assert calls == []
    assert stores.metadata(path)["versions"]["patterns"] == 6


def remade(folder: Path, ids: list[str], number: int) -> str:
    """What the command line says of a row, after a catalogue has been made of the folder's stores."""
    made = catalogue.build(folder / "patterns", [row(name, "train") for name in ids])
    catalogue.write(folder / "catalogue.parquet", made)
    command = [sys.executable, SCRIPT, "--results", folder, "--row", str(number)]
    return subprocess.run(command, capture_output=True, text=True).stdout


def test_quartets_of_a_grown_store_taken_over_or_added_can_be_made_again(tmp_path, monkeypatch):
    path = make(tmp_path / "patterns" / "Si-1.zarr", recipe())
    calls = simulated(monkeypatch)
    make(path, recipe(orientations={"random": 2}))
    assert len(calls) == 1
    for number in (5, 39):  # of the first orientation, and of the one that was added
        assert "equal bit by bit" in remade(tmp_path, ["Si-1"], number)


def test_a_quartet_of_a_job_of_several_crystals_can_be_made_again_alone(tmp_path):
    ids = ["Si-1", "Si-2"]
    structures, listed, patterns = tmp_path / "structures.parquet", tmp_path / "crystals.csv", tmp_path / "patterns"
    collection.write(structures, [sources.Entry(name, silicon(name).structure, silicon(name).source) for name in ids])
    sheet.write(listed, [row(name, "train") for name in ids])
    patterns.mkdir()
    few = recipe(orientations={"zone_axes": 0, "mistilted": 0})
    fanout.make(structures, listed, ids, patterns, tmp_path / "shard.json", few)
    assert "Si-2.zarr: equal bit by bit" in remade(tmp_path, ids, 30)
