"""The shot-noise floor is the textbook's for a sharp disk, and no estimate comes below it."""

import numpy as np
import pytest
import torch
from disk_patterns import disk

from fourdcrystal import floor, vacuum

SHAPE, RADIUS = (41, 41), 7.0


@pytest.fixture(scope="module")
def probe():
    return vacuum.of_probe(1e5 * disk(SHAPE, (20.0, 20.0), RADIUS))


def test_a_disks_position_is_known_as_the_root_of_its_electrons(probe):
    few, many = floor.sigma(probe, np.array([1e2, 1e4]))
    assert few == pytest.approx(10 * many, rel=1e-3)


def test_background_makes_it_worse(probe):
    assert (np.diff(floor.sigma(probe, np.full(4, 1e3), np.array([0.0, 0.5, 2.0, 10.0]))) > 0).all()


def test_a_logistic_edge_has_the_information_that_its_integral_says():
    x, y = np.indices((61, 61)) - 30.0
    width, electrons = 0.7, 1e4
    made = vacuum.of_probe(1e5 / (1 + np.exp((np.hypot(x, y) - RADIUS) / width)))
    # F = N / (2 w R) for w much smaller than R, from the integral of σ(1 - σ)² over the edge
    assert floor.sigma(made, np.array([electrons]))[0] == pytest.approx(
        np.sqrt(2 * width * RADIUS / electrons), rel=0.1
    )


def test_the_most_likely_position_of_a_flat_disk_reaches_the_floor(probe):
    rng, axis = np.random.default_rng(0), np.arange(-12, 13.0)
    grid = torch.tensor(np.stack(np.meshgrid(axis, axis, indexing="ij"), -1))
    trials = np.linspace(-0.5, 0.5, 81)
    images = np.stack([probe.sample(grid - torch.tensor([t, 0.0])).numpy() for t in trials])
    images = images / images.sum((1, 2), keepdims=True) * 2000 + 0.02
    counts = rng.poisson(images[40], (300, *images.shape[1:]))
    likelihood = np.einsum("npq,tpq->nt", counts, np.log(images)) - images.sum((1, 2))
    error = trials[likelihood.argmax(1)].std()
    assert error == pytest.approx(floor.sigma(probe, np.array([2000.0]), 0.02)[0], rel=0.15)
