"""Two disks at g and -g tell one V_g."""

import numpy as np

from fourdcrystal import friedel
from fourdcrystal.peaks import Peaks

CENTRE, RADIUS, APART, CURVATURE, SIGMA = (64.0, 64.0), 4.0, 1.5, 1e-5, 0.03
G = np.array([[20.0, 3.0], [-4.0, 25.0], [30.0, -22.0]])


def pattern(beam=(64.0, 64.0), tilt=(0.0, 0.0), number=0):
    """Direct beam, three pairs and a disk without a mate; true |V_g| 1, 2, 3 and 4 V, heights of a tilted plane."""
    g = np.concatenate([[[0.0, 0.0]], G, -G, [[11.0, 40.0]]])
    potential = np.array([9.0, 1, 2, 3, 1, 2, 3, 4])
    qz = -(g @ np.array(tilt)) * CURVATURE
    s = -(qz + CURVATURE * ((g + np.array(beam) - CENTRE) ** 2).sum(1) / 2)
    w = np.exp(-(s**2) / (2 * SIGMA**2))
    return np.full(len(g), number), g + beam, potential, w, qz


def peaks(*parts):
    number, at, intensity, qz = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Peaks.of(number, at, intensity, qz)


def shared(found, sigma=SIGMA, curvature=CURVATURE):
    return friedel.shared(found, CENTRE, RADIUS, APART, curvature, sigma)


def test_errors_of_opposite_sign_within_a_pair_go_and_what_is_right_stays():
    number, at, potential, w, qz = pattern(tilt=(30.0, -10.0))
    assert w.min() < 0.9  # one of a pair is off the Ewald sphere
    right = peaks((number, at, potential * w, qz))
    np.testing.assert_allclose(shared(right).intensity, right.intensity, rtol=1e-12)
    off = np.array([0, 0.3, -0.4, 0.1, -0.3, 0.4, -0.1, 0])
    found = shared(peaks((number, at, potential * w + off, qz)))
    np.testing.assert_allclose(found.intensity, right.intensity, rtol=1e-12)


def test_mates_are_opposite_the_direct_beam_wherever_descan_has_taken_it():
    number, at, potential, _, qz = pattern(beam=(70.0, 59.0))
    mate = friedel.mates(peaks((number, at, potential, qz)), CENTRE, RADIUS, APART)
    order = np.lexsort((-potential, number))
    wanted = np.argsort(order)[np.array([0, 4, 5, 6, 1, 2, 3, 7])][order]
    np.testing.assert_array_equal(mate, wanted)


def test_patterns_do_not_mix_and_one_without_a_direct_beam_stays():
    number, at, potential, _, qz = pattern()
    other = at.copy()
    other[0] = 5.0, 5.0  # far from where the direct beam is looked for
    uneven = potential + np.linspace(0, 0.7, len(potential))
    both = peaks((number, at, uneven, qz), (number + 1, other, uneven, qz), (number + 3, at, uneven, qz))
    found = shared(both, SIGMA)
    np.testing.assert_allclose(found.of_pattern(1).intensity, both.of_pattern(1).intensity)
    np.testing.assert_allclose(found.of_pattern(3).intensity, found.of_pattern(0).intensity)
    assert not np.allclose(found.of_pattern(0).intensity, both.of_pattern(0).intensity)


def test_a_disk_that_is_not_opposite_is_no_mate():
    number, at, potential, _, qz = pattern()
    at[1] += 2.0
    uneven = potential + np.linspace(0, 0.7, len(potential))
    before = peaks((number, at, uneven, qz))
    after = shared(before)
    moved = np.hypot(*(before.positions - at[1]).T) < 1e-9
    np.testing.assert_allclose(after.intensity[moved], before.intensity[moved])


def test_where_heights_are_not_known_both_count_alike():
    number, at, potential, _, _ = pattern()
    found = Peaks.of(number, at, potential + np.array([0, 0.5, 0, 0, -0.5, 0, 0, 0]))
    np.testing.assert_allclose(np.sort(shared(found, curvature=float("nan")).intensity), np.sort(potential))


def test_heights_so_far_off_that_they_are_a_guess_do_not_make_a_disk_dark():
    number, at, potential, _, qz = pattern()
    s = -CURVATURE * (G[1] @ G[1]) / 2
    qz[2] = 10 * SIGMA  # one of the second pair
    found = shared(peaks((number, at, potential, qz)))
    one, other = (found.intensity[np.hypot(*(found.positions - at[i]).T) < 1e-9] for i in (2, 5))
    np.testing.assert_allclose(one / other, np.exp(s**2 / (2 * SIGMA**2) - friedel.MOST_DAMPED))
    np.testing.assert_allclose(one + other, potential[2] + potential[5])


def test_no_peaks_are_no_trouble():
    assert len(shared(Peaks.none())) == 0
