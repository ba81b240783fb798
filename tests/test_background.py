"""The background between disks is told from the pixels that no disk lights up, also where next to no electron falls."""

import numpy as np
import pytest
from disk_patterns import disk

from fourdcrystal import background
from fourdcrystal.peaks import Peaks

SHAPE, RADIUS = (128, 128), 5.0
PROBE = disk(SHAPE, (64, 64), RADIUS)
AT = np.array([[64.0, 64], [40, 64], [64, 94], [20, 30], [110, 100]])


def halo(level):
    """Electrons that fade with the distance from the direct beam, in each pixel."""
    return level * np.exp(-np.hypot(*(np.indices(SHAPE) - 64)) / 30)


def patterns(level, count, seed=0):
    disks = sum(100 * disk(SHAPE, tuple(at), RADIUS) for at in AT)
    return np.random.default_rng(seed).poisson(disks + halo(level), (count, *SHAPE)).astype(np.float32)


def peaks(count):
    return Peaks.of(np.repeat(np.arange(count), len(AT)), np.tile(AT, (count, 1)), np.ones(count * len(AT)))


@pytest.mark.parametrize("level", [0.05, 0.5, 5.0])
def test_it_is_the_mean_between_disks_at_that_distance_from_the_direct_beam(level):
    made, known = patterns(level, 20), peaks(20)
    found = background.around_beam(made, PROBE, known).reshape(20, -1).mean(0)
    true = halo(level)[tuple(known.positions[: len(AT)].astype(int).T)]
    # around the direct beam itself no pixel is free; elsewhere a ring is as wide as a disk
    np.testing.assert_allclose(found[1:], true[1:], rtol=0.25)


def test_the_direct_beam_is_covered_also_where_it_was_not_found():
    made = patterns(0.1, 5)
    without = peaks(5).where(np.tile(np.arange(len(AT)) > 0, 5))
    assert background.covered(made.shape, PROBE, without, RADIUS + 1)[:, 60:69, 60:69].all()
    assert background.around_beam(made, PROBE, without).max() < 0.2


def test_an_empty_pattern_has_less_than_an_electron_in_all():
    found = background.around_beam(np.zeros((1, *SHAPE), np.float32), PROBE, peaks(1))
    assert (found > 0).all() and found.max() * np.prod(SHAPE) < 2
