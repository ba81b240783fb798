"""The patterns of a scan tell of each other where the direct beam is, as far as it moves smoothly."""

from dataclasses import replace

import numpy as np
import pytest
from disk_patterns import peaks_on_lattices

from fourdcrystal import context, direct_beam, lattice, lattice_precision, mapping
from fourdcrystal.peaks import Peaks

BASIS, CENTRE, GRID = np.array([[13.1, 2.0], [-4.2, 15.3]]), np.array([63.4, 64.8]), (8, 10)
PATTERNS = GRID[0] * GRID[1]


def descan(size):
    """How far the direct beam is off its mean position: a tilted parabola, (P, 2)."""
    u, v = (a.ravel() for a in np.meshgrid(*(np.linspace(-1, 1, n) for n in GRID), indexing="ij"))
    return size * np.column_stack([u + 0.4 * v**2, 0.7 * v - 0.5 * u * v])


def scan(moved, sigma=0.2, seed=0, side=False):
    """True and measured peaks of lattices whose direct beams are displaced, and the lattices fitted to the latter."""
    rng = np.random.default_rng(seed)
    distortion = np.eye(2) + rng.normal(0, 0.004, (PATTERNS, 2, 2))
    true = peaks_on_lattices(distortion, BASIS, CENTRE, 0.0, rng)
    if side:  # the disks of a tilted crystal: one side of the pattern only
        true = true.where((true.positions - CENTRE)[:, 0] > -8)
    at = true.positions + moved[true.pattern]
    true = replace(true, qx_px=at[:, 0], qy_px=at[:, 1], sigma_px=np.full(len(true), sigma))
    at = true.positions + rng.normal(0, sigma, at.shape)
    seen = replace(true, qx_px=at[:, 0], qy_px=at[:, 1])
    return distortion, true, seen, lattice.fit(seen, PATTERNS, BASIS, CENTRE)


@pytest.mark.parametrize("size", [0.0, 3.0])
@pytest.mark.parametrize("wander", [0.0, 0.3])
def test_path_and_wander_are_told_apart(size, wander):
    smooth = descan(size)
    rough = np.random.default_rng(5).normal(0, wander, (PATTERNS, 2))
    _, _, seen, lattices = scan(smooth + rough)
    found = direct_beam.path(lattice_precision.refitted(seen, lattices), GRID)
    assert found.wander == pytest.approx(wander, abs=0.06)
    assert np.sqrt(np.mean((found.at - CENTRE - smooth) ** 2)) < 0.02 + 0.35 * wander


def test_positions_and_strain_of_one_sided_patterns_gain_by_the_path():
    distortion, true, seen, lattices = scan(descan(3.0), side=True)
    alone = lattice_precision.refitted(seen, lattices)
    beam = direct_beam.path(alone, GRID)
    together = lattice_precision.refitted(seen, lattices, beam)

    def strain(fitted):
        return np.sqrt(np.mean((np.linalg.solve(BASIS, fitted.vectors).swapaxes(1, 2) - distortion) ** 2))

    def position(path):
        off = context.predicted(seen, lattices, 0.0, path).positions - true.positions
        return np.sqrt(np.mean(off**2))

    assert strain(together) < 0.85 * strain(alone)
    assert position(beam) < 0.9 * position(None)


def test_stated_deviations_hold_with_the_path():
    _, true, seen, lattices = scan(descan(2.0) + np.random.default_rng(1).normal(0, 0.1, (PATTERNS, 2)))
    beam = direct_beam.path(lattice_precision.refitted(seen, lattices), GRID)
    better = context.predicted(seen, lattices, 0.0, beam)
    held = np.abs(better.positions - true.positions) < better.sigma_px[:, None]
    assert 0.62 < held.mean() < 0.85  # errors that are independent, as here, are overstated a little: context.ALIKE


def test_a_beam_that_jumps_about_says_nothing():
    jumps = np.random.default_rng(2).uniform(-6, 6, (PATTERNS, 2))
    _, _, seen, lattices = scan(jumps)
    assert direct_beam.path(lattice_precision.refitted(seen, lattices), GRID) is None


def test_a_few_lattices_gone_wrong_do_not_bend_the_path():
    _, _, seen, lattices = scan(descan(1.0))
    good = lattice_precision.refitted(seen, lattices)
    wrong = good.centre.copy()
    wrong[::9] += [7.0, -5.0]
    bent = direct_beam.path(replace(good, centre=wrong), GRID)
    assert np.abs(bent.at - direct_beam.path(good, GRID).at).max() < 0.1


def test_too_few_patterns_have_no_path_and_a_line_of_them_has_one():
    _, _, _, lattices = scan(descan(1.0))
    few = replace(lattices, residual=np.where(np.arange(PATTERNS) < 10, lattices.residual, np.nan))
    assert direct_beam.path(few, GRID) is None
    assert np.isfinite(direct_beam.path(lattices, (1, PATTERNS)).variance).all()


def test_where_a_pattern_has_no_lattice_the_path_says_where_the_direct_beam_is():
    _, _, seen, _ = scan(descan(3.0), sigma=0.05)
    lost = 37
    maps = mapping.of_peaks(seen.where(seen.pattern != lost), GRID, (128, 128), 0.02, CENTRE)
    assert not maps.lattices.fitted[lost]
    assert np.abs(maps.centres[lost] - CENTRE - descan(3.0)[lost]).max() < 0.1


def test_a_pattern_s_own_direct_beam_is_the_strongest_peak_near_the_probe():
    at = np.array([[33.0, 30.0], [31.0, 34.0], [60.0, 60.0], [50.0, 50.0]])
    peaks = Peaks.of(np.array([0, 0, 0, 2]), at, np.array([5.0, 7.0, 9.0, 1.0]))
    beam = direct_beam.strongest(peaks, (32.0, 32.0), 3.0)
    np.testing.assert_array_equal(beam, [[31.0, 34.0], [np.nan] * 2, [np.nan] * 2])
