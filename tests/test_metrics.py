"""Scores count what they say they count."""

from dataclasses import replace

import numpy as np
import pytest

from fourdcrystal import metrics
from fourdcrystal.metrics import Truth
from fourdcrystal.peaks import Peaks

SHAPE = (100, 100)
AT = np.array([[20, 20], [30, 60], [70, 35], [60, 80], [45, 12], [80, 60]], float)


def truth(at, intensity, counted=None, pattern=None):
    at, n = np.array(at, float), len(at)
    g = np.column_stack([(at - 50) * 0.02, np.zeros(n)])
    counted = np.ones(n, bool) if counted is None else np.array(counted)
    return Truth(np.zeros(n, int) if pattern is None else np.array(pattern), at, np.array(intensity, float), g, counted)


def found(at, intensity=None, qz=None):
    at = np.array(at, float).reshape(-1, 2)
    intensity = np.ones(len(at)) if intensity is None else np.array(intensity, float)
    return Peaks.of(np.zeros(len(at), int), at, intensity, qz)


def summarised(peaks, true, n=1):
    matches = metrics.match(peaks, true, 2.5, SHAPE, 4)
    dq = np.full(n, 0.02)
    return metrics.summary(metrics.by_pattern(peaks, true, matches, peaks.intensity, n, dq), dq)


def test_perfect_detection_scores_one():
    at = [[20, 20], [30, 60], [70, 35], [60, 80], [45, 12]]
    scores = summarised(found(at, [5, 4, 3, 2, 1]), truth(at, [5, 4, 3, 2, 1]))
    assert scores["score"] == scores["score_weighted"] == 1
    assert scores["position_median_px"] == scores["r_factor"] == 0
    assert scores["strain_rmse"] == pytest.approx(0, abs=1e-12)


def test_missed_and_false_peaks_count_plain_and_weighted():
    # one found (4 V), one missed (1 V), one false (3 V)
    scores = summarised(found([[20, 20], [80, 80]], [4, 3]), truth([[20, 20], [30, 60]], [4, 1]))
    assert scores["score"] == pytest.approx(1 / 3)
    assert scores["score_weighted"] == pytest.approx(4 / 8)
    assert scores["r_factor"] == pytest.approx((1 + 3) / 5)


def test_what_is_not_counted_is_neither_right_nor_wrong():
    true = truth([[50, 50], [20, 20]], [10, 4], counted=[False, True])
    scores = summarised(found([[50, 50], [51, 50], [20.3, 20]]), true)
    assert scores["score"] == 1 and scores["reflections"] == 1


def test_each_peak_is_used_once_and_nearest_first():
    scores = summarised(found([[20, 20.5], [20, 21.5]]), truth([[20, 20]], [1]))
    assert scores["position_median_px"] == pytest.approx(0.5)
    assert scores["score"] == pytest.approx(1 / 2)


def test_errors_of_position_are_medians_and_root_mean_squares_in_pixels_and_in_inverse_angstrom():
    off = np.array([[0.3, 0.4], [-0.3, 0.4], [0.5, 0], [0, 0.5], [0, -2.0], [0.5, 0]])
    scores = summarised(found(AT + off), truth(AT, np.ones(6)))
    assert scores["position_median_px"] == pytest.approx(0.5)
    assert scores["position_rms_px"] == pytest.approx(np.sqrt((5 * 0.25 + 4) / 6))
    assert scores["position_median_invA"] == pytest.approx(0.01)
    assert scores["position_rms_invA"] == pytest.approx(0.02 * np.sqrt((5 * 0.25 + 4) / 6))


def test_what_a_lattice_leaves_of_the_errors_and_how_many_are_within_what_is_stated():
    shifted = replace(found(AT + np.array([0.3, -0.1])), sigma_px=np.full(6, 0.2))
    scores = summarised(shifted, truth(AT, np.ones(6)))
    assert scores["coverage"] == pytest.approx(0.5)  # off by more along one axis, by less along the other
    assert scores["position_joint_px"] == pytest.approx(np.hypot(0.3, 0.1), rel=1e-6)  # nothing shares it out
    to_and_fro = np.where(np.arange(6) % 2, 1, -1)[:, None] * [0.3, 0.0]
    assert summarised(found(AT + to_and_fro), truth(AT, np.ones(6)))["position_joint_px"] < 0.25


def test_patterns_do_not_mix():
    true = truth([[20, 20], [20, 20]], [1, 1], pattern=[0, 1])
    scores = summarised(found([[20, 20]]), true, n=2)
    assert scores["score"] == pytest.approx(1 / 2)


def test_a_uniform_stretch_of_positions_is_a_strain():
    at = np.array([[20, 20], [30, 60], [70, 35], [60, 80], [45, 12]], float)
    scores = summarised(found((at - 50) * 1.01 + 50), truth(at, np.ones(5)))
    assert scores["strain_rmse"] == pytest.approx(0.01 * np.sqrt(2 / 3), rel=1e-6)


def test_tilt_error_is_the_angle_between_the_planes():
    at = np.array([[20, 20], [30, 60], [70, 35], [60, 80], [45, 12]], float)
    q = (at - 50) * 0.02
    g = np.column_stack([q, -(q @ [0.01, 0.0])])
    tilted = replace(truth(at, np.ones(5)), g=g)
    scores = summarised(found(at, qz=-(q @ [0.007, 0.004])), tilted)
    assert scores["tilt_median_mrad"] == pytest.approx(5, rel=1e-3)
    assert scores["untilted_median_mrad"] == pytest.approx(10, rel=1e-3)


def test_on_an_axis_no_tilt_is_right_and_says_nothing_about_a_method():
    at = np.array([[20, 20], [30, 60], [70, 35], [60, 80], [45, 12]], float)
    scores = summarised(found(at, qz=np.zeros(5)), truth(at, np.ones(5)))
    assert np.isnan(scores["tilt_median_mrad"]) and np.isnan(scores["untilted_median_mrad"])


def test_classical_intensities_get_each_patterns_best_scale():
    at = [[20, 20], [30, 60]]
    peaks, true = found(at, [16e4, 4e4]), truth(at, [4, 2])
    matches = metrics.match(peaks, true, 2.5, SHAPE, 4)
    assert metrics.in_volts(peaks, true, matches) == pytest.approx([4, 2])  # |V| is the root of an intensity


def test_how_near_the_edge_a_false_peak_is_forgiven_is_each_pattern_s_own():
    peaks = Peaks.of(np.array([0, 1]), np.array([[6.0, 50.0], [6.0, 50.0]]), np.ones(2))
    true = truth([[20, 20], [20, 20]], [1, 1], pattern=[0, 1])
    assert metrics.match(peaks, true, 2.5, SHAPE, np.array([4.0, 8.0])).false.tolist() == [0]
