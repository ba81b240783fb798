"""Pictures of image quartets: vacuum probe and pattern in, potential map and height map out."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.colors import PowerNorm, TwoSlopeNorm
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from fourdcrystal import places, plots, stores
from fourdcrystal.layout import PATTERN
from fourdcrystal.places import Location

Images = tuple[NDArray, NDArray, NDArray, NDArray]  # probe, cbed, vg, qz
SHOWN = ("zone_axis", "mistilted", "random")  # in turn: on an axis q_z is 0, and the map would be empty
TITLES = ("vacuum probe", "CBED pattern", r"potential map $V_g$", r"out-of-plane map $q_z$")


def choose(catalogue: pd.DataFrame, n: int) -> pd.DataFrame:
    """Rows for a gallery: as many prototypes as possible, with thickness and orientation varied.

    Args:
        catalogue: One row per quartet.
        n: How many rows are wanted; fewer come back if there are fewer.
    """
    classes = [group for _, group in catalogue.groupby("prototype", sort=True, observed=True)]
    classes = [classes[i] for i in np.unique(np.linspace(0, len(classes) - 1, min(n, len(classes))).astype(int))]
    rows = []
    for i in range(n):
        group = classes[i % len(classes)]
        purposes = [p for p in SHOWN if p in set(group["purpose"])] or list(group["purpose"].unique())
        of_purpose = group[group["purpose"] == purposes[i % len(purposes)]]
        # a step that shares no factor with the usual numbers of semi-angles and thicknesses walks through them all
        rows.append(of_purpose.iloc[(7 * i + 1) % len(of_purpose)])
    return pd.DataFrame(rows).drop_duplicates()


def heights(vg: NDArray[np.floating], qz: NDArray[np.floating]) -> tuple[np.ma.MaskedArray, float]:
    """q_z where there is a reflection to have one, and the largest |q_z| of its colours [1/Å].

    Between disks q_z says nothing, and on a zone axis it is rounding: neither may look like a crystal's tilt.

    Args:
        vg: Potential map [V], (qx, qy).
        qz: Out-of-plane map [1/Å], (qx, qy).
    """
    defined = np.ma.masked_where(vg < 0.02 * vg.max(), qz)
    return defined, max(float(np.abs(defined).max()), 0.01)


def draw(path: str | Path, quartets: Sequence[tuple[str, Images, float]]) -> None:
    """Draw quartets side by side, one row each.

    Args:
        path: Picture to write.
        quartets: A caption, (probe, cbed, vg [V], qz [1/Å]) and the size of a pixel [1/Å] each; images (qx, qy).
    """
    with plots.figure(path, len(quartets), 4, size=(2.15, 1.8)) as (figure, axes):
        for row, (words, (probe, cbed, vg, qz), dq) in zip(axes, quartets, strict=True):
            nx, ny = cbed.shape
            extent = tuple(dq * (edge - 0.5) for edge in (-(ny // 2), ny - ny // 2, nx - nx // 2, -(nx // 2)))
            defined, height = heights(vg, qz)
            shown = [
                row[0].imshow(probe, extent=extent, cmap=plots.DIFFRACTION, norm=PowerNorm(0.5, 0, 1)),
                row[1].imshow(cbed, extent=extent, cmap=plots.DIFFRACTION, norm=PowerNorm(0.3, 0, float(cbed.max()))),
                row[2].imshow(vg, extent=extent, cmap="viridis", norm=PowerNorm(0.5, 0, max(float(vg.max()), 1e-3))),
                row[3].imshow(defined, extent=extent, cmap=plots.SIGNED, norm=TwoSlopeNorm(0, -height, height)),
            ]
            row[3].set_facecolor("0.92")
            for axis, image, unit in zip(row, shown, ("", "", "V", "1/Å"), strict=True):
                axis.tick_params(labelsize=6)
                bar = figure.colorbar(image, ax=axis, shrink=0.85, pad=0.02, ticks=MaxNLocator(5))
                bar.ax.tick_params(labelsize=6)
                bar.set_label(unit, fontsize=6)
            row[0].set_ylabel(f"{words}\n" + r"$q_x$ [1/Å]", fontsize=6.5)
        for axis, title in zip(axes[0], TITLES, strict=True):
            axis.set_title(title, fontsize=7.5)
        for axis in axes[-1]:
            axis.set_xlabel(r"$q_y$ [1/Å]", fontsize=7)


def caption(row: pd.Series) -> str:
    """What a quartet shows: class, crystal and direction, thickness and semi-angle, a short line each."""
    tilt = f", {row['mistilt_mrad']:.0f} mrad off" if row["mistilt_mrad"] > 0 else ""
    turned = f"[{row['zone_axis']}]{tilt}" if row["zone_axis"] else str(row["purpose"])
    return f"{row['prototype']}\n{row['formula']} {turned}\n{row['thickness_A']:g} Å, {row['semiangle_mrad']:g} mrad"


def quartet(patterns: Location, row: pd.Series) -> tuple[Images, float]:
    """The four images of one catalogue row, and the size of their pixels [1/Å]."""
    store = stores.open(places.inside(patterns, f"{row['crystal']}.zarr"))
    place = {axis: row[axis] for axis in PATTERN}
    probe, cbed, vg, qz = (
        store[name].isel({k: v for k, v in place.items() if k in store[name].dims}).values
        for name in ("probe", "cbed", "vg", "qz")
    )
    return (probe, cbed, vg, qz), float(store["qx"][1] - store["qx"][0])
