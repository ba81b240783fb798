"""Peaks without counts behind them, and second peaks on one disk, don't count for positions."""

import numpy as np
import pytest
from disk_patterns import disk

from fourdcrystal import significance
from fourdcrystal.peaks import Peaks

SHAPE, RADIUS = (64, 64), 4.0
PROBE = disk(SHAPE, (32, 32), RADIUS)


def on(positions, strength=None):
    at = np.array(positions, float)
    return Peaks.of(np.zeros(len(at), int), at, np.ones(len(at)) if strength is None else np.array(strength, float))


@pytest.mark.parametrize("unit", [1.0, 37.0, 1e-4])
@pytest.mark.parametrize("background", [0.0, 0.3])
def test_disks_with_counts_stand_out_and_places_without_do_not(unit, background):
    rng = np.random.default_rng(0)
    image = rng.poisson(1.5 * disk(SHAPE, (20, 20), RADIUS) + background) * unit
    found = significance.of_peaks(image[None], PROBE, on([[20, 20], [44, 40]]))
    assert found[0] > 5 and found[1] < 3


def test_neighbouring_disks_are_no_background():
    lattice = [(20 + 11 * i, 20 + 11 * j) for i in range(3) for j in range(3)]
    image = np.random.default_rng(1).poisson(sum(20 * disk(SHAPE, at, RADIUS) for at in lattice))
    assert (significance.of_peaks(image[None].astype(float), PROBE, on(lattice)) > 10).all()


def test_one_peak_is_left_for_each_disk():
    image = 100 * disk(SHAPE, (20, 20), RADIUS) + 50 * disk(SHAPE, (30, 20), RADIUS)
    peaks = on([[20, 20], [21.5, 20.5], [30, 20], [50, 50], [0.2, 63]], [9, 3, 4, 2, 1])
    kept = significance.single(PROBE, significance.confirmed(image[None].round(), PROBE, peaks))
    assert kept.positions.tolist() == [[20, 20], [30, 20]]
    assert len(significance.single(PROBE, significance.confirmed(image[None], PROBE, Peaks.none()))) == 0
