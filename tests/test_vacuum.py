"""The vacuum probe is known between the pixels of its image, also where its edge is sharper than they are."""

import numpy as np
import pytest
import torch

from fourdcrystal import vacuum

SIDE = 64


def image(centre, radius, edge, ellipticity=0.0):
    """An elliptical disk with a logistic edge, plateau 1."""
    offsets = np.stack(np.indices((SIDE, SIDE)), -1) - centre
    along = np.array([np.cos(0.4), np.sin(0.4)])
    r = np.hypot(*np.moveaxis(offsets @ (np.eye(2) + ellipticity * np.outer(along, along)), -1, 0))
    return 1 / (1 + np.exp(np.clip((r - radius) / edge, -50, 50)))


@pytest.mark.parametrize("ellipticity", [0.0, 0.08])
@pytest.mark.parametrize("edge", [0.2, 0.35])
def test_a_probe_moved_by_any_fraction_of_a_pixel_is_as_it_would_be_recorded(edge, ellipticity):
    centre = np.array([32.3, 31.8])
    seen = np.random.default_rng(0).poisson(3e4 * image(centre, 7.0, edge, ellipticity)).astype(float)
    known = vacuum.of_probe(seen)
    assert np.abs(known.centre - centre).max() < 0.01
    for phase in [(0, 0), (0.5, 0.5), (0.25, 0.6)]:
        elsewhere = 32 + np.array(phase)
        offsets = torch.as_tensor(np.stack(np.indices((SIDE, SIDE)), -1) - elsewhere).double()
        assert np.abs(known.sample(offsets).numpy() - image(elsewhere, 7.0, edge, ellipticity)).max() < 0.03


def test_structure_inside_the_aperture_moves_along():
    """A beam-stop-like bar of half the intensity: no outline explains it."""
    x, y = np.indices((SIDE, SIDE))
    seen = image((32, 32), 12.0, 0.4) * (1 - 0.5 * np.exp(-((y - 32) ** 2) / 8))
    offsets = torch.as_tensor(np.stack((x, y), -1) - 32.0)
    plateau = np.median(seen[seen > seen.max() / 2])
    assert np.abs(vacuum.of_probe(1e4 * seen).sample(offsets).numpy() - seen / plateau).max() < 0.1


def test_the_outline_has_the_ellipse_s_radii():
    known = vacuum.of_probe(1e4 * image((32, 32), 8.0, 0.3, 0.1))
    radii = known.radii(360)
    assert radii.max() / radii.min() == pytest.approx(1.1, abs=0.01)
    assert np.argmin(radii) % 180 == pytest.approx(np.degrees(0.4), abs=5)


def test_a_template_is_the_probe_at_every_place():
    known = vacuum.of_probe(1e4 * image((32, 32), 6.0, 0.35, 0.05))
    centres = torch.tensor([[0.0, 0.0], [0.31, -0.47], [-2.6, 1.9]])
    made = known.template(33).at(centres)
    pixels = torch.as_tensor(np.stack(np.indices((33, 33)), -1) - 16.0)
    for crop, centre in zip(made, centres, strict=True):
        np.testing.assert_allclose(crop, known.sample(pixels - centre), atol=0.01)
