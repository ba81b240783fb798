"""A data set's physics at a glance: where intensity goes, what the seam does, whether labels and patterns agree."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from numpy.typing import NDArray

from fourdcrystal import kinematics, plots, stores
from fourdcrystal.electrons import wavelength

WEAKEST, STRONGEST = 1e-4, 0.05  # of the beam: below, other disks' tails; above, electrons scatter twice


def draw(path: str | Path, catalogue: pd.DataFrame, patterns: Path, most: int = 12) -> None:
    """Draw the checks.

    Args:
        path: Picture to write.
        catalogue: One row per quartet.
        patterns: Folder of the stores.
        most: Crystals whose disks are compared with kinematical diffraction, spread evenly over the catalogue.
    """
    crystals = list(catalogue["crystal"].unique())
    chosen = [crystals[i] for i in np.unique(np.linspace(0, len(crystals) - 1, most).round().astype(int))]
    pairs = [thinnest(patterns / f"{crystal}.zarr") for crystal in chosen]
    limit = stores.metadata(patterns / f"{crystals[0]}.zarr")["recipe"]["specimen"]["seam_limit"]
    with plots.figure(path, 1, 3, size=(3.6, 3.4)) as (_, axes):
        _by_thickness(axes[0, 0], catalogue, "intensity", "fraction of the beam on the detector")
        _by_thickness(axes[0, 1], catalogue, "seam_fraction", "fraction of the beam near the seam")
        axes[0, 1].axhline(limit, color=plots.COLOURS["classical"], ls="--", label="limit")
        axes[0, 1].set_yscale("log")
        _against_kinematics(axes[0, 2], np.concatenate(pairs))
        for axis in axes[0]:
            axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2)


def thinnest(path: Path) -> NDArray[np.float64]:
    """Intensities of isolated disks at a store's smallest thickness and semi-angle: kinematical, found, (N, 2)."""
    store = stores.open(path)
    energy, semiangle, thickness = (float(store[name][0]) for name in ("energy", "semiangle", "thickness"))
    radius, dq = semiangle * 1e-3 / wavelength(energy), float(store.qx[1] - store.qx[0])
    probe, found = store.probe[0, 0].values, []
    for orientation in range(store.sizes["orientation"]):
        of = store.reflection_orientation.values == orientation
        g, vg = store.reflection_g.values[of], store.reflection_vg.values[of]
        alone = kinematics.isolated(g, radius + dq) & (np.linalg.norm(g, axis=-1) > 0)
        if not alone.any():
            continue
        expected = kinematics.disk_intensity(g[alone], vg[alone], thickness, energy, semiangle)
        cbed = store.cbed[orientation, 0, 0, 0].values
        found.append(np.stack([expected, kinematics.measured_intensity(cbed, probe, g[alone], radius, dq)], -1))
    pairs = np.concatenate(found) if found else np.empty((0, 2))
    return pairs[np.isfinite(pairs).all(-1)]


def agreement(pairs: NDArray[np.float64]) -> tuple[int, float, float]:
    """Of disks in the kinematical range: their number, the median of found over kinematical, correlation of logs."""
    weak = pairs[(pairs[:, 0] > WEAKEST) & (pairs[:, 0] < STRONGEST) & (pairs[:, 1] > 0)]
    if len(weak) < 3:
        return len(weak), np.nan, np.nan
    logs = np.log(weak)
    return len(weak), float(np.exp(np.median(logs[:, 1] - logs[:, 0]))), float(np.corrcoef(logs.T)[0, 1])


def _by_thickness(axis: Axes, catalogue: pd.DataFrame, column: str, title: str) -> None:
    thicknesses = np.unique(catalogue["thickness_A"])
    parts = [catalogue.loc[catalogue["thickness_A"] == t, column].to_numpy() for t in thicknesses]
    lines = np.array([np.percentile(part, [0, 10, 50, 90, 100]) for part in parts])
    axis.fill_between(thicknesses, lines[:, 0], lines[:, 4], alpha=0.15, label="all")
    axis.fill_between(thicknesses, lines[:, 1], lines[:, 3], alpha=0.35, color=plots.COLOURS["ours"], label="80 %")
    axis.plot(thicknesses, lines[:, 2], marker="o", label="median")
    axis.set_xlabel("thickness [Å]")
    axis.set_ylabel(title)


def _against_kinematics(axis: Axes, pairs: NDArray[np.float64]) -> None:
    number, ratio, correlation = agreement(pairs)
    shown = pairs[(pairs > 1e-7).all(-1)]
    axis.loglog(shown[:, 0], shown[:, 1], ".", ms=2, alpha=0.4)
    ends = np.array([1e-7, 1.0])
    axis.loglog(ends, ends, color=plots.COLOURS["truth"], lw=1, label="equal")
    axis.axvspan(WEAKEST, STRONGEST, color=plots.COLOURS["other"], alpha=0.1, lw=0, label="compared")
    axis.set_xlim(1e-7, 10)
    axis.set_ylim(1e-7, 1)
    axis.set_xlabel("kinematical disk intensity, from $V_g$ and $s_g$")
    axis.set_ylabel("disk intensity in the pattern")
    axis.set_title(f"{number} disks: median ratio {ratio:.2f}, correlation {correlation:.2f}")
