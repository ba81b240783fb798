"""The crystals' part of the workflow, from files to one file per crystal, and what a change makes again."""

import csv
import os
import re
import shutil
from pathlib import Path

import pytest
import yaml
from conftest import Production
from pymatgen.core import Composition, Lattice, Structure

from fourdcrystal import limits

TARGETS = ["results/crystals/census.json"]


def salt(a: float, *elements: str) -> Structure:
    return Structure.from_spacegroup(225, Lattice.cubic(a), elements, [[0, 0, 0], [0.5, 0.5, 0.5]])


def snakemake(folder: Path, *arguments: str) -> str:
    return Production(folder, folder / "own.yaml").snakemake(*arguments).stdout


def configure(folder: Path, **crystals) -> None:
    chosen = {"source": "files", "files": {"paths": ["mine"], "licence": "CC0"}, "split": {"validation": 0, "test": 0}}
    (folder / "own.yaml").write_text(yaml.safe_dump({"crystals": chosen | crystals}))


@pytest.fixture(scope="module")
def production(tmp_path_factory) -> Path:
    """A folder in which the crystals of a user have been selected, and their files written from the sheet."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "mine").mkdir()
    for a, anion in ((4.03, "F"), (5.14, "Cl"), (5.5, "Br")):
        salt(a, "Li", anion).to(str(folder / "mine" / f"Li{anion}.cif"))
    Structure(Lattice.cubic(2.9), [Composition("Fe0.5Ni0.5")], [[0, 0, 0]]).to(str(folder / "mine" / "alloy.cif"))
    configure(folder, per_class_min=3)
    snakemake(folder, "--cores", "2", *TARGETS)
    for suffix in ("csv", "counts.json"):
        shutil.copy(folder / "results" / f"crystals.{suffix}", folder / f"frozen.{suffix}")
    configure(folder, sheet="frozen.csv")
    (folder / "results" / "crystals" / "census.json").unlink()
    snakemake(folder, "--cores", "2", *TARGETS, *crystal_files(folder))
    return folder


def crystal_files(folder: Path) -> list[str]:
    with (folder / "frozen.csv").open() as file:
        return [f"results/crystals/{row['id']}.json" for row in csv.DictReader(file)]


def planned(folder: Path, *targets: str) -> list[str]:
    """Crystals whose files a dry run would write."""
    return sorted(re.findall(r"output: results/crystals/(\S+)\.json$", snakemake(folder, "-n", *targets), re.MULTILINE))


def test_the_census_of_a_frozen_sheet_still_counts_what_its_selection_rejected(production):
    content = yaml.safe_load((production / "results" / "crystals" / "census.json").read_text())
    assert (content["offered"], content["accepted"], content["selected"]) == (4, 3, 3)
    rejected = {reason: number for reason, number in content["rejected"].items() if number}
    assert rejected == {"partial occupancy": 1}
    assert set(content["rejected"]) >= set(limits.REASONS)
    assert len(crystal_files(production)) == 3


def test_with_the_sheet_frozen_nothing_is_left_to_do(production):
    assert "Nothing to be done" in snakemake(production, "-n", *crystal_files(production))


@pytest.fixture
def copy(production, tmp_path) -> Path:
    return Path(shutil.copytree(production, tmp_path / "copy", copy_function=shutil.copy2))


def test_an_edited_file_makes_its_own_crystal_again_and_no_other(copy):
    salt(5.2, "Li", "Cl").to(str(copy / "mine" / "LiCl.cif"))
    assert planned(copy, *crystal_files(copy)) == ["LiCl"]


def test_a_new_row_of_the_sheet_makes_one_crystal_and_another_split_none(copy):
    salt(4.62, "Na", "F").to(str(copy / "mine" / "NaF.cif"))
    lines = (copy / "frozen.csv").read_text().replace("train", "validation", 1).splitlines()
    lines.append(lines[-1].replace("LiF", "NaF"))
    (copy / "frozen.csv").write_text("\n".join(lines) + "\n")
    os.utime(copy / "frozen.csv")
    assert planned(copy, *crystal_files(copy)) == ["NaF"]
