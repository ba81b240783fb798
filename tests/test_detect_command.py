"""The command says in one sentence what is wrong before anything is computed, and writes nothing then."""

import json
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import ROOT
from disk_patterns import lattice_points, scan

from fourdcrystal import detect_command, experiment, modelfile, network


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A scan, its probe, and a model with random weights."""
    path = tmp_path_factory.mktemp("detect")
    made = scan(shape=(64, 72), radius=3.0)
    np.savez(path / "scan.npz", scan=made.patterns.astype(np.uint16), dq=0.02)
    np.save(path / "probe.npy", made.probe)
    torch.manual_seed(0)
    model = experiment.Model(name="ccunet", width=4, depth=2, patch=1, blocks=1, powers=[1.0])
    recipe = {"model": model.model_dump()}
    known = {"catalogue": "", "learned": [], "learned_before": []}
    learned = {"labels": {"width": 1.5, "sigma": 0.03}, "radius_px": [2.0, 6.0], "pixel_invA": [0.01, 0.04]}
    about = known | learned | {"shape": [32, 36]}
    modelfile.save(path / "model.safetensors", network.build(model), recipe, about)
    return path


def command(folder, *arguments):
    words = ["scan.npz", "--probe", "probe.npy", "-o", "out", "--model", "model.safetensors"]
    words = list(arguments) if arguments and arguments[0] == "--" else [*words, *arguments]
    return subprocess.run(
        [sys.executable, "-m", "fourdcrystal", "detect", *words], cwd=folder, capture_output=True, text=True
    )


def test_a_missing_probe_is_said_in_one_sentence_and_nothing_is_written(folder):
    done = command(folder, "--probe", "absent.npy")
    assert done.returncode == 2 and not (folder / "out").exists()
    assert done.stderr == "error: absent.npy: no such vacuum probe file\n"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--roi", "90:99,:"], "goes beyond"),
        (["--roi", "2:2,:"], "holds no position"),
        (["--bin", "9"], "at most, not by"),
        (["--stride", "0"], "--stride is 0"),
        (["--threshold", "7"], "--threshold is 7"),
        (["--model", "absent.safetensors"], "no such model file"),
        (["--reference", "2:3,0:1", "--roi", "0:1,0:4"], "--reference holds no position"),
        (["--energy", "200"], "such as 200e3 for 200 keV"),
        (["--reference", "0:90,0:1"], "--reference 0:90,0:1 goes beyond"),
    ],
)
def test_unusable_options_are_refused_in_words(folder, options, words, monkeypatch):
    import argparse

    from fourdcrystal.errors import InputError

    monkeypatch.chdir(folder)
    parser = argparse.ArgumentParser()
    detect_command.add_arguments(parser)
    given = ["scan.npz", "--probe", "probe.npy", "-o", "out", "--model", "model.safetensors", *options]
    with pytest.raises(InputError, match=words):
        detect_command.run(parser.parse_args(given))


def test_report_names_what_was_found():
    figures = {
        "peaks": 10,
        "peaks_per_pattern": 2.5,
        "patterns_per_second": 100.0,
        "lattice_invA": [0.3, 0.3],
        "lattice_angle_degree": 90.0,
        "lattice_residual_px": 0.1,
        "strain_sigma": 0.001,
        "ellipticity": 1.0213,
        "flags": {"empty": 1, "no_peaks": 0},
        "notes": ["the camera has gaps"],
    }
    text = detect_command.report("out", figures)
    assert (
        "10 Bragg vectors" in text
        and "empty: 1" in text
        and "without peaks" not in text
        and "ellipticity is taken as 1.0213" in text
        and "note: the camera has gaps" in text
    )


def test_a_scan_and_its_probe_are_enough(folder):
    done = subprocess.run(
        [sys.executable, "-m", "fourdcrystal", "detect", "scan.npz", "--probe", "probe.npy", "-o", "plain"],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    table = pd.read_parquet(folder / "plain" / "bragg_vectors.parquet")
    basis, centre = np.array([[15.2, 2.1], [-3.3, 16.4]]), np.array([32.3, 35.8])  # of disk_patterns.scan
    points = lattice_points((64, 72), centre, basis, 4)
    distance = np.hypot(*(table[["qx_px", "qy_px"]].to_numpy()[:, None] - points).transpose(2, 0, 1)).min(1)
    assert np.median(distance) < 0.1, "px"
    assert len(table) > 0.7 * 12 * len(points)
    assert json.loads((folder / "plain" / "summary.json").read_text())["method"] == "network, learned fit"


def test_the_python_of_the_readme_writes_the_same_files(folder):
    (block,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    program = block.replace("scan.dm4", "scan.npz").replace("vacuum.dm4", "probe.npy").replace('"out"', '"python"')
    done = subprocess.run([sys.executable, "-c", program], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    written = {path.name for path in (folder / "python").iterdir()}
    assert {"bragg_vectors.parquet", "bragg_vectors.h5", "strain.zarr", "orientation.zarr", "summary.json"} <= written


def test_a_preview_shows_patterns_and_searches_nothing_else(folder):
    done = command(folder, "--preview", "2", "--device", "cpu", "-o", "look")
    assert done.returncode == 0, done.stderr
    assert [path.name for path in (folder / "look").iterdir()] == ["preview.png"]


def test_region_stride_and_binning_come_together_and_parts_with_a_network_are_joined(folder):
    chosen = ["--roi", "0:3,1:4", "--stride", "2", "--bin", "2", "--refine", "none"]
    for part in ("1/2", "2/2"):
        assert command(folder, *chosen, "--part", part).returncode == 0
    done = command(folder, *chosen)
    assert done.returncode == 0, done.stderr
    assert "4 of 4 patterns were searched before" in done.stdout
    figures = json.loads((folder / "out" / "summary.json").read_text())
    assert figures["positions"] == [2, 2] and figures["pixels"] == [32, 36] and figures["sampling_invA"] == 0.04


def test_a_probe_that_the_network_never_saw_is_said(folder):
    from fourdcrystal.inference import NetworkDetector

    detector = NetworkDetector.load(folder / "model.safetensors")
    detector.trained_radii, detector.trained_shape = (2.0, 5.0), (32, 32)
    assert detector.doubts((32, 32), 3.0, 0.02) is None
    assert "radius of 9.0 px, the network knows 2.0 to 5.0 px" in detector.doubts((32, 32), 9.0, 0.02)
    assert "--bin 2 would help" in detector.doubts((32, 32), 9.0, 0.02)
    # binned by 4 for the network, which then knows such disks and pixels
    assert detector.doubts((128, 128), 9.0, 0.01) is None


def test_pixels_that_the_network_never_saw_are_said(folder):
    from fourdcrystal.inference import NetworkDetector

    detector = NetworkDetector.load(folder / "model.safetensors")
    assert "pixels are 0.06 1/Å wide, the network knows 0.01 to 0.04 1/Å" in detector.doubts((32, 32), 3.0, 0.06)
    assert "pixels of 4 x 4 are 0.08 1/Å wide" in detector.doubts((128, 128), 9.0, 0.02)


def test_disks_that_the_shipped_refiner_never_saw_are_said(folder):
    from fourdcrystal import detectors

    usual = detectors.named("correlation", "cpu")
    assert usual.doubts((128, 128), 4.0, 0.02) is None and detectors.Correlator().doubts((128, 128), 40.0, 0.02) is None
    large, small = (usual.doubts((128, 128), radius, 0.02) or "" for radius in (15.0, 1.5))
    assert "refiner of positions knows 2.5 to 11 px" in large and "--bin 2 would bring it there" in large
    assert "refiner of positions knows 2.5 to 11 px" in small and "--" not in small  # nothing else is better there


def test_a_device_that_is_not_there_is_refused(folder):
    done = command(folder, "--device", "gpu")
    assert done.returncode == 2 and "--device is 'gpu'; allowed are auto, cpu, cuda" in done.stderr


def test_results_say_what_made_them_and_leave_alone_what_others_put_beside_them(folder):
    out = folder / "options"
    (out / "pieces").mkdir(parents=True)
    (out / "pieces" / "notes.txt").write_text("mine")
    (out / "summary.json").write_text("{}")
    (out / "orientation.png").write_text("of another run")
    done = command(folder, "-o", "options", "--roi", "1:3,0:2", "--refine", "none")
    assert done.returncode == 0, done.stderr
    figures = json.loads((out / "summary.json").read_text())
    made = figures["options"]
    assert (made["scan_origin"], made["scan_step"], made["refine"]) == ([1, 0], 1, "none")
    assert made["model_sha256"] == modelfile.checksum(folder / "model.safetensors")
    assert figures["intensity_units"] == "px²"
    assert [path.name for path in (out / "pieces").iterdir()] == ["notes.txt"]
    assert not (out / "orientation.png").exists()


def test_pieces_of_another_search_stay(tmp_path):
    from fourdcrystal import search

    for name in ("aaa-000000.npz", "aaa-000001.npz", "bbb-000000.npz"):
        (tmp_path / name).write_bytes(b"")
    search.forget(tmp_path, "aaa")
    assert [path.name for path in tmp_path.iterdir()] == ["bbb-000000.npz"]
    search.forget(tmp_path, "bbb")
    assert not tmp_path.exists()


@pytest.mark.parametrize(
    "wrong", [{"shape": [0, 0]}, {"radius_px": [0.0, 0.0]}, {"pixel_invA": None}, {"radius_px": ["a", "b"]}]
)
def test_a_model_that_says_nonsense_of_its_data_is_refused_in_words(folder, tmp_path, wrong):
    from fourdcrystal.errors import InputError
    from fourdcrystal.inference import NetworkDetector

    made = modelfile.load(folder / "model.safetensors")
    modelfile.save(tmp_path / "m.safetensors", made.network, made.recipe, made.data | wrong)
    with pytest.raises(InputError, match="train it again"):
        NetworkDetector.load(tmp_path / "m.safetensors")


def test_a_model_whose_training_has_failed_is_refused_in_words(folder, tmp_path):
    from fourdcrystal.errors import InputError

    made = modelfile.load(folder / "model.safetensors")
    made.network.head.bias.data[0] = float("nan")
    modelfile.save(tmp_path / "m.safetensors", made.network, made.recipe, made.data)
    with pytest.raises(InputError, match="no numbers"):
        modelfile.load(tmp_path / "m.safetensors")
