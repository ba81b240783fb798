"""What the camera can't see is found in the scan itself; it makes no peaks and pulls none."""

from dataclasses import replace

import numpy as np
import pytest
from disk_patterns import disk, scan

from fourdcrystal import correlation, detection, gain, gaps
from fourdcrystal.detectors import Correlator
from fourdcrystal.flags import FLAGS, of_patterns, scaled


@pytest.fixture(scope="module")
def whole():
    made = scan((4, 5))
    return replace(made, patterns=made.patterns + np.random.default_rng(0).poisson(2.0, made.patterns.shape))


def without(made, blind, value=0.0):
    patterns = made.patterns.copy()
    patterns[:, :, blind] = value
    return replace(made, patterns=patterns)


def cross(shape):
    blind = np.zeros(shape, bool)
    blind[59:61], blind[:, 30:32] = True, True
    return blind


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_the_gap_between_chips_is_found_and_filled(whole, value):
    made = without(whole, cross(whole.shape), value)
    found = gaps.find(made.sample(20), correlation.radius(made.probe))
    np.testing.assert_array_equal(found.blind, cross(whole.shape))
    filled = found.fill(made.sample(1))
    assert np.isfinite(np.where(found.blind, filled, 0)).all() and found.stop == 0
    assert "filled from their neighbours" in found.words()


def test_a_whole_camera_has_no_gaps(whole):
    assert gaps.find(whole.sample(20), 4.0).count == 0
    assert gaps.find(whole.sample(20), 4.0).words() is None


def test_the_dark_between_disks_of_a_simulation_without_background_is_no_gap():
    assert gaps.find(scan((4, 5)).sample(20), 4.0).count == 0


def test_dark_corners_of_a_camera_with_an_offset_and_a_capped_beam_are_no_gaps(whole):
    counts = scan((4, 5)).sample(20)
    offset = gain.of_patterns(counts + 100)
    assert gaps.find(counts + 100, 4.0, offset).count == 0
    assert gaps.find(whole.sample(20).clip(max=100), 4.0).count == 0


def test_one_pattern_again_and_again_says_nothing_about_gaps(whole):
    assert gaps.find(np.repeat(whole.sample(1), 20, axis=0), 4.0).count == 0


def test_a_hot_pixel_does_not_count(whole):
    patterns = whole.patterns.copy()
    patterns[:, :, 20, 70] = 30000 + np.arange(20).reshape(4, 5)
    found = gaps.find(patterns.reshape(-1, 96, 96), 4.0)
    assert np.argwhere(found.blind).tolist() == [[20, 70]]


@pytest.mark.parametrize("radius", [1.2, 5.1, 12.0])
@pytest.mark.parametrize("plateau", [20, 1000])
def test_the_probe_s_radius_and_centre_are_known_beside_hot_pixels_and_gaps(radius, plateau):
    image = np.random.default_rng(0).poisson(plateau * disk((64, 64), (32, 31.6), radius)).astype(float)
    np.testing.assert_array_equal(gaps.mended(image), image)
    for place, hot in (((5, 50), 2.5), ((5, 50), 10.0), ((60, 3), 1000.0), ((33, 31), 8.0)):
        spoiled = image.copy()
        spoiled[place], spoiled[:, 20] = hot * image.max(), np.nan
        mended = gaps.mended(spoiled)
        assert correlation.radius(mended) == pytest.approx(correlation.radius(image), abs=0.06 if radius < 2 else 0.02)
        assert np.hypot(*np.subtract(correlation.centre(mended), correlation.centre(image))) < 0.1
    assert not gaps.mended(np.full((64, 64), np.nan)).any()


def test_disks_behind_a_gap_or_beam_stop_are_left_out_and_strain_stays(whole):
    stop = disk(whole.shape, (48.3, 47.8), 9.0) > 0.5  # hides the direct beam
    for blind in (cross(whole.shape), stop):
        found = detection.detect(without(whole, blind), Correlator())
        near = blind[tuple(np.rint(found.peaks.positions).astype(int).T)]
        assert len(found.peaks) > 200 and not near.any()
        assert found.maps.lattices.fitted.all() and len(found.notes) == 1 + (blind is stop)
        reference = detection.detect(whole, Correlator())
        np.testing.assert_allclose(found.maps.reference, reference.maps.reference, atol=0.05)
        np.testing.assert_allclose(found.maps.centres, reference.maps.centres, atol=0.3)


def test_a_beam_stop_wider_than_a_disk_is_said_also_where_there_is_no_background():
    made = scan((4, 5))
    stop = disk(made.shape, (48.3, 47.8), 9.0) > 0.5
    stop[:48, 46:50] = True  # its arm
    hidden = detection.detect(without(made, stop), Correlator())
    assert len(hidden.notes) == 1 and "around (48, 48) px" in hidden.notes[0] and "beam stop" in hidden.notes[0]
    reference = detection.detect(made, Correlator())
    assert not reference.notes
    np.testing.assert_allclose(hidden.maps.centres, reference.maps.centres, atol=0.3)
    np.testing.assert_allclose(hidden.maps.reference, reference.maps.reference, atol=0.05)


def test_fractions_that_are_no_counts_are_said_few_electrons_are_not(whole):
    total = whole.patterns.sum((0, 1))
    assert "no counts of electrons" in scaled(total / 1e4, 20)
    assert scaled(total, 20) is None and scaled(total * 0.83, 20) is None
    assert scaled(np.ones((20, 20)), 20) is None  # 20 electrons each


def test_nan_only_in_gaps_is_no_reason_to_skip_a_pattern():
    patterns = np.ones((2, 20, 20), np.float32)
    blind = np.zeros((20, 20), bool)
    blind[5] = True
    patterns[:, 5], patterns[1, 3, 3] = np.nan, np.nan
    assert of_patterns(patterns, blind).tolist() == [0, FLAGS["not_finite"]]
