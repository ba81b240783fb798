"""Defects that the reference code of 2021 (manipulatt) has: one test for each shows that they are not here."""

import numpy as np
import pytest
from known_crystals import SAPPHIRE, SILICON, TRICLINIC
from pymatgen.core import Lattice, Structure

from fourdcrystal import camera, label_fft, labels, orientation, potential, reflections, scattering, supercell
from fourdcrystal.errors import InputError
from fourdcrystal.instrument_settings import Thermal
from fourdcrystal.propagation import Grid
from fourdcrystal.settings import Orientations
from fourdcrystal.waves import Wave


def test_the_lattice_is_not_transposed():
    cell = supercell.cut(TRICLINIC, np.eye(3), (25.0, 25.0), 30.0)
    centre = cell.positions[np.linalg.norm(cell.positions - cell.box / 2, axis=1).argmin()]
    for row in TRICLINIC.lattice.matrix:  # the same atom one lattice vector on
        assert np.linalg.norm(cell.positions - centre - row, axis=1).min() < 1e-4
    transposed = Structure(Lattice(TRICLINIC.lattice.matrix.T), TRICLINIC.species, TRICLINIC.frac_coords)
    with pytest.raises(RuntimeError, match="supercell"):
        supercell.check(supercell.cut(transposed, np.eye(3), (25.0, 25.0), 30.0), TRICLINIC, np.eye(3))


def test_no_zone_axis_is_000():
    for structure in (SILICON, SAPPHIRE, TRICLINIC):
        drawn = orientation.draw(structure, Orientations(zone_axes=3, mistilted=3), np.random.default_rng(0))
        assert all(o.zone_axis is None or any(o.zone_axis) for o in drawn)
        assert (0, 0, 0) not in orientation.zone_axes(structure, 2)
    with pytest.raises(InputError, match="no direction"):
        orientation.along_beam(SILICON, (0, 0, 0))


@pytest.mark.parametrize("binning", [2, 3, 4])
def test_the_probe_is_binned_and_not_decimated(binning):
    grid = Grid(96, 20.0)
    seen = camera.Camera(grid, (8, 8), binning)
    for row, column in np.random.default_rng(0).integers(-3 * binning, 3 * binning, (12, 2)):
        diffracted = np.zeros((96, 96), np.float32)
        diffracted[row, column] = 1.0
        assert seen.record(grid.columns(diffracted)).sum() == pytest.approx(1)  # each Fourier pixel counts, once


def test_q_z_is_a_number_where_there_is_no_potential():
    dilute = Structure(Lattice.cubic(6.0), ["H"], [[0, 0, 0]])
    b = scattering.b_factors(dilute, Thermal())
    cell = supercell.cut(dilute, np.eye(3), (24.0, 24.0), 12.0)
    nothing = supercell.Supercell(np.empty((0, 3)), np.empty(0, np.uint8), cell.box)
    seen = camera.Camera(Grid(96, 24.0), (64, 64), 1)
    for piece in (cell, nothing):
        vg, qz = label_fft.maps(piece, seen, 2.0, b)
        assert np.isfinite(vg).all() and np.isfinite(qz).all() and (qz[vg == 0] == 0).all()
    found = reflections.reflections(dilute, np.eye(3), 0.7, [200e3], 0.1, b)
    vg, qz = labels.draw(labels.positions(found.g, 1 / 24, (64, 64)), np.abs(found.vg), found.g[:, 2], (64, 64), 1.0)
    assert (vg < 1e-6).any() and np.isfinite(qz).all() and (qz[vg < 1e-6] == 0).all()


def test_potentials_go_on_across_the_faces_of_the_box():
    grid = Grid(64, 16.0)

    def projected(x, y):
        atom = supercell.Supercell(np.array([[x, y, 0.5]]), np.array([14], np.uint8), np.array([16.0, 16.0, 1.0]))
        return Wave(grid).image(next(potential.slices(atom, grid, 1.0, {"Si": 0.4})))

    middle, corner = projected(8.0, 8.0), projected(0.0, 0.0)
    np.testing.assert_allclose(np.roll(middle, (-32, -32), axis=(0, 1)), corner, atol=1e-3 * middle.max())
    assert corner[-1, -1] > 0.3 * corner.max()  # not cropped where the box ends
