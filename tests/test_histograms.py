"""What a data set is made of, at a glance."""

import numpy as np
import pandas as pd

from fourdcrystal import histograms
from fourdcrystal.sheet import SPLITS


def catalogue(classes: int) -> pd.DataFrame:
    rng, n = np.random.default_rng(0), 40 * classes
    table = pd.DataFrame(
        {
            "crystal": [f"c{i // 40}" for i in range(n)],
            "prototype": [f"class with a long name {i // 40:02d}" for i in range(n)],
            "split": [SPLITS[i // 40 % 4] for i in range(n)],
            "orientation": [i % 10 for i in range(n)],
            "thickness_A": rng.choice([50.0, 100.0], n),
            "semiangle_mrad": rng.choice([1.0, 2.0], n),
            "mistilt_mrad": rng.choice([0.0, 12.0], n),
            "intensity": rng.uniform(0.9, 1, n),
            "seam_fraction": rng.uniform(0, 0.01, n),
        }
    )
    return table.astype(dict.fromkeys(("crystal", "prototype", "split"), "category"))


def bars(panels):
    """Title, and heights of all bars together, of each panel."""
    return [(panel.get_title(), sum(bar.get_height() for bar in panel.patches)) for panel in panels]


def test_every_quartet_is_in_the_histograms_and_classes_left_out_are_counted(tmp_path, panels):
    table = catalogue(25)
    histograms.draw(tmp_path / "histograms.png", table)
    (title, classes), (_, thickness), (_, semiangle), (_, tilts), (_, intensity), _ = bars(panels)
    assert title == "class (5 smaller ones not shown)"
    assert classes == 20 * 40
    assert thickness == semiangle == len(table)
    assert intensity >= len(table)  # stacked histograms are drawn one upon the other
    assert tilts > 0


def test_a_data_set_of_one_split_without_mistilts_has_all_histograms_but_that_of_tilts(tmp_path, panels):
    table = catalogue(1).assign(mistilt_mrad=0.0)
    histograms.draw(tmp_path / "histograms.png", table)
    (title, classes), (_, thickness), (_, semiangle), (_, tilts), (_, intensity), (_, seam) = bars(panels)
    assert title == "class"
    assert classes == thickness == semiangle == intensity == seam == len(table)
    assert tilts == 0
