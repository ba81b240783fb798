"""Figures say what they show."""

import numpy as np
import pytest

from fourdcrystal import plots


def test_maps_over_a_scan_name_their_axes_and_tick_whole_positions(tmp_path):
    with plots.figure(tmp_path / "map.png", 2, 2) as (figure, axes):
        for row in range(2):
            for column in range(2):
                panel = axes[row, column]
                panel.imshow(np.zeros((3, 200)))
                plots.scan_axes(panel, "strain" if column == 0 else None, last=row == 1)
        figure.canvas.draw()
        assert [panel.get_xlabel() for panel in axes.ravel()] == ["", "", "position $r_y$", "position $r_y$"]
        assert axes[0, 0].get_ylabel() == "strain\nposition $r_x$" and axes[0, 1].get_ylabel() == ""
        for ticks in (axes[0, 0].get_xticks(), axes[0, 0].get_yticks()):
            assert len(ticks) > 1 and (ticks == np.rint(ticks)).all()


def test_a_figure_that_fails_leaves_no_file(tmp_path):
    with pytest.raises(ValueError, match="no data"), plots.figure(tmp_path / "map.png"):
        raise ValueError("no data")
    assert not list(tmp_path.iterdir())
