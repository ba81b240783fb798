"""Simulated scans: where the truth says that disks are, there they are."""

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from fourdcrystal import correlation, recipe, scan_checks, scan_files, scan_truth, simulated_scans, strain, supercell
from fourdcrystal.crystals import Crystal
from fourdcrystal.errors import InputError
from fourdcrystal.scan_settings import Simulated

STRUCTURE = Structure.from_spacegroup("F-43m", Lattice.cubic(5.41), ["Zn", "S"], [[0, 0, 0], [0.25, 0.25, 0.25]])
BOX = np.array([50.0, 50.0, 20.0])
CRYSTAL = Crystal("ZnS", STRUCTURE, "AB_cF8_216_c_a", 216, "cubic", {})
SETTINGS = {
    "specimen": {"thickness": [20], "box": 50},
    "detector": {"shape": [96, 96], "sampling": 0.02},
    "scans": {
        "thin": {
            "simulate": {
                "thickness": 20,
                "grid": [2, 2],
                "strain": 0.06,
                "tilt": 10,
                "dose": 1e8,
                "zone_axis": [1, 1, 0],
            }
        }
    },
}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    made = tmp_path_factory.mktemp("scan") / "thin.npz"
    simulated_scans.make(made, CRYSTAL, "thin", recipe.validate(SETTINGS, "test"), jobs=1)
    return made


def test_every_supercell_of_a_scan_is_checked(monkeypatch):
    monkeypatch.setattr(supercell, "cut", lambda *a: supercell.Supercell(np.zeros((2, 3)), np.array([30, 16]), BOX))
    settings = recipe.validate(SETTINGS, "test")
    simulated_scans._prepare(STRUCTURE, settings.scans["thin"].simulate, settings)
    with pytest.raises(RuntimeError, match="atoms of element"):
        simulated_scans._position(0, np.eye(2), np.zeros(2))


def test_disks_of_a_thin_strained_tilted_crystal_are_where_the_truth_says(path):
    scan = scan_files.read(path)
    scan_checks.check(scan)
    patterns = np.concatenate(list(scan.batches(4)))
    found = correlation.detect(patterns, scan.probe, square_root=True, threshold=0.02)
    errors = scan_truth.scores(scan, found, in_volts=False)
    assert errors["position_median_px"] < 0.08
    assert errors["strain_rmse"] < 1.5e-3


def test_the_truth_agrees_with_itself(path):
    scan = scan_files.read(path)
    direct = (scan.truth["hkl"] == 0).all(1)
    assert direct.sum() == 1
    np.testing.assert_allclose(scan.truth["centres"][:, :, direct], 48, atol=1e-9)
    # zeroth Laue zone: undoing F gives one lattice for all positions, and q_z is the tilt's plane
    zone = (scan.truth["hkl"] @ [1, 1, 0] == 0) & (scan.truth["weight"] > 0).all((0, 1))
    g, f, tilt = (scan.truth[name] for name in ("g", "distortion", "tilt"))
    undone = np.linalg.solve(f[:, :, None], g[:, :, zone, :2, None])[..., 0]
    np.testing.assert_allclose(undone[1, 0], undone[0, 1], atol=1e-9)
    np.testing.assert_allclose(g[1, 0][zone][:, 2], -g[1, 0][zone][:, :2] @ tilt[1, 0], atol=2e-4)


def test_strain_field_has_the_range_that_was_asked_for():
    made = simulated_scans.field(Simulated(grid=[9, 9], strain=0.02, tilt=5))
    inverse = np.linalg.inv(made.deformation).swapaxes(-1, -2)
    found = strain.of_distortion(inverse)
    assert np.ptp(found[..., 0]) == pytest.approx(0.02, rel=1e-6)
    assert np.abs(made.tilt).max() == pytest.approx(5e-3)


def test_the_same_settings_give_the_same_scan(path, tmp_path):
    simulated_scans.make(tmp_path / "again.npz", CRYSTAL, "thin", recipe.validate(SETTINGS, "test"), jobs=2)
    with np.load(path) as one, np.load(tmp_path / "again.npz") as other:
        for name in one.files:
            np.testing.assert_array_equal(one[name], other[name])


def test_a_scan_that_is_not_to_be_simulated_is_refused(tmp_path):
    with pytest.raises(InputError, match="not a scan to be simulated"):
        simulated_scans.make(tmp_path / "x.npz", CRYSTAL, "other", recipe.validate(SETTINGS, "test"))
