"""Rocking maps obey what dynamical theory demands, and agree with independent Bloch waves."""

from pathlib import Path

import numpy as np
import pytest
from known_crystals import SILICON

from fourdcrystal import bloch, orientation, reflections, rocking, scattering
from fourdcrystal.electrons import wavelength
from fourdcrystal.instrument_settings import Thermal

B = scattering.b_factors(SILICON, Thermal())
AXIS = orientation.along_beam(SILICON, (1, 1, 0))


def test_intensities_of_all_beams_sum_to_one_without_absorption():
    _, found = rocking.intensities(SILICON, AXIS, B, 200e3, np.array([50.0, 900.0]), rocking.directions(4, 1e-3, 200e3))
    assert np.allclose(found.sum(1), 1, atol=1e-4)


def test_absorption_takes_more_from_a_thicker_crystal():
    k = np.zeros((1, 2))
    _, found = rocking.intensities(SILICON, AXIS, B, 200e3, np.array([100.0, 1000.0]), k, absorption=0.1)
    total = found.sum(1)[:, 0]
    assert total[1] < total[0] < 1


def test_absorption_takes_what_the_imaginary_potential_takes_from_a_single_beam():
    """I = exp(-2 σ V' t) with V' the mean imaginary potential, here a tenth of the mean inner potential."""
    thickness = np.array([200.0, 1000.0])
    _, found = rocking.intensities(SILICON, AXIS, B, 200e3, thickness, np.zeros((1, 2)), absorption=0.1, beams=1)
    mean = reflections.structure_factors(SILICON, np.array([[0, 0, 0]]), B)[0].real
    expected = np.exp(-2 * scattering.interaction(200e3) * 0.1 * mean * thickness)
    assert expected[1] < 0.5
    np.testing.assert_allclose(found[:, 0, 0], expected, rtol=1e-3)


def test_two_beams_follow_the_formula_of_the_rocking_curve():
    """I = sin²(π t √(s² + 1/ξ²)) / (1 + s² ξ²), ξ = π / (σ |V_g|); De Graef (2003), section 6.3."""
    energy, thickness = 200e3, np.array([300.0])
    k = rocking.directions(9, 2e-3, energy)
    g, found = rocking.intensities(SILICON, AXIS, B, energy, thickness, k, beams=2)
    hkl = np.rint(g[1] @ AXIS @ SILICON.lattice.matrix.T).astype(int)
    v = np.abs(reflections.structure_factors(SILICON, hkl[None], B))[0]
    xi = np.pi / (scattering.interaction(energy) * v)
    s = reflections.excitation_errors(g[1], wavelength(energy)) - wavelength(energy) * k @ g[1, :2]
    root = np.sqrt(s**2 + 1 / xi**2)
    assert found[0, 1] == pytest.approx(np.sin(np.pi * 300 * root) ** 2 / (xi * root) ** 2, abs=1e-4)


def test_a_zone_axis_agrees_with_abtem_s_bloch_waves():
    _, found = rocking.intensities(SILICON, AXIS, B, 200e3, np.array([400.0]), np.zeros((1, 2)), beams=120)
    _, psi = bloch.amplitudes(SILICON, AXIS, B, 200e3, [400.0], g_max=2.5, s_max=0.15)
    expected = np.abs(psi) ** 2
    ours, theirs = (np.sort(i.ravel())[::-1][:8] for i in (found, expected))
    assert np.abs(ours - theirs).max() < 0.02


def test_a_library_keeps_what_it_has(tmp_path, monkeypatch):
    monkeypatch.setattr(rocking, "SIDE", 6)
    monkeypatch.setattr(rocking, "BEAMS", 20)
    rocking.written(tmp_path, {"Si": SILICON}, 1, seed=0)
    path = tmp_path / "Si_0.npz"
    before = path.stat().st_mtime_ns
    rocking.written(tmp_path, {"Si": SILICON}, 1, seed=0)
    assert path.stat().st_mtime_ns == before
    made = np.load(path)
    assert made["relative"].max() == 1
    assert made["relative"].shape[:2] == made["strength"].shape == (rocking.THICKNESSES, len(made["g"]))


def test_training_and_validation_share_no_crystal_and_nobody_moves_when_others_come():
    names = [f"crystal{i}" for i in range(300)]
    paths = [Path(f"{name}_{number}.npz") for name in names for number in range(3)]
    learnt, kept = rocking.divided(paths)
    crystals = [{path.stem.rpartition("_")[0] for path in side} for side in (learnt, kept)]
    assert not crystals[0] & crystals[1]
    assert crystals[0] | crystals[1] == set(names)
    assert 0.14 < len(crystals[1]) / 300 < 0.26
    fewer = rocking.divided(paths[::7])
    assert set(fewer[0]) <= set(learnt)
    assert set(fewer[1]) <= set(kept)


def test_prototypes_of_measured_contrast_are_not_learned_from():
    names = rocking.crystals()
    assert len(names) > 250
    assert not any(held in name for name in names for held in rocking.HELD_OUT)
