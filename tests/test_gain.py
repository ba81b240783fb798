"""What one electron is in a camera's numbers: a step between them, or what their noise says."""

from dataclasses import replace

import numpy as np
import pytest
from disk_patterns import disk, scan

from fourdcrystal import detection, detectors, gain, significance
from fourdcrystal.peaks import Peaks

SHAPE, RADIUS = (64, 64), 4.0
DISKS = ((20, 20), (40, 44), (32, 32))


def pattern(electrons: float = 20.0) -> np.ndarray:
    """Expected electrons per pixel: three disks, and a halo that fades away from the middle."""
    far = np.hypot(*(np.indices(SHAPE) - 32))
    return electrons * sum(disk(SHAPE, at, RADIUS) for at in DISKS) + np.exp(-far / 20)


@pytest.mark.parametrize("unit", [1.0, 37.0, 1e-4])
@pytest.mark.parametrize("background", [0.02, 20, 400])
def test_an_electron_is_the_step_between_numbers(unit, background):
    image = np.random.default_rng(4).poisson(background, (8, *SHAPE)) * unit
    found = gain.of_patterns(image.astype(np.float32))
    assert found.electron == pytest.approx(unit, rel=1e-3)
    assert found.words() is None


@pytest.mark.parametrize("dose", [1.0, 1e2, 1e4])
def test_shapes_of_bright_patterns_are_no_noise(dose):
    rng = np.random.default_rng(5)
    pairs = [rng.poisson(dose * pattern() * rng.lognormal(0, 0.1)) for _ in range(16)]
    assert gain.of_patterns(np.array(pairs, np.float32)) == gain.Gain(1.0, 0.0)


def test_numbers_that_are_no_counts_have_a_unit_all_the_same():
    image = np.random.default_rng(5).normal(3, 1, (4, *SHAPE)).clip(0.01)
    assert gain.of_patterns(image).electron > 0
    for nothing in (np.zeros((1, 8, 8)), np.full((2, 8, 8), np.nan), np.zeros((0, 8, 8))):
        assert gain.of_patterns(nothing) == gain.Gain()
    assert gain.of_patterns(np.full((2, 8, 8), 3.0)).electron == 3


WHOLE, FRACTIONS = True, False


@pytest.mark.parametrize(
    ("per_electron", "offset", "read", "numbers_are"),
    [(100, 0, 30, WHOLE), (20, 100, 10, WHOLE), (5, 100, 8, WHOLE), (100, 0, 30, FRACTIONS), (1, 0, 1, FRACTIONS)],
)
def test_a_camera_that_integrates_has_its_gain_and_read_noise_told_from_noise(per_electron, offset, read, numbers_are):
    rng = np.random.default_rng(7)
    numbers = per_electron * rng.poisson(pattern(), (16, *SHAPE)) + offset + rng.normal(0, read, (16, *SHAPE))
    found = gain.of_patterns((np.round(numbers) if numbers_are == WHOLE else numbers).astype(np.float32))
    assert found.electron == pytest.approx(per_electron, rel=0.15)
    assert "read noise" in found.words()
    electrons, level = found.counts(numbers), pattern()
    for here in (level < np.quantile(level, 0.3), level > 15):  # counts of the same mean everywhere, nearly
        assert electrons[:, here].var(0).mean() == pytest.approx(electrons[:, here].mean(), rel=0.15)


def test_a_counting_camera_s_offset_is_no_background():
    rng = np.random.default_rng(8)
    found = gain.of_patterns(rng.poisson(pattern(), (16, *SHAPE)) + 100.0)
    assert "offset of 100" in found.words()
    assert found.electron == 1 and found.dark == pytest.approx(-100, rel=0.01) and found.counted


@pytest.mark.parametrize("read", [0.3, 1.0])
def test_read_noise_is_as_seldom_taken_for_a_disk_as_the_noise_of_counts(read):
    """Also of a camera whose numbers are whole, and clipped at zero."""
    rng = np.random.default_rng(9)
    at = rng.uniform(8, 56, (400, 2))
    far = np.min([np.hypot(*(at - disk).T) for disk in DISKS], axis=0) > 3 * RADIUS
    at = at[far]
    peaks = Peaks.of(np.repeat(np.arange(16), len(at)), np.tile(at, (16, 1)), np.ones(16 * len(at)))
    numbers = 50 * (rng.poisson(pattern(), (16, *SHAPE)) + rng.normal(0, read, (16, *SHAPE)))
    for made in (numbers, np.round(numbers).clip(0)):
        electrons = gain.of_patterns(made).counts(made)
        found = significance.judged(electrons, disk(SHAPE, (32, 32), RADIUS), peaks)
        assert (found.significance > 2).mean() < 0.04 and (found.significance > 4).mean() < 2e-3


@pytest.mark.parametrize(("per_electron", "offset", "read"), [(1, 100, 0), (30, 50, 20)], ids=["offset", "integrating"])
def test_a_scan_s_vectors_are_those_of_its_electrons_whatever_the_camera(per_electron, offset, read):
    rng = np.random.default_rng(10)
    counted = scan(grid=(3, 4))
    patterns = counted.patterns / 10  # 3e4 electrons, so that a disk's edge is noisy
    patterns = rng.poisson(patterns)
    numbers = np.round(per_electron * patterns + offset + rng.normal(0, read, patterns.shape)).clip(0)
    found = [
        detection.detect(replace(counted, patterns=made.astype(np.uint16)), detectors.default())
        for made in (patterns, numbers)
    ]
    assert [bool(each.notes) for each in found] == [False, True]
    vectors = [len(each.peaks) for each in found]
    assert vectors[1] == pytest.approx(vectors[0], rel=0.05)
    strains = [np.abs(each.maps.strain.values).mean() for each in found]  # truly none
    assert strains[1] < 1.3 * strains[0]
