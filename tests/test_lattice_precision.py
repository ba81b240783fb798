"""Lattices weigh their peaks by what these state, and say how precise they are, also where contrast deceives fits."""

from dataclasses import replace

import numpy as np
import pytest
from disk_patterns import disk, lattice_points, peaks_on_lattices

from fourdcrystal import context, detection, lattice, lattice_precision, refinements, scan_truth
from fourdcrystal.detectors import Correlator
from fourdcrystal.scans import Scan

BASIS, CENTRE, PATTERNS = np.array([[13.1, 2.0], [-4.2, 15.3]]), np.array([63.4, 64.8]), 60


def seen(error, rng, tail=0.0, stated=1.0):
    """Peaks with errors from ``error`` to ten times that, stated as ``stated`` times them, a few far off."""
    true = peaks_on_lattices(np.stack([np.eye(2)] * PATTERNS), BASIS, CENTRE, 0.0, rng)
    each = error * 10 ** rng.random(len(true))
    real = each * np.where(rng.random(len(true)) < tail, 8, 1)
    at = true.positions + real[:, None] * rng.normal(size=(len(true), 2))
    return replace(true, qx_px=at[:, 0], qy_px=at[:, 1], sigma_px=stated * each)


def scatter(lattices):
    """RMS error of the vectors, and their errors over what is stated."""
    off = lattices.vectors - BASIS
    sigma = np.sqrt(np.diagonal(lattices.covariance, axis1=1, axis2=2))[:, 1:, None]
    return np.sqrt(np.mean(off**2)), off / sigma


@pytest.mark.parametrize("tail", [0.0, 0.05])
def test_peaks_that_are_known_better_count_more(tail):
    peaks = seen(0.05, np.random.default_rng(0), tail)
    equal = lattice.fit(replace(peaks, sigma_px=np.full(len(peaks), 0.2)), PATTERNS, BASIS, CENTRE)
    weighted = lattice_precision.refitted(peaks, lattice.fit(peaks, PATTERNS, BASIS, CENTRE))
    assert scatter(weighted)[0] < 0.7 * scatter(equal)[0]


@pytest.mark.parametrize("stated", [1.0, 0.5, 0.25])
def test_errors_larger_than_stated_are_told_from_the_residuals_of_the_scan(stated):
    peaks = seen(0.1, np.random.default_rng(1), stated=stated)
    lattices = lattice_precision.refitted(peaks, lattice.fit(peaks, PATTERNS, BASIS, CENTRE))
    _, pull = scatter(lattices)
    assert (
        0.7 < pull.std() * np.sqrt(context.ALIKE) / 1.1 < 1.2
    )  # the factor is for errors that are alike; here none is


def test_without_stated_errors_nothing_changes():
    peaks = seen(0.1, np.random.default_rng(2))
    peaks = replace(peaks, sigma_px=np.full(len(peaks), np.nan))
    lattices = lattice.fit(peaks, PATTERNS, BASIS, CENTRE)
    assert lattice_precision.refitted(peaks, lattices) is lattices


def fringed(rng):
    """A strained scan of disks with strong fringes in them, fading within each disk away from the direct beam's."""
    grid, shape, radius = (6, 8), (112, 112), 5.0
    basis, centre = np.array([[17.2, 2.1], [-3.3, 18.4]]), np.array([56.3, 55.8])
    distortion = np.eye(2) + rng.normal(0, 0.004, (grid[0] * grid[1], 2, 2))
    x, y = np.indices(shape)
    images = []
    for f in distortion:
        image = np.zeros(shape)
        for point in lattice_points(shape, centre, basis @ f.T, radius + 1):
            angle, phase, strength = rng.uniform(0, 2 * np.pi), rng.uniform(0, 2 * np.pi), rng.lognormal(0, 1)
            across = (x - point[0]) * np.cos(angle) + (y - point[1]) * np.sin(angle)
            contrast = 1 + 0.9 * np.sin(across * rng.uniform(0.2, 0.8) + phase)
            image += strength * contrast * disk(shape, tuple(point), radius)
        image *= np.exp(-np.hypot(x - centre[0], y - centre[1]) / 12)
        images.append(rng.poisson(5e4 * image / image.sum()))
    probe = rng.poisson(1e4 * disk(shape, (56, 56), radius)).astype(float)
    truth = {"distortion": distortion.reshape(*grid, 2, 2)}
    return Scan("fringed.npz", np.array(images).reshape(*grid, *shape), probe, 0.02, 200e3, truth)


def test_strain_of_a_scan_full_of_contrast_is_as_good_as_stated_or_a_little_better():
    scan = fringed(np.random.default_rng(3))
    found = detection.detect(scan, Correlator(refine=refinements.named("learned")))
    assert found.maps.lattices.fitted.all()
    pull = (found.maps.strain.values - scan_truth.strains(scan, found.maps)) / found.maps.strain.sigma
    assert 0.66 < (np.abs(pull) < 1).mean() < 0.92
    assert (np.abs(pull) < 3).mean() > 0.98


def test_a_pattern_of_whose_peaks_too_few_belong_has_no_lattice():
    peaks = peaks_on_lattices(
        np.broadcast_to(np.eye(2), (PATTERNS, 2, 2)), BASIS, CENTRE, 0.05, np.random.default_rng(3)
    )
    lattices = lattice.fit(peaks, PATTERNS, BASIS, CENTRE)
    lost = peaks.pattern == 4
    away = np.where(lost, 6.0, 0.0)[:, None] * np.random.default_rng(4).choice([-1, 1], (len(peaks), 2))
    at = peaks.positions + away
    found = lattice_precision.refitted(replace(peaks, qx_px=at[:, 0], qy_px=at[:, 1]), lattices)
    assert not found.fitted[4] and found.agreeing[4] == 0 and np.isnan(found.vectors[4]).all()
    assert found.fitted.sum() == PATTERNS - 1
