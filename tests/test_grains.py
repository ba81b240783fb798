"""Scans of several grains: each pattern has the lattice that its own peaks lie on, or none."""

import numpy as np
import pytest

from fourdcrystal import grains, lattice, mapping
from fourdcrystal.errors import InputError
from fourdcrystal.peaks import Peaks

CENTRE, SHAPE = np.array([64.0, 64.0]), (128, 128)
BASIS = np.array([[14.0, 1.0], [-0.9, 12.6]])


def rotation(degrees: float) -> np.ndarray:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[c, -s], [s, c]])


def points(basis: np.ndarray, rng: np.random.Generator, noise: float = 0.1) -> np.ndarray:
    index = np.stack(np.meshgrid(*[np.arange(-9, 10)] * 2, indexing="ij"), -1).reshape(-1, 2)
    at = CENTRE + index @ basis
    at = at[((at > 4) & (at < 124)).all(1) & (np.hypot(*(at - CENTRE).T) < 50)]
    return at + rng.normal(0, noise, at.shape)


def peaks(patterns: list[np.ndarray], sigma: float = 0.1) -> Peaks:
    at, number = np.concatenate(patterns), np.repeat(np.arange(len(patterns)), [len(p) for p in patterns])
    one = np.ones(len(at))
    return Peaks(
        pattern=number,
        qx_px=at[:, 0],
        qy_px=at[:, 1],
        intensity=10 * np.exp(-np.hypot(*(at - CENTRE).T) / 30),
        qz=0 * one,
        sigma_px=sigma * one,
        electrons=1e3 * one,
        significance=30 * one,
    )


def maps(patterns: list[np.ndarray], region: np.ndarray | None = None) -> mapping.Maps:
    from fourdcrystal.analysis import Analysis

    return mapping.of_peaks(peaks(patterns), (1, len(patterns)), SHAPE, 0.016, CENTRE, Analysis(region=region))


@pytest.mark.parametrize("degrees", [20, 24, 30, 45, -25, 80])
def test_a_grain_that_is_turned_about_the_beam_has_its_own_lattice_and_the_true_rotation(degrees):
    rng = np.random.default_rng(0)
    turned = BASIS @ rotation(degrees).T
    made = maps([points(BASIS, rng) for _ in range(12)] + [points(turned, rng) for _ in range(8)])
    np.testing.assert_allclose(np.degrees(made.strain.values[:12, 3]), 0, atol=0.2)
    np.testing.assert_allclose(np.degrees(made.strain.values[12:, 3]), degrees, atol=0.2)
    assert np.abs(made.strain.values[:, :3]).max() < 3e-3
    assert (made.grain[:12] == 0).all() and (made.grain[12:] == 1).all() and "2 lattices" in made.notes[0]


@pytest.mark.parametrize("degrees", [3, 12, 15])
def test_grains_that_are_turned_little_against_each_other_may_count_as_one(degrees):
    rng, turned = np.random.default_rng(0), BASIS @ rotation(degrees).T
    made = maps([points(BASIS, rng) for _ in range(16)] + [points(turned, rng) for _ in range(4)])
    np.testing.assert_allclose(np.degrees(made.strain.values[:16, 3]), 0, atol=0.2)
    np.testing.assert_allclose(np.degrees(made.strain.values[16:, 3]), degrees, atol=0.2)
    assert np.abs(made.strain.values[:, :3]).max() < 3e-3


def test_the_rotation_of_a_square_lattice_is_the_smallest_of_its_four():
    rng, square = np.random.default_rng(1), 13.0 * np.eye(2)
    turned = square @ rotation(70).T
    made = maps([points(square, rng) for _ in range(12)] + [points(turned, rng) for _ in range(8)])
    np.testing.assert_allclose(np.degrees(made.strain.values[12:, 3]), -20, atol=0.2)


def test_another_phase_has_a_lattice_and_no_strain():
    rng = np.random.default_rng(2)
    hexagonal = 10.5 * np.array([[1.0, 0.0], [0.5, np.sqrt(0.75)]])
    made = maps([points(BASIS, rng) for _ in range(12)] + [points(hexagonal, rng) for _ in range(8)])
    assert made.lattices.fitted.all()
    assert np.isfinite(made.strain.values[:12]).all() and np.isnan(made.strain.values[12:]).all()
    assert np.isnan(made.strain.sigma[12:]).all() and made.notes[1].endswith(": 8")
    lengths = np.linalg.norm(made.lattices.vectors[12:], axis=2)
    np.testing.assert_allclose(lengths, 10.5, atol=0.05)


@pytest.mark.parametrize("larger", [1.1, 1.15])
def test_a_phase_that_the_same_basis_leads_to_does_not_pull_the_reference(larger):
    rng = np.random.default_rng(9)
    made = maps([points(BASIS, rng) for _ in range(12)] + [points(BASIS / larger, rng) for _ in range(8)])
    np.testing.assert_allclose(made.reference, lattice.reduced(BASIS), atol=0.03)
    assert np.abs(made.strain.values[:12, :3]).max() < 3e-3 and np.isnan(made.strain.values[12:]).all()
    assert (made.grain[:12] == 0).all() and (made.grain[12:] == 1).all() and "2 lattices" in made.notes[0]


def test_peaks_of_an_amorphous_halo_have_no_lattice_and_do_not_pull_the_reference():
    rng = np.random.default_rng(3)

    def halo() -> np.ndarray:
        angle, radius = rng.uniform(0, 2 * np.pi, 36), rng.choice([22, 38], 36) + rng.normal(0, 3, 36)
        return np.vstack([CENTRE, CENTRE + radius[:, None] * np.column_stack([np.cos(angle), np.sin(angle)])])

    made = maps([points(BASIS, rng) for _ in range(12)] + [halo() for _ in range(12)])
    assert made.lattices.fitted[:12].all() and np.count_nonzero(made.lattices.fitted[12:]) <= 1
    np.testing.assert_allclose(made.reference, lattice.reduced(BASIS), atol=0.03)


def test_strain_is_relative_to_the_region_s_grain():
    rng, turned = np.random.default_rng(4), BASIS @ rotation(20).T
    patterns = [points(BASIS, rng) for _ in range(12)] + [points(turned, rng) for _ in range(8)]
    made = maps(patterns, np.arange(20) >= 12)
    np.testing.assert_allclose(np.degrees(made.strain.values[:12, 3]), -20, atol=0.2)
    np.testing.assert_allclose(np.degrees(made.strain.values[12:, 3]), 0, atol=0.2)


def test_a_region_without_a_lattice_is_refused():
    rng = np.random.default_rng(5)
    with pytest.raises(InputError, match="reference region"):
        maps([points(BASIS, rng) for _ in range(6)] + [CENTRE[None]], np.arange(7) == 6)


def test_where_two_grains_lie_on_top_of_each_other_one_of_their_lattices_is_found():
    rng, turned = np.random.default_rng(6), BASIS @ rotation(20).T
    both = [np.vstack([points(BASIS, rng), points(turned, rng)]) for _ in range(4)]
    made = maps([points(BASIS, rng) for _ in range(8)] + both + [points(turned, rng) for _ in range(7)])
    theta = np.degrees(made.strain.values[:, 3])
    assert (np.minimum(np.abs(theta), np.abs(theta - 20)) < 0.2).all()


def test_what_peaks_on_a_lattice_explain_is_all_or_nothing():
    rng = np.random.default_rng(7)
    on, elsewhere = points(BASIS, rng), rng.uniform(10, 118, (60, 2))
    seen = peaks([on, elsewhere])
    same = lattice.fit(peaks([on, on]), 2, BASIS, CENTRE)
    share, chance = grains.explained(seen, same)
    assert share[0] > 0.9 and abs(share[1]) < 0.15 and chance[0] < 1e-20 and chance[1] > 1e-3


def test_one_grain_alone_is_nothing_to_speak_of():
    rng = np.random.default_rng(8)
    made = maps([points(BASIS, rng) for _ in range(12)])
    assert made.notes == () and (made.grain == 0).all()


def test_a_lattice_that_fits_by_coincidence_gives_way_to_the_true_one():
    """[110] beside [100] of a cubic crystal: every row of one is a row of the other."""
    rng, square, other = np.random.default_rng(10), 14.3 * np.eye(2), 14.3 * np.diag([1.0, np.sqrt(2)])
    made = maps([points(square, rng) for _ in range(12)] + [points(other, rng) for _ in range(8)])
    np.testing.assert_allclose(np.linalg.det(made.lattices.vectors[12:]), 14.3**2 * np.sqrt(2), rtol=0.01)
    assert np.isnan(made.strain.values[12:]).all() and np.abs(made.strain.values[:12, :3]).max() < 3e-3


def test_a_superlattice_in_some_patterns_leaves_the_others_lattice_and_strain():
    rng = np.random.default_rng(11)
    ordered = [np.vstack([points(BASIS, rng), points(BASIS / 2, rng)[::2]]) for _ in range(8)]
    made = maps([points(BASIS, rng) for _ in range(12)] + ordered)
    assert np.isfinite(made.strain.values).all() and (made.grain == 0).all()
    assert np.abs(made.strain.values[:, :3]).max() < 3e-3


@pytest.mark.parametrize("seed", range(4))
def test_many_grains_have_their_own_lattice_and_none_that_is_finer(seed):
    rng = np.random.default_rng(seed)
    angles = rng.uniform(-85, 85, 6)
    made = maps([points(BASIS @ rotation(angles[i // 8]).T, rng) for i in range(48)])
    assert made.lattices.fitted.all() and np.isfinite(made.strain.values).all()
    np.testing.assert_allclose(np.abs(np.linalg.det(made.lattices.vectors)), abs(np.linalg.det(BASIS)), rtol=0.01)
    theta = np.degrees(made.strain.values[:, 3]) - angles[np.arange(48) // 8]
    np.testing.assert_allclose((theta - theta[0] + 90) % 180, 90, atol=0.5)


@pytest.mark.parametrize("overlapping", [1, 4, 8])
def test_twins_that_overlap_at_their_boundary_are_no_finer_lattice(overlapping):
    """Σ3 in fcc along [110]: together both have a lattice three times as fine, in which their rows coincide."""
    rng, half = np.random.default_rng(12), np.radians(35.264)
    one = 14.0 * np.array([[np.cos(half), np.sin(half)], [np.cos(half), -np.sin(half)]])
    one, other = one @ rotation(12).T, one @ rotation(12 + 2 * 35.264).T
    both = [np.vstack([points(one, rng), points(other, rng)]) for _ in range(overlapping)]
    made = maps([points(one, rng) for _ in range(40)] + both + [points(other, rng) for _ in range(30)])
    np.testing.assert_allclose(np.abs(np.linalg.det(made.lattices.vectors)), abs(np.linalg.det(one)), rtol=0.01)
    theta = np.degrees(made.strain.values[:, 3])
    assert np.abs(theta[:40]).max() < 0.3
    np.testing.assert_allclose(np.abs(theta[-30:]), 2 * 35.264, atol=0.3)


@pytest.mark.parametrize("seed", range(4))
def test_every_pattern_has_a_lattice_where_many_overlap(seed):
    rng = np.random.default_rng(100 + seed)
    rotations = rng.uniform(0, 180, 4)
    oblique = np.array([[19.0, 0.0], [5.0, 23.0]])
    lattices = [oblique @ rotation(angle).T for angle in rotations]
    grains = [rng.choice(4, size=1 + (rng.random() < 0.3), replace=False) for _ in range(40)]
    made = maps([np.vstack([points(lattices[g], rng) for g in some]) for some in grains])
    assert made.lattices.fitted.all()
    alone = np.array([len(some) == 1 for some in grains])
    found = np.abs(np.linalg.det(made.lattices.vectors[alone]))
    np.testing.assert_allclose(found, abs(np.linalg.det(oblique)), rtol=0.01)


def test_every_pattern_of_four_peaks_on_the_scan_s_lattice_keeps_it():
    rng = np.random.default_rng(12)
    few = [CENTRE + np.array([[0, 0], [1, 0], [0, 1], [-1, 0]]) @ BASIS + rng.normal(0, 0.1, (4, 2)) for _ in range(60)]
    assert maps(few).lattices.fitted.all()
