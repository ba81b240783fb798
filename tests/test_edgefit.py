"""Edge fits find the centres of disks whose contrast misleads correlation."""

import numpy as np
from disk_patterns import disk

from fourdcrystal import correlation, edgefit
from fourdcrystal.peaks import Peaks

SHAPE, RADIUS = (64, 64), 7.0


def contrasted(rng, count=40, counts=4e3):
    """Single disks, each brighter towards a side of its own, on a background; with Poisson noise."""
    at = 31.5 + rng.uniform(-1, 1, (count, 2))
    x, y = np.indices(SHAPE)
    images = []
    for centre in at:
        direction, strength = rng.uniform(0, 2 * np.pi), rng.uniform(0.5, 0.9)
        u = ((x - centre[0]) * np.cos(direction) + (y - centre[1]) * np.sin(direction)) / RADIUS
        image = disk(SHAPE, centre, RADIUS) * (1 + strength * np.clip(u, -1, 1) + 0.3 * np.clip(u, -1, 1) ** 2)
        images.append(rng.poisson(image / image.sum() * counts + 0.2))
    return np.array(images, float), at


def test_contrast_inside_disks_pulls_correlation_but_not_edge_fits():
    rng = np.random.default_rng(0)
    patterns, true = contrasted(rng)
    probe = rng.poisson(1e4 * disk(SHAPE, (32, 32), RADIUS)).astype(float)
    found = correlation.detect(patterns, probe, square_root=True, threshold=0.99)
    refined = edgefit.refine(patterns, probe, found)
    before, after = (np.hypot(*(p.positions - true).T) for p in (found, refined))
    assert np.median(before) > 0.3
    assert np.median(after) < 0.1
    pull = (refined.positions - true) / refined.sigma_px[:, None]
    assert 0.7 < pull.std() < 1.6


def test_neighbouring_disks_are_masked():
    rng = np.random.default_rng(1)
    at = np.array([[30.3, 20.2], [30.9, 37.6]])  # 17.4 px apart, the second one ten times brighter
    image = rng.poisson(200 * disk(SHAPE, at[0], RADIUS) + 2000 * disk(SHAPE, at[1], RADIUS)).astype(float)
    start = Peaks.of(np.zeros(2, int), at + 0.6, np.array([1.0, 10.0]))
    refined = edgefit.refine(image[None], disk(SHAPE, (32, 32), RADIUS), start)
    assert np.abs(refined.positions - at[::-1]).max() < 0.06


def test_hopeless_candidates_stay_where_they_are():
    rng = np.random.default_rng(2)
    start = Peaks.of(np.zeros(1, int), np.array([[30.0, 30.0]]), np.ones(1))
    refined = edgefit.refine(rng.poisson(0.01, (1, *SHAPE)).astype(float), disk(SHAPE, (32, 32), RADIUS), start)
    assert np.hypot(*(refined.positions - 30).T) < edgefit.FARTHEST + 0.01
    assert refined.sigma_px[0] > 0.3
    assert len(edgefit.refine(np.zeros((1, *SHAPE)), disk(SHAPE, (32, 32), RADIUS), Peaks.none())) == 0
