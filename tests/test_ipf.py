"""Orientations in three dimensions are what the crystal's are, and have the colours of the inverse pole figure."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure
from scipy.spatial.transform import Rotation

from fourdcrystal import ipf, mapping, orientation, orientation_plots, reflections
from fourdcrystal.analysis import Analysis
from fourdcrystal.peaks import Peaks

ALUMINIUM = Structure.from_spacegroup("Fm-3m", Lattice.cubic(4.05), ["Al"], [[0, 0, 0]])
SHAPE, DQ, CENTRE = (256, 256), 0.02, np.array([128.0, 128.0])


def towards(*uvw):
    """A rotation of the cubic crystal that brings [uvw] along the beam."""
    return orientation.along_beam(ALUMINIUM, uvw)[None]


@pytest.mark.parametrize(
    ("uvw", "colour"),
    [((0, 0, 1), (1, 0, 0)), ((-1, 0, 0), (1, 0, 0)), ((0, 1, 1), (0, 1, 0)), ((1, -1, 1), (0, 0, 1))],
)
def test_the_corners_of_the_cubic_triangle_are_red_green_and_blue(uvw, colour):
    np.testing.assert_allclose(ipf.colours(towards(*uvw), ALUMINIUM)[0, 2], colour, atol=0.01)


LATTICES = {
    14: Lattice.monoclinic(5, 6, 7, 100),
    62: Lattice.orthorhombic(5, 6, 7),
    88: Lattice.tetragonal(5, 7),
    152: Lattice.hexagonal(5, 7),
    162: Lattice.hexagonal(5, 7),
    166: Lattice.hexagonal(5, 7),
    194: Lattice.hexagonal(5, 7),
    205: Lattice.cubic(6),
    225: Lattice.cubic(6),
}


@pytest.mark.parametrize("number", LATTICES)
def test_orientations_that_symmetry_makes_equal_have_one_colour(number):
    """Whatever cell the file has, however it lies: here the primitive cell, turned."""
    species, sites = ["Si", "C"], [[0.11, 0.23, 0.37], [0, 0, 0.05]]
    cell = Structure.from_spacegroup(number, LATTICES[number], species, sites).get_primitive_structure()
    turn = Rotation.random(random_state=1).as_matrix()
    crystal = Structure(Lattice(cell.lattice.matrix @ turn.T), cell.species, cell.frac_coords)
    rotations, columns = Rotation.random(8, random_state=2).as_matrix(), crystal.lattice.matrix.T
    wanted = ipf.colours(rotations, crystal)
    assert np.ptp(wanted, axis=0).max() > 0.3
    for w in ipf.operations(crystal):
        own = columns @ w @ np.linalg.inv(columns)
        np.testing.assert_allclose(ipf.colours(rotations @ (own * np.linalg.det(own)), crystal), wanted, atol=1e-9)


def test_a_scan_of_a_known_crystal_shows_how_it_lies_at_every_position():
    """Reflections of a crystal turned in space: in-plane rotation from the lattice, tilt from the heights."""
    tilts = 1e-3 * np.array([[0, 0], [4, 0], [0, -4], [-3, 3]])
    rolls = np.radians([25.0, 25.5, 24.5, 26.0])
    hkl = np.stack(np.meshgrid(*[np.arange(-6, 7)] * 3, indexing="ij"), -1).reshape(-1, 3)
    hkl = hkl[(hkl @ [1, 1, 0] == 0) & (np.abs(reflections.structure_factors(ALUMINIUM, hkl)) > 1e-6)]
    true, parts = [], []
    for (x, y), roll in zip(tilts, rolls, strict=True):
        turned = Rotation.from_rotvec([0, 0, roll]).as_matrix() @ orientation.along_beam(ALUMINIUM, (1, 1, 0))
        axis = np.array([x, y, 1]) / np.linalg.norm([x, y, 1])
        leaning = Rotation.from_rotvec(np.cross([0, 0, 1], axis) / np.linalg.norm([x, y, 1e-12]) * np.hypot(x, y))
        true.append(leaning.as_matrix() @ turned)
        g = hkl / 4.05 @ true[-1].T
        at = CENTRE + g[:, :2] / DQ
        inside = ((at > 5) & (at < 250)).all(1)
        weight = np.exp(-np.hypot(*g[inside, :2].T))
        parts.append(Peaks.of(np.zeros(inside.sum()), at[inside], weight, g[inside, 2], np.full(inside.sum(), 0.05)))
    peaks = Peaks.joined(parts, [1] * 4)
    maps = mapping.of_peaks(peaks, (1, 4), SHAPE, DQ, CENTRE, Analysis(crystal=ALUMINIUM))
    assert maps.zone.axis in {(1, 1, 0), (0, 1, 1), (1, 0, 1)}
    found = mapping.orientations(maps)
    # equal but for a rotation of the crystal onto itself
    own = np.array([np.round(w) for w in ipf.operations(ALUMINIUM)])
    own = own[np.linalg.det(own) > 0]
    for one, other in zip(found, true, strict=True):
        cosine = (np.einsum("nij,ij->n", one @ own, other).max() - 1) / 2
        assert np.arccos(cosine.clip(-1, 1)) < 1e-3, "rad"
    np.testing.assert_allclose(ipf.colours(found, ALUMINIUM), ipf.colours(np.array(true), ALUMINIUM), atol=0.02)


def test_hue_is_direction_brightness_is_length_and_the_unknown_is_grey():
    vectors = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 0.0], [np.nan, 0.0]])
    made = orientation_plots.wheel_colours(vectors, 1.0)
    np.testing.assert_allclose(made, [[1, 0, 0], [0, 1, 1], [0, 0, 0], orientation_plots.GREY])


@pytest.mark.slow
def test_processes_that_need_colours_for_the_first_time_at_once_leave_nothing_broken(tmp_path):
    """What they compile is kept for all later ones; two halves of it that don't belong together end these."""
    program = "import sys; sys.path.insert(0, sys.argv[1]); import test_ipf as t; print(t.ipf.laue(t.ALUMINIUM).name)"
    words = [sys.executable, "-c", program, str(Path(__file__).parent)]
    where = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    several = [subprocess.Popen(words, env=where, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert [process.communicate()[0] for process in several] == ["m-3m\n"] * 3
    assert subprocess.run(words, env=where, stdout=subprocess.PIPE, text=True).stdout == "m-3m\n"
