"""Labels: peaks where the reciprocal lattice is, as high as |V_g| w, for any array library."""

import numpy as np
import pytest
import torch
from known_crystals import SAPPHIRE
from scipy.spatial.transform import Rotation

from fourdcrystal import labels, reflections
from fourdcrystal.electrons import wavelength
from fourdcrystal.settings import Labels

ENERGY, SHAPE, DQ = 200e3, (96, 128), 0.02
SETTINGS = Labels(width=1.5, sigma=0.03, weakest=0.02)


@pytest.fixture(scope="module")
def table():
    turn = Rotation.random(rng=np.random.default_rng(4)).as_matrix()
    return reflections.reflections(SAPPHIRE, turn, 1.6, [ENERGY], labels.CUTOFF * SETTINGS.sigma)


def centre_of_mass(image, around, reach=4):
    """Centre [px] of the part of an image around a position."""
    corner = np.round(around).astype(int) - reach
    part = image[corner[0] : corner[0] + 2 * reach + 1, corner[1] : corner[1] + 2 * reach + 1]
    axes = [corner[a] + np.arange(2 * reach + 1) for a in (0, 1)]
    return np.array([(part.sum(1) * axes[0]).sum(), (part.sum(0) * axes[1]).sum()]) / part.sum()


def isolated(places, shape, distance=14):
    """Positions on the image, far from its rim and from all others."""
    apart = np.linalg.norm(places[:, None] - places, axis=-1) + 1e9 * np.eye(len(places))
    return (apart.min(1) > distance) & ((places > 6) & (places < np.array(shape) - 7)).all(1)


def test_label_peaks_lie_on_the_reciprocal_lattice(table):
    weights = labels.weights(table.g, table.vg, ENERGY, SETTINGS)
    seen = weights > 0
    places = labels.positions(table.g, DQ, SHAPE)
    vg, _ = labels.draw(places, weights, table.g[:, 2], SHAPE, SETTINGS.width)
    alone = isolated(places[seen], SHAPE)
    assert alone.sum() >= 5
    for place, g in zip(places[seen][alone], table.g[seen][alone], strict=True):
        expected = np.array([48, 64]) + g[:2] / DQ
        assert np.abs(centre_of_mass(vg, place) - expected).max() < 0.05


def test_an_isolated_peak_is_as_high_as_its_structure_factor_and_knows_its_height():
    vg, qz = labels.draw(np.array([[40.0, 50.0]]), np.array([7.5]), np.array([-0.02]), SHAPE, 1.5)
    assert vg[40, 50] == pytest.approx(7.5)
    assert vg[41, 50] == pytest.approx(7.5 * np.exp(-1 / (2 * 1.5**2)))
    assert qz[40, 50] == pytest.approx(-0.02)
    assert qz[0, 0] == 0 and np.isfinite(qz).all()  # the reference code's q_z is NaN where there is no potential


def test_overlapping_peaks_share_q_z_by_their_strength():
    centres = np.array([[40.0, 50.0], [40.0, 50.0]])
    vg, qz = labels.draw(centres, np.array([3.0, 1.0]), np.array([0.04, 0.0]), SHAPE, 1.5)
    assert vg[40, 50] == pytest.approx(4.0) and qz[40, 50] == pytest.approx(0.03)


def test_weights_fall_off_with_the_excitation_error_and_weak_ones_are_left_out(table):
    weights = labels.weights(table.g, table.vg, ENERGY, SETTINGS)
    s = reflections.excitation_errors(table.g, wavelength(ENERGY))
    exact = np.abs(table.vg) * np.exp(-(s**2) / (2 * SETTINGS.sigma**2))
    kept = exact >= SETTINGS.weakest * exact.max()
    np.testing.assert_array_equal(weights > 0, kept)
    np.testing.assert_allclose(weights[kept], exact[kept])


def test_an_empty_table_draws_empty_maps():
    vg, qz = labels.draw(np.empty((0, 2)), np.empty(0), np.empty(0), SHAPE, 1.5)
    assert vg.shape == qz.shape == SHAPE and not vg.any() and not qz.any()


def test_torch_draws_what_numpy_draws_also_in_batches(table):
    weights = labels.weights(table.g, table.vg, ENERGY, SETTINGS)
    places = labels.positions(table.g, DQ, SHAPE)
    expected = labels.draw(places, weights, table.g[:, 2], SHAPE, 1.5)
    batch = [torch.tensor(np.stack([a, a]), dtype=torch.float32) for a in (places, weights, table.g[:, 2])]
    for found, wanted in zip(labels.draw(*batch, SHAPE, 1.5), expected, strict=True):
        assert found.shape == (2, *SHAPE)
        np.testing.assert_allclose(found[1], wanted, atol=1e-4)
    g = torch.tensor(np.stack([table.g, table.g]))
    dq = torch.tensor([DQ, 2 * DQ], dtype=g.dtype)[:, None, None]
    np.testing.assert_allclose(labels.positions(g, dq, SHAPE)[0], places)
