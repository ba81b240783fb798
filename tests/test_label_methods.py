"""Analytic labels and those of 2021 agree: for cubic and other crystals, light and heavy, on and off zone axes."""

import numpy as np
import pytest
from hann_peaks import peak
from known_crystals import BRAVAIS_LATTICES, GALLIUM_ARSENIDE, GOLD, SAPPHIRE, STRONTIUM_TITANATE, TRICLINIC
from pymatgen.core import Structure
from scipy.signal.windows import tukey
from scipy.spatial.transform import Rotation

from fourdcrystal import camera, label_fft, labels, orientation, reflections, scattering, supercell
from fourdcrystal.instrument_settings import Thermal
from fourdcrystal.propagation import Grid

DQ, SHAPE, BOX, THICKNESS, SLICE = 0.02, (112, 112), 50.0, 160.0, 1.0
RESOLVED = 0.01  # of a reflection's own strength: the most that others may leak through the window
MONOCLINIC = Structure(BRAVAIS_LATTICES["monoclinic C"], ["Ti"], [[0, 0, 0]])


def leaning(structure, axis, angle):
    """On a zone axis, rolled, and then tilted by an angle [rad]."""
    return (
        orientation.tilted(0.6 * angle, 0.8 * angle)
        @ Rotation.from_rotvec([0, 0, 0.4]).as_matrix()
        @ orientation.along_beam(structure, axis)
    )


CASES = {
    "sapphire [001], where many reflections stand above one another": (SAPPHIRE, leaning(SAPPHIRE, (0, 0, 1), 0.0)),
    "sapphire, 20 mrad off [120]": (SAPPHIRE, leaning(SAPPHIRE, (1, 2, 0), 0.02)),
    "gold, 50 mrad off [110]": (GOLD, leaning(GOLD, (1, 1, 0), 0.05)),
    "gallium arsenide [112]": (GALLIUM_ARSENIDE, leaning(GALLIUM_ARSENIDE, (1, 1, 2), 0.0)),
    "strontium titanate, 30 mrad off [111]": (STRONTIUM_TITANATE, leaning(STRONTIUM_TITANATE, (1, 1, 1), 0.03)),
    "a triclinic crystal on [101]": (TRICLINIC, leaning(TRICLINIC, (1, 0, 1), 0.0)),
    "a triclinic crystal anyhow": (TRICLINIC, Rotation.random(rng=np.random.default_rng(8)).as_matrix()),
    "a monoclinic crystal, 20 mrad off [010]": (MONOCLINIC, leaning(MONOCLINIC, (0, 1, 0), 0.02)),
}


FLAT = 0.08  # 1/Å; reflections that lie higher are damped by more than their leakage into other heights


def hann(distance):
    """Response of Hann's window at a distance [px] from a frequency."""
    return np.abs(np.sinc(distance) / np.where(np.abs(np.abs(distance) - 1) < 1e-3, 2e-3, 1 - distance**2))


def along_beam(g_z):
    """What the definition of 2021 makes of a reflection of height g_z [1/Å] and unit strength: strength and height."""
    step = label_fft.THICKEST
    count = round(THICKNESS / step)
    window, q = tukey(count + 1, 1.0)[1:], np.fft.fftfreq(count, step)
    slab = np.sinc(g_z * step)  # a slice holds the mean of what it cuts out
    seen = np.abs(np.fft.fft(window * np.exp(2j * np.pi * g_z * step * np.arange(count)))) * abs(slab)
    weight = seen * np.exp(-(q**2) / (2 * label_fft.SIGMA**2)) / np.abs(np.fft.fft(window)).sum()
    return weight.sum(), (weight * q).sum() / weight.sum()


@pytest.mark.parametrize("name", CASES)
def test_both_kinds_of_labels_agree_in_place_strength_and_height(name):
    crystal, rotation = CASES[name]
    b = scattering.b_factors(crystal, Thermal())
    cell = supercell.cut(crystal, rotation, (BOX, BOX), THICKNESS)
    vg, qz = label_fft.maps(cell, camera.Camera(Grid(256, BOX), SHAPE, 1), SLICE, b)
    found = reflections.reflections(crystal, rotation, 1.3, [200e3, 30e3], 0.5, b)
    places = labels.positions(found.g, DQ, SHAPE)
    strengths, heights = np.array([along_beam(height) for height in found.g[:, 2]]).T
    strengths *= np.abs(found.vg)
    apart = np.linalg.norm(places[:, None] - places, axis=-1)
    column = apart < 0.01  # reflections above one another share a peak in either definition
    total, mean = column @ strengths, (column @ (strengths * heights)) / np.maximum(column @ strengths, 1e-9)
    strongest = total[1:][~column[0, 1:]].max()
    leaked = np.where(column, 0, hann(places[:, None] - places).prod(-1)) @ strengths
    alone = leaked < RESOLVED * total
    inside = np.abs(places - np.array(SHAPE) // 2).max(1) < 50
    chosen = np.flatnonzero((total > 0.05 * strongest) & (np.abs(mean) < FLAT) & alone & inside & ~column[0])
    assert len(chosen) >= 6
    measured = [peak(vg, places[i]) for i in chosen]
    assert max(np.abs(place - places[i]).max() for i, (place, _) in zip(chosen, measured, strict=True)) < 0.05
    ratio = np.array([height for _, height in measured]) / total[chosen]
    assert np.abs(ratio / np.median(ratio) - 1).max() < 0.03
    assert np.median(ratio) == pytest.approx(1, abs=0.1)  # volts; leakage into other heights adds up
    at_peaks = qz[tuple(np.round(places[chosen]).astype(int).T)]
    np.testing.assert_allclose(at_peaks, mean[chosen], atol=0.003)


@pytest.mark.parametrize("name", CASES)
def test_heights_of_analytic_labels_are_those_of_the_orientation_matrix(name):
    crystal, rotation = CASES[name]
    found = reflections.reflections(crystal, rotation, 1.0, [200e3], 0.1)
    expected = (found.hkl @ np.linalg.inv(crystal.lattice.matrix).T) @ rotation[2]  # R g, along the beam
    np.testing.assert_allclose(found.g[:, 2], expected, atol=1e-12)
    seen = np.abs(found.vg) > 1e-3 * np.abs(found.vg).max()
    places, expected = labels.positions(found.g[seen], DQ, SHAPE), expected[seen]
    _, qz = labels.draw(places, np.abs(found.vg[seen]), expected, SHAPE, 0.5)
    apart = np.linalg.norm(places[:, None] - places, axis=-1) + 99 * np.eye(len(places))
    alone = (apart.min(1) > 4) & (np.abs(places - np.array(SHAPE) // 2).max(1) < 50)
    assert alone.sum() >= 4
    np.testing.assert_allclose(qz[tuple(np.round(places[alone]).astype(int).T)], expected[alone], atol=1e-3)
