"""Orientations: zone axes along the beam, no two alike, random ones uniform."""

import numpy as np
import pytest
from known_crystals import BRAVAIS_LATTICES, SAPPHIRE, SILICON
from pymatgen.core import Structure

from fourdcrystal import orientation
from fourdcrystal.errors import InputError
from fourdcrystal.settings import Orientations

SETTINGS = Orientations(unrotated=True, zone_axes=3, max_index=2, mistilted=4, mistilt=2.0, random=3)


def row_along(structure, turned):
    """Direction of the orientation's zone axis in the laboratory."""
    row = turned.rotation @ (np.array(turned.zone_axis) @ structure.lattice.matrix)
    return row / np.linalg.norm(row)


def angle_to_beam(direction):
    return np.arctan2(np.hypot(direction[0], direction[1]), direction[2])


@pytest.mark.parametrize("name", BRAVAIS_LATTICES)
def test_zone_axes_lie_along_the_beam_in_every_bravais_lattice(name):
    crystal = Structure(BRAVAIS_LATTICES[name], ["Fe"], [[0, 0, 0]])
    for turned in orientation.draw(crystal, SETTINGS, np.random.default_rng(1)):
        rotation = turned.rotation
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(rotation) > 0
        if turned.purpose == "zone_axis":
            assert angle_to_beam(row_along(crystal, turned)) < 1e-6
        if turned.purpose == "mistilted":
            assert angle_to_beam(row_along(crystal, turned)) == pytest.approx(turned.mistilt, abs=1e-6)


def test_orientations_come_in_the_numbers_asked_for():
    drawn = orientation.draw(SILICON, SETTINGS, np.random.default_rng(0))
    purposes = [o.purpose for o in drawn]
    assert purposes == ["unrotated"] + 3 * ["zone_axis"] + 4 * ["mistilted"] + 3 * ["random"]


def test_the_most_important_zone_axes_of_silicon_are_its_densest_rows():
    assert orientation.zone_axes(SILICON, 2)[:2] == [(1, 1, 0), (1, 1, 1)]


def test_the_trigonal_axis_is_the_most_important_of_sapphire():
    assert orientation.zone_axes(SAPPHIRE, 1)[0] == (0, 0, 1)


def test_zone_axes_equivalent_by_symmetry_are_not_repeated():
    axes = orientation.zone_axes(SILICON, 1)
    assert sorted(tuple(sorted(abs(i) for i in axis)) for axis in axes) == [(0, 0, 1), (0, 1, 1), (1, 1, 1)]


def test_the_2021_recipe_of_ten_zone_axes_and_ten_random_rotations_is_available():
    recipe = Orientations(zone_axes=10, random=10)
    drawn = orientation.draw(SILICON, recipe, np.random.default_rng(0))
    directions = np.array([o.rotation[2] for o in drawn])  # the beam in the crystal
    alike = np.abs(directions @ directions.T) > np.cos(1e-3)
    assert len(drawn) == 21 and alike.sum() == 21


def test_a_zone_axis_that_the_unrotated_crystal_shows_is_not_drawn_again():
    drawn = orientation.draw(SILICON, Orientations(zone_axes=2, max_index=1, random=0), np.random.default_rng(0))
    assert {o.zone_axis for o in drawn} == {None, (1, 1, 0), (1, 1, 1)}


def test_asking_for_more_zone_axes_than_there_are_says_so():
    with pytest.raises(InputError, match=r"orientations.zone_axes: 9 .* only 2 .* up to 1"):
        orientation.draw(SILICON, Orientations(zone_axes=9, max_index=1), np.random.default_rng(0))


def test_random_rotations_are_uniform():
    drawn = orientation.draw(SILICON, Orientations(unrotated=False, zone_axes=0, random=4000), np.random.default_rng(5))
    beams = np.array([o.rotation[2] for o in drawn])
    np.testing.assert_allclose(beams.mean(0), 0, atol=0.05)
    np.testing.assert_allclose(beams.T @ beams / len(beams), np.eye(3) / 3, atol=0.02)


def test_mistilts_have_the_spread_that_was_asked_for_and_rolls_any_angle():
    asked = Orientations(zone_axes=0, random=0, mistilted=600, mistilt=2.0)
    drawn = [o for o in orientation.draw(SILICON, asked, np.random.default_rng(0)) if o.purpose == "mistilted"]
    size = np.array([o.mistilt for o in drawn])  # of two normal components: Rayleigh's law
    assert np.sqrt(np.mean(size**2) / 2) == pytest.approx(np.radians(2.0), rel=0.1)
    leaning = np.array([row_along(SILICON, o) for o in drawn])
    rolled = np.array([o.rotation @ orientation.along_beam(SILICON, o.zone_axis).T for o in drawn])
    for angle in (np.arctan2(leaning[:, 1], leaning[:, 0]), np.arctan2(rolled[:, 1, 0], rolled[:, 0, 0])):
        assert abs(np.exp(1j * angle).mean()) < 0.1 and abs(np.exp(2j * angle).mean()) < 0.1


def test_the_shortest_rotation_to_a_tilted_axis_turns_about_what_is_perpendicular_to_both():
    tilts = np.random.default_rng(0).normal(0, 0.05, (4, 3, 2))
    made = orientation.leaning(tilts)
    np.testing.assert_allclose(made[..., 2] / made[..., 2, 2, None], np.concatenate([tilts, np.ones((4, 3, 1))], -1))
    np.testing.assert_allclose(made @ made.swapaxes(-1, -2), np.broadcast_to(np.eye(3), made.shape), atol=1e-12)
    about = np.stack([-tilts[..., 1], tilts[..., 0], 0 * tilts[..., 0]], -1)
    np.testing.assert_allclose(np.einsum("...ij,...j->...i", made, about), about, atol=1e-12)
    np.testing.assert_array_equal(orientation.leaning(np.zeros(2)), np.eye(3))


def test_the_same_seed_draws_the_same_orientations():
    one, same, other = (orientation.draw(SILICON, SETTINGS, np.random.default_rng(seed)) for seed in (7, 7, 8))
    assert all(np.array_equal(a.rotation, b.rotation) for a, b in zip(one, same, strict=True))
    assert not all(np.array_equal(a.rotation, b.rotation) for a, b in zip(one, other, strict=True))


def test_more_orientations_leave_those_that_were_there_as_they_are():
    few = Orientations(zone_axes=2, mistilted=1, random=1)
    many = Orientations(zone_axes=3, mistilted=4, random=2)
    before, after = (orientation.draw(SILICON, s, np.random.default_rng(3)) for s in (few, many))
    for turned in before:
        assert any(np.array_equal(turned.rotation, other.rotation) for other in after)
