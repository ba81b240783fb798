"""Maps of directions: tilt on a colour wheel, and orientations in the colours of the inverse pole figure."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.colors import hsv_to_rgb, to_rgb
from pymatgen.core import Structure

from fourdcrystal import ipf, mapping, plots

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fourdcrystal.detection import Detected
    from fourdcrystal.scans import Scan

GREY = to_rgb(plots.UNKNOWN)


def wheel_colours(vectors: np.ndarray, longest: float) -> np.ndarray:
    """Colours of plane vectors, (..., 2) to (..., 3): hue is the direction, brightness the length up to ``longest``."""
    known = np.isfinite(vectors).all(-1)
    x, y = np.moveaxis(np.where(known[..., None], vectors, 0.0), -1, 0)
    hue = np.arctan2(y, x) / (2 * np.pi) % 1
    made = hsv_to_rgb(np.stack([hue, np.ones_like(hue), (np.hypot(x, y) / longest).clip(0, 1)], -1))
    return np.where(known[..., None], made, GREY)


def wheel_map(panel: "Axes", vectors: np.ndarray, longest: float, label: str) -> None:
    """A map of plane vectors, (X, Y, 2) with components along axis 0 and 1 of the picture, with its colour wheel."""
    panel.imshow(wheel_colours(vectors, longest))
    wheel = panel.inset_axes((1.06, 0.3, 0.4, 0.4))
    axis = np.linspace(-1, 1, 121)
    disk = np.stack(np.meshgrid(axis, axis, indexing="ij"), -1)
    colours = wheel_colours(disk, 1.0)
    outside = np.hypot(*np.moveaxis(disk, -1, 0)) > 1
    wheel.imshow(np.dstack([colours, ~outside]), extent=(-1, 1, 1, -1))
    wheel.set_axis_off()
    wheel.set_title(label, fontsize=7)
    wheel.text(1.1, 0, "y", va="center", fontsize=7)
    wheel.text(0, 1.15, "x", ha="center", va="top", fontsize=7)


def orientation_maps(path: Path, scan: "Scan", found: "Detected", structure: Structure) -> None:
    """Which crystal direction lies along the laboratory's x, y and z (the beam), with the colour key."""
    colours = ipf.colours(mapping.orientations(found.maps), structure).reshape(*scan.grid, 3, 3)
    with plots.figure(path, 1, 4, (2.4, 2.5)) as (figure, axes):
        for i, axis in enumerate("xyz"):
            panel = axes[0, i]
            panel.imshow(np.where(np.isnan(colours[:, :, i]), GREY, colours[:, :, i]))
            plots.scan_axes(panel, None if i else "")
            panel.set_title(f"crystal direction along {axis}" + (" (beam)" if axis == "z" else ""))
        axes[0, 3].remove()
        key = figure.add_subplot(1, 4, 4, projection="ipf", symmetry=ipf.laue(structure))
        key.plot_ipf_color_key()
