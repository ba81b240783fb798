"""Pictures of strain: what kind suits which scan, and what they say."""

import matplotlib.figure
import numpy as np
import pytest
from disk_patterns import scan

from fourdcrystal import detection, plots, strain_plots
from fourdcrystal.analysis import PLAIN
from fourdcrystal.detectors import Correlator


@pytest.fixture
def drawn(monkeypatch) -> list[matplotlib.figure.Figure]:
    """Figures that were made."""
    made, original = [], plots.plt.subplots

    def subplots(*arguments, **options):
        figure, axes = original(*arguments, **options)
        made.append(figure)
        return figure, axes

    monkeypatch.setattr(plots.plt, "subplots", subplots)
    return made


def turned(degrees: float) -> np.ndarray:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[c, -s], [s, c]])


def test_strain_of_a_line_scan_is_drawn_as_profiles_over_the_position(tmp_path, drawn):
    made = scan((1, 6))
    strain_plots.strain(tmp_path / "strain.png", made, detection.detect(made, Correlator()), None, PLAIN)
    (figure,) = drawn
    assert [axes.get_ylabel() for axes in figure.axes] == list(strain_plots.LABELS.values())
    assert figure.axes[-1].get_xlabel() == "position along the line"
    assert all(len(axes.lines[0].get_xdata()) == 6 for axes in figure.axes)


def test_maps_say_what_strain_is_relative_to_and_no_scale_is_that_of_rounding_errors(tmp_path, drawn):
    made = scan((1, 1))
    strain_plots.strain(tmp_path / "strain.png", made, detection.detect(made, Correlator()), None, PLAIN)
    (figure,) = drawn
    assert figure.get_suptitle() == "relative to the median of the scan; x is along the detector's axis 0"
    limits = [axes.images[0].get_clim()[1] for axes in figure.axes if axes.images][:4]
    assert (np.array(limits) >= strain_plots.LEAST).all()


def test_rotations_are_shown_beside_their_grain_s_and_grains_in_a_picture_of_their_own(tmp_path, drawn):
    distortion = np.broadcast_to(np.eye(2), (4, 5, 2, 2)).copy()
    distortion[:, 3:] = turned(30)
    made = scan((4, 5), distortion=distortion)
    found = detection.detect(made, Correlator())
    strain_plots.strain(tmp_path / "strain.png", made, found, None, PLAIN)
    strain_plots.grains(tmp_path / "grains.png", made, found.maps)
    maps, grains = drawn
    assert strain_plots.IN_GRAIN in [axes.get_title() for axes in maps.axes]
    rotation = next(axes for axes in maps.axes if axes.get_title() == strain_plots.IN_GRAIN)
    assert rotation.images[0].get_clim()[1] < 20  # mrad, not those 524 between both grains
    said = [text.get_text() for text in grains.legends[0].get_texts()]
    assert said == ["0, turned by 0.0°: 12 patterns", "1, turned by 30.0°: 8 patterns"]
