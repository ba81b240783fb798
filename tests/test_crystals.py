"""A crystal keeps its atoms, its class and its origin on the way from a source to every later stage."""

import json
from pathlib import Path

import numpy as np
import pytest
from known_crystals import SILICON

from fourdcrystal import crystals, sheet
from fourdcrystal.errors import InputError
from fourdcrystal.sources import Entry, origin

FIRST_AND_LAST = {
    "triclinic": (1, 2),
    "monoclinic": (3, 15),
    "orthorhombic": (16, 74),
    "tetragonal": (75, 142),
    "trigonal": (143, 167),
    "hexagonal": (168, 194),
    "cubic": (195, 230),
}


@pytest.mark.parametrize("system", FIRST_AND_LAST)
def test_crystal_systems_begin_and_end_at_the_space_groups_of_the_international_tables(system):
    assert {crystals.crystal_system(group) for group in FIRST_AND_LAST[system]} == {system}


def test_a_crystal_survives_its_file_bit_for_bit(tmp_path):
    structure = SILICON.copy()
    structure.translate_sites(range(8), [0.1, 1 / 3, 0.7])
    source = origin("files", "si.cif", "", "CC0", "nobody")
    crystal = crystals.Crystal("Si", structure, "A_cF8_227_a", 227, "cubic", source)
    crystals.write(tmp_path / "Si.json", crystal)
    read = crystals.read(tmp_path / "Si.json")
    assert read.structure.lattice.matrix.tobytes() == structure.lattice.matrix.tobytes()
    assert read.structure.frac_coords.tobytes() == structure.frac_coords.tobytes()
    assert (read.id, read.prototype, read.spacegroup, read.source) == ("Si", "A_cF8_227_a", 227, source)


@pytest.mark.parametrize("content", ["", '{"format": "fourdcrystal crystal 1", "id":', "[]", '{"format": "other"}'])
def test_a_truncated_or_foreign_crystal_file_is_named_in_one_sentence(tmp_path, content):
    path = tmp_path / "x.json"
    path.write_text(content)
    with pytest.raises(InputError, match=r"x\.json: ") as caught:
        crystals.read(path)
    assert "\n" not in str(caught.value)


def test_names_become_safe_ids():
    assert crystals.safe_id("CaFe(SiO3)2 (C2/c)") == "CaFe-SiO3-2-C2-c-"
    assert crystals.ID.fullmatch(crystals.safe_id("../..//ä"))


def row(**changes) -> sheet.Row:
    values = {"id": "Si", "prototype": "A_cF8_227_a", "class_size": 3, "split": "train", "formula": "Si"}
    values |= {"spacegroup": 227, "crystal_system": "cubic", "protostructure": "A_cF8_227_a", "source_id": "mp-149"}
    return sheet.Row(**values | changes)


def test_a_sample_sheet_survives_its_file(tmp_path):
    rows = [row(), row(id="Ge", source_id='a, "b"')]
    sheet.write(tmp_path / "crystals.csv", rows)
    assert sheet.read(tmp_path / "crystals.csv") == rows


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("train", "training", "line 2: split 'training' is none of train, validation, test, test_prototype"),
        (",227,", ",231,", "line 2: spacegroup is '231'; allowed are whole numbers from 1 to 230"),
        ("Si,A_cF8", "../Si,A_cF8", "line 2: id '../Si' can't name a file"),
        ("class_size", "size", "lacks the column class_size"),
        (",mp-149", "", "line 2: has fewer cells than the header"),
    ],
)
def test_a_bad_sample_sheet_is_refused_with_its_line(tmp_path, old, new, said):
    path = tmp_path / "crystals.csv"
    sheet.write(path, [row()])
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(InputError, match=r"crystals\.csv") as caught:
        sheet.read(path)
    assert said in str(caught.value)


def test_a_sheet_whose_source_has_changed_is_refused():
    entry = Entry("Si", SILICON, origin("files", "si.cif"))
    assert crystals.listed(row(), entry).structure == entry.structure
    with pytest.raises(InputError, match="is Ge in the sample sheet but Si in the source"):
        crystals.listed(row(formula="Ge"), entry)
    gone = Entry("Si", None, origin("x", "y"), problem="deprecated in the database")
    with pytest.raises(
        InputError, match=r"'Si' is Si in the sample sheet but can't be used.*\(deprecated in the database"
    ):
        crystals.listed(row(), gone)


def test_the_committed_sheet_names_crystals_that_exist_as_they_are_in_the_library():
    from fourdcrystal import source_aflow

    library = {e.id: e for e in source_aflow.entries()}
    for listed in sheet.read(Path(__file__).parents[1] / "config" / "crystals.csv"):
        found = crystals.listed(listed, library[listed.id])
        assert np.isfinite(found.structure.frac_coords).all()


def test_a_crystal_file_is_plain_json_with_its_formula_and_licence(tmp_path):
    crystals.write(tmp_path / "Si.json", crystals.listed(row(), Entry("Si", SILICON, origin("x", "y", licence="CC0"))))
    content = json.loads((tmp_path / "Si.json").read_text())
    assert (content["formula"], content["source"]["licence"], len(content["structure"]["species"])) == ("Si", "CC0", 8)
