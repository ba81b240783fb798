"""What a data set is made of, as histograms: classes, thicknesses, tilts, intensities."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from fourdcrystal import plots
from fourdcrystal.sheet import SPLITS

LARGEST = 20  # classes that have a bar of their own


def draw(path: str | Path, catalogue: pd.DataFrame) -> None:
    """Draw the histograms of a catalogue.

    Args:
        path: Picture to write.
        catalogue: One row per quartet.
    """
    with plots.figure(path, 2, 3, size=(3.2, 2.6)) as (figure, axes):
        _classes(axes[0, 0], catalogue)
        _bars(axes[0, 1], catalogue, "thickness_A", "thickness [Å]")
        _bars(axes[0, 2], catalogue, "semiangle_mrad", "convergence semi-angle [mrad]")
        tilts = catalogue.drop_duplicates(["crystal", "orientation"])
        _distribution(axes[1, 0], tilts.loc[tilts["mistilt_mrad"] > 0], "mistilt_mrad", "mistilt [mrad]")
        axes[1, 0].set_ylabel("orientations")
        _distribution(axes[1, 1], catalogue, "intensity", "fraction of the beam on the detector")
        _distribution(axes[1, 2], catalogue, "seam_fraction", "fraction of the beam near the box's seam")
        handles, names = axes[0, 1].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=len(SPLITS))


def _stacked(catalogue: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    return [(split, mine) for split in SPLITS if len(mine := catalogue[catalogue["split"] == split])]


def _classes(axis: Axes, catalogue: pd.DataFrame) -> None:
    sizes = catalogue["prototype"].value_counts()
    kept = sizes[sizes > 0].sort_index().sort_values(ascending=False, kind="stable").index[:LARGEST]
    bottom = np.zeros(len(kept))
    for split, mine in _stacked(catalogue):
        counts = mine["prototype"].value_counts().reindex(kept, fill_value=0).to_numpy()
        axis.bar(np.arange(len(kept)), counts, bottom=bottom, label=split)
        bottom += counts
    names = [name if len(name) <= 14 else f"{name[:13]}…" for name in map(str, kept)]
    axis.set_xticks(np.arange(len(kept)), names, rotation=90, fontsize=5)
    more = (sizes > 0).sum() - len(kept)
    axis.set_title(f"class{f' ({more} smaller ones not shown)' if more else ''}")
    axis.set_ylabel("quartets")


def _bars(axis: Axes, catalogue: pd.DataFrame, column: str, title: str) -> None:
    values = np.unique(catalogue[column])
    bottom = np.zeros(len(values))
    for split, mine in _stacked(catalogue):
        counts = mine[column].value_counts().reindex(values, fill_value=0).to_numpy()
        axis.bar(np.arange(len(values)), counts, bottom=bottom, label=split)
        bottom += counts
    axis.set_xticks(np.arange(len(values)), [f"{value:g}" for value in values])
    axis.set_xlabel(title)
    axis.set_ylabel("quartets")


def _distribution(axis: Axes, catalogue: pd.DataFrame, column: str, title: str) -> None:
    parts = [mine[column].to_numpy() for _, mine in _stacked(catalogue)]
    if parts:
        axis.hist(parts, bins=24, stacked=True)
    axis.set_xlabel(title)
    axis.set_ylabel("quartets")
