"""A disk that is full: one sentence, nothing half-written; with space again the result is that of a large disk."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from conftest import ROOT
from made_up import row, write

from fourdcrystal import catalogue


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 4 MB of its own."""
    place = tmp_path / "small disk"
    place.mkdir()
    try:
        mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(place)]
        done = subprocess.run(mount, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("there is no mount command")
    if done.returncode:
        pytest.skip(f"file systems can't be mounted here ({done.stderr.strip()})")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def fill(disk: Path, but: int) -> Path:
    """Fill a disk but for so many bytes."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(1 << 16)):
                pass
        except OSError:
            file.truncate(max(0, file.tell() - but))
    return ballast


def script(name: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "scripts" / f"{name}.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def refused(done: subprocess.CompletedProcess[str]) -> None:
    """That a command says in one sentence that the disk is full."""
    assert done.returncode == 2, done.stderr[-2000:]
    said = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(said) == 1 and "no space is left" in said[0] and "Traceback" not in done.stderr


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_a_catalogue_on_a_full_disk(small_disk, tmp_path):
    write(tmp_path / "patterns" / "Si-1.zarr")
    listed = [row("Si-1", "train")]
    table = catalogue.build(tmp_path / "patterns", listed)
    catalogue.write(tmp_path / "catalogue.parquet", table)
    from fourdcrystal import sheet

    sheet.write(tmp_path / "crystals.csv", listed)
    ballast = fill(small_disk, but=4096)
    arguments = (tmp_path / "crystals.csv", tmp_path / "patterns", "-o", small_disk / "catalogue.parquet")
    refused(script("catalogue", *arguments))
    assert [p.name for p in small_disk.iterdir()] == ["ballast"]
    ballast.unlink()
    assert script("catalogue", *arguments).returncode == 0
    assert (small_disk / "catalogue.parquet").read_bytes() == (tmp_path / "catalogue.parquet").read_bytes()


SETTINGS = (
    '{"orientations": {"zone_axes": 0, "random": 1}, "specimen": {"thickness": [12, 20], "box": 20, "seam_limit": 1},'
    ' "microscope": {"semiangle_cutoff": [8, 10]}, "detector": {"shape": [32, 32], "sampling": 0.05}}'
)


def test_a_simulation_on_a_full_disk(small_disk, tmp_path):
    from made_up import silicon

    from fourdcrystal import crystals

    crystals.write(tmp_path / "Si-1.json", silicon())
    made = ("--settings", SETTINGS, tmp_path / "Si-1.json")
    assert script("supercells", *made, "-o", tmp_path / "Si-1.npz").returncode == 0
    simulated = (*made, tmp_path / "Si-1.npz", "-o")
    assert script("simulate", *simulated, tmp_path / "Si-1.zarr").returncode == 0
    ballast = fill(small_disk, but=3 * 4096)
    refused(script("simulate", *simulated, small_disk / "Si-1.zarr"))
    assert [p.name for p in small_disk.iterdir()] == ["ballast"]
    ballast.unlink()
    assert script("simulate", *simulated, small_disk / "Si-1.zarr").returncode == 0
    assert content(small_disk / "Si-1.zarr") == content(tmp_path / "Si-1.zarr")


def test_a_training_on_a_full_disk(production, small_disk, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")  # as Snakemake gave it; sums depend on the number of threads
    results = production.results
    arguments = ["experiment=miniature", "seed=1", f"paths.catalogue={results / 'catalogue.parquet'}"]
    arguments += [f"paths.patterns={results / 'patterns'}", f"paths.output='{small_disk / 'model'}'"]
    ballast = fill(small_disk, but=8 * 4096)
    refused(script("train", *arguments))
    assert [p.name for p in small_disk.rglob("*") if p.is_file()] == ["ballast"]
    ballast.unlink()
    done = script("train", *arguments)
    assert done.returncode == 0, done.stderr[-2000:]
    expected = (results / "models" / "miniature" / "model.safetensors").read_bytes()
    assert (small_disk / "model" / "model.safetensors").read_bytes() == expected


def test_a_detection_on_a_full_disk(production, small_disk, tmp_path):
    results = production.results
    model, scan = results / "models" / "miniature" / "model.safetensors", results / "scans" / "wedge.npz"
    detected = ("--model", model, scan, "-o")
    ballast = fill(small_disk, but=8 * 4096)
    refused(script("detect", *detected, small_disk / "detection"))
    assert not (small_disk / "detection" / "summary.json").exists()
    ballast.unlink()
    for folder in (small_disk / "detection", tmp_path / "large"):
        assert script("detect", *detected, folder).returncode == 0
    small, large = (
        pd.read_parquet(f / "bragg_vectors.parquet") for f in (small_disk / "detection", tmp_path / "large")
    )
    pd.testing.assert_frame_equal(small, large, check_exact=True)
