"""Pictures of image quartets: vacuum probe and pattern in, potential map and height map out."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.colors import PowerNorm, TwoSlopeNorm
from numpy.typing import NDArray

from fourdcrystal import plots

Images = tuple[NDArray, NDArray, NDArray, NDArray]  # probe, cbed, vg, qz
TITLES = ("vacuum probe", "CBED pattern", r"potential map $V_g$", r"out-of-plane map $q_z$")


def choose(catalogue: pd.DataFrame, n: int) -> pd.DataFrame:
    """Rows for a gallery: as many prototypes as possible, with thickness and orientation varied.

    Args:
        catalogue: One row per quartet.
        n: How many rows are wanted; fewer come back if there are fewer.
    """
    order = catalogue.sort_values(["prototype", "crystal", "orientation", "thickness", "semiangle"], kind="stable")
    classes = [group for _, group in order.groupby("prototype", sort=True)]
    rows = []
    for i in range(n):
        group = classes[i % len(classes)]
        # a step that is coprime to most group sizes walks through orientations and thicknesses
        rows.append(group.iloc[(i * 7 + 3 * (i // len(classes))) % len(group)])
    return pd.DataFrame(rows).drop_duplicates(["crystal", "orientation", "energy", "semiangle", "thickness"])


def draw(path: str | Path, quartets: Sequence[tuple[str, Images]], dq: float) -> None:
    """Draw quartets side by side, one row each.

    Args:
        path: Picture to write.
        quartets: A caption and (probe, cbed, vg [V], qz [1/Å]) each, images (qx, qy).
        dq: Size of a pixel [1/Å].
    """
    with plots.figure(path, len(quartets), 4, size=(2.0, 1.85)) as (figure, axes):
        for row, (words, (probe, cbed, vg, qz)) in zip(axes, quartets, strict=True):
            nx, ny = cbed.shape
            extent = tuple(dq * (edge - 0.5) for edge in (-(ny // 2), ny - ny // 2, nx - nx // 2, -(nx // 2)))
            height = max(float(np.abs(qz).max()), 1e-3)
            defined = np.ma.masked_where(vg < 0.02 * vg.max(), qz)
            shown = [
                row[0].imshow(probe, extent=extent, cmap=plots.DIFFRACTION, norm=PowerNorm(0.5, 0, 1)),
                row[1].imshow(cbed, extent=extent, cmap=plots.DIFFRACTION, norm=PowerNorm(0.3, 0, float(cbed.max()))),
                row[2].imshow(vg, extent=extent, cmap="viridis", norm=PowerNorm(0.5, 0, max(float(vg.max()), 1e-3))),
                row[3].imshow(defined, extent=extent, cmap=plots.SIGNED, norm=TwoSlopeNorm(0, -height, height)),
            ]
            row[3].set_facecolor("0.92")
            for axis, image, unit in zip(row, shown, ("", "", "V", "1/Å"), strict=True):
                axis.tick_params(labelsize=6)
                bar = figure.colorbar(image, ax=axis, shrink=0.8, pad=0.02)
                bar.ax.tick_params(labelsize=6)
                bar.ax.set_title(unit, fontsize=6)
            row[0].set_ylabel(f"{words}\n" + r"$q_x$ (1/Å)", fontsize=6.5)
        for axis, title in zip(axes[0], TITLES, strict=True):
            axis.set_title(title)
        for axis in axes[-1]:
            axis.set_xlabel(r"$q_y$ (1/Å)", fontsize=7)


def caption(row: pd.Series) -> str:
    """What a quartet shows, in two short lines."""
    axis = f"[{row['zone_axis']}]" if row["zone_axis"] else "random tilt"
    return f"{row['formula']}, {axis}\n{row['thickness']:g} Å, {row['semiangle']:g} mrad"


def quartet(folder: str | Path, row: pd.Series) -> Images:
    """The four images of one catalogue row: (probe, cbed, vg, qz)."""
    from fourdcrystal import stores

    store = stores.open(Path(folder) / f"{row['crystal']}.zarr")
    place = dict(
        orientation=row["orientation_index"],
        energy=row["energy_index"],
        semiangle=row["semiangle_index"],
        thickness=row["thickness_index"],
    )
    images = (store[name] for name in ("probe", "cbed", "vg", "qz"))
    return tuple(a.isel({k: v for k, v in place.items() if k in a.dims}).values for a in images)
