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


@pytest.mark.parametrize("unit", [1.0, 37.0, 1e-4])
@pytest.mark.parametrize("background", [0.0, 0.3])
def test_disks_with_counts_stand_out_and_places_without_do_not(unit, background):
    rng = np.random.default_rng(0)
    image = rng.poisson(1.5 * disk(SHAPE, (20, 20), RADIUS) + background) * unit
    found = significance.judged(image[None], PROBE, on([[20, 20], [44, 40]])).significance
    assert found[0] > 5 and found[1] < 3


def test_neighbouring_disks_are_no_background():
    lattice = [(20 + 11 * i, 20 + 11 * j) for i in range(3) for j in range(3)]
    image = np.random.default_rng(1).poisson(sum(20 * disk(SHAPE, at, RADIUS) for at in lattice))
    found = significance.judged(image[None].astype(float), PROBE, on(lattice)).significance
    assert (found > 10).all()


def test_a_faint_disk_between_bright_ones_is_seen():
    """As a superlattice has them: two pixels lie between neighbouring disks, which light up most of the ring."""
    around = [(32 + 10 * i, 32 + 10 * j) for i in (-1, 0, 1) for j in (-1, 0, 1) if (i, j) != (0, 0)]
    bright, rng = sum(15 * disk(SHAPE, at, RADIUS) for at in around), np.random.default_rng(4)
    without, faint = bright + 0.2, bright + 0.2 + 2 * disk(SHAPE, (32, 32), RADIUS)
    seen = [
        significance.judged(rng.poisson(made)[None].astype(float), PROBE, on([(32, 32), *around]))
        for made in (without, faint)
    ]
    assert seen[0].significance[0] < 3 and seen[1].significance[0] > 5
    assert seen[1].electrons[0] == pytest.approx(2 * disk(SHAPE, (32, 32), RADIUS).sum(), rel=0.25)


def test_one_peak_is_left_for_each_disk():
    image = 100 * disk(SHAPE, (20, 20), RADIUS) + 50 * disk(SHAPE, (30, 20), RADIUS)
    peaks = on([[20, 20], [21.5, 20.5], [30, 20], [50, 50], [0.2, 63]], [9, 3, 4, 2, 1])
    kept = significance.refined(image[None].round(), PROBE, peaks, unmoved)
    assert kept.positions.tolist() == [[20, 20], [30, 20]]
    assert len(significance.refined(image[None], PROBE, Peaks.none(), unmoved)) == 0


@pytest.mark.parametrize("density", [0.003, 0.03, 1.0])
def test_noise_without_disks_reaches_two_deviations_as_seldom_as_it_should(density):
    shape, rng = (128, 128), np.random.default_rng(2)
    image = rng.poisson(density, (60, *shape)).astype(float)
    at = rng.uniform(10, 118, (60 * 20, 2))
    peaks = Peaks.of(np.repeat(np.arange(60), 20), at, np.ones(len(at)))
    found = significance.judged(image, disk(shape, (64, 64), RADIUS), peaks).significance
    assert (found > 2).mean() < 0.04 and (found > 4).mean() < 2e-3


def test_a_few_electrons_in_the_dark_are_a_disk():
    image = np.random.default_rng(3).poisson(0.003, (1, 128, 128)).astype(float)
    image[0, 80:85, 40:44] = [[0, 1, 0, 1], [1, 0, 0, 0], [0, 0, 1, 1], [1, 0, 2, 0], [0, 1, 0, 0]]
    found = significance.judged(image, disk((128, 128), (64, 64), RADIUS), on([[82, 41.5], [30, 100]])).significance
    assert found[0] > significance.LEAST and found[1] < 2


def test_on_and_off_a_source_are_compared_as_poisson_statistics_has_it():
    # Li and Ma: many electrons, alpha = 1: (on - off) / sqrt(on + off); equal densities: nothing
    assert significance.excess(*np.array([10400.0, 50, 10000, 50]))[()] == pytest.approx(400 / np.sqrt(20400), rel=1e-3)
    assert significance.excess(*np.array([30.0, 10, 300, 100]))[()] == pytest.approx(0, abs=1e-6)
    # a known background b: twice n ln(n / b) - (n - b)
    n, b = 7.0, 1.0
    known = significance.excess(*np.array([n, 1, 1e9 * b, 1e9]))[()]
    assert known == pytest.approx(np.sqrt(2 * (n * np.log(n / b) - (n - b))), rel=1e-4)
    assert significance.excess(*np.array([0.0, 10, 50, 50]))[()] < -3


@pytest.mark.parametrize("unit", [1.0, 37.0, 1e-4])
@pytest.mark.parametrize("background", [0.02, 20, 400])
def test_an_electron_is_the_step_between_numbers(unit, background):
    image = np.random.default_rng(4).poisson(background, (8, 64, 64)) * unit
    assert significance.unit(image.astype(np.float32)) == pytest.approx(unit, rel=1e-3)


def test_numbers_that_are_no_counts_have_a_unit_all_the_same():
    image = np.random.default_rng(5).normal(3, 1, (4, 64, 64)).clip(0.01)
    assert 0 < significance.unit(image) < 1.5 and significance.unit(np.zeros((1, 8, 8))) == 1


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
    unit = significance.unit(image)
    filled = gaps.of_mask(blind, RADIUS).fill(np.where(blind, np.nan, image))
    at = rng.uniform(10, 118, (40 * 20, 2))
    peaks = Peaks.of(np.repeat(np.arange(40), 20), at, np.ones(len(at)))
    found = significance.judged(filled, disk((128, 128), (64, 64), RADIUS), peaks, unit).significance
    assert (found > 2).mean() < 0.04 and (found > 4).mean() < 2e-3


def test_numbers_with_read_noise_are_said_and_counts_in_any_unit_are_not():
    counts = np.random.default_rng(5).poisson(2.0, (4, *SHAPE))
    for fine in (counts, 2.37 * counts, 100 * counts.astype(np.float32)):
        assert significance.doubts(fine) is None
    noisy = counts + np.random.default_rng(6).normal(0, 0.3, counts.shape)
    assert "read noise" in significance.doubts(noisy.astype(np.float32))


@pytest.mark.parametrize("offset", [0.0, 0.5])
@pytest.mark.parametrize("gain", [1.0, 100.0])
def test_an_electron_is_told_from_noise_where_numbers_have_no_step(gain, offset):
    rng, far = np.random.default_rng(7), np.hypot(*(np.indices(SHAPE) - 32))
    mean = 20 * sum(disk(SHAPE, at, RADIUS) for at in ((20, 20), (40, 44), (32, 32))) + np.exp(-far / 20)
    noisy = gain * (rng.poisson(mean, (32, *SHAPE)) + offset + rng.normal(0, 0.3, (32, *SHAPE)))
    assert significance.unit(noisy.astype(np.float32)) == pytest.approx(gain, rel=0.4)
