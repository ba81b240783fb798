"""Whatever kills a writer, what can be opened is whole, and doing it again gives the same bytes."""

import multiprocessing
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from made_up import row, write

from fourdcrystal import catalogue, checkpoints, checksums, stores, verification
from fourdcrystal.errors import InputError

PROCESS = multiprocessing.get_context("fork")


def started(function, *arguments) -> multiprocessing.Process:
    process = PROCESS.Process(target=function, args=arguments, daemon=True)
    process.start()
    return process


def write_again_and_again(path: Path, seeds: tuple[int, ...]) -> None:
    while True:
        for seed in seeds:
            write(path, seed=seed)


def whole_or_absent(path: Path) -> bool:
    """Whether there is a store, having checked that it is a good one."""
    try:
        stores.metadata(path)
    except InputError:
        assert not path.exists()
        return False
    assert verification.of_store(path).problems == []
    return True


@pytest.mark.parametrize("there_before", [False, True])
def test_a_store_whose_writer_is_killed_at_any_moment_is_whole_or_absent(tmp_path, there_before):
    path, rng, found = tmp_path / "Si-1.zarr", np.random.default_rng(4), []
    start = time.monotonic()
    write(path)
    duration, identity = time.monotonic() - start, checksums.identity(path)
    if not there_before:
        path.rename(tmp_path / "other.zarr")
    for _ in range(12):
        writer = started(write, path)
        time.sleep(rng.uniform(0, 1.2 * duration))
        os.kill(writer.pid, signal.SIGKILL)
        writer.join()
        found.append(whole_or_absent(path))
        if not there_before and found[-1]:
            assert checksums.identity(path) == identity
            path.rename(tmp_path / f"other{len(found)}.zarr")
    assert not all(found) or there_before
    write(path)
    assert checksums.identity(path) == identity
    assert not [left for left in tmp_path.iterdir() if left.name.startswith(".Si-1.zarr.")]


def test_hidden_folders_of_others_beside_what_is_written_stay(tmp_path):
    kept = tmp_path / ".Si-1.zarr.old" / "kept.txt"
    kept.parent.mkdir()
    kept.touch()
    write(tmp_path / "Si-1.zarr")
    assert kept.exists()


def test_two_writers_of_one_store_do_not_harm_each_other(tmp_path):
    path = tmp_path / "Si-1.zarr"
    identities = set()
    for seed in (1, 2):
        write(path, seed=seed)
        identities.add(checksums.identity(path))
    writers = [started(write_again_and_again, path, (1, 2)) for _ in range(2)]
    until, seen = time.monotonic() + 4, 0
    while time.monotonic() < until:
        try:
            assert checksums.identity(path) in identities
            seen += 1
        except FileNotFoundError:
            pass  # between the two renames
        time.sleep(0.01)
    assert all(writer.is_alive() for writer in writers), "a writer failed because of the other"
    for writer in writers:
        os.kill(writer.pid, signal.SIGKILL)
        writer.join()
    assert seen > 20
    write(path, seed=1)
    assert whole_or_absent(path)


def write_on_a_small_disk(path: Path, most: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        write(path)
    except OSError:
        os._exit(28)
    os._exit(0)


@pytest.mark.parametrize("most", [100, 1000, 3000, 10_000])
def test_a_full_disk_leaves_no_half_a_store_and_an_older_one_whole(tmp_path, most):
    path = tmp_path / "Si-1.zarr"
    for there_before in (False, True):
        writer = started(write_on_a_small_disk, path, most)
        writer.join()
        assert writer.exitcode == 28
        assert whole_or_absent(path) == there_before
        assert [left.name for left in tmp_path.iterdir()] == [path.name] * there_before
        write(path)


def test_a_catalogue_whose_writer_is_killed_is_whole_or_absent(tmp_path):
    write(tmp_path / "patterns" / "Si-1.zarr")
    table = catalogue.build(tmp_path / "patterns", [row("Si-1", "train")])
    path, rng = tmp_path / "catalogue.parquet", np.random.default_rng(0)
    for _ in range(20):
        writer = started(catalogue.write, path, table)
        time.sleep(rng.uniform(0, 0.04))
        os.kill(writer.pid, signal.SIGKILL)
        writer.join()
        if path.exists():
            assert verification.of_catalogue(path, tmp_path / "patterns") == []
            path.unlink()
    catalogue.write(path, table)
    assert verification.of_catalogue(path, tmp_path / "patterns") == []


def test_a_killed_training_goes_on_to_the_same_model_file(production, tmp_path):
    results = production.results
    command = [sys.executable, str(ROOT / "scripts" / "train.py"), "experiment=miniature", "seed=1"]
    command += [f"paths.catalogue='{results / 'catalogue.parquet'}'", f"paths.patterns='{results / 'patterns'}'"]
    command += [f"paths.output='{tmp_path}'"]
    environment = os.environ | {"OMP_NUM_THREADS": "2"}  # as Snakemake gave it; sums depend on the number of threads
    killed = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment)
    until = time.monotonic() + 120
    while not (tmp_path / checkpoints.NAME).exists():
        assert killed.poll() is None and time.monotonic() < until
        time.sleep(0.01)
    killed.kill()
    killed.wait()
    assert not (tmp_path / "model.safetensors").exists()
    again = subprocess.run(command, text=True, capture_output=True, timeout=120, env=environment)
    assert again.returncode == 0 and "going on from" in again.stdout, again.stderr
    assert (tmp_path / "model.safetensors").read_bytes() == (
        results / "models" / "miniature" / "model.safetensors"
    ).read_bytes()
    assert not [left.name for left in tmp_path.iterdir() if left.name.startswith(".") or left.suffix == ".ckpt"]


def test_two_snakemakes_in_one_folder_leave_the_data_set_of_one(production, tmp_path):
    copy = production.copy(tmp_path / "copy")
    for made in (copy.results / "stores", copy.results / "patterns"):
        shutil.rmtree(made)
    (copy.results / "catalogue.parquet").unlink()
    runs = [started(copy.snakemake, "--cores", "1", "--nolock", "--until", "catalogue") for _ in range(2)]
    for run in runs:
        run.join()
    copy.snakemake("--cores", "2", "--until", "catalogue")  # where one was in the other's way
    assert verification.verify(copy.results).problems == []
    assert (copy.results / "catalogue.parquet").read_bytes() == (production.results / "catalogue.parquet").read_bytes()


def test_a_grown_store_keeps_its_patterns_and_a_deleted_one_is_made_again(production, tmp_path):
    copy = production.copy(tmp_path / "copy")
    path = sorted((copy.results / "patterns").glob("*.zarr"))[0]
    before, there = checksums.identity(path), stores.open(path).cbed.values
    grow = f"results/stores/{path.stem}.json"
    copy.snakemake("--cores", "1", "--config", "orientations={unrotated: true, zone_axes: 1, random: 2}", "--", grow)
    assert stores.open(path).cbed.shape[0] == len(there) + 1
    np.testing.assert_array_equal(stores.open(path).cbed.values[: len(there)], there)
    shutil.rmtree(path)
    copy.snakemake("--cores", "1", "--", grow)
    assert checksums.identity(path) == before
