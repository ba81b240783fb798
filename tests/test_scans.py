"""Scans and probes that can't be used together are refused in one sentence; reading is lazy and in order."""

from dataclasses import replace

import numpy as np
import pytest
from disk_patterns import disk, scan

from fourdcrystal import scan_checks
from fourdcrystal.errors import InputError


@pytest.fixture(scope="module")
def good():
    made = scan()
    assert scan_checks.check(made) is None
    return made


def refused(made, words):
    with pytest.raises(InputError, match=words) as error:
        scan_checks.check(made)
    text = str(error.value)
    assert text.startswith("made.npz: ") and text.count(". ") == 0


def test_wrong_dimensions(good):
    refused(replace(good, patterns=good.patterns[0]), "3 dimensions")
    refused(replace(good, patterns=good.patterns.transpose(2, 3, 0, 1)), "--axes 2,3,0,1")


def test_probe_of_another_camera_setting(good):
    refused(replace(good, probe=good.probe[:80, :80]), "80 x 80 px but the patterns have 96 x 96 px")


@pytest.mark.parametrize("radius", [1.9, 9.0])
def test_probe_of_another_convergence_angle(good, radius):
    refused(replace(good, probe=disk((96, 96), (48, 48), radius)), "disks have a radius of about")


@pytest.mark.parametrize(
    ("radius", "said"), [(3.5, True), (3.9, False), (4.0, False), (4.1, False), (4.6, True), (5.5, True)]
)
def test_a_probe_that_is_a_tenth_too_small_or_large_is_said(good, radius, said):
    words = scan_checks.check(replace(good, probe=1e4 * disk((96, 96), (48, 48), radius)))
    assert (words is not None) == said
    assert words is None or "disks have a radius of about" in words


def test_read_noise_around_zero_is_no_reason_to_refuse(good):
    noisy = good.patterns / 30 + np.random.default_rng(1).normal(0, 2, good.patterns.shape)
    assert np.minimum(noisy, 0).sum() < -0.1 * np.abs(noisy).sum()
    assert scan_checks.check(replace(good, patterns=noisy)) is None
    wrapped = good.patterns.clip(max=300).astype(np.uint8).view(np.int8)
    refused(replace(good, patterns=np.where(good.patterns > 127, -100, wrapped)), "ran over")


def test_contrast_within_the_disks_of_a_thick_crystal_is_no_other_convergence_angle(good):
    probe = disk((96, 96), (48, 48), 7.0)
    thick = 100 * (probe + 5 * disk((96, 96), (50, 48), 2.5))
    assert scan_checks.check(replace(good, patterns=np.broadcast_to(thick, good.patterns.shape), probe=probe)) is None


@pytest.mark.parametrize("radius", [3.0, 5.0])
def test_a_beam_that_moves_over_the_camera_has_no_larger_disk(good, radius):
    moved = np.linspace(-6, 6, good.patterns.shape[0]), np.linspace(-6, 6, good.patterns.shape[1])
    patterns = np.array([[1000 * disk((96, 96), (48 + x, 48 + y), radius) for y in moved[1]] for x in moved[0]])
    assert scan_checks.check(replace(good, patterns=patterns, probe=disk((96, 96), (48, 48), radius))) is None


def test_probe_without_a_disk(good):
    refused(replace(good, probe=np.zeros((96, 96))), "probe is empty")
    refused(replace(good, probe=np.full((96, 96), np.nan)), "not finite")
    refused(replace(good, probe=np.ones((96, 96))), "image of vacuum")


def test_a_scan_of_the_specimen_is_no_vacuum_probe(good):
    refused(replace(good, probe=good.patterns.mean((0, 1))), "without a specimen")


@pytest.mark.parametrize("background", [0.0, 3.0])
def test_halo_and_background_make_no_specimen(good, background):
    rng = np.random.default_rng(0)
    far = np.hypot(*(np.indices((96, 96)) - 48))
    probe = rng.poisson(1e3 * good.probe / good.probe.max() + 15 * np.exp(-far / 20) + background)
    assert scan_checks.check(replace(good, probe=probe)) is None


def test_numbers_that_are_no_counts(good):
    refused(replace(good, patterns=good.patterns.astype(complex)), "holds complex128, not counts")


def test_patterns_without_counts_or_with_nan(good):
    refused(replace(good, patterns=np.zeros_like(good.patterns)), "are empty")
    refused(replace(good, patterns=np.full_like(good.patterns, np.nan)), "NaN")
    refused(replace(good, patterns=good.patterns - 50), "are negative")


def test_a_few_patterns_with_nan_are_no_reason_to_refuse(good):
    spoiled = good.patterns.copy()
    spoiled[1, 1, 3, 3] = np.nan
    assert scan_checks.check(replace(good, patterns=spoiled)) is None


@pytest.mark.parametrize("size", [1, 3, 4, 5, 100])
def test_batches_cover_the_scan_in_order(good, size):
    together = list(good.batches(size))
    assert max(map(len, together)) <= size
    np.testing.assert_array_equal(np.concatenate(together), good.patterns.reshape(-1, 96, 96).astype(np.float32))


@pytest.mark.parametrize("most", [1, 5, 12, 100])
def test_a_sample_is_spread_over_the_whole_scan(good, most):
    index = good.spread(most)
    assert len(np.unique(index)) == min(most, 12) and index[0] == 0 and (most == 1 or index[-1] == 11)
    np.testing.assert_array_equal(good.sample(most), good.patterns.reshape(-1, 96, 96)[index])


def test_regions_and_strides_take_the_truth_along(good):
    part = good.region(slice(1, None), slice(0, 4), 2)
    assert part.grid == (1, 2) and part.truth["distortion"].shape == (1, 2, 2, 2)
    g = np.arange(3 * 4 * 5 * 3.0).reshape(3, 4, 5, 3)
    known = replace(good, truth={"centres": g[..., :2], "g": g, "hkl": g[0, 0]}).region(slice(1, None), slice(0, 4), 2)
    np.testing.assert_array_equal(known.truth["g"][..., :2], known.truth["centres"])
    assert known.truth["hkl"].shape == (5, 3)  # one list for all positions
    np.testing.assert_array_equal(np.concatenate(list(part.batches(1))), good.patterns[1, 0:4:2])
    with pytest.raises(InputError, match="no position"):
        good.region(slice(2, 2), slice(None))
    with pytest.raises(InputError, match="goes beyond the 3 x 4 scan"):
        good.region(slice(1, 12), slice(None))


def test_binning_keeps_counts_and_moves_centres(good):
    truth = {"centres": np.array([[[[10.5, 20.5]]]])}
    small = replace(good, truth=truth).binned(2)
    assert small.shape == (48, 48) and small.dq == pytest.approx(0.04)
    assert np.asarray(small.patterns[0, 0]).sum() == good.patterns[0, 0].sum()
    assert small.truth["centres"].ravel().tolist() == [5.0, 10.0]
    with pytest.raises(InputError, match="by 6 at most"):
        good.binned(8)
