"""Classical correlation finds flat disks where they are."""

import numpy as np
import pytest
from disk_patterns import disk, lattice_points, pattern

from fourdcrystal import correlation

SHAPE, RADIUS = (96, 112), 4.5
CENTRE, BASIS = np.array([47.7, 56.4]), np.array([[17.3, 1.2], [-2.4, 18.1]])


@pytest.fixture(scope="module")
def image():
    points = lattice_points(SHAPE, CENTRE, BASIS, RADIUS + 2)
    return points, pattern(SHAPE, points, RADIUS, 1e6, np.random.default_rng(0))


def nearest(found, true):
    return np.hypot(*(found[:, None] - true[None]).transpose(2, 0, 1)).min(1)


@pytest.mark.parametrize("root", [False, True])
@pytest.mark.parametrize(("subpixel", "within"), [("none", 0.75), ("parabolic", 0.12), ("multicorr", 0.08)])
def test_flat_disks_are_found_at_sub_pixel_precision(image, subpixel, within, root):
    points, counts = image
    probe = 1e4 * disk(SHAPE, (48, 56), RADIUS)
    found = correlation.detect(counts[None], probe, subpixel, square_root=root, threshold=0.05)
    assert len(found) == len(points)
    assert nearest(found.positions, points).max() < within


def test_the_probe_may_lie_anywhere(image):
    _, counts = image
    positions = [
        correlation.detect(counts[None], 1e4 * disk(SHAPE, at, RADIUS), threshold=0.05).positions
        for at in ((48, 56), (40.3, 61.8))
    ]
    np.testing.assert_allclose(positions[0], positions[1], atol=0.02)


def test_kernel_sums_to_zero_and_has_the_probes_radius():
    probe = disk(SHAPE, (48, 56), RADIUS)
    assert abs(correlation.kernel(probe).sum()) < 1e-10
    assert correlation.radius(probe) == pytest.approx(RADIUS, abs=0.1)


def test_batches_and_single_patterns_agree(image):
    _, counts = image
    probe = disk(SHAPE, (48, 56), RADIUS)
    shifted = np.roll(counts, 3, axis=0)
    both = correlation.detect(np.stack([counts, shifted]), probe, threshold=0.05)
    alone = correlation.detect(shifted[None], probe, threshold=0.05)
    np.testing.assert_allclose(both.of_pattern(1).positions, alone.positions, atol=1e-4)


def test_an_empty_pattern_has_no_disks():
    assert len(correlation.detect(np.zeros((2, *SHAPE)), disk(SHAPE, (48, 56), RADIUS))) == 0
