"""Peaks without counts behind them, and second peaks on one disk, don't count for positions."""

import numpy as np
import pytest
from disk_patterns import disk

from fourdcrystal import gaps, significance
from fourdcrystal.peaks import Peaks

SHAPE, RADIUS = (64, 64), 4.0
PROBE = disk(SHAPE, (32, 32), RADIUS)


def on(positions, strength=None):
    at = np.array(positions, float)
    return Peaks.of(np.zeros(len(at), int), at, np.ones(len(at)) if strength is None else np.array(strength, float))


def unmoved(patterns, probe, peaks):
    return peaks


@pytest.mark.parametrize("background", [20.0, 400.0])
def test_a_disk_on_a_strong_background_is_as_significant_as_its_counts_are(background):
    rng = np.random.default_rng(6)
    mean = background + 1.5 * np.sqrt(background) * disk(SHAPE, (20, 20), RADIUS)
    image = rng.poisson(mean, (30, *SHAPE)).astype(float)
    peaks = Peaks.of(np.arange(30), np.tile([20.0, 20.0], (30, 1)), np.ones(30))
    found = significance.judged(image, PROBE, peaks)
    area = (disk(SHAPE, (20, 20), RADIUS) > 0.5).sum()
    assert 0.5 * 1.5 * np.sqrt(area) < np.median(found.significance) < 1.5 * np.sqrt(area)
    assert np.median(found.electrons) == pytest.approx(1.5 * np.sqrt(background) * area, rel=0.25)


def test_filled_gaps_do_not_make_noise_significant():
    rng, blind = np.random.default_rng(7), np.zeros((128, 128), bool)
    blind[60:64] = True
    image = rng.poisson(0.3, (40, 128, 128)).astype(np.float32)
    filled = gaps.of_mask(blind, RADIUS).fill(np.where(blind, np.nan, image))
    at = rng.uniform(10, 118, (40 * 20, 2))
    peaks = Peaks.of(np.repeat(np.arange(40), 20), at, np.ones(len(at)))
    found = significance.judged(filled, disk((128, 128), (64, 64), RADIUS), peaks).significance
    assert (found > 2).mean() < 0.04 and (found > 4).mean() < 2e-3
