"""One style for all figures, and the pieces that several of them share."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from cycler import cycler
from matplotlib.ticker import MaxNLocator

from fourdcrystal import files

if TYPE_CHECKING:
    from matplotlib.typing import RcKeyType

DIFFRACTION = "inferno"  # intensity, V_g
SIGNED = "RdBu_r"  # strain, rotation, q_z
COLOURS = {"ours": "#0072b2", "classical": "#d55e00", "truth": "#222222", "other": "#009e73"}  # Okabe and Ito

STYLE: "dict[RcKeyType, Any]" = {
    "figure.dpi": 110,
    "savefig.dpi": 150,
    "figure.constrained_layout.use": True,
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.labelsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.prop_cycle": cycler(color=["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#222222"]),
    "legend.frameon": False,
    "image.interpolation": "nearest",
    "image.origin": "upper",
}


UNKNOWN = "#c8c8c8"  # where a map over a scan has no value


@contextmanager
def figure(path: str | Path, rows: int = 1, columns: int = 1, size: tuple[float, float] = (3.0, 2.6)) -> Iterator[Any]:
    """A figure that is saved, whole, when the block ends well.

    Args:
        path: Where it goes; the suffix chooses the format.
        rows: Rows of panels.
        columns: Columns of panels.
        size: Width and height of one panel [inch].

    Yields:
        The figure and its axes, an array (rows, columns).
    """
    with plt.rc_context(STYLE):
        made, axes = plt.subplots(rows, columns, figsize=(size[0] * columns, size[1] * rows), squeeze=False)
        try:
            yield made, axes
            with files.replaced(path) as temporary:
                made.savefig(temporary)
        finally:
            plt.close(made)


def pattern(axes: Any, image: np.ndarray, title: str = "", power: float = 0.25, cmap: str = DIFFRACTION) -> Any:
    """Draw a diffraction pattern, axis 0 downwards, compressed by a power so that weak disks show."""
    shown = axes.imshow(np.clip(image, 0, None) ** power, cmap=cmap)
    axes.set_title(title)
    axes.set_xticks([])
    axes.set_yticks([])
    return shown


def scan_axes(axes: Any, name: str | None = None, last: bool = True) -> None:
    """Axes of a map over scan positions: axis 0 of the scan downwards, axis 1 to the right.

    Args:
        axes: The panel.
        name: Of a row of panels, for its first one, where the vertical axis is named; none: another one of the row.
        last: Whether it is in the last row, where the horizontal axis is named.
    """
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(4, integer=True, min_n_ticks=1))
    axes.set_facecolor(UNKNOWN)  # white is a strain of 0
    axes.tick_params(labelsize=7)
    axes.set_xlabel("position $r_y$" if last else "")
    axes.set_ylabel("" if name is None else f"{name}\nposition $r_x$".lstrip())


def colour_bar(figure: Any, shown: Any, axes: Any, label: str = "") -> None:
    """A colour bar with what it shows and its unit, unless the panel's title says so."""
    figure.colorbar(shown, ax=axes, shrink=0.85, label=label)


def span(values: np.ndarray, percentile: float = 99.0) -> float:
    """Half range of a symmetric colour scale that holds nearly all finite values; 1 where there are none."""
    finite = np.abs(values[np.isfinite(values)])
    top = float(np.percentile(finite, percentile)) if len(finite) else 0.0
    return top if top > 0 else 1.0
