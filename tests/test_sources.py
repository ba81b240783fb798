"""Sources deliver ordered crystals with their origin, and say of everything else why it can't be used."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pymatgen.core import Composition, Element, Lattice, Structure

from fourdcrystal import collection, sources, structurefiles
from fourdcrystal.crystal_settings import Crystals
from fourdcrystal.errors import InputError

SALT = Structure.from_spacegroup(225, Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])


def from_files(*paths, **options) -> list[sources.Entry]:
    return list(sources.entries(Crystals(source="files", files={"paths": list(paths), **options})))


def test_the_embedded_source_offers_288_ordered_crystals_with_licence_and_citation():
    found = list(sources.entries(Crystals()))
    assert len(found) == len({e.id for e in found}) == len({e.source["id"] for e in found}) == 288
    assert all(e.structure.is_ordered and e.source["licence"] and "doi" in e.source["citation"] for e in found)


def test_a_folder_of_files_gives_each_crystal_under_its_file_name(tmp_path):
    SALT.to(str(tmp_path / "salt.cif"))
    SALT.to(str(tmp_path / "POSCAR_salt"), fmt="poscar")
    SALT.to(str(tmp_path / "deep.json"))
    (tmp_path / "inner").mkdir()
    SALT.to(str(tmp_path / "inner" / "rock salt.vasp"), fmt="poscar")
    (tmp_path / "notes.txt").write_text("not a structure")
    found = from_files(tmp_path, licence="CC0", citation="me")
    assert [e.id for e in found] == ["POSCAR_salt", "deep", "rock-salt", "salt"]
    assert all(e.structure.composition.reduced_formula == "NaCl" and e.source["licence"] == "CC0" for e in found)


def test_a_json_list_gives_one_crystal_per_member(tmp_path):
    (tmp_path / "two.json").write_text(json.dumps([SALT.as_dict(), SALT.as_dict()]))
    assert [e.id for e in from_files(tmp_path / "two.json")] == ["two-1", "two-2"]


def test_oxidation_states_and_isotopes_become_plain_elements(tmp_path):
    water = Structure(Lattice.cubic(4), ["D", "T", "O2-"], [[0, 0, 0], [0.5, 0, 0], [0.25, 0.25, 0]])
    structure, problem = sources.ordered(water)
    assert problem == ""
    assert [site.specie for site in structure] == [Element("H"), Element("H"), Element("O")]


def shared() -> Structure:
    return Structure(Lattice.cubic(3), [Composition("Fe0.5Ni0.5")], [[0, 0, 0]])


@pytest.mark.parametrize("name", ["broken.cif", "broken.json", "POSCAR_broken"])
def test_a_named_file_that_is_no_structure_is_refused_in_one_sentence(tmp_path, name):
    path = tmp_path / name
    path.write_text('{"lattice": ')
    with pytest.raises(InputError, match=f"{name}: can't be read as") as caught:
        from_files(path)
    assert "\n" not in str(caught.value)


def test_a_named_file_with_partial_occupancy_is_refused_in_one_sentence(tmp_path):
    shared().to(str(tmp_path / "permalloy.cif"))
    with pytest.raises(InputError, match=r"permalloy\.cif: has sites that several elements share"):
        from_files(tmp_path / "permalloy.cif")


def test_bad_members_of_a_folder_are_kept_with_the_reason_and_the_rest_is_delivered(tmp_path):
    (tmp_path / "broken.cif").write_text("data_x\n")
    shared().to(str(tmp_path / "permalloy.cif"))
    SALT.to(str(tmp_path / "salt.cif"))
    found = {e.id: e for e in from_files(tmp_path)}
    assert found["broken"].problem == sources.UNREADABLE
    assert "broken.cif" in found["broken"].detail
    assert found["permalloy"].problem == sources.PARTIAL_OCCUPANCY
    assert found["salt"].structure is not None


@pytest.mark.parametrize(
    ("name", "said"),
    [("absent.cif", "does not exist"), ("picture.png", "is no structure file; allowed are CIF"), ("empty", "holds no")],
)
def test_a_path_without_structures_is_refused(tmp_path, name, said):
    (tmp_path / "picture.png").write_text("")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=said):
        from_files(tmp_path / name)


def test_two_files_of_the_same_name_are_refused(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        SALT.to(str(tmp_path / folder / "salt.cif"))
    with pytest.raises(InputError, match="both give the crystal id 'salt'"):
        from_files(tmp_path)


def test_a_parquet_table_gives_one_crystal_per_row(tmp_path):
    rows = [
        {"material_id": "mp-1", "lattice": [5.64] * 3 + [90.0] * 3, "species": ["Cs"], "frac": [0.0, 0.0, 0.0]},
        {"material_id": "mp-2", "lattice": [3.0, 0, 0, 0, 3, 0, 0, 0, 3], "species": ["Po"], "frac": [0.0, 0.0, 0.5]},
        {"material_id": "mp-3", "lattice": [3.0] * 3 + [90.0] * 3, "species": ["Xx"], "frac": [0.0, 0.0, 0.0]},
        {"material_id": "mp-4", "lattice": [3.0] * 3 + [90.0] * 3, "species": ["Fe"], "frac": [0.0, 0.0]},
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "table.parquet")
    one, two, three, four = from_files(tmp_path / "table.parquet")
    assert one.structure.lattice.abc == (5.64, 5.64, 5.64)
    assert two.structure.frac_coords.tolist() == [[0, 0, 0.5]]
    assert (three.structure, three.problem) == (None, sources.NO_ELEMENT)
    assert (four.structure, four.problem) == (None, sources.UNREADABLE)
    assert two.source["id"].endswith("table.parquet#mp-2")


def test_a_damaged_page_and_a_missing_id_of_a_parquet_table_are_refused(tmp_path):
    row = {"lattice": [3.0] * 3 + [90.0] * 3, "species": ["Po"], "frac": [0.0, 0.0, 0.0]}
    path = tmp_path / "table.parquet"
    pq.write_table(pa.Table.from_pylist([{"id": f"Po-{i}"} | row for i in range(2000)]), path)
    content = bytearray(path.read_bytes())
    content[10:60] = b"\xff" * 50
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"table\.parquet: can't be read as a parquet table"):
        from_files(path)
    pq.write_table(pa.Table.from_pylist([{"id": "Po-1"} | row, {"id": None} | row]), path)
    with pytest.raises(InputError, match=r"table\.parquet: has a row without an id"):
        from_files(path)


def test_a_structure_without_atoms_is_none(tmp_path):
    assert sources.ordered(Structure(Lattice.cubic(3), [], [])) == (None, sources.NO_ATOMS)
    row = pa.table({"id": ["empty"], "lattice": [[3.0] * 3 + [90.0] * 3], "species": [[]], "frac": [[]]})
    pq.write_table(row, tmp_path / "table.parquet")
    assert [entry.problem for entry in from_files(tmp_path / "table.parquet")] == [sources.NO_ATOMS]


def test_the_file_of_a_structure_is_known_whatever_signs_its_path_has(tmp_path):
    folder = tmp_path / "C#structures"
    folder.mkdir()
    two = folder / "two#1.json"
    two.write_text(json.dumps([SALT.as_dict(), SALT.as_dict()]))
    SALT.to(str(folder / "salt.cif"))
    for entry, file in zip(from_files(folder), ("salt.cif", "two#1.json", "two#1.json"), strict=True):
        assert structurefiles.of_source(entry.source["id"]) == folder / file
    assert structurefiles.of_source(f"{folder}/gone.cif") == folder / "gone.cif"
    listed = {"salt": f"{folder}/salt.cif"}
    settings = Crystals(source="files", files={"paths": [folder]})
    assert "salt.cif" in collection.content(settings, listed)


def test_a_truncated_parquet_table_is_refused(tmp_path):
    pq.write_table(pa.table({"id": ["a"]}), tmp_path / "table.parquet")
    with pytest.raises(InputError, match="needed are id, lattice, species, frac"):
        from_files(tmp_path / "table.parquet")
    (tmp_path / "table.parquet").write_bytes((tmp_path / "table.parquet").read_bytes()[:-20])
    with pytest.raises(InputError, match="can't be read as a parquet table"):
        from_files(tmp_path / "table.parquet")


def test_the_table_of_structures_keeps_every_number_and_every_rejected_entry(tmp_path):
    offered = [
        sources.Entry("salt", SALT, sources.origin("files", "salt.cif", "1", "CC0", "me")),
        sources.Entry("bad", None, sources.origin("files", "bad.cif"), sources.UNREADABLE, "bad.cif: can't be read"),
    ]
    collection.write(tmp_path / "structures.parquet", offered)
    salt, bad = collection.read(tmp_path / "structures.parquet")
    assert salt.structure.frac_coords.tobytes() == SALT.frac_coords.tobytes()
    assert salt.structure.lattice.matrix.tobytes() == SALT.lattice.matrix.tobytes()
    assert (salt.source, bad) == (offered[0].source, offered[1])
    assert collection.one(tmp_path / "structures.parquet", "salt").id == "salt"
    with pytest.raises(InputError, match=r"'bad' can't be used: bad\.cif: can't be read"):
        collection.one(tmp_path / "structures.parquet", "bad")
    with pytest.raises(InputError, match="doesn't offer the crystal 'none'"):
        collection.one(tmp_path / "structures.parquet", "none")


def test_only_the_crystals_of_a_sample_sheet_are_collected():
    wanted = {"ZnS-AB_cF8_216_c_a": "AB_cF8_216_c_a"}
    assert {e.id: e.source["id"] for e in sources.entries(Crystals(), wanted)} == wanted
