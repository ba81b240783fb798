"""Strain from reciprocal lattices: signs, rotation, uncertainty."""

from dataclasses import replace

import numpy as np
import pytest
from disk_patterns import peaks_on_lattices

from fourdcrystal import lattice, strain

BASIS, CENTRE = np.array([[14.0, 1.0], [-2.0, 15.0]]), np.array([64.0, 64.0])


def rotation(angle):
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def test_a_stretched_crystal_has_a_smaller_reciprocal_lattice():
    # real space 2 % longer along x: reciprocal vectors 1/1.02
    assert strain.of_distortion(np.diag([1 / 1.02, 1.0])) == pytest.approx([0.02, 0, 0, 0])


def test_strain_and_rotation_come_apart_exactly():
    stretch = np.array([[1.03, 0.01], [0.01, 0.98]])
    deformation = stretch @ rotation(0.2)
    found = strain.of_distortion(np.linalg.inv(deformation).T)
    assert found == pytest.approx([0.03, -0.02, 0.01, 0.2])


def test_fitted_lattices_give_the_strain_that_was_put_in_with_honest_uncertainty():
    rng = np.random.default_rng(0)
    deformation = np.eye(2) + rng.normal(0, 0.01, (200, 2, 2))
    distortion = np.linalg.inv(deformation).swapaxes(1, 2)
    peaks = peaks_on_lattices(distortion, BASIS, CENTRE, 0.1, rng)
    fitted = lattice.fit(peaks, 200, BASIS, CENTRE)
    found = strain.of_lattices(fitted, BASIS)
    pull = (found.values - strain.of_distortion(distortion)) / found.sigma
    assert 0.85 < pull.std() < 1.2
    assert np.abs(pull.mean(0)).max() < 0.3


def test_each_component_of_strain_scatters_as_much_as_stated_also_where_disks_lie_in_a_strip():
    """Disks that reach farther along x tell e_xx better than e_yy."""
    rng, basis = np.random.default_rng(0), np.array([[9.0, 0.0], [-1.0, 9.5]])
    peaks = peaks_on_lattices(np.tile(np.eye(2), (400, 1, 1)), basis, CENTRE, 0.1, rng)
    fitted = lattice.fit(peaks.where(np.abs(peaks.qy_px - CENTRE[1]) < 24), 400, basis, CENTRE)
    found = strain.of_lattices(fitted, basis)
    assert np.median(found.sigma[:, 1] / found.sigma[:, 0]) > 2
    pull = found.values / found.sigma
    assert (np.abs(pull.std(0) - 1) < 0.13).all()
    assert np.abs(pull.mean(0)).max() < 0.2


def test_components_turn_with_the_frame():
    one = strain.Strain(np.array([[0.02, 0.0, 0.0, 0.01]]), 1e-6 * np.eye(2)[None])
    turned = strain.in_frame(one, np.pi / 2)
    assert turned.values[0] == pytest.approx([0.0, 0.02, 0.0, 0.01])
    diagonal = strain.in_frame(one, np.pi / 4)
    assert diagonal.values[0] == pytest.approx([0.01, 0.01, -0.01, 0.01])


def test_the_region_is_the_reference():
    rng = np.random.default_rng(1)
    distortion = np.stack([np.eye(2)] * 5 + [np.eye(2) / 1.03] * 6)
    fitted = lattice.fit(peaks_on_lattices(distortion, BASIS, CENTRE, 0.02, rng), 11, BASIS, CENTRE)
    region = np.arange(11) < 5
    found = strain.of_lattices(fitted, strain.reference(fitted, region))
    assert found.values[6:, :2].mean() == pytest.approx(0.03, abs=2e-3)
    assert abs(found.values[:5, :2].mean()) < 2e-3


def test_the_median_of_a_few_patterns_is_steadier_than_one_of_them():
    rng, errors = np.random.default_rng(2), []
    for _ in range(200):
        exact = np.array([BASIS] * 25) * (1 + np.linspace(-0.02, 0.02, 25))[:, None, None]
        seen = exact + rng.normal(0, 0.02, exact.shape)
        lattices = lattice.none(25, CENTRE)
        fitted = replace(lattices, vectors=seen, residual=np.zeros(25))
        errors.append((strain.reference(fitted) - BASIS, np.median(seen, axis=0) - BASIS))
    averaged, plain = np.std(errors, axis=(0, 2, 3))
    assert averaged < 0.6 * plain


def test_a_third_of_another_material_leaves_the_median_to_the_others():
    vectors = np.array([BASIS] * 70 + [1.03 * BASIS] * 28)
    fitted = replace(lattice.none(98, CENTRE), vectors=vectors, residual=np.zeros(98))
    np.testing.assert_allclose(strain.reference(fitted), BASIS)


def test_strain_turns_as_a_tensor():
    values, angle = np.array([[0.03, -0.01, 0.007, 0.002]]), 0.4
    xx, yy, xy, theta = values[0]
    turned = rotation(angle).T @ np.array([[xx, xy], [xy, yy]]) @ rotation(angle)
    found = strain.in_frame(strain.Strain(values, np.eye(2)[None]), angle).values[0]
    np.testing.assert_allclose(found, [turned[0, 0], turned[1, 1], turned[0, 1], theta])


@pytest.mark.parametrize("degrees", [0, 45, 110])
def test_uncertainties_hold_in_every_frame_also_where_disks_tell_one_direction_better(degrees):
    rng, angle = np.random.default_rng(3), np.radians(degrees)
    covariance = 25e-8 * np.array([[1.0, 0.9], [0.9, 1.2]])
    noise = np.linalg.cholesky(covariance) @ rng.normal(size=(20_000, 2, 2))  # the detector's axes are independent
    drawn = strain.Strain(strain.of_distortion((np.eye(2) + noise).swapaxes(1, 2)), covariance[None])
    found = strain.in_frame(drawn, angle)
    np.testing.assert_allclose(found.values.std(0), found.sigma[0], rtol=0.03)
