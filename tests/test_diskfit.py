"""The disk fit finds centres that contrast inside the disks hides from correlation, and knows how well."""

import numpy as np
import pytest
import torch
from scipy.special import expit

from fourdcrystal import correlation, diskfit
from fourdcrystal.peaks import Peaks

RADIUS, EDGE, SHAPE = 6.0, 0.35, (96, 96)


def disk(centre, contrast=0.0, direction=0.0):
    """A disk whose intensity rises linearly along a direction, from 1 - contrast to 1 + contrast, (X, Y)."""
    x, y = np.indices(SHAPE, dtype=float)
    dx, dy = x - centre[0], y - centre[1]
    slope = (dx * np.cos(direction) + dy * np.sin(direction)) / RADIUS
    return expit((RADIUS - np.hypot(dx, dy)) / EDGE) * np.clip(1 + contrast * slope, 0, None)


def pattern(rng, contrast, counts, background=0.5):
    """A lattice of disks with random directions of contrast: counts (X, Y), true centres (N, 2)."""
    angle = rng.uniform(0, np.pi / 2)
    basis = 20 * np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    hk = np.stack(np.meshgrid(np.arange(-3, 4), np.arange(-3, 4)), -1).reshape(-1, 2)
    centres = 48 + rng.uniform(-0.5, 0.5, 2) + hk @ basis
    centres = centres[((centres > 12) & (centres < 84)).all(1)]
    image = sum(disk(c, contrast, rng.uniform(0, 2 * np.pi)) for c in centres)
    return rng.poisson(counts / (np.pi * RADIUS**2) * image + background).astype("f4"), centres


def errors(contrast, counts, refine, patterns=3, seed=0):
    rng = np.random.default_rng(seed)
    made = [pattern(rng, contrast, counts) for _ in range(patterns)]
    probe = rng.poisson(2000 * disk((47.7, 48.4))).astype("f4")
    true = np.concatenate([centres for _, centres in made])
    which = np.repeat(np.arange(patterns), [len(centres) for _, centres in made])
    rough = true + rng.normal(0, 0.4, true.shape)
    peaks = Peaks.of(which, np.column_stack([rough, true]), np.ones(len(true)))
    # Peaks.of keeps the first two columns; sorting is stable, so the truth keeps its order
    found = refine(np.stack([image for image, _ in made]), probe, peaks)
    return found.positions - true, found.sigma_px


def test_flat_disks_are_found_to_a_tenth_of_a_pixel():
    error, _ = errors(0.0, 3000, diskfit.refine)
    assert np.sqrt((error**2).mean()) < 0.1
    assert abs(error.mean()) < 0.03


def test_contrast_pulls_correlation_away_but_not_the_disk_fit():
    error, _ = errors(0.9, 3000, diskfit.refine)

    def correlated(patterns, probe, peaks):
        found = correlation.detect(patterns, probe, subpixel="multicorr", square_root=True)
        nearest = [
            np.flatnonzero(found.pattern == p)[
                np.argmin(((found.positions[found.pattern == p] - position) ** 2).sum(1))
            ]
            for p, position in zip(peaks.pattern, peaks.positions, strict=True)
        ]
        return found.where(np.array(nearest))

    pulled, _ = errors(0.9, 3000, correlated)
    assert np.median(np.hypot(*error.T)) < 0.16
    assert np.median(np.hypot(*pulled.T)) > 2 * np.median(np.hypot(*error.T))


@pytest.mark.parametrize("counts", [100, 3000])
def test_two_thirds_of_errors_lie_within_the_stated_deviation(counts):
    error, sigma = errors(0.7, counts, diskfit.refine, patterns=6)
    assert 0.55 < (np.abs(error) < sigma[:, None]).mean() < 0.85


def test_weaker_disks_are_less_certain():
    assert np.median(errors(0.3, 100, diskfit.refine)[1]) > 2 * np.median(errors(0.3, 5000, diskfit.refine)[1])


def test_no_peaks_stay_no_peaks_and_empty_patterns_keep_their_candidates_uncertain():
    empty = np.zeros((1, *SHAPE), "f4")
    probe = disk((48, 48)).astype("f4") * 100
    assert len(diskfit.refine(empty, probe, Peaks.none())) == 0
    found = diskfit.refine(empty, probe, Peaks.of(np.array([0]), np.array([[40.0, 40.0]]), np.ones(1)))
    assert np.isfinite(found.positions).all()
    assert found.sigma_px[0] > 0.5


def test_a_matrix_that_rounding_made_indefinite_gets_a_finite_factor_and_leaves_the_others_alone():
    direction = torch.tensor([[3.0, 4.0, 0.0]], dtype=torch.float64) / 5
    strong = torch.eye(3, dtype=torch.float64) + 1e12 * direction.T @ direction
    broken = strong - 1.0001 * torch.eye(3, dtype=torch.float64)  # smallest eigenvalues -1e-4 where 1 was meant
    plain = torch.eye(3, dtype=torch.float64) * 2
    assert torch.linalg.cholesky_ex(broken)[1] > 0
    factor = diskfit._factor(torch.stack([broken, plain]))
    assert torch.isfinite(factor).all()
    assert torch.allclose(factor[0] @ factor[0].T, broken, rtol=0, atol=1e12 * 1e-12)
    assert torch.equal(factor[1], torch.linalg.cholesky(plain))
