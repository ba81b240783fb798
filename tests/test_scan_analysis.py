"""What a scan tells about its camera is measured around what the camera can't see, or refused; never guessed."""

import argparse

import numpy as np
import pytest
from disk_patterns import disk, scan
from pymatgen.core import Lattice, Structure

from fourdcrystal import analysis, detect_command, ellipticity, scan_analysis, scan_rotation
from fourdcrystal.analysis import PLAIN
from fourdcrystal.errors import InputError
from fourdcrystal.scans import Scan

SHAPE, CENTRE = (96, 96), np.array([47.5, 48.2])
BLIND = np.zeros(SHAPE, bool)
BLIND[:, 60] = True


def halo(ratio):
    """Patterns of a halo that the camera makes an ellipse, (4, 5, X, Y)."""
    offsets = np.stack([axis.ravel() for axis in np.indices(SHAPE)]) - CENTRE[:, None]
    r = np.hypot(*np.linalg.inv(analysis.ellipse(ratio, 1.0)) @ offsets).reshape(SHAPE)
    image = 50 * np.exp(-((r - 30) ** 2) / 30) + 1000 * np.exp(-r / 6) + 3
    return np.random.default_rng(0).poisson(image, (4, 5, *SHAPE)).astype(float)


def deflected(degrees):
    """Patterns of a direct beam that a field deflects, seen by a camera at an angle, (6, 6, X, Y)."""
    u, v = np.meshgrid(np.arange(6.0), np.arange(6.0), indexing="ij")
    gradient = np.stack(np.gradient(np.sin(u / 2) + np.cos(v / 3) + u * v / 40), -1).reshape(-1, 2)
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    places = CENTRE + 6 * gradient @ np.array([[c, s], [-s, c]])
    images = np.array([1000 * disk(SHAPE, place, 4.0) + 1 for place in places])
    return np.random.default_rng(1).poisson(images).reshape(6, 6, *SHAPE).astype(float)


def measured(patterns, blind, **options):
    made = Scan("made", np.where(blind, np.nan, patterns), 1e4 * disk(SHAPE, CENTRE, 4.0), 0.02)
    asked = {"ellipse": None, "rotation": None, "frame": "detector"} | options
    return scan_analysis.measured(PLAIN, argparse.Namespace(**asked), made)


@pytest.mark.parametrize("blind", [False, BLIND])
def test_a_halo_tells_the_ellipticity_also_beside_masked_pixels(blind):
    ratio, angle = analysis.axes(measured(halo(1.06), blind, ellipse="ring").ellipse)
    assert ratio == pytest.approx(1.06, abs=5e-3) and angle == pytest.approx(1.0, abs=0.06)


@pytest.mark.parametrize("blind", [False, BLIND])
def test_the_scan_s_rotation_is_found_also_beside_masked_pixels(blind):
    found = measured(deflected(25), blind, rotation="find", frame="scan")
    assert np.degrees(found.frame) == pytest.approx(25, abs=2)


def test_angles_of_frame_and_ellipse_are_given_in_degrees():
    def said(**options):
        asked = {"crystal": None, "reference": "median", "zone_axis": None, "ellipse": None, "rotation": None} | options
        return scan_analysis.of_options(argparse.Namespace(**asked), (3, 4))

    assert said(frame="detector").frame == 0 and said(frame="lattice").frame == "lattice"
    assert said(frame="-70").frame == pytest.approx(np.radians(-70))
    assert said(frame="scan", rotation="20").frame == pytest.approx(np.radians(20))
    found = said(frame="detector", ellipse="1.03,40").ellipse
    assert analysis.axes(found) == pytest.approx((1.03, np.radians(40)))


def test_what_cannot_be_measured_is_refused():
    with pytest.raises(InputError, match="no ring"):
        measured(halo(1.0), True, ellipse="ring")
    with pytest.raises(InputError, match="not finite"):
        ellipticity.find(np.full(SHAPE, np.nan), tuple(CENTRE), 4.0)
    with pytest.raises(InputError, match="no pattern has a centre of mass"):
        scan_rotation.find(np.full((5, 5, 2), np.nan))


def test_what_is_not_asked_for_is_not_measured():
    assert measured(halo(1.06), False) is PLAIN


def test_what_needs_the_whole_scan_comes_after_the_model_and_not_in_parts_and_previews(tmp_path, monkeypatch):
    made = scan(shape=(64, 72), radius=3.0)
    np.savez(tmp_path / "scan.npz", scan=made.patterns.astype(np.uint16), probe=made.probe, dq=0.02)

    def masses(self, fill):
        raise InputError("the whole scan is read")

    monkeypatch.setattr(Scan, "masses", masses)
    parser = argparse.ArgumentParser()
    detect_command.add_arguments(parser)

    def run(*options):
        given = [str(tmp_path / "scan.npz"), "-o", str(tmp_path / "out"), "--frame", "scan", "--rotation", "find"]
        detect_command.run(parser.parse_args([*given, "--refine", "none", "--device", "cpu", *options]))

    with pytest.raises(InputError, match="no such model file"):
        run("--model", "absent.safetensors")
    run("--model", "correlation", "--preview", "1")
    run("--model", "correlation", "--part", "1/2")
    with pytest.raises(InputError, match="the whole scan is read"):
        run("--model", "correlation")


def test_a_crystal_whose_sites_elements_share_is_refused_before_the_search(tmp_path):
    cell = Lattice.cubic(5.5)
    Structure.from_spacegroup("Fd-3m", cell, [{"Si": 0.5, "Ge": 0.5}], [[0, 0, 0]]).to(str(tmp_path / "sige.cif"))
    with pytest.raises(InputError, match="partial occupancy; allowed are crystals with one element on every site"):
        scan_analysis.read_structure(tmp_path / "sige.cif")
    Structure.from_spacegroup("Fd-3m", cell, ["Si4+"], [[0, 0, 0]]).to(str(tmp_path / "si.cif"))
    assert {site.specie.symbol for site in scan_analysis.read_structure(tmp_path / "si.cif")} == {"Si"}
