"""A lattice that peaks lie on makes their positions better, exactly as far as they lie on it."""

from dataclasses import replace

import numpy as np
import pytest
from disk_patterns import peaks_on_lattices

from fourdcrystal import context, lattice
from fourdcrystal.peaks import Peaks

BASIS, CENTRE, PATTERNS = np.array([[13.1, 2.0], [-4.2, 15.3]]), np.array([63.4, 64.8]), 40


def measured(true: Peaks, sigma, rng) -> Peaks:
    """Peaks with errors of the stated deviation, differing from peak to peak."""
    each = sigma * rng.uniform(0.5, 2, len(true))
    at = true.positions + each[:, None] * rng.normal(size=(len(true), 2))
    return replace(true, qx_px=at[:, 0], qy_px=at[:, 1], sigma_px=each)


def scan(tau, sigma, seed=0):
    """Where disks are, what is measured of them, and the lattices fitted to that."""
    rng = np.random.default_rng(seed)
    distortion = np.eye(2) + rng.normal(0, 0.005, (PATTERNS, 2, 2))
    true = peaks_on_lattices(distortion, BASIS, CENTRE, tau, rng)
    seen = measured(true, sigma, rng)
    return true, seen, lattice.fit(seen, PATTERNS, BASIS, CENTRE)


def error(peaks, true):
    return np.hypot(*(peaks.positions - true.positions).T)


@pytest.mark.parametrize("tau", [0.0, 0.1, 0.4])
def test_what_disks_deviate_from_their_lattice_is_told_from_the_error_of_measuring_them(tau):
    _, seen, lattices = scan(tau, 0.2)
    assert context.deviation(seen, lattices) == pytest.approx(tau, abs=0.05)


def test_disks_on_a_lattice_come_several_times_closer_to_where_they_are():
    true, seen, lattices = scan(0.0, 0.2)
    better = context.predicted(seen, lattices)
    assert np.median(error(better, true)) < 0.4 * np.median(error(seen, true))


@pytest.mark.parametrize("tau", [0.0, 0.15, 1.0])
def test_nothing_gets_worse_however_far_disks_lie_from_their_lattice(tau):
    true, seen, lattices = scan(tau, 0.15)
    better = context.predicted(seen, lattices)
    assert np.sqrt(np.mean(error(better, true) ** 2)) < 1.02 * np.sqrt(np.mean(error(seen, true) ** 2))


@pytest.mark.parametrize("tau", [0.0, 0.2])
def test_the_uncertainty_that_is_left_is_stated(tau):
    true, seen, lattices = scan(tau, 0.2)
    better = context.predicted(seen, lattices)
    held = np.abs(better.positions - true.positions) < better.sigma_px[:, None]
    assert 0.62 < held.mean() < 0.82  # errors that are independent, as here, are overstated a little: context.ALIKE


def test_a_second_grain_stays_where_it_is_seen():
    _, _, lattices = scan(0.0, 0.1)
    between = CENTRE + np.array([6.0, 8.0])
    other = Peaks.of(np.arange(PATTERNS), np.tile(between, (PATTERNS, 1)), np.ones(PATTERNS))
    other = replace(other, sigma_px=np.full(PATTERNS, 0.1))
    np.testing.assert_array_equal(context.predicted(other, lattices, 0.05).positions, other.positions)


def test_patterns_without_a_lattice_are_left_alone():
    _, seen, _ = scan(0.0, 0.2)
    nothing = lattice.none(PATTERNS, CENTRE)
    assert context.deviation(seen, nothing) == 0
    np.testing.assert_array_equal(context.predicted(seen, nothing).positions, seen.positions)


def alike(strain, sigma, odd=()):
    """As :func:`scan`, with lattices that differ by a strain; those of an inclusion are 3 % larger."""
    rng = np.random.default_rng(7)
    distortion = np.eye(2) + rng.normal(0, strain, (PATTERNS, 2, 2))
    distortion[list(odd)] += 0.03 * np.eye(2)
    true = peaks_on_lattices(distortion, BASIS, CENTRE, 0.0, rng)
    seen = measured(true, sigma, rng)
    return true, seen, lattice.fit(seen, PATTERNS, BASIS, CENTRE)


def by_themselves(peaks, lattices):
    """The prediction of each pattern's disks without what the others say."""
    nothing = context.Expected(np.zeros((PATTERNS, 3, 2)), np.zeros((PATTERNS, 3, 3)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(context, "expected", lambda *_: nothing)
        return context.predicted(peaks, lattices, 0.0)


def test_where_disks_hold_few_electrons_other_patterns_say_what_lattices_are_like():
    true, seen, lattices = alike(0.002, 0.8)
    ours = error(context.predicted(seen, lattices, 0.0), true)
    assert np.sqrt(np.mean(ours**2)) < 0.85 * np.sqrt(np.mean(error(by_themselves(seen, lattices), true) ** 2))


@pytest.mark.parametrize("sigma", [0.05, 0.8])
def test_an_inclusion_is_not_drawn_towards_the_rest(sigma):
    odd = (3, 17)
    true, seen, lattices = alike(0.002, sigma, odd)
    there = np.isin(true.pattern, odd)
    ours = error(context.predicted(seen, lattices, 0.0), true)[there]
    assert np.sqrt(np.mean(ours**2)) < 1.1 * np.sqrt(np.mean(error(by_themselves(seen, lattices), true)[there] ** 2))


def test_precise_lattices_stay_where_they_are():
    _, seen, lattices = alike(0.01, 0.02)
    moved = context.predicted(seen, lattices, 0.0).positions - by_themselves(seen, lattices).positions
    assert np.abs(moved).max() < 0.01


def test_a_turned_grain_is_not_told_the_other_ones_vectors():
    rng, angle = np.random.default_rng(8), np.radians(20)
    turned = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    grain = np.arange(PATTERNS) % 5 // 3
    distortion = np.where(grain[:, None, None] == 1, turned, np.eye(2)) + rng.normal(0, 0.002, (PATTERNS, 2, 2))
    true = peaks_on_lattices(distortion, BASIS, CENTRE, 0.0, rng)
    seen = measured(true, 0.6, rng)
    each = [lattice.fit(seen, PATTERNS, basis, CENTRE) for basis in (BASIS, BASIS @ turned.T)]
    lattices = each[0].with_others(np.flatnonzero(grain == 1), each[1].of(grain == 1))
    small = grain[true.pattern] == 1
    alone, mixed, told = (
        np.sqrt(np.mean(error(made, true)[small] ** 2))
        for made in (
            by_themselves(seen, lattices),
            context.predicted(seen, lattices, 0.0),
            context.predicted(seen, lattices, 0.0, grain=grain),
        )
    )
    assert told < 0.9 * alone and told < 0.9 * mixed
