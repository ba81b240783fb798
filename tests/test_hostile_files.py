"""Files that were made to do harm - to name other files, to fill the memory, to run code - end in one sentence."""

import json
import pickle
import zipfile
import zlib
from pathlib import Path

import dask.array
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zarr
from conftest import ROOT
from made_up import row, write
from traces import Executes

from fourdcrystal import (
    album,
    catalogue,
    classification,
    collection,
    crystals,
    packing,
    places,
    probe,
    recipe,
    scan_files,
    scan_rosettasciio,
    sheet,
    source_files,
    stores,
    supercell,
)
from fourdcrystal.errors import InputError
from fourdcrystal.instrument_settings import Aperture, Microscope
from fourdcrystal.propagation import Grid
from fourdcrystal.scans import Scan

SILICON = {
    "format": "fourdcrystal crystal 1",
    "id": "Si-1",
    "prototype": "C-A_cF8_227_a",
    "spacegroup": 227,
    "crystal_system": "cubic",
    "source": {},
    "structure": {"lattice": [[5, 0, 0], [0, 5, 0], [0, 0, 5]], "species": ["Si"], "frac_coords": [[0, 0, 0]]},
}


def test_the_crystal_that_the_damaged_ones_are_made_from_is_read(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps(SILICON))
    assert crystals.read(tmp_path / "a.json").structure.volume == pytest.approx(125)


@pytest.mark.parametrize("change, said", [
    ({"id": "../../results/patterns/mine"}, "can't name a file"),
    ({"id": "a\nb"}, "can't name a file"),
    ({"spacegroup": "cubic"}, "is damaged"),
    ({"source": "mine"}, "is damaged"),
    ({"structure": {}}, "is damaged"),
    ({"structure": []}, "is damaged"),
    ({"structure": SILICON["structure"] | {"lattice": [[1, 2], [3]]}}, "is damaged"),
    ({"structure": SILICON["structure"] | {"species": ["Si", "Si"]}}, "is damaged"),
    ({"structure": SILICON["structure"] | {"lattice": [["nan", 0, 0], [0, 5, 0], [0, 0, 5]]}}, "not finite"),
    ({"structure": SILICON["structure"] | {"frac_coords": [["inf", 0, 0]]}}, "not finite"),
    ({"structure": SILICON["structure"] | {"lattice": [[0] * 3] * 3}}, "has no volume"),
])  # fmt: skip
def test_a_crystal_file_that_makes_no_sense_or_names_another_file_is_refused(tmp_path, change, said):
    path = tmp_path / "a.json"
    path.write_text(json.dumps(SILICON | change))
    with pytest.raises(InputError, match=f"a.json.*{said}"):
        crystals.read(path)


@pytest.mark.parametrize("name", [name for name in SILICON if name != "format"])
def test_a_crystal_file_that_lacks_something_is_refused(tmp_path, name):
    path = tmp_path / "a.json"
    path.write_text(json.dumps({key: value for key, value in SILICON.items() if key != name}))
    with pytest.raises(InputError, match=f"is damaged.*{name}"):
        crystals.read(path)


NESTED = "[" * 100_000


@pytest.mark.parametrize("text", [
    "seed: " + "9" * 5000,
    "seed: 2020-99-99",
    f"seed: {NESTED[:3000]}",
    "seed: &a {b: *a}",
    "seed: &a [*a]",
    "specimen: {thickness: {2020-01-01: 3}}",
    "seed_: &a0 [x,x,x,x,x,x,x,x,x]\n"
    + "".join(f"seed_{i}: &a{i} [{','.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 30))
    + "seed: *a29\n",
])  # fmt: skip
@pytest.mark.parametrize("name", ["seed", "detector"])
def test_settings_that_are_endless_or_a_bomb_are_refused_in_a_short_sentence(tmp_path, text, name):
    path = tmp_path / "mine.yaml"
    path.write_text(text.replace("seed:", f"{name}:"))
    with pytest.raises(InputError) as refused:
        recipe.read(path)
    assert str(refused.value).startswith(str(path)) and len(str(refused.value)) < 500 + len(str(path))


def test_a_value_that_is_refused_is_shown_and_a_long_one_in_part(tmp_path):
    with pytest.raises(InputError, match=r'seed is \["a", 1, null\], but'):
        recipe.validate({"seed": ["a", 1, None]}, "mine.yaml")
    with pytest.raises(InputError, match=r"seed is \[0, 1, 2, .*…, but"):
        recipe.validate({"seed": list(range(1000))}, "mine.yaml")


@pytest.mark.parametrize("read, name", [
    (lambda folder: stores.metadata(folder), "zarr.json"),
    (lambda folder: packing._manifest(folder), packing.MANIFEST),
    (lambda folder: crystals.read(folder / "a.json"), "a.json"),
])  # fmt: skip
def test_brackets_within_brackets_within_brackets_are_refused(tmp_path, read, name):
    (tmp_path / name).write_text(NESTED)
    with pytest.raises(InputError, match="can't be read"):
        read(tmp_path)


@pytest.mark.parametrize("text", ['{"seed": 1', '{"seed": ' + NESTED, '{"seed": ' + "9" * 5000 + "}"])
def test_inline_settings_that_are_no_json_are_refused(text):
    with pytest.raises(InputError, match="settings: the text is not valid JSON"):
        recipe.read(text)


def test_a_sheet_with_a_number_of_thousands_of_digits_is_refused(tmp_path):
    listed = dict.fromkeys(sheet.COLUMNS, "x") | {"split": "train", "class_size": "9" * 5000, "spacegroup": "1"}
    path = tmp_path / "crystals.csv"
    path.write_text(f"{','.join(listed)}\n{','.join(listed.values())}\n")
    with pytest.raises(InputError, match="class_size is"):
        sheet.read(path)


@pytest.mark.parametrize("url, allowed", [
    ("https://user:secret@example.org/v1", False),
    ("https://token@example.org/", False),
    ("https://example.org/optimade/v1", True),
    ("cod", True),
])  # fmt: skip
@pytest.mark.parametrize("source, name", [("mp", "endpoint"), ("optimade", "provider")])
def test_an_address_with_a_password_is_refused_and_not_repeated(url, allowed, source, name):
    content = {"crystals": {source: {name: url}}}
    if allowed:
        assert getattr(getattr(recipe.validate(content, "mine.yaml").crystals, source), name) == url
        return
    with pytest.raises(InputError, match=f"crystals.{source}.{name}: holds a user's name or password") as refused:
        recipe.validate(content, "mine.yaml")
    assert "secret" not in str(refused.value) and "token" not in str(refused.value)


@pytest.mark.parametrize("folder", [Path("/data/patterns"), "s3://bucket/patterns"])
def test_a_name_can_not_lead_out_of_the_place_that_it_is_in(folder):
    assert str(places.inside(folder, "Si-1.zarr")) == f"{folder}/Si-1.zarr"
    for name in ("../Si-1.zarr", "/etc/passwd", "a/../../b", ".."):
        with pytest.raises(InputError, match="names no file in it"):
            places.inside(folder, name)


def test_a_catalogue_can_not_name_a_store_outside_its_folder(tmp_path):
    write(tmp_path / "patterns" / "Si-1.zarr", orientations=1)
    made = catalogue.build(tmp_path / "patterns", [row("Si-1", "train")])
    about = made.schema.metadata[b"fourdcrystal"].replace(b'"Si-1"', b'"../patterns/Si-1"')
    catalogue.write(tmp_path / "a.parquet", made.replace_schema_metadata({"fourdcrystal": about}))
    with pytest.raises(InputError, match=r"'\.\./patterns/Si-1\.zarr' names no file in it"):
        catalogue.check_fresh(tmp_path / "a.parquet", tmp_path / "patterns")


def test_a_crystal_s_name_can_not_become_a_part_of_the_page_it_stands_on(tmp_path):
    write(tmp_path / "patterns" / "Si-1.zarr", orientations=1)
    catalogue.write(tmp_path / "a.parquet", catalogue.build(tmp_path / "patterns", [row("Si-1", "train")]))
    table = catalogue.read(tmp_path / "a.parquet")
    name = "</script><!--<script>alert(1)"
    table["formula"] = table["formula"].cat.rename_categories([name])
    page = album.page(table, tmp_path / "patterns", 1)
    template = (ROOT / "src" / "fourdcrystal" / "data" / "album.html").read_text()
    assert page.count("<script") == template.count("<script") and page.count("<!--") == template.count("<!--")
    entries = page.partition('<script id="entries" type="application/json">')[2].partition("</script>")[0]
    assert [entry["formula"] for entry in json.loads(entries)] == [name]


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"PK\x05\x06" + bytes(18), b"text"])
def test_a_file_of_supercells_that_is_cut_off_or_none_is_refused(tmp_path, content):
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(InputError, match="is not a file of supercells"):
        supercell.read(tmp_path / "a.npz")


def test_members_of_an_archive_that_are_no_arrays_are_refused(tmp_path):
    path = tmp_path / "scan.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("scan.npy", "no array")
    with pytest.raises(InputError, match="its 'scan' is no array"):
        scan_files.read(path, sampling=0.02, semiangle=2, energy=2e5)
    with pytest.raises(InputError, match="its 'scan' is no array"):
        scan_files.load(path, probe=True)


@pytest.mark.parametrize("dq", [0.0, -0.01, float("nan"), float("inf")])
def test_a_pixel_size_that_can_not_be_is_refused_before_a_round_probe_is_made_with_it(tmp_path, dq):
    path = tmp_path / "scan.npz"
    np.savez(path, scan=np.ones((2, 2, 32, 32)), dq=dq)
    with pytest.raises(InputError, match=r"the pixel size .* 1/Å must be positive"):
        scan_files.read(path, semiangle=2, energy=2e5)


@pytest.mark.parametrize("suffix", ["nc", "csv", "msa", "sur", "wdf"])
def test_formats_of_spectra_and_surfaces_are_not_tried_on_a_scan(tmp_path, suffix):
    # RosettaSciIO's reader of netCDF evaluates text that stands in the file
    path = tmp_path / f"scan.{suffix}"
    path.write_bytes(b"CDF\x01")
    with pytest.raises(InputError, match=f"'.{suffix}' is no known format; known are .*dm4.*mib.*npz"):
        scan_files.read(path, sampling=0.02, semiangle=2, energy=2e5)


def test_every_reader_that_is_tried_exists():
    import rsciio

    assert set(scan_rosettasciio.READERS) <= {plugin["name"] for plugin in rsciio.IO_PLUGINS}


@pytest.mark.parametrize("script, schema", [("collect", collection.SCHEMA), ("classify", classification._SCHEMA)])
def test_a_table_of_crystals_that_is_damaged_or_another_one_is_refused(tmp_path, script, schema):
    read = collection.read if script == "collect" else classification.read
    path = tmp_path / "a.parquet"
    with pytest.raises(InputError, match=f"no such table; scripts/{script}.py writes it"):
        list(read(path))
    path.write_bytes(b"PAR1 damaged")
    with pytest.raises(InputError, match="can't be read as a Parquet file"):
        list(read(path))
    pq.write_table(pa.table({"id": ["Si-1"]}), path)
    with pytest.raises(InputError, match=f"isn't a table that scripts/{script}.py has written"):
        list(read(path))
    pq.write_table(schema.empty_table(), path)
    assert list(read(path)) == []


@pytest.mark.parametrize("url", ["s3://bucket:99999/x", "gopher://x", "s3://"])
def test_an_address_that_is_no_object_store_is_refused_in_one_line(url):
    pytest.importorskip("obstore")
    with pytest.raises(InputError, match="can't be opened as an object store") as refused:
        places.at(url)
    assert "\n" not in str(refused.value) and len(str(refused.value)) < 300


def test_a_scan_whose_header_claims_terabytes_is_refused(tmp_path):
    # found by the fuzzer: RosettaSciIO divides what a damaged .blo claims into millions of blocks
    patterns = dask.array.zeros((4096, 258, 16967, 16967), chunks=(107, 107, 107, 107), dtype=np.uint8)
    signal = {"data": patterns, "axes": [{"scale": 0.02, "units": "1/Å"}]}
    with pytest.raises(InputError, match=r"a\.blo: says that it holds 3\.04e\+05 GB"):
        scan_rosettasciio.from_signals(Path("a.blo"), [signal], None, False)


def test_a_blockfile_whose_header_claims_terabytes_is_refused_before_it_is_divided(tmp_path):
    from rsciio.blockfile import _api

    header = _api.get_default_header()
    header["NX"], header["NY"], header["DP_SZ"] = 60_000, 60_000, 60_000
    (tmp_path / "a.blo").write_bytes(header.tobytes() + bytes(100))
    with pytest.raises(InputError, match=r"says that it holds 1\.3e\+10 GB"):
        scan_files.read(tmp_path / "a.blo", sampling=0.02, semiangle=2, energy=2e5)


@pytest.mark.parametrize("change, said", [
    ({"shape": [10**9] * 4}, "says that its patterns have 1000000000 x 1000000000 px"),
    ({"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [0, 1, 16, 16]}}}, "can't be read"),
])  # fmt: skip
def test_a_zarr_array_whose_metadata_make_no_sense_is_refused(tmp_path, change, said):
    made = zarr.open_group(tmp_path / "a.zarr", mode="w").create_array("scan", shape=(2, 2, 16, 16), dtype="f4")
    made[...] = 1
    metadata = tmp_path / "a.zarr" / "scan" / "zarr.json"
    metadata.write_text(json.dumps(json.loads(metadata.read_text()) | change))
    with pytest.raises(InputError, match=said):
        scan_files.read(tmp_path / "a.zarr", sampling=0.02, semiangle=2, energy=2e5)


@pytest.mark.parametrize("error", [RuntimeError("blosc: -1"), KeyError("chunk"), zlib.error("-3"), OSError("cut")])
def test_what_can_not_be_unpacked_in_the_middle_of_a_scan_is_said_with_its_place(error):
    class Damaged:
        shape, dtype = (4, 4, 32, 32), np.dtype(np.uint8)

        def __getitem__(self, index):
            raise error

    scan = Scan("scan.zarr", Damaged(), np.ones((32, 32)), 0.02)
    with pytest.raises(InputError, match=r"scan\.zarr: can't be read at scan rows 2-3"):
        scan.read(slice(2, 3), slice(0, 4))


@pytest.mark.parametrize("kind", ["pickle", "objects", "huge", "empty", "archive", "bomb"])
def test_an_aperture_s_picture_can_neither_run_code_nor_fill_the_memory(tmp_path, kind):
    path, trace = tmp_path / ("a.png" if kind == "bomb" else "a.npy"), tmp_path / "trace"
    if kind == "pickle":
        path.write_bytes(pickle.dumps(Executes(trace)))
    elif kind == "objects":
        np.save(path, np.array([[Executes(trace)]], dtype=object), allow_pickle=True)
    elif kind == "huge":
        header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000, 1000000), }"
        path.write_bytes(b"\x93NUMPY\x01\x00\x76\x00" + header.ljust(117) + b"\n")
    elif kind == "archive":
        with path.open("wb") as file:
            np.savez(file, a=np.eye(4))
    elif kind == "bomb":
        from struct import pack
        from zlib import compress, crc32

        chunks = [(b"IHDR", pack(">IIBBBBB", 2**17, 2**17, 8, 0, 0, 0, 0)), (b"IDAT", compress(bytes(100)))]
        chunks = [pack(">I", len(data)) + name + data + pack(">I", crc32(name + data)) for name, data in chunks]
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))
    else:
        path.write_bytes(b"")
    with pytest.raises(InputError, match="can't be read as a picture"):
        probe.spectrum(Grid(64, 20.0), 2e5, 5.0, Microscope(aperture=Aperture(shape="image", image=path)))
    assert not trace.exists()


def test_a_symmetry_operation_of_thousands_of_digits_is_refused_before_it_is_read(tmp_path):
    """pymatgen's pattern for operations takes hours for it: a finding of the fuzzer."""
    path = tmp_path / "long.cif"
    path.write_text(
        "data_x\n_cell_length_a 4\n_cell_length_b 4\n_cell_length_c 4\n_cell_angle_alpha 90\n_cell_angle_beta 90\n"
        "_cell_angle_gamma 90\nloop_\n_symmetry_equiv_pos_as_xyz\n 'x,y," + 20_000 * "1" + "'\n"
        "loop_\n_atom_site_label\n_atom_site_fract_x\n_atom_site_fract_y\n_atom_site_fract_z\nSi 0 0 0\n"
    )
    with pytest.raises(InputError, match="a symmetry operation of 20004 characters; at most 200"):
        source_files.structures(path)
