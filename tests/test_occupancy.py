"""A faint disk is believed where a scan often shows one, and nowhere else."""

from dataclasses import replace

import numpy as np
import pytest
from disk_patterns import peaks_on_lattices

from fourdcrystal import lattice, occupancy
from fourdcrystal.peaks import Peaks

BASIS, CENTRE, PATTERNS = np.array([[13.1, 2.0], [-4.2, 15.3]]), np.array([63.4, 64.8]), 40
SURE = 9.0


@pytest.fixture
def scan():
    """Peaks with their lattice points' indices; sure all of them."""
    rng = np.random.default_rng(0)
    made = peaks_on_lattices(np.broadcast_to(np.eye(2), (PATTERNS, 2, 2)), BASIS, CENTRE, 0.1, rng)
    index = np.rint((made.positions - CENTRE) @ np.linalg.inv(BASIS)).astype(int)
    return replace(made, significance=np.full(len(made), SURE)), index


def kept(peaks: Peaks, significance: np.ndarray) -> np.ndarray:
    judged = replace(peaks, significance=significance)
    lattices = lattice.fit(judged.where(significance >= SURE), PATTERNS, BASIS, CENTRE)
    return occupancy.kept(judged, lattices)


def test_where_half_of_the_patterns_show_a_disk_the_faint_ones_of_the_others_are_believed(scan):
    peaks, index = scan
    there = (index == [2, 1]).all(1)
    faint = there & (peaks.pattern % 2 == 0)
    assert kept(peaks, np.where(faint, 2.1, SURE)).all()
    assert not kept(peaks, np.where(faint, 1.9, SURE))[faint].any()


def test_where_no_pattern_shows_a_disk_it_takes_what_it_takes_elsewhere(scan):
    peaks, index = scan
    there = (index == [2, 1]).all(1)
    one = there & (peaks.pattern == 7)
    for significance, believed in ((3.7, False), (4.1, True)):
        level = np.where(one, significance, np.where(there, 0.5, SURE))
        found = kept(peaks, level)
        assert found[one].all() == believed and not found[there & ~one].any() and found[~there].all()


def test_where_one_grain_shows_disks_the_noise_of_another_is_none(scan):
    """Also where both have the same indices, as two phases do."""
    peaks, index = scan
    there, grain = (index == [2, 1]).all(1), np.arange(PATTERNS) % 4 // 3  # three quarters and one
    noise = there & (grain[peaks.pattern] == 1)
    judged = replace(peaks, significance=np.where(noise, 2.5, SURE))
    lattices = lattice.fit(judged.where(~noise), PATTERNS, BASIS, CENTRE)
    assert occupancy.kept(judged, lattices)[noise].all()
    assert not occupancy.kept(judged, lattices, grain)[noise].any()
    own = replace(judged, significance=np.where(there & ~noise, 2.5, SURE))
    assert not occupancy.kept(own, lattices, grain)[there & ~noise].any()


def test_the_rarer_disks_are_the_more_counts_they_need(scan):
    peaks, index = scan
    there, least = (index == [-1, 2]).all(1), []
    for often in (1, 4, 10, 20):
        for level in np.arange(1.9, 4.2, 0.1):
            if kept(peaks, np.where(there & (peaks.pattern >= often), level, SURE)).all():
                least.append(level)
                break
    assert least == sorted(least, reverse=True) and least[0] > 3 and least[-1] < 2.2


def test_a_faint_peak_between_lattice_points_is_not_believed(scan):
    peaks, index = scan
    moved = (index == [1, 1]).all(1) & (peaks.pattern < 10)
    at = peaks.positions + np.where(moved, 4.0, 0.0)[:, None]
    found = kept(replace(peaks, qx_px=at[:, 0], qy_px=at[:, 1]), np.where(moved, 3.5, SURE))
    assert not found[moved].any() and found[~moved].all()


def test_without_a_lattice_sure_ones_are_left_and_all_where_nobody_looked_at_counts(scan):
    peaks, _ = scan
    none = lattice.none(PATTERNS, CENTRE)
    level = np.where(np.arange(len(peaks)) % 3 == 0, 3.0, SURE)
    np.testing.assert_array_equal(occupancy.kept(replace(peaks, significance=level), none), level == SURE)
    assert occupancy.kept(replace(peaks, significance=np.full(len(peaks), np.nan)), none).all()
