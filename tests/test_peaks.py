"""Peaks are found in V_g maps where labels put them, with their height and q_z."""

import numpy as np
import torch

from fourdcrystal import labels, peaks
from fourdcrystal.peaks import Peaks


def drawn(positions, strength, qz, width=1.5, shape=(96, 80)):
    vg, heights = labels.draw(np.array([positions]), np.array([strength]), np.array([qz]), shape, width)
    return torch.as_tensor(vg), torch.as_tensor(heights)


def test_label_peaks_are_recovered_exactly():
    at = [[20.3, 30.7], [50.01, 40.5], [70.9, 12.25]]
    vg, qz = drawn(at, [10.0, 3.0, 0.5], [0.01, -0.02, 0.03])
    found = peaks.extract(vg, qz, width=1.5, threshold=0.01)
    assert len(found) == 3
    np.testing.assert_allclose(found.positions, at, atol=1e-3)  # sorted from strong to weak
    np.testing.assert_allclose(found.intensity, [10, 3, 0.5], rtol=1e-3)
    np.testing.assert_allclose(found.qz, [0.01, -0.02, 0.03], atol=1e-4)


def test_stated_uncertainty_follows_the_noise():
    rng = np.random.default_rng(0)
    at = rng.uniform(10, 80, (1, 2)) + np.zeros((200, 2)) + rng.uniform(-0.5, 0.5, (200, 2))
    vg, qz = labels.draw(at[:, None], np.full((200, 1), 5.0), np.zeros((200, 1)), (96, 96), 1.5)
    noisy = torch.as_tensor(vg + rng.normal(0, 0.2, vg.shape))
    found = peaks.extract(noisy, torch.as_tensor(qz), 1.5, threshold=0.5)
    assert len(found) == 200
    pull = (found.positions - at) / found.sigma_px[:, None]
    assert 0.8 < pull.std() < 1.3


def test_threshold_is_relative_to_the_strongest_of_each_pattern():
    vg, qz = drawn([[20, 30], [50, 40]], [10.0, 0.3], [0, 0])
    assert len(peaks.extract(vg, qz, 1.5, threshold=0.05)) == 1
    assert len(peaks.extract(vg, qz, 1.5, threshold=0.02)) == 2


def test_an_empty_map_has_no_peaks():
    assert len(peaks.extract(torch.zeros(2, 32, 32), torch.zeros(2, 32, 32), 1.5, 0.05, floor=0.05)) == 0


def test_the_weaker_of_two_close_maxima_is_left_out():
    pattern = torch.tensor([0, 0, 0, 1])
    at = torch.tensor([[10.0, 10], [12, 10], [14, 10], [12, 10]])
    # the third is close to the second only, which the first has already removed
    assert peaks.spaced(pattern, at, 3.0, 2).tolist() == [True, False, True, True]


def test_joined_batches_keep_their_patterns_apart():
    one = Peaks.of(np.array([0, 1]), np.ones((2, 2)), np.array([1.0, 2.0]))
    both = Peaks.joined([one, Peaks.none(), one], [2, 3, 2])
    assert both.pattern.tolist() == [0, 1, 5, 6]
    assert len(both.of_pattern(6)) == 1 and len(both.of_pattern(3)) == 0
