"""Zone axes from plane lattices, strain relative to a crystal, and the camera's own distortion."""

import numpy as np
import pytest
from disk_patterns import lattice_points, pattern, peaks_on_lattices
from known_crystals import SILICON

from fourdcrystal import analysis, ellipticity, indexing, mapping, scan_rotation
from fourdcrystal.analysis import Analysis
from fourdcrystal.errors import InputError

CENTRE, DQ = np.array([63.5, 64.2]), 0.02


def turned(basis, angle):
    c, s = np.cos(angle), np.sin(angle)
    return basis @ np.array([[c, s], [-s, c]])


@pytest.mark.parametrize("axis", [(0, 0, 1), (1, 1, 0), (1, 1, 1), (2, 1, 1)])
def test_a_zone_axis_is_recognised_turned_and_by_any_basis(axis):
    plane = indexing.plane_lattice(SILICON, axis)
    measured = turned(np.array([[1, 1], [0, 1]]) @ plane, 0.3) * 1.01
    found = indexing.find(measured, SILICON)
    wanted = indexing.plane_lattice(SILICON, found.axis)
    assert sorted(np.abs(found.axis)) == sorted(np.abs(axis))
    assert found.scale == pytest.approx(1.01, abs=1e-6) and found.stretch < 1e-6
    np.testing.assert_allclose(found.basis * 1.01, measured, atol=1e-6)
    # the crystal's rows along the zone lie along the beam
    direction = found.rotation @ (np.array(found.axis) @ SILICON.lattice.matrix)
    np.testing.assert_allclose(direction[:2], 0, atol=1e-9)
    assert abs(np.linalg.det(wanted)) == pytest.approx(abs(np.linalg.det(plane)))


@pytest.mark.parametrize("axis", [(0, 0, 1), (1, 1, 0), (1, 1, 1), (2, 1, 1)])
def test_both_vectors_of_a_zone_are_reflections_of_the_crystal_in_that_zone(axis):
    found = indexing.find(turned(indexing.plane_lattice(SILICON, axis), 0.3), SILICON)
    hkl = indexing.miller_indices(found, SILICON)
    assert hkl.dtype.kind == "i" and (hkl @ found.axis == 0).all()
    lengths = np.linalg.norm(hkl @ SILICON.lattice.inv_matrix.T, axis=1)
    np.testing.assert_allclose(lengths, np.linalg.norm(found.basis, axis=1), rtol=1e-9)
    # right-handed about the beam, which travels along the zone axis
    assert np.dot(np.cross(*hkl), found.axis) * np.linalg.det(found.basis) > 0


def test_the_plane_lattice_of_silicon_110_has_its_shortest_reflections():
    lengths = np.sort(np.hypot(*indexing.plane_lattice(SILICON, (1, 1, 0)).T))
    np.testing.assert_allclose(lengths, [np.sqrt(3) / SILICON.lattice.a] * 2, rtol=1e-9)


def test_another_crystal_is_refused_in_words():
    with pytest.raises(InputError, match="--sampling"):
        indexing.find(np.array([[0.31, 0], [0.05, 0.47]]), SILICON, (0, 0, 1))


def maps(distortion, **options):
    """Of nine patterns of silicon along [001], each distorted by F."""
    basis = turned(indexing.plane_lattice(SILICON, (0, 0, 1)), 0.2) / DQ
    peaks = peaks_on_lattices(np.tile(distortion, (9, 1, 1)), basis, CENTRE, 0.02, np.random.default_rng(0))
    return mapping.of_peaks(peaks, (3, 3), (128, 128), DQ, CENTRE, Analysis(crystal=SILICON, **options))


def test_strain_is_relative_to_the_crystal_where_that_is_asked_for():
    strained = np.diag([1 / 1.01, 1 / 0.995])
    np.testing.assert_allclose(maps(strained).strain.values[:, :3], 0, atol=1.5e-3)
    found = maps(strained, absolute=True).strain.values
    np.testing.assert_allclose(found[:, :3].mean(0), [0.01, -0.005, 0], atol=5e-4)
    along = maps(strained, absolute=True, frame=np.pi / 2).strain.values
    np.testing.assert_allclose(along[:, :3].mean(0), [-0.005, 0.01, 0], atol=5e-4)


def test_strain_along_the_lattice_s_first_vector_is_turned_with_it():
    basis = np.array([[14.0, 6.0], [-6.0, 14.0]])
    along = basis[0] / np.hypot(*basis[0])
    stretched = np.linalg.inv(np.eye(2) + 0.02 * np.outer(along, along)).T  # a third of the crystal
    distortion = np.array([np.eye(2)] * 8 + [stretched] * 4)
    peaks = peaks_on_lattices(distortion, basis, CENTRE, 0.02, np.random.default_rng(0))
    options = Analysis(frame="lattice", region=np.arange(12) < 8)
    found = mapping.of_peaks(peaks, (3, 4), (128, 128), DQ, CENTRE, options)
    first = found.reference[0] / np.hypot(*found.reference[0])
    share = (first @ along) ** 2  # 1, or 0 where the basis that is found begins with the other vector
    expected = [0.02 * share, 0.02 * (1 - share), 0]
    np.testing.assert_allclose(found.strain.values[8:, :3].mean(0), expected, atol=1e-3)
    assert found.frame == pytest.approx(np.arctan2(first[1], first[0]))


def test_the_camera_s_ellipticity_comes_from_the_crystal_or_is_given():
    seen = analysis.ellipse(1.03, 0.4)
    for option in ("crystal", seen):
        found = maps(seen, ellipse=option, absolute=True)
        ratio, angle = analysis.axes(found.distortion)
        assert ratio == pytest.approx(1.03, abs=1e-3) and angle == pytest.approx(0.4, abs=0.03)
        np.testing.assert_allclose(found.strain.values[:, :3], 0, atol=2e-3)


def test_orientations_begin_at_the_crystal():
    found = maps(np.eye(2))
    rotation = mapping.orientations(found)[0]
    direction = rotation @ (np.array(found.zone.axis) @ SILICON.lattice.matrix)
    np.testing.assert_allclose(direction[:2] / direction[2], 0, atol=1e-6)  # no heights: along the beam


def test_a_halo_tells_the_ellipticity():
    x, y = np.indices((128, 128))
    v = np.linalg.inv(analysis.ellipse(1.06, 1.0)) @ np.stack([(x - 63.5).ravel(), (y - 64.2).ravel()])
    r = np.hypot(*v).reshape(128, 128)
    image = 50 * np.exp(-((r - 34) ** 2) / 30) + 1000 * np.exp(-r / 6) + 3
    rng = np.random.default_rng(0)
    ratio, angle = analysis.axes(ellipticity.find(rng.poisson(20 * image) / 20, (63.5, 64.2), 4.0))
    assert ratio == pytest.approx(1.06, abs=4e-3) and angle == pytest.approx(1.0, abs=0.05)
    with pytest.raises(InputError, match="no ring"):
        ellipticity.find(1000 * np.exp(-r / 12), (63.5, 64.2), 4.0)


def test_an_ellipse_that_no_camera_makes_is_no_ring():
    centre, basis = np.array([64.2, 63.7]), np.array([[22.0, 2.2], [-2.6, 22.4]])
    image = pattern((128, 128), lattice_points((128, 128), centre, basis, 6), 5.0, 1e6)  # disks of one crystal
    with pytest.raises(InputError, match="an ellipse of ratio"):
        ellipticity.find(image, tuple(centre), 5.0)


@pytest.mark.parametrize("degrees", [0, 20, -35, 80])
def test_the_scan_s_rotation_comes_from_the_centres_of_mass(degrees):
    u, v = np.meshgrid(np.arange(12.0), np.arange(15.0), indexing="ij")
    gradient = np.stack(np.gradient(np.sin(u / 3) + np.cos(v / 4) + u * v / 100), -1)
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    assert np.degrees(scan_rotation.find(gradient @ np.array([[c, s], [-s, c]]))) == pytest.approx(degrees, abs=1e-6)
