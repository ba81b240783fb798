"""A data set moves: into a few files and back, and through an object store."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import zarr
from made_up import row, write

from fourdcrystal import catalogue, packing, stores, verification
from fourdcrystal.errors import InputError

SCRIPT = Path(__file__).parents[1] / "scripts" / "pack.py"
NAMES = ("Si-1", "Si-2", "Si-3")


@pytest.fixture
def results(tmp_path):
    made = tmp_path / "results"
    for name in NAMES:
        write(made / "patterns" / f"{name}.zarr", orientations=1)
    catalogue.write(made / "catalogue.parquet", catalogue.build(made / "patterns", [row(n, "train") for n in NAMES]))
    (made / packing.CARD).write_text("# A data set\n")
    return made


def test_a_packed_data_set_unpacks_to_the_same_files(results, tmp_path):
    store = sum(f.stat().st_size for f in (results / "patterns" / "Si-1.zarr").rglob("*") if f.is_file())
    written = packing.pack(results, tmp_path / "packed", most=int(2.5 * store))
    assert written == ["catalogue.parquet", "data_card.md", "patterns-000.zip", "patterns-001.zip", "manifest.json"]
    verdict = packing.unpack(tmp_path / "packed", tmp_path / "again")
    assert (verdict.stores, verdict.problems) == (3, [])
    for file in (f for f in results.rglob("*") if f.is_file()):
        assert (tmp_path / "again" / file.relative_to(results)).read_bytes() == file.read_bytes()
    packing.pack(tmp_path / "again", tmp_path / "packed again", most=int(2.5 * store))
    for name in written:
        assert (tmp_path / "packed again" / name).read_bytes() == (tmp_path / "packed" / name).read_bytes()


def test_zarr_reads_a_store_inside_an_archive(results, tmp_path):
    packing.pack(results, tmp_path / "packed")
    with zarr.storage.ZipStore(tmp_path / "packed" / "patterns-000.zip", mode="r") as archive:
        cbed = zarr.open_group(archive, path="Si-2.zarr", mode="r")["cbed"][0]
    expected = zarr.open_group(results / "patterns" / "Si-2.zarr", mode="r")["cbed"][0]
    np.testing.assert_array_equal(cbed, expected)


def test_damage_on_the_way_is_named_and_nothing_is_unpacked(results, tmp_path):
    packing.pack(results, tmp_path / "packed")
    archive = tmp_path / "packed" / "patterns-000.zip"
    content = bytearray(archive.read_bytes())
    content[len(content) // 2] ^= 1
    archive.write_bytes(content)
    with pytest.raises(InputError, match=r"patterns-000\.zip: is damaged"):
        packing.unpack(tmp_path / "packed", tmp_path / "again")
    (problem,) = packing.verified(tmp_path / "packed").problems
    assert "patterns-000.zip: is damaged" in str(problem)
    archive.unlink()
    with pytest.raises(InputError, match=r"patterns-000\.zip: is missing"):
        packing.unpack(tmp_path / "packed", tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_a_damaged_data_set_is_not_packed(results, tmp_path):
    (results / "patterns" / "Si-2.zarr" / "vg" / "zarr.json").unlink()
    with pytest.raises(InputError, match=r"is not packed, since it has 1 problems; .*Si-2\.zarr: vg: differs"):
        packing.pack(results, tmp_path / "packed")


def test_nothing_that_is_there_already_is_packed_over(results, tmp_path):
    thesis = tmp_path / "documents" / "thesis.tex"
    thesis.parent.mkdir()
    thesis.touch()
    for folder in (thesis.parent, results):
        with pytest.raises(InputError, match=f"{folder.name}: is there already; pack into a folder that isn't"):
            packing.pack(results, folder)
    assert thesis.exists() and verification.verify(results).problems == []


def test_the_command_line_packs_and_unpacks(results, tmp_path):
    def run(*arguments):
        return subprocess.run([sys.executable, SCRIPT, *arguments], capture_output=True, text=True)

    assert "patterns-000.zip" in run(results, "-o", tmp_path / "packed").stdout
    checked = [sys.executable, SCRIPT.with_name("verify.py"), tmp_path / "packed"]
    assert "nothing wrong in 3 stores, 18 quartets" in subprocess.run(checked, capture_output=True, text=True).stdout
    assert sorted(p.name for p in tmp_path.iterdir()) == ["packed", "results"]
    done = run(tmp_path / "packed", "-o", tmp_path / "again", "--unpack")
    assert "18 quartets of 3 crystals, verified" in done.stdout
    again = run(tmp_path / "packed", "-o", tmp_path / "again", "--unpack")
    assert again.returncode == 2
    assert "is there already" in again.stderr and again.stderr.count("\n") == 1


def test_a_store_opens_from_an_s3_server(results, bucket):
    local = results / "patterns" / "Si-1.zarr"
    for file in (f for f in local.rglob("*") if f.is_file()):
        bucket.upload_file(str(file), "data", f"patterns/Si-1.zarr/{file.relative_to(local).as_posix()}")
    there, here = stores.open("s3://data/patterns/Si-1.zarr"), stores.open(local)
    assert there.attrs == here.attrs
    chosen = {"orientation": 0, "energy": 0, "semiangle": 1, "thickness": 2}
    np.testing.assert_array_equal(there.cbed.isel(chosen).values, here.cbed.isel(chosen).values)
    with pytest.raises(InputError, match=r"s3://data/nothing\.zarr: is not a complete Zarr store"):
        stores.open("s3://data/nothing.zarr")
    assert verification.of_store(local).problems == []
