"""Multislice against Bloch waves, and what any diffraction pattern must obey."""

import numpy as np
import pytest
from hann_peaks import peak
from known_crystals import GALLIUM_ARSENIDE, GOLD, SILICON, STRONTIUM_TITANATE

from fourdcrystal import (
    bloch,
    camera,
    fourier_series,
    label_fft,
    labels,
    orientation,
    reflections,
    scattering,
    simulation,
    supercell,
)
from fourdcrystal.electrons import wavelength
from fourdcrystal.instrument_settings import DetectorSettings, Microscope, Specimen, Thermal
from fourdcrystal.propagation import Grid

ENERGY = 200e3


def plane_wave(crystal, thickness, points, projection, b, energy=ENERGY, layers=4):
    """Beams [h k 0] of a cubic crystal on [001] by multislice, (thickness, h, k), [000] at the middle.

    The box is two cells wide, so there is no seam, and an aperture of less than a pixel is a plane wave.
    """
    a = crystal.lattice.a
    specimen = Specimen(
        thickness=thickness,
        slice_thickness=a / layers,
        sampling=a / points,
        projection=projection,
        box=2 * a,
        seam_limit=1,
    )
    detector = DetectorSettings(shape=[48, 48], sampling=0.5 / a)
    made = simulation.Instrument(Microscope(energy=[energy], semiangle_cutoff=[0.05]), specimen, detector)
    cell = supercell.cut(crystal, np.eye(3), (made.edge, made.edge), made.thickness)
    return made.simulate(cell, b).cbed[0, 0, :, ::2, ::2]


def nearest(crystal, thickness):
    step = crystal.lattice.a / 4
    return [step * round(t / step) for t in thickness]


def strong_beams(crystal, thickness, *projections):
    """Intensities of all beams above 5 % at some thickness by Bloch waves, and by multislice with each projection."""
    b = scattering.b_factors(crystal, Thermal())
    # beams far from the Ewald sphere in both directions: with half of them missing, weak ones are 10 % off
    hkl, psi = bloch.amplitudes(crystal, np.eye(3), b, ENERGY, thickness, g_max=2.5, s_max=0.5)
    expected = np.abs(psi) ** 2
    strong = (hkl[:, 2] == 0) & (np.abs(hkl) < 12).all(1) & (expected.max(0) > 0.05)
    place = 12 + hkl[strong, :2]
    found = [plane_wave(crystal, thickness, 48, p, b)[:, place[:, 0], place[:, 1]] for p in projections]
    return expected[:, strong], *found


def test_silicon_on_its_zone_axis_agrees_with_bloch_waves_to_400_angstrom():
    expected, finite, infinite = strong_beams(SILICON, nearest(SILICON, [100, 200, 300, 400]), "finite", "infinite")
    shown = expected > 0.02
    assert shown.sum() > 10
    for found in (finite, infinite):
        assert (np.abs(found - expected)[shown] < 0.05 * expected[shown]).all()


def layered(crystal, layers):
    """A cubic crystal with the entrance plane halfway between two of its layers along [001]."""
    return crystal.copy().translate_sites(range(len(crystal)), [0, 0, 0.5 / layers])


@pytest.mark.parametrize(
    ("crystal", "layers", "tolerance"),
    [(SILICON, 4, 0.005), (GALLIUM_ARSENIDE, 4, 0.02), (STRONTIUM_TITANATE, 2, 0.015), (GOLD, 2, 0.06)],
    ids=["Si", "GaAs", "SrTiO3", "Au"],
)
def test_multislice_agrees_with_the_wave_equation_to_300_angstrom(crystal, layers, tolerance):
    step, b = crystal.lattice.a / layers, scattering.b_factors(crystal, Thermal())
    thickness = [2 * step * round(t / (2 * step)) for t in (100, 200, 300)]
    exact = fourier_series.intensities(layered(crystal, layers), b, ENERGY, thickness, sampling=0.09, step=0.3)
    found = plane_wave(crystal, thickness, round(crystal.lattice.a / 0.09 / 8) * 8, "infinite", b, layers=layers)
    beams = np.arange(-6, 7)
    ours, theirs = found[:, 12 + beams[:, None], 12 + beams], exact[:, beams[:, None], beams]
    assert theirs.sum((1, 2)).min() > 0.9  # nearly all of the intensity is in these beams
    assert np.abs(ours - theirs).sum() < tolerance * theirs.sum()


def test_bloch_waves_converge_to_the_wave_equation():
    thickness = nearest(GALLIUM_ARSENIDE, [100, 200])
    b = scattering.b_factors(GALLIUM_ARSENIDE, Thermal())
    exact = fourier_series.intensities(GALLIUM_ARSENIDE, b, ENERGY, thickness, sampling=0.11, step=0.3)
    errors = []
    for s_max in (0.2, 0.3, 0.6):
        hkl, psi = bloch.amplitudes(GALLIUM_ARSENIDE, np.eye(3), b, ENERGY, thickness, 2.5, s_max)
        found = np.abs(psi) ** 2
        zero = hkl[:, 2] == 0
        theirs = exact[:, hkl[zero, 0], hkl[zero, 1]]
        errors.append(np.abs(found[:, zero] - theirs).sum() / theirs.sum())
    assert errors[0] > errors[1] > errors[2] and errors[2] < 0.05


def test_the_wave_equation_conserves_intensity_and_turns_with_the_beam():
    b = scattering.b_factors(SILICON, Thermal())
    directions = np.array([[0.0, 0.0], [0.07, 0.02], [-0.02, 0.07]])  # the last two differ by a quarter turn
    found = fourier_series.intensities(SILICON, b, ENERGY, [54.31], directions, sampling=0.11, step=0.3)
    np.testing.assert_allclose(found.sum((-2, -1)), 1, atol=2e-3)
    assert found[0, 1, 2, 2] == pytest.approx(found[0, 2, -2, 2], rel=1e-3)


def disk_centres(angle, energies):
    """Bloch waves against the middle pixels of a convergent-beam pattern, off the zone axis."""
    b = scattering.b_factors(SILICON, Thermal())
    rotation = orientation.tilted(0.004, -0.007) @ orientation.along_beam(SILICON, (1, 1, 0))
    specimen = Specimen(thickness=[80.0, 160.0], box=40.0, sampling=40 / 384, seam_limit=0.3)
    detector = DetectorSettings(shape=[96, 96], sampling=0.025)
    made = simulation.Instrument(Microscope(energy=energies, semiangle_cutoff=[angle]), specimen, detector)
    cell = supercell.cut(SILICON, rotation, (made.edge, made.edge), made.thickness)
    patterns = made.simulate(cell, b).cbed[:, 0] / made.probe[:, 0, 48, 48][:, None, None, None]
    for energy, pattern in zip(energies, patterns, strict=True):
        hkl, psi = bloch.amplitudes(SILICON, rotation, b, energy, specimen.thickness)
        strength = np.abs(psi) ** 2
        g = hkl @ np.linalg.inv(SILICON.lattice.matrix).T @ rotation.T
        brightest = [i for i in np.argsort(-strength.max(0)) if np.abs(g[i, :2]).max() < 1.1][:4]
        for beam in brightest:
            pixel = np.round(g[beam, :2] / 0.025).astype(int)
            turn = bloch.towards(pixel * 0.025 - g[beam, :2], energy) @ rotation
            again, psi = bloch.amplitudes(SILICON, turn, b, energy, specimen.thickness)
            exact = np.abs(psi) ** 2
            (same,) = np.flatnonzero((again == hkl[beam]).all(1))
            yield exact[:, same], pattern[:, 48 + pixel[0], 48 + pixel[1]]


def test_disks_of_a_mistilted_crystal_agree_with_bloch_waves():
    pairs = np.array(list(disk_centres(4.0, [ENERGY])))  # (beams, 2, thickness)
    exact, found = pairs[:, 0], pairs[:, 1]
    assert exact.max() > 0.3
    assert np.abs(found - exact).sum() < 0.05 * exact.sum()


@pytest.fixture(scope="module")
def silicon_110():
    rotation = orientation.along_beam(SILICON, (1, 1, 0))
    specimen = Specimen(thickness=[50.0, 200.0], box=40.0, sampling=40 / 320)
    detector = DetectorSettings(shape=[128, 128], sampling=0.025)
    made = simulation.Instrument(Microscope(energy=[ENERGY], semiangle_cutoff=[3.0]), specimen, detector)
    centred = SILICON.copy().translate_sites(range(8), [-0.125] * 3)  # the probe stands on a centre of symmetry
    cell = supercell.cut(centred, rotation, (made.edge, made.edge), made.thickness)
    return made, rotation, made.simulate(cell, scattering.b_factors(SILICON, Thermal()))


def test_intensity_is_conserved(silicon_110):
    made, _, result = silicon_110
    total = result.cbed.sum((-2, -1))[0, 0] / made.probe[0, 0].sum()
    assert (total < 1 + 1e-5).all()
    assert total[0] > 0.995 and total[1] > 0.985  # the rest is beyond the detector


def test_friedel_pairs_are_equally_bright_where_the_projection_is_centrosymmetric(silicon_110):
    _, _, result = silicon_110
    for image in result.cbed[0, 0]:
        turned = image[1:, 1:][::-1, ::-1]
        assert np.abs(turned - image[1:, 1:]).sum() < 0.02 * image.sum()


def test_disks_lie_on_the_reciprocal_lattice_and_nowhere_else(silicon_110):
    _, rotation, result = silicon_110
    found = reflections.reflections(SILICON, rotation, 2.4, [ENERGY], 0.1)
    allowed = np.zeros((128, 128), bool)
    q = (np.arange(128) - 64) * 0.025
    radius = 3e-3 / wavelength(ENERGY) + 0.04
    for g in found.g:
        allowed |= np.hypot(q[:, None] - g[0], q - g[1]) < radius
    assert result.cbed[0, 0, 1][~allowed].sum() < 0.01 * result.cbed[0, 0, 1].sum()


def test_the_seam_is_recorded_and_small(silicon_110):
    seam = silicon_110[2].seam_fraction
    assert seam.shape == (1, 1, 2) and (seam > 0).all() and (seam < 0.01).all()


def test_thin_crystals_scatter_kinematically():
    b = scattering.b_factors(SILICON, Thermal())
    thickness = [SILICON.lattice.a]
    found = plane_wave(SILICON, thickness, 48, "finite", b)[0]
    for hkl in ((2, 2, 0), (4, 0, 0)):
        vg = abs(reflections.structure_factors(SILICON, np.array([hkl]), b)[0])
        expected = (scattering.interaction(ENERGY) * vg * thickness[0]) ** 2
        assert found[12 + hkl[0], 12 + hkl[1]] == pytest.approx(expected, rel=0.06)


@pytest.fixture(scope="module")
def fourier_labels():
    """The 2021 labels of silicon on [110], and the reflections they should show."""
    b = scattering.b_factors(SILICON, Thermal())
    rotation = orientation.along_beam(SILICON, (1, 1, 0))
    grid = Grid(384, 50.0)
    seen = camera.Camera(grid, (128, 128), 1)
    cell = supercell.cut(SILICON, rotation, (50.0, 50.0), 100.0)
    found = reflections.reflections(SILICON, rotation, 1.2, [ENERGY], 0.1, b)
    return (*label_fft.maps(cell, seen, 2.0, b), found)


def test_analytic_labels_and_those_of_2021_agree_in_place_and_strength(fourier_labels):
    vg, _, found = fourier_labels
    zero_layer = np.abs(found.g[:, 2]) < 1e-9
    strength = np.abs(found.vg) * zero_layer
    strong = np.flatnonzero(strength[1:] > 0.05 * strength[1:].max()) + 1  # the direct beam is first
    places = labels.positions(found.g, 0.02, (128, 128))
    inside = [i for i in strong if np.abs(places[i] - 64).max() < 60]
    assert len(inside) > 20
    measured = [peak(vg, places[i]) for i in inside]
    assert max(np.abs(p - places[i]).max() for i, (p, _) in zip(inside, measured, strict=True)) < 0.05
    heights = np.array([h for _, h in measured]) / np.abs(found.vg[inside])
    assert np.abs(heights / np.median(heights) - 1).max() < 0.03
    assert np.median(heights) == pytest.approx(1, abs=0.05)  # volts


def test_the_height_q_z_of_the_2021_labels_follows_the_orientation():
    b = scattering.b_factors(SILICON, Thermal())
    rotation = orientation.tilted(0.0, 0.05) @ orientation.along_beam(SILICON, (1, 1, 0))
    cell = supercell.cut(SILICON, rotation, (50.0, 50.0), 200.0)
    seen = camera.Camera(Grid(256, 50.0), (128, 128), 1)
    vg, qz = label_fft.maps(cell, seen, 2.0, b)
    found = reflections.reflections(SILICON, rotation, 1.0, [ENERGY], 0.1, b)
    places = np.round(labels.positions(found.g, 0.02, (128, 128))).astype(int)
    assert np.isfinite(qz).all()  # the reference code has NaN where there is no potential
    bright = [i for i in range(1, len(found)) if vg[tuple(places[i])] > 1.0]
    assert len(bright) >= 6
    for i in bright:
        assert qz[tuple(places[i])] == pytest.approx(found.g[i, 2], abs=0.003)


@pytest.mark.parametrize("binning", [1, 2, 3])
def test_a_reflection_in_the_middle_of_a_pixel_is_as_high_as_its_structure_factor_however_pixels_are_binned(binning):
    a, b, cells = SILICON.lattice.a, {"Si": 0.46}, 12
    seen = camera.Camera(Grid(320, cells * a), (96 // binning, 96 // binning), binning)
    cell = supercell.cut(SILICON, np.eye(3), (cells * a, cells * a), 8 * a)
    vg, qz = label_fft.maps(cell, seen, a / 4, b)
    for hkl in ((2, 2, 0), (-2, 2, 0), (2, -2, 0)):
        x, y = (48 // binning + cells // binning * index for index in hkl[:2])
        expected = abs(reflections.structure_factors(SILICON, np.array([hkl]), b)[0])
        assert vg[x, y] == pytest.approx(expected, rel=0.03)
        assert abs(qz[x, y]) < 1e-3
