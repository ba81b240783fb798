"""Stores of a scan's results say what their numbers are relative to."""

import numpy as np
import pytest
from disk_patterns import peaks_on_lattices

from fourdcrystal import mapping, results
from fourdcrystal.analysis import Analysis

BASIS, CENTRE, DQ = np.array([[14.0, 1.0], [-2.0, 15.0]]), np.array([64.0, 64.0]), 0.02
TILT = np.array([0.006, -0.002])


def maps(**options):
    """Of four strained patterns with the heights of a tilted crystal."""
    rng = np.random.default_rng(0)
    distortion = np.eye(2) + np.array([0.0, 0.0, 0.0, 0.01])[:, None, None] * np.diag([1.0, 0.0])
    peaks = peaks_on_lattices(distortion, BASIS, CENTRE, 0.02, rng)
    peaks.qz[:] = -DQ * (peaks.positions - CENTRE) @ TILT
    return mapping.of_peaks(peaks, (2, 2), (128, 128), DQ, CENTRE, Analysis(**options))


@pytest.mark.parametrize("degrees", [0.0, 90.0])
def test_strain_turns_with_the_frame_and_tilt_stays_along_the_detector(degrees):
    made = maps(frame=np.radians(degrees))
    strain = results.strain(made, np.zeros(4, np.uint8), (2, 2), {})
    assert strain.attrs["frame_degree"] == pytest.approx(degrees)
    along = {0.0: "e_xx", 90.0: "e_yy"}[degrees]
    assert strain[along].values[1, 1] == pytest.approx(-0.01, abs=1e-3)
    orientation = results.orientation(made, (2, 2), {})
    assert orientation.tilt_x.values == pytest.approx(TILT[0], abs=2e-4)
    assert orientation.tilt_y.values == pytest.approx(TILT[1], abs=2e-4)
    assert "detector's axes 0 and 1, whatever frame strain has" in orientation.attrs["convention"]


def test_the_reference_is_called_what_it_is():
    made = maps()
    said = results.strain(made, np.zeros(4, np.uint8), (2, 2), {}).attrs["reference_is"]
    assert said == "the mean of the middle two fifths of the reference positions"
    ordered = np.sort(made.lattices.vectors, axis=0)
    np.testing.assert_allclose(made.reference, ordered[1:-1].mean(0))  # of four
