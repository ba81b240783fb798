"""The lattice of a scan is found by itself; fits are robust and state their uncertainty."""

import numpy as np
import pytest
from disk_patterns import peaks_on_lattices

from fourdcrystal import context, lattice
from fourdcrystal.peaks import Peaks

CENTRE = np.array([63.4, 64.8])
BASES = {
    "oblique": [[13.1, 2.0], [-4.2, 15.3]],
    "square": [[14.0, 0.0], [0.0, 14.0]],
    "hexagonal": [[12.0, 0.0], [6.0, 6 * np.sqrt(3)]],
    "centred": [[8.5, 12.0], [-8.5, 12.0]],
    "1:3": [[7.0, 1.0], [-3.0, 21.0]],
}


@pytest.mark.parametrize("name", BASES)
def test_basis_is_found_without_any_hint(name):
    basis, rng = np.array(BASES[name]), np.random.default_rng(2)
    distortion = np.eye(2) + rng.normal(0, 0.005, (20, 2, 2))
    peaks = peaks_on_lattices(distortion, basis, CENTRE, 0.1, rng)
    peaks = peaks.where(rng.random(len(peaks)) < 0.7)  # a third is missing
    found = lattice.find(peaks, (128, 128))
    change = found @ np.linalg.inv(basis)
    np.testing.assert_allclose(change, np.rint(change), atol=0.03)
    assert abs(np.linalg.det(np.rint(change))) == pytest.approx(1)  # the primitive cell, neither more nor less


def test_fit_recovers_centre_and_vectors_of_every_pattern():
    basis, rng = np.array(BASES["oblique"]), np.random.default_rng(3)
    distortion = np.eye(2) + rng.normal(0, 0.01, (40, 2, 2))
    peaks = peaks_on_lattices(distortion, basis, CENTRE, 0.05, rng)
    fitted = lattice.fit(peaks, 40, basis, CENTRE + 0.8)
    assert fitted.fitted.all()
    off = fitted.vectors - basis @ distortion.swapaxes(1, 2)
    assert np.abs(off).max() < 0.05
    assert np.abs(fitted.centre - CENTRE).max() < 0.05
    sigma = np.sqrt(np.diagonal(fitted.covariance, axis1=1, axis2=2))[:, 1:, None]
    assert 0.8 < (off / sigma).std() < 1.25  # the stated uncertainty is the real one


def test_false_peaks_do_not_pull_the_fit():
    basis, rng = np.array(BASES["oblique"]), np.random.default_rng(4)
    peaks = peaks_on_lattices(np.eye(2)[None], basis, CENTRE, 0.05, rng)
    false = rng.uniform(5, 122, (8, 2))
    at = np.concatenate([peaks.positions, false])
    both = Peaks.of(np.zeros(len(at), int), at, np.ones(len(at)))
    fitted = lattice.fit(both, 1, basis, CENTRE)
    assert np.abs(fitted.vectors[0] - basis).max() < 0.03


def test_patterns_with_too_few_peaks_are_nan_and_the_others_are_not():
    basis, rng = np.array(BASES["square"]), np.random.default_rng(5)
    peaks = peaks_on_lattices(np.stack([np.eye(2)] * 3), basis, CENTRE, 0.05, rng)
    peaks = peaks.where((peaks.pattern != 1) | (np.arange(len(peaks)) % 40 == 0))
    fitted = lattice.fit(peaks, 4, basis, CENTRE)
    assert fitted.fitted.tolist() == [True, False, True, False]
    assert np.isnan(fitted.vectors[1]).all() and fitted.agreeing[3] == 0


def test_every_peak_gets_the_indices_of_its_lattice_point_however_the_pattern_is_strained():
    basis, rng = np.array(BASES["oblique"]), np.random.default_rng(7)
    distortion = np.eye(2) + rng.normal(0, 0.01, (5, 2, 2))
    peaks = peaks_on_lattices(distortion, basis, CENTRE, 0.05, rng)
    between = Peaks.of(
        np.zeros(2, int), CENTRE + [[0.5, 0.5], [2.4, -1.0]] @ basis, np.ones(2), sigma_px=np.full(2, 0.05)
    )
    elsewhere = Peaks.of(np.zeros(1, int), CENTRE[None], np.ones(1), sigma_px=np.full(1, 0.05))  # of a pattern of one
    mixed = Peaks.joined([peaks, between, elsewhere], [4, 1, 1])
    mixed = mixed.where(np.argsort(mixed.pattern, kind="stable"))
    fitted = lattice.fit(mixed, 6, basis, CENTRE)
    found = context.indices(mixed, fitted)
    at = np.einsum(
        "nd,nde->ne",
        mixed.positions - CENTRE,
        np.linalg.inv(basis @ distortion.swapaxes(1, 2))[np.clip(mixed.pattern, 0, 4)],
    )
    on = np.abs(at - np.rint(at)).max(1) < 0.1
    np.testing.assert_array_equal(found[on & (mixed.pattern < 5)], np.rint(at)[on & (mixed.pattern < 5)])
    assert np.isnan(found[~on]).all() and (~on).sum() == 2
    assert np.isnan(found[mixed.pattern == 5]).all()


def test_a_row_of_peaks_is_no_lattice():
    at = np.stack([np.full(7, 60.0), 20.0 * np.arange(7)], axis=1)
    row = Peaks.of(np.zeros(7, int), at, np.ones(7))
    assert lattice.find(row, (128, 128)) is None
    assert lattice.find(Peaks.none(), (128, 128)) is None


def test_a_brighter_reflection_is_not_taken_for_the_direct_beam():
    basis, rng = np.array(BASES["oblique"]), np.random.default_rng(6)
    peaks = peaks_on_lattices(np.stack([np.eye(2)] * 4), basis, CENTRE, 0.05, rng)
    near_first = np.hypot(*(peaks.positions - CENTRE - basis[1]).T) < 2
    bright = Peaks.of(
        peaks.pattern, peaks.positions, np.where(near_first & (peaks.pattern % 2 == 0), 9, peaks.intensity)
    )
    fitted = lattice.fit(bright, 4, basis, CENTRE + np.array([3.0, -2.0]))
    assert np.abs(fitted.centre - CENTRE).max() < 0.05


def test_peaks_that_are_worse_than_they_say_do_not_spoil_the_stated_uncertainty():
    basis, rng = np.array(BASES["square"]), np.random.default_rng(7)
    peaks = peaks_on_lattices(np.stack([np.eye(2)] * 100), basis, CENTRE, 0.1, rng)
    boastful = Peaks.of(peaks.pattern, peaks.positions, peaks.intensity, sigma_px=rng.uniform(0.01, 0.05, len(peaks)))
    fitted = lattice.fit(boastful, 100, basis, CENTRE)
    sigma = np.sqrt(np.diagonal(fitted.covariance, axis1=1, axis2=2))[:, 1:, None]
    assert 0.8 < ((fitted.vectors - basis) / sigma).std() < 1.25


@pytest.mark.parametrize("seed", range(6))
def test_the_first_vector_of_a_square_lattice_is_the_one_along_axis_0_whatever_the_noise(seed):
    square = 13.0 * np.array([[1.0, 0.2], [-0.2, 1.0]]) + np.random.default_rng(seed).normal(0, 0.05, (2, 2))
    found = lattice.reduced(square[::-1])
    assert found[0, 0] > 12 and np.linalg.det(found) > 0
