"""What comes from outside - names, archives, models, keys - can't do more than it should."""

import copy
import hashlib
import json
import pickle
import re
import sys
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
import zarr
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st
from made_up import row, write
from traces import Executes

from fourdcrystal import (
    catalogue,
    checkpoints,
    crystals,
    hdf5,
    memory,
    modelfile,
    packing,
    recipe,
    scan_files,
    sheet,
    source_files,
)
from fourdcrystal.crystal_settings import Files
from fourdcrystal.errors import InputError


@given(st.text())
def test_whatever_a_database_calls_a_crystal_its_files_stay_in_their_folder(name):
    made = crystals.safe_id(name)
    assert crystals.ID.fullmatch(made)
    folder = Path("/data/results/patterns")
    assert (folder / f"{made}.zarr").resolve().parent == folder


@pytest.mark.parametrize("id", ["../outside", "/etc/passwd", "a/b", "..", ".hidden", "", "a\0b", "a\nb"])
def test_a_sample_sheet_can_not_name_a_file_elsewhere(tmp_path, id):
    path = tmp_path / "crystals.csv"
    path.write_text(f'{",".join(sheet.COLUMNS)}\n"{id}"' + ",x" * (len(sheet.COLUMNS) - 1) + "\n")
    with pytest.raises(InputError):
        sheet.read(path)


def test_a_manifest_can_not_write_outside_the_folder_that_is_unpacked(packed, tmp_path):
    listed = json.loads((packed / packing.MANIFEST).read_text())
    (tmp_path / "card").write_text("mine")
    listed["sha256"]["../card"] = packing._checksum(tmp_path / "card")
    (packed / packing.MANIFEST).write_text(json.dumps(listed))
    with pytest.raises(InputError, match=r"lists '\.\./card', which is no name of a file beside it"):
        packing.unpack(packed, tmp_path / "deep" / "results")
    assert not (tmp_path / "deep").exists() or not any((tmp_path / "deep").iterdir())


@pytest.mark.parametrize("name, kind, said", [
    ("bomb.bin", zipfile.ZIP_DEFLATED, "is compressed; archives of a data set are not"),
    ("../../outside", zipfile.ZIP_STORED, "would be unpacked outside the data set"),
])  # fmt: skip
def test_an_archive_that_we_can_not_have_written_is_refused(packed, tmp_path, name, kind, said):
    archive = packed / "patterns-000.zip"
    with zipfile.ZipFile(archive, "a", kind) as opened:
        opened.writestr(name, bytes(1_000_000))
    listed = json.loads((packed / packing.MANIFEST).read_text())
    listed["sha256"][archive.name] = packing._checksum(archive)
    (packed / packing.MANIFEST).write_text(json.dumps(listed))
    with pytest.raises(InputError, match=said):
        packing.unpack(packed, tmp_path / "again")
    assert not (tmp_path / "again").exists() and not (tmp_path / "outside").exists()


def test_an_archive_whose_members_are_the_same_bytes_again_and_again_is_refused(packed, tmp_path):
    archive = packed / "patterns-000.zip"
    with zipfile.ZipFile(archive, "a") as opened:
        largest = max(opened.infolist(), key=lambda member: member.file_size)
        for number in range(100):  # a megabyte could stand for a terabyte
            again = copy.copy(largest)
            again.filename = again.orig_filename = f"Si-1.zarr/{number}"
            opened.filelist.append(again)
        opened._didModify = True
    listed = json.loads((packed / packing.MANIFEST).read_text())
    listed["sha256"][archive.name] = packing._checksum(archive)
    (packed / packing.MANIFEST).write_text(json.dumps(listed))
    with pytest.raises(InputError, match="its members share bytes"):
        packing.unpack(packed, tmp_path / "again")
    assert not (tmp_path / "again").exists()


@pytest.fixture
def packed(tmp_path):
    results = tmp_path / "results"
    write(results / "patterns" / "Si-1.zarr", orientations=1)
    catalogue.write(results / "catalogue.parquet", catalogue.build(results / "patterns", [row("Si-1", "train")]))
    packing.pack(results, tmp_path / "packed")
    return tmp_path / "packed"


def test_a_scan_that_unpacks_to_more_than_the_memory_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "scan.npz"
    header = (
        b"\x93NUMPY\x01\x00\x76\x00" + b"{'descr': '|u1', 'fortran_order': False, 'shape': (1000000, 1000000, 8, 8), }"
    )
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("scan.npy", "w", force_zip64=True) as f,
    ):
        f.write(header.ljust(127) + b"\n")
    content = bytearray(path.read_bytes())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(memory, "free", lambda device: 100)
        with pytest.raises(InputError, match="of memory are free; keep large scans as"):
            scan_files.read(path, semiangle=2, sampling=0.02)
    assert len(content) < 10_000


@pytest.mark.parametrize("suffix", ["h5", "zarr", "emd"])
def test_a_probe_that_unpacks_to_more_than_the_memory_is_refused_before_it_is_read(tmp_path, suffix):
    path, huge, scan = tmp_path / f"scan.{suffix}", (2**22, 2**22), np.zeros((1, 1, 16, 16), np.float32)
    if suffix == "zarr":
        group = zarr.open_group(path, mode="w")
        group["scan"] = scan
        group.create_array("probe", shape=huge, chunks=(64, 64), dtype="f4")
    else:
        with h5py.File(path, "w") as file:  # a kilobyte of file: what was never written is not there
            file["scan" if suffix == "h5" else "root/cube/data"] = scan
            file.create_dataset("probe" if suffix == "h5" else "root/probe/data", huge, "f4", chunks=(64, 64))
            if suffix == "emd":
                file.attrs["emd_group_type"] = "file"
                file["root/cube"].attrs["python_class"] = "DataCube"
                file["root/probe"].attrs["python_class"] = "Probe"
    with pytest.raises(InputError, match=r"holds 7\.04e\+04 GB when unpacked"):
        scan_files.read(path, sampling=0.02)


@pytest.mark.parametrize(
    "child, said",
    [("import time; time.sleep(600)", "had not read its metadata after"), ("import os; os.abort()", "crashes")],
)
def test_a_damaged_file_that_hangs_or_crashes_the_hdf5_library_is_refused(tmp_path, monkeypatch, child, said):
    path = tmp_path / "scan.hspy"
    h5py.File(path, "w").close()
    monkeypatch.setattr(hdf5, "COMMAND", (sys.executable, "-c", child))
    monkeypatch.setattr(hdf5, "PATIENCE", 3.0)
    with pytest.raises(InputError, match=said):
        scan_files.read(path, sampling=0.02, semiangle=2)


def test_the_first_look_at_an_hdf5_file_reads_every_attribute_and_minds_nothing(tmp_path, monkeypatch):
    path, read = tmp_path / "scan.h5", []
    with h5py.File(path, "w") as file:
        file.attrs["a"] = file.create_group("group").attrs["b"] = file.create_dataset("group/data", 3, "f4").attrs[
            "c"
        ] = 1
    original = h5py.AttributeManager.__getitem__

    def damaged(attributes, name):
        read.append(name)
        if name == "b":
            raise KeyError(name)
        return original(attributes, name)

    monkeypatch.setattr(h5py.AttributeManager, "__getitem__", damaged)
    hdf5.look(str(path))
    assert sorted(read) == ["a", "b", "c"]


def test_a_cif_of_millions_of_sites_is_refused_before_its_symmetry_is_applied(tmp_path):
    operations = "\n".join(f"'x+{i}/97,y,z'" for i in range(192))
    sites = "\n".join(f"Si{i} 0.{i:05d} 0 0" for i in range(20_000))
    head = (
        "data_x\n"
        + "".join(f"_cell_length_{a} 100\n" for a in "abc")
        + "".join(f"_cell_angle_{a} 90\n" for a in ("alpha", "beta", "gamma"))
    )
    path = tmp_path / "bomb.cif"
    path.write_text(
        f"{head}loop_\n_space_group_symop_operation_xyz\n{operations}\nloop_\n_atom_site_label\n_atom_site_fract_x\n"
        f"_atom_site_fract_y\n_atom_site_fract_z\n{sites}\n"
    )
    with pytest.raises(InputError, match=r"bomb\.cif: can't be read as CIF \(up to 3840000 sites; at most 500000 are"):
        list(source_files.entries(Files(paths=[path])))


@pytest.mark.parametrize("name, load", [
    ("model.safetensors", lambda path: modelfile.load(path)),
    ("scan.npz", lambda path: scan_files.read(path, sampling=0.02, semiangle=2)),
    ("scan.npy", lambda path: scan_files.read(path, sampling=0.02, semiangle=2)),
    ("scan.zarr", lambda path: scan_files.read(path, sampling=0.02, semiangle=2, energy=2e5)),
])  # fmt: skip
def test_no_data_or_model_file_can_execute_code_when_it_is_loaded(tmp_path, name, load):
    path, trace = tmp_path / name, tmp_path / "trace"
    if name.endswith("zarr"):  # Zarr 2 has a codec that pickles
        about = {"zarr_format": 2, "shape": [1] * 4, "chunks": [1] * 4, "dtype": "<f8", "fill_value": 0, "order": "C"}
        path.mkdir()
        (path / ".zarray").write_text(json.dumps(about | {"compressor": {"id": "pickle"}, "filters": None}))
        (path / "0.0.0.0").write_bytes(pickle.dumps(Executes(trace)))
    elif name.endswith("npz"):
        np.savez(path, scan=np.array([Executes(trace)], dtype=object))
    elif name.endswith("npy"):
        np.save(path, np.array([Executes(trace)], dtype=object), allow_pickle=True)
    else:
        path.write_bytes(pickle.dumps(Executes(trace)))
    with pytest.raises(InputError):
        load(path)
    assert not trace.exists()


def test_a_checkpoint_that_somebody_put_there_is_thrown_away_and_not_executed(tmp_path):
    path, trace = tmp_path / "last.ckpt", tmp_path / "trace"
    torch.save({"origin": Executes(trace)}, path)
    assert checkpoints.resumable(path, {"recipe": 1}) is None
    assert not path.exists() and not trace.exists()


def test_a_settings_file_can_not_construct_objects(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("results: !!python/object/apply:os.getcwd []\n")
    with pytest.raises(InputError, match="is not valid YAML"):
        recipe.read(path)


def test_nothing_in_the_package_loads_pickles_or_unsafe_yaml():
    unsafe = re.compile(
        r"allow_pickle=True|weights_only=False|pickle\.loads?\(|yaml\.(unsafe_|full_)?load\(|\beval\(|\bexec\("
    )
    for path in [*(ROOT / "src").rglob("*.py"), *(ROOT / "scripts").glob("*.py"), *(ROOT / "workflow").rglob("*.smk")]:
        found = [line for line in path.read_text().splitlines() if unsafe.search(line) and ".eval()" not in line]
        assert not found, f"{path.name}: {found}"


def test_keys_come_from_the_environment_and_never_stand_in_settings_or_on_command_lines():
    # settings are kept in stores and reports, and every user of a machine can list the arguments of all processes
    secret = re.compile(r"(?i)(^|[._-])(api_?)?(key|token|password|secret|credentials?)s?\b")
    assert [secret.search(name) is not None for name in ("mp.api_key", "--token", "monkey", "keys_seen")] == [
        1,
        1,
        0,
        0,
    ]
    settings = re.findall(r"^\| ([\w.]+) \|", recipe.table(), re.MULTILINE)
    options = [
        option
        for path in [*(ROOT / "scripts").glob("*.py"), *(ROOT / "src" / "fourdcrystal").glob("*.py")]
        for option in re.findall(r'"(--[\w-]+)"', path.read_text())
    ]
    assert len(settings) > 80 and len(options) > 60
    assert not [name for name in (*settings, *options) if secret.search(name)]


def test_somebody_has_looked_at_every_pinned_dependency():
    reviewed = re.search(r'^REVIEWED_PINS = "(\w+)"', (ROOT / "docs" / "site" / "hooks.py").read_text(), re.MULTILINE)
    pins = hashlib.sha256((ROOT / "requirements.lock").read_bytes()).hexdigest()
    assert pins.startswith(reviewed[1]), (
        f"requirements.lock has changed: look at what is new and its licence, set REVIEWED_PINS ({pins[:12]})"
    )
