"""A data set in an object store is read, verified and trained on like one on disk."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT
from made_up import row, write

from fourdcrystal import catalogue, experiment, places, quartets, stores, training, verification
from fourdcrystal.data import QuartetData
from fourdcrystal.errors import InputError
from fourdcrystal.reader import StoreReader

SPLITS = {"Si-1": "train", "Si-2": "validation", "Si-3": "test", "Si-4": "train"}
URL = "s3://data/results"


@pytest.fixture(scope="module")
def here(tmp_path_factory) -> Path:
    """A data set on disk."""
    made = tmp_path_factory.mktemp("results")
    for seed, name in enumerate(SPLITS):
        write(made / "patterns" / f"{name}.zarr", seed=seed)
    table = catalogue.build(made / "patterns", [row(name, split) for name, split in SPLITS.items()])
    catalogue.write(made / "catalogue.parquet", table)
    return made


@pytest.fixture
def there(here, bucket) -> str:
    """The same in a bucket, alone: nothing of it is on disk any more when tests look."""
    for file in (f for f in here.rglob("*") if f.is_file()):
        bucket.upload_file(str(file), "data", f"results/{file.relative_to(here).as_posix()}")
    return URL


@pytest.mark.parametrize("kind", ["folder", "bucket"])
def test_a_place_gives_files_and_parts_of_files_and_says_what_is_there(here, kind, request):
    place = places.at(here if kind == "folder" else request.getfixturevalue("there"))
    file = "patterns/Si-1.zarr/cbed/c/0/0/0/0/0/0"
    whole = (here / file).read_bytes()
    assert place.read(file) == whole
    assert place.part(file, 7, 100) == whole[7:107]
    assert place.part(file, -20, 12) == whole[-20:-8]
    assert list(place.several([file, "catalogue.parquet"])) == [whole, (here / "catalogue.parquet").read_bytes()]
    assert place.sizes() == {f.relative_to(here).as_posix(): f.stat().st_size for f in here.rglob("*") if f.is_file()}
    assert place.folders() == ["patterns"]
    with pytest.raises(FileNotFoundError):
        place.read("nothing")
    with pytest.raises(FileNotFoundError):
        place.part("nothing", -4, 4)


def test_a_data_set_in_a_bucket_is_verified_and_damage_is_named(here, there, bucket):
    verdict, expected = verification.verify(there), verification.verify(here)
    assert verdict.problems == []
    assert (verdict.stores, verdict.quartets, verdict.bytes) == (expected.stores, expected.quartets, expected.bytes)
    assert verification.verify(there, workers=2) == verdict
    bucket.put_object(Bucket="data", Key="results/patterns/Si-2.zarr/vg/c/0/0/0/0", Body=b"")
    bucket.delete_object(Bucket="data", Key="results/patterns/Si-3.zarr/zarr.json")
    said = [str(problem) for problem in verification.verify(there).problems]
    assert f"{URL}/patterns/Si-2.zarr: vg: differs from its checksum" in said
    assert any(f"{URL}/patterns/Si-3.zarr" in words for words in said)


def test_batches_from_a_bucket_are_those_from_disk_with_and_without_workers(here, there):
    def batches(folder, workers: int) -> list[quartets.Batch]:
        table = places.inside(folder, "catalogue.parquet")
        data = QuartetData(table, places.inside(folder, "patterns"), 4, seed=3, workers=workers, epoch_steps=3)
        return list(data.train_dataloader())

    expected = batches(here, 0)
    for workers in (0, 1):
        for batch, known in zip(batches(there, workers), expected, strict=True):
            assert all(torch.equal(batch[name], known[name]) for name in known)


def test_a_network_is_trained_from_a_bucket_to_the_weights_of_one_trained_from_disk(here, there, tmp_path):
    models = []
    for place, output in ((str(here), tmp_path / "disk"), (there, tmp_path / "bucket")):
        paths = [f"paths.catalogue='{place}/catalogue.parquet'", f"paths.patterns='{place}/patterns'"]
        small = ["trainer.steps=2", "trainer.epoch_steps=1", "data.batch_size=4", "model.depth=2", "model.width=2"]
        settings = experiment.compose(
            "miniature", ROOT / "config" / "train", (*paths, *small, f"paths.output='{output}'")
        )
        training.train(settings)
        models.append((output / "model.safetensors").read_bytes())
    assert models[0] == models[1]


def test_command_lines_take_urls(there, tmp_path):
    def run(script: str, *arguments: str) -> str:
        command = [sys.executable, str(ROOT / "scripts" / script), *arguments]
        return subprocess.run(command, check=True, text=True, capture_output=True, timeout=120).stdout

    assert "nothing wrong in 4 stores" in run("verify.py", there)
    page = tmp_path / "quartets.html"
    places_of = ("--catalogue", f"{there}/catalogue.parquet", "--patterns", f"{there}/patterns")
    run("preview.py", *places_of, "-n", "4", "-o", str(page))
    assert "Si-2" in page.read_text()


def test_one_pattern_takes_two_requests_and_then_one(there, monkeypatch):
    reader, asked = StoreReader(f"{there}/patterns/Si-1.zarr"), []
    part = places.Bucket.part
    monkeypatch.setattr(places.Bucket, "part", lambda self, *a: asked.append(a) or part(self, *a))
    out = np.empty(reader.shape, np.float16)
    for thickness in range(3):
        reader.cbed((1, 0, 0, thickness), out)
    assert [name for name, *_ in asked] == ["cbed/c/1/0/0/0/0/0"] * 4
    expected = stores.open(f"{there}/patterns/Si-1.zarr").cbed[1, 0, 0, 2].values
    np.testing.assert_array_equal(out.astype(np.float64), expected)


def test_what_is_not_in_the_bucket_gets_one_sentence(bucket):
    with pytest.raises(InputError, match=r"s3://data/x/catalogue\.parquet: no such catalogue"):
        catalogue.read("s3://data/x/catalogue.parquet")
    with pytest.raises(InputError, match=r"s3://data/x\.zarr: is not a complete Zarr store"):
        StoreReader("s3://data/x.zarr")
    with pytest.raises(InputError, match="there is nothing to verify"):
        verification.verify("s3://data/x")
