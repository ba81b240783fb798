"""Accuracy is drawn over thickness, dose and tilt, one at a time."""

from contextlib import contextmanager

import numpy as np
import pandas as pd
import pytest

from fourdcrystal import accuracy_curves, conditions, plots
from fourdcrystal.accuracy_curves import PANELS

METHODS = ("network", "network, learned", "multicorr, root, learned", "parabolic", "multicorr, root")
DOSES = (1e3, 1e4, 1e5)


def scores() -> pd.DataFrame:
    """A table as evaluation gives it, in which every figure of merit is thickness + dose + number of the tilt."""
    table = pd.DataFrame({
        "thickness_A": np.repeat([100.0, 300.0], 6),
        "purpose": ["zone_axis", "mistilted", "mistilted", "mistilted", "random", "unrotated"] * 2,
        "mistilt_mrad": [0, 5, 20, 200, 0, 0] * 2,
    })  # fmt: skip
    rows = []
    for about, group in conditions.groups(table):
        number = 0 if about["tilt"] == "" else 1 + conditions.TILTS.index(about["tilt"])
        for dose in DOSES:
            value = np.nan_to_num(about["thickness_A"]) + 0.1 * np.log10(dose) + 1000 * number
            common = {
                "split": "test",
                "dose": dose,
                "patterns": int(group.sum()),
                **about,
                **dict.fromkeys(PANELS, value),
            }
            common |= {"position_floor_px": -value, "untilted_median_mrad": -value}
            rows += [common | {"method": method} for method in METHODS]
    return pd.DataFrame(rows)


@pytest.fixture
def drawn(tmp_path, monkeypatch):
    """Curves of each figure: (x, y) of every line that stands for a method, panel by panel."""
    seen, original = {}, plots.figure

    @contextmanager
    def figure(path, *arguments):
        with original(path, *arguments) as (made, axes):
            yield made, axes
            seen[path.name] = list(axes.ravel())

    monkeypatch.setattr(plots, "figure", figure)
    accuracy_curves.draw(tmp_path, scores())
    return seen


def curves(panel):
    return [line.get_xydata() for line in panel.lines]


@pytest.mark.parametrize("name, x, y", [
    ("over_thickness.png", [100, 300], [100.4, 300.4]),  # at the middle dose
    ("over_dose.png", DOSES, [0.3, 0.4, 0.5]),
    ("over_tilt.png", range(5), [1000.4, 2000.4, 3000.4, 5000.4, 6000.4]),  # no pattern is off by 30 to 100 mrad
])  # fmt: skip
def test_each_figure_shows_one_condition_and_leaves_the_others_alone(drawn, name, x, y):
    panel = drawn[name][list(PANELS).index("r_factor")]
    assert len(curves(panel)) == len(METHODS)
    for curve in curves(panel):
        np.testing.assert_allclose(curve, np.column_stack([x, y]))


def test_errors_stand_beside_what_shot_noise_and_no_tilt_would_give(drawn):
    for merit in ("position_median_px", "tilt_median_mrad"):
        below = [c for c in curves(drawn["over_dose.png"][list(PANELS).index(merit)]) if (c[:, 1] < 0).all()]
        assert len(below) == 1, "the network's reflections have one bound"


def test_every_panel_says_what_it_shows_in_which_unit_and_the_legend_names_all_methods(drawn):
    for panels in drawn.values():
        *shown, legend = panels
        assert all(panel.get_xlabel() and panel.get_ylabel() for panel in shown)
        words = [text.get_text() for text in legend.get_legend().get_texts()]
        assert len(words) == len(METHODS) + 1 and "multicorr of √counts, learned" in words
        looks = {(line.get_color(), line.get_linestyle()) for line in legend.get_legend().get_lines()}
        assert len(looks) == len(words), "two methods look alike"


def test_a_dose_is_written_as_by_hand():
    assert accuracy_curves.electrons(1e5) == "$10^{5}$"
    assert accuracy_curves.electrons(3e3) == "3 · $10^{3}$"


def test_panels_without_any_number_are_drawn_empty(tmp_path):
    """No pattern is tilted, nothing was found: figures of merit are zero or unknown, and so are the axes' limits."""
    table = scores().assign(tilt_median_mrad=np.nan, untilted_median_mrad=np.nan, strain_rmse=0.0)
    accuracy_curves.draw(tmp_path, table)
    assert len(list(tmp_path.glob("over_*.png"))) == 3
