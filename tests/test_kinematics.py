"""Thin crystals diffract kinematically: patterns and labels, made by different code, must then agree."""

import numpy as np
import pytest

from fourdcrystal import catalogue, kinematics, physics_checks, scattering
from fourdcrystal.electrons import wavelength


def test_the_interaction_constant_is_the_book_s():
    assert scattering.interaction(200e3) == pytest.approx(7.2884e-4, rel=1e-4)  # 1/(V Å); Kirkland, table 2.2
    assert scattering.interaction(100e3) == pytest.approx(9.2440e-4, rel=1e-4)


def test_a_parallel_beam_at_bragg_s_angle_grows_with_the_square_of_the_thickness():
    q = 0.5
    g = np.array([[q, 0, -wavelength(200e3) * q**2 / 2]])  # on the Ewald sphere
    thin, thick = (kinematics.disk_intensity(g, np.array([2.0]), t, 200e3, 1e-6) for t in (10, 20))
    assert thin == pytest.approx((7.2884e-4 * 2 * 10) ** 2, rel=1e-4)
    assert thick == pytest.approx(4 * thin)


def test_a_beam_away_from_bragg_s_angle_vanishes_where_the_thickness_is_one_over_its_excitation_error():
    q, s = 0.5, 0.01
    g = np.array([[q, 0, -wavelength(200e3) * q**2 / 2 - s]])
    assert kinematics.disk_intensity(g, np.array([2.0]), 1 / s, 200e3, 1e-6) < 1e-9
    assert kinematics.disk_intensity(g, np.array([2.0]), 1.5 / s, 200e3, 1e-6) > 1e-5


def test_disks_are_isolated_if_they_are_more_than_a_diameter_apart():
    g = np.array([[0, 0], [0.1, 0], [0.5, 0], [0.5, 0.21]])
    np.testing.assert_array_equal(kinematics.isolated(g, 0.1), [False, False, True, True])


def test_a_disk_s_intensity_is_what_lies_in_it_and_nothing_is_said_of_cut_ones():
    probe = np.zeros((32, 32))
    probe[14:19, 14:19] = 1
    cbed = 0.5 * np.roll(probe, (10, 0), (0, 1))
    found = kinematics.measured_intensity(cbed, probe, np.array([[1, 0], [0, 0], [1.5, 0]]), 0.3, 0.1)
    np.testing.assert_allclose(found, [0.5, 0, np.nan])


def test_thin_disks_of_a_production_have_the_intensities_that_its_labels_say(production, tmp_path, panels):
    results = production.results
    rows = catalogue.read(results / "catalogue.parquet")
    pairs = np.concatenate(
        [physics_checks.thinnest(results / "patterns" / f"{c}.zarr") for c in rows["crystal"].unique()]
    )
    number, ratio, correlation = physics_checks.agreement(pairs)
    assert number > 30
    assert 0.7 < ratio < 1.4, "V_g in volts, thickness in Å and the camera's scale agree"
    assert correlation > 0.9
    physics_checks.draw(tmp_path / "checks.png", rows, results / "patterns")
    assert (tmp_path / "checks.png").read_bytes().startswith(b"\x89PNG")
    medians = rows.groupby("thickness_A")[["intensity", "seam_fraction"]].median()
    for panel, column in zip(panels, medians, strict=False):
        np.testing.assert_allclose(panel.lines[0].get_xydata(), medians[column].reset_index(), rtol=1e-6)
    assert len(panels[2].lines[0].get_xydata()) >= number
