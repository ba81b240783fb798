"""Making a crystal's store: what runs beside a GPU, and which device is used."""

import builtins
import threading

import numpy as np
import pytest
from array_module import like_cupy
from known_crystals import SILICON

from fourdcrystal import box, devices, gpus, production, recipe, simulation, stores
from fourdcrystal.crystals import Crystal

SETTINGS = {
    "orientations": {"unrotated": True, "zone_axes": 0, "random": 1},
    "microscope": {"semiangle_cutoff": [4, 6]},
    "specimen": {"thickness": [10, 20], "box": 20, "sampling": 0.2, "seam_limit": 0.9},
    "detector": {"shape": [32, 32], "sampling": 0.05},
}


def test_beside_a_gpu_an_orientation_is_written_while_the_next_is_simulated(tmp_path, monkeypatch):
    monkeypatch.setattr(devices, "module", like_cupy)
    second_began, simulated = threading.Event(), []
    simulate, put = simulation.Instrument.simulate, stores.Writer.put

    def simulating(self, *args):
        simulated.append(simulate(self, *args).cbed)
        if len(simulated) == 2:
            second_began.set()
        return simulation.Patterns(simulated[-1], np.zeros(simulated[-1].shape[:3]))

    def putting(self, orientation, *args):
        assert second_began.wait(60), "the second orientation waits for the first to be written"
        put(self, orientation, *args)

    monkeypatch.setattr(simulation.Instrument, "simulate", simulating)
    monkeypatch.setattr(stores.Writer, "put", putting)
    settings = recipe.validate(SETTINGS, "settings")
    silicon = Crystal("Si", SILICON, "diamond", 227, "cubic", {})
    production.write_patterns(tmp_path / "Si.zarr", silicon, *production.supercells(silicon, settings), settings)
    stored = np.asarray(stores.open(tmp_path / "Si.zarr").cbed)
    np.testing.assert_allclose(stored, np.array(simulated), rtol=2e-3, atol=1e-6)


def test_what_fails_while_writing_beside_a_gpu_is_not_lost(tmp_path, monkeypatch):
    monkeypatch.setattr(devices, "module", like_cupy)

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(stores.Writer, "put", full)
    settings = recipe.validate(SETTINGS, "settings")
    silicon = Crystal("Si", SILICON, "diamond", 227, "cubic", {})
    with pytest.raises(OSError, match="No space left"):
        production.write_patterns(tmp_path / "Si.zarr", silicon, *production.supercells(silicon, settings), settings)
    assert not list(tmp_path.iterdir())


def test_labels_end_where_the_wave_does_and_patterns_are_dark():
    turned = {"orientations": {"unrotated": True, "zone_axes": 0, "random": 0}}
    specimen = {"thickness": 10, "box": 20, "sampling": 0.2, "seam_limit": 0.9}
    wide = turned | {"microscope": {"semiangle_cutoff": 4}, "specimen": specimen}
    settings = recipe.validate(
        wide | {"detector": {"shape": [64, 64], "sampling": 0.05}, "labels": {"width": 1}}, "settings"
    )
    limit = box.reach(settings.specimen, settings.detector)
    assert settings.detector.half_width < limit < settings.detector.corner
    silicon = Crystal("Si", SILICON, "diamond", 227, "cubic", {})
    found = production.table(SILICON, np.eye(3), settings)
    assert 0.9 * limit < np.hypot(*found.g[:, :2].T).max() <= limit
    made = production.quartets(silicon, settings, 0, 0, 0)
    q = (np.arange(64) - 32) * 0.05
    beyond = np.hypot(q[:, None], q) > limit + 0.05
    assert beyond.any() and made["cbed"][0][beyond].max() < 1e-12
    far = np.hypot(q[:, None], q) > limit + 5 * 0.05
    assert far.any() and made["vg"][far].max() < 1e-4


def test_without_a_gpu_numpy_computes(monkeypatch):
    monkeypatch.setattr(gpus, "visible", list)
    assert devices.module() is np


def test_a_gpu_without_cupy_is_named(monkeypatch, capsys):
    monkeypatch.setattr(gpus, "visible", lambda: ["3"])
    imported = builtins.__import__

    def no_cupy(name, *args):
        if name == "cupy":
            raise ImportError(name)
        return imported(name, *args)

    monkeypatch.setattr(builtins, "__import__", no_cupy)
    assert devices.module() is np
    assert "GPU 3 is not used for the simulation, because cupy is not installed" in capsys.readouterr().err
