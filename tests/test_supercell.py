"""Supercells are pieces of the rotated crystal: same distances, density and composition, full to the corners."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from known_crystals import BRAVAIS_LATTICES, GALLIUM_ARSENIDE, SAPPHIRE, SILICON
from pymatgen.core import Structure
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from fourdcrystal import orientation, supercell
from fourdcrystal.errors import InputError
from fourdcrystal.settings import Orientations

EDGES, THICKNESS = (24.0, 21.0), 40.0

rotations = st.integers(0, 2**32 - 1).map(lambda seed: Rotation.random(rng=np.random.default_rng(seed)).as_matrix())


@st.composite
def crystals(draw):
    """One to four atoms, nowhere closer than 1.2 Å, in a strained cell of any of the 14 Bravais lattices."""
    lattice = BRAVAIS_LATTICES[draw(st.sampled_from(sorted(BRAVAIS_LATTICES)))].scale(draw(st.floats(40, 160)))
    species = draw(st.lists(st.sampled_from(["H", "O", "Si", "Fe", "Au"]), min_size=1, max_size=4))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    made = Structure(lattice, species[:1], [rng.random(3)])
    for symbol in species[1:]:
        for _ in range(20):
            tried = made.copy().append(symbol, rng.random(3))
            if supercell.shortest_bond(tried) > 1.2:
                made = tried
                break
    return made


@settings(max_examples=60, deadline=None)
@given(crystals(), rotations)
def test_any_crystal_in_any_orientation_passes_every_check(crystal, rotation):
    cell = supercell.cut(crystal, rotation, EDGES, THICKNESS)
    supercell.check(cell, crystal, rotation)
    assert (cell.positions >= 0).all() and (cell.positions < cell.box).all()


@settings(max_examples=20, deadline=None)
@given(crystals(), rotations)
def test_a_supercell_is_what_brute_force_finds(crystal, rotation):
    box = np.array([9.0, 8.0, 11.0])
    cell = supercell.cut(crystal, rotation, (box[0], box[1]), box[2])
    n = int(np.ceil(12 / min(1 / np.linalg.norm(crystal.lattice.inv_matrix, axis=0)))) + 1
    images = np.stack(np.meshgrid(*[np.arange(-n, n + 1)] * 3), -1).reshape(-1, 1, 3)
    everywhere = (crystal.frac_coords + images).reshape(-1, 3) @ crystal.lattice.matrix @ rotation.T
    everywhere += [box[0] / 2, box[1] / 2, 0]
    clear = ((everywhere > 1e-4) & (everywhere < box - 1e-4)).all(1)  # on a face: inside or out by convention
    near = ((everywhere > -1e-4) & (everywhere < box + 1e-4)).all(1)
    assert clear.sum() <= len(cell.positions) <= near.sum()
    distance, _ = cKDTree(cell.positions).query(everywhere[clear])
    assert distance.max(initial=0) < 2e-5


def test_a_layer_more_along_each_axis_is_no_defect():
    """Half a box of 50 Å holds 6.02 layers of a cubic crystal of 4.15 Å, so seven along x and y: a third more atoms."""
    crystal = Structure(np.eye(3) * 4.15, ["Ca"], [[0, 0, 0]])
    cell = supercell.cut(crystal, np.eye(3), (50.0, 50.0), 400.0)
    supercell.check(cell, crystal, np.eye(3))


def test_no_corner_is_empty():
    # the reference code cuts before it rotates
    turned = orientation.draw(SAPPHIRE, Orientations(zone_axes=0, random=1), np.random.default_rng(3))[1]
    cell = supercell.cut(SAPPHIRE, turned.rotation, EDGES, THICKNESS)
    tree = cKDTree(cell.positions)
    corners = np.array(np.meshgrid([0, EDGES[0]], [0, EDGES[1]], [0, THICKNESS])).reshape(3, -1).T
    assert tree.query(corners)[0].max() < 4.5  # Å; an atom and its neighbours are 2 Å apart


def test_cells_that_are_not_cubic_are_not_distorted():
    # the reference code multiplies by the transposed lattice
    cell = supercell.cut(SAPPHIRE, np.eye(3), EDGES, THICKNESS)
    tree = cKDTree(cell.positions)
    inner = ((cell.positions > 5) & (cell.positions < cell.box - 5)).all(1)
    found = np.unique(np.round(tree.query(cell.positions[inner], k=5)[0][:, 1:].ravel(), 3))
    crystal = np.unique(np.round(SAPPHIRE.get_neighbor_list(2.6)[3], 3))
    assert np.isin(found, crystal).all()


def test_a_distorting_rotation_is_refused():
    cell = supercell.cut(SILICON, np.eye(3), EDGES, THICKNESS)
    with pytest.raises(RuntimeError, match="rotation"):
        supercell.check(cell, SILICON, np.diag([1.0, 1.01, 1.0]))
    with pytest.raises(RuntimeError, match="rotation"):
        supercell.check(cell, SILICON, np.diag([1.0, 1.0, -1.0]))


@pytest.mark.parametrize(
    ("defect", "words"),
    [
        (lambda p, box: p[p[:, 0] > 20], "atoms of element 14 in"),
        (lambda p, box: p * [1.01, 1, 1], "at no site"),
        (lambda p, box: np.concatenate([p, p[:1] + 0.3]), "at no site"),
        (lambda p, box: np.concatenate([p, p[:1]]), "same site"),
        (lambda p, box: p[np.linalg.norm(p - box / 2, axis=1) > 6], "has no atom"),
    ],
)
def test_a_defective_supercell_is_refused(defect, words):
    cell = supercell.cut(SILICON, np.eye(3), (40.0, 40.0), 40.0)
    positions = defect(cell.positions, cell.box)
    spoilt = supercell.Supercell(positions, np.full(len(positions), 14), cell.box)
    with pytest.raises(RuntimeError, match=words):
        supercell.check(spoilt, SILICON, np.eye(3))


def test_an_atom_of_another_element_is_at_no_site():
    cell = supercell.cut(GALLIUM_ARSENIDE, np.eye(3), (30.0, 30.0), 30.0)
    numbers = cell.numbers.copy()
    gallium, arsenic = (np.flatnonzero(numbers == z)[20] for z in (31, 33))
    numbers[gallium], numbers[arsenic] = 33, 31  # as many of each as before
    with pytest.raises(RuntimeError, match="at no site of its element"):
        supercell.check(supercell.Supercell(cell.positions, numbers, cell.box), GALLIUM_ARSENIDE, np.eye(3))


def test_contacts_across_the_seam_are_counted_and_only_where_the_box_does_not_fit():
    fitting = (4 * 5.431, 4 * 5.431)
    assert supercell.cut(SILICON, np.eye(3), fitting, THICKNESS).seam_contacts == 0
    assert supercell.cut(SILICON, np.eye(3), (20.5, 20.5), THICKNESS).seam_contacts > 0


def test_atoms_on_a_face_are_inside_at_one_side_only():
    cell = supercell.cut(SILICON, np.eye(3), (2 * 5.431, 2 * 5.431), 3 * 5.431)
    assert len(cell.numbers) == 8 * 2 * 2 * 3


def test_supercells_and_orientations_come_back_from_their_file_exactly(tmp_path):
    drawn = orientation.draw(SAPPHIRE, Orientations(zone_axes=1, mistilted=1), np.random.default_rng(0))
    cells = [supercell.cut(SAPPHIRE, o.rotation, EDGES, THICKNESS) for o in drawn]
    supercell.write(tmp_path / "sapphire.npz", drawn, cells)
    atoms = sum(len(c.numbers) for c in cells)
    assert (tmp_path / "sapphire.npz").stat().st_size < 13 * atoms + 4000
    again, same = supercell.read(tmp_path / "sapphire.npz")
    for a, b in zip(cells, same, strict=True):
        np.testing.assert_array_equal(a.positions, b.positions)
        np.testing.assert_array_equal(a.numbers, b.numbers)
        assert a.seam_contacts == b.seam_contacts
    assert [(o.purpose, o.zone_axis, o.mistilt) for o in drawn] == [(o.purpose, o.zone_axis, o.mistilt) for o in again]


def test_another_file_is_no_file_of_supercells(tmp_path):
    (tmp_path / "wrong.npz").write_text("wrong")
    with pytest.raises(InputError, match=r"wrong.npz: is not a file of supercells"):
        supercell.read(tmp_path / "wrong.npz")
