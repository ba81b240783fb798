"""Disks that fade away from the direct beam seem to lie nearer to it; the scan itself says by how much."""

from dataclasses import replace

import numpy as np
import pytest
from disk_patterns import peaks_on_lattices

from fourdcrystal import asymmetry, lattice
from fourdcrystal.peaks import Peaks

BASIS, CENTRE, PATTERNS = np.array([[13.1, 2.0], [-4.2, 15.3]]), np.array([63.4, 64.8]), 200


def scan(inward, rng) -> tuple[Peaks, Peaks]:
    """Where disks are, and where they are seen: with errors of the stated deviations, and shares of them inward."""
    true = peaks_on_lattices(np.eye(2) + rng.normal(0, 0.005, (PATTERNS, 2, 2)), BASIS, CENTRE, 0.0, rng)
    sigma = 0.03 * 10 ** rng.random(len(true))
    from_beam = true.positions - CENTRE
    unit = from_beam / np.maximum(np.hypot(*from_beam.T), 1e-9)[:, None]
    at = true.positions + sigma[:, None] * (rng.normal(size=unit.shape) - inward * unit)
    return true, replace(true, qx_px=at[:, 0], qy_px=at[:, 1], sigma_px=sigma)


@pytest.mark.parametrize("inward", [0.0, 0.5, -0.3])
def test_residuals_of_a_scan_tell_how_far_inward_its_disks_seem_to_lie(inward):
    _, seen = scan(inward, np.random.default_rng(0))
    lattices = lattice.fit(seen, PATTERNS, BASIS, CENTRE)
    assert asymmetry.share(seen, lattices) == pytest.approx(inward, abs=0.08)


def test_corrected_disks_make_lattices_of_the_true_size():
    true, seen = scan(0.5, np.random.default_rng(1))
    lattices = lattice.fit(seen, PATTERNS, BASIS, CENTRE)
    exact = lattice.fit(replace(true, sigma_px=np.full(len(true), 0.01)), PATTERNS, BASIS, CENTRE)
    better = lattice.fit(asymmetry.corrected(seen, lattices), PATTERNS, BASIS, CENTRE)

    def excess(found):
        """Mean relative size over the true one."""
        return np.mean(np.linalg.det(found.vectors) / np.linalg.det(exact.vectors)) ** 0.5 - 1

    assert excess(lattices) < -4e-4
    assert abs(excess(better)) < 0.3 * abs(excess(lattices))


def test_few_peaks_change_little_of_what_is_usual():
    _, seen = scan(3.0, np.random.default_rng(2))
    few = seen.where(np.flatnonzero(seen.pattern == 0)[:5])
    assert asymmetry.share(few, lattice.fit(few, 1, BASIS, CENTRE)) == pytest.approx(asymmetry.USUAL, abs=0.2)


def test_the_direct_beam_stays_where_it_is_and_so_does_everything_without_stated_errors():
    true, seen = scan(0.5, np.random.default_rng(3))
    lattices = lattice.fit(seen, PATTERNS, BASIS, CENTRE)
    direct = np.hypot(*(true.positions - CENTRE).T) < 3
    moved = asymmetry.corrected(seen, lattices).positions - seen.positions
    assert direct.sum() == PATTERNS and not moved[direct].any() and moved[~direct].any(1).all()
    silent = replace(seen, sigma_px=np.full(len(seen), np.nan))
    assert asymmetry.corrected(silent, lattices) is silent


def test_disks_that_the_frame_cuts_do_not_tell_how_asymmetric_the_others_are():
    true, seen = scan(0.0, np.random.default_rng(4))
    cut = np.hypot(*(true.positions - CENTRE).T) > 45
    unit = (true.positions - CENTRE) / np.maximum(np.hypot(*(true.positions - CENTRE).T), 1e-9)[:, None]
    at = seen.positions - np.where(cut, 1.5 * seen.sigma_px, 0)[:, None] * unit
    moved = replace(seen, qx_px=at[:, 0], qy_px=at[:, 1])
    lattices = lattice.fit(seen, PATTERNS, BASIS, CENTRE)
    assert cut.any() and asymmetry.share(moved, lattices) > 0.3
    assert asymmetry.share(moved, lattices, ~cut) == pytest.approx(0, abs=0.08)
