"""The sign and size of the tilt from q_z."""

import numpy as np
import pytest

from fourdcrystal import tilt
from fourdcrystal.orientation import leaning
from fourdcrystal.peaks import Peaks


def zone(tilts):
    """Reflections of the zeroth Laue zone of a crystal whose zone axis is brought along (t_x, t_y, 1)."""
    h, k = np.meshgrid(np.arange(-4, 5), np.arange(-4, 5))
    flat = np.stack([0.2 * h.ravel(), 0.25 * k.ravel(), 0 * h.ravel()], axis=1)
    return flat @ leaning(tilts).T


def one(q, qz, weight):
    """The robust plane of one pattern, which is the same beside another one with more peaks."""
    beside = np.random.default_rng(9).normal(size=(len(q) + 7, 2))
    table = [np.zeros((2, len(q) + 7, *rest)) for rest in ((2,), (), ())]
    for column, mine, other in zip(
        table, (q, qz, weight), (beside, beside @ [0.01, 0.02], np.ones(len(beside))), strict=True
    ):
        column[0, : len(q)], column[1] = mine, other
    found = tilt.robust_planes(*table)
    np.testing.assert_allclose(found[0][1], [-0.01, -0.02], atol=1e-9)
    return tuple(part[0] for part in found)


def test_the_plane_of_a_tilted_zone_is_its_tilt():
    g = zone(np.array([0.012, -0.005]))
    found, residual = tilt.plane(g[:, :2], g[:, 2], np.ones(len(g)))
    assert found == pytest.approx([0.012, -0.005], abs=1e-9)
    assert residual < 1e-9


def test_higher_laue_zones_and_false_peaks_are_outvoted():
    rng = np.random.default_rng(0)
    g = zone(np.array([0.006, 0.004]))
    qz = g[:, 2] + rng.normal(0, 5e-4, len(g))
    qz[:12] += 0.15  # a higher Laue zone
    found, sigma = one(g[:, :2], qz, np.ones(len(g)))
    assert np.abs(found - [0.006, 0.004]).max() < 5 * sigma.max()
    assert sigma.max() < 5e-4


def test_too_few_peaks_or_a_row_have_no_tilt():
    row = np.stack([np.arange(5.0), np.zeros(5)], axis=1)
    assert np.isnan(one(row, np.zeros(5), np.ones(5))[0]).all()
    assert np.isnan(one(row[:2], np.zeros(2), np.ones(2))[0]).all()


def test_each_pattern_s_tilt_comes_from_its_own_peaks():
    rng, tilts = np.random.default_rng(4), np.array([[0.004, -0.002], [-0.006, 0.001], [0.0, 0.005]])
    q = rng.uniform(-1, 1, (3, 9, 2))
    pattern, at = np.repeat(np.arange(3), 9), q.reshape(-1, 2) / 0.02 + 64
    heights = -(q * tilts[:, None]).sum(-1).ravel()
    found, sigma = tilt.of_peaks(Peaks.of(pattern, at, np.ones(27), heights), np.full((3, 2), 64.0), 0.02)
    np.testing.assert_allclose(found, tilts, atol=1e-9)
    np.testing.assert_allclose(sigma, tilt.COMMON, rtol=1e-3)  # exact heights: what they share is left


def test_heights_that_are_not_known_tell_no_tilt():
    q = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]]) / 0.02 + 64
    peaks = Peaks.of(np.zeros(4, int), q, np.ones(4), np.array([0.01, np.nan, 0.02, 0.0]))
    assert np.isnan(tilt.of_peaks(peaks, np.full((1, 2), 64.0), 0.02)[0]).all()


def test_the_stated_uncertainty_of_a_tilt_is_how_much_it_scatters():
    rng, pulls = np.random.default_rng(5), []
    for _ in range(300):
        q = rng.uniform(-1, 1, (30, 2))
        found, sigma = one(q, -q @ [0.003, -0.001] + rng.normal(0, 1e-3, 30), np.ones(30))
        pulls.append((found - [0.003, -0.001]) / sigma)
    assert 0.85 < np.std(pulls) < 1.2


def test_the_residual_of_a_plane_is_the_weighted_rms_distance_from_it():
    q, weight = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]]), np.array([1.0, 1.0, 3.0, 3.0])
    _, residual = tilt.plane(q, np.array([0.01, 0.01, -0.02, -0.02]), weight)  # even in q: no plane explains it
    assert residual == pytest.approx(np.sqrt((2 * 0.01**2 + 6 * 0.02**2) / 8))
