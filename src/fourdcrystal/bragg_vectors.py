"""Bragg vectors as files: a Parquet table, and EMD 1.0 that py4DSTEM opens as BraggVectors."""

import contextlib
import io
from dataclasses import dataclass
from pathlib import Path

import emdfile
import numpy as np
import pandas as pd

from fourdcrystal import files
from fourdcrystal.peaks import Peaks

UNITS = {
    "rx": "position",
    "ry": "position",
    "h": "1",
    "k": "1",
    "qx_px": "px",
    "qy_px": "px",
    "qx": "1/Å",
    "qy": "1/Å",
    "qz": "1/Å",
    "intensity": "V",
    "sigma_px": "px",
    "qx_alone_px": "px",
    "qy_alone_px": "px",
    "sigma_alone_px": "px",
    "significance": "1",
    "electrons": "1",
}


def table(
    peaks: Peaks,
    straight: Peaks,
    grid: tuple[int, int],
    centres: np.ndarray,
    dq: float,
    intensity_units: str = "V",
    alone: Peaks | None = None,
    indices: np.ndarray | None = None,
) -> pd.DataFrame:
    """One row per peak, with the columns of :data:`UNITS`.

    Args:
        peaks: Peaks of all patterns of a scan, in the order of the scan, as the camera saw them.
        straight: The same without the camera's distortion.
        grid: Scan positions along both axes.
        centres: Position of the direct beam in every pattern [px], without distortion, (P, 2).
        dq: Size of a pixel [1/Å].
        intensity_units: V from a network, px² from one where pixel or energy are not known, 1 from a correlation.
        alone: The same peaks where each disk by itself says that it is, see :mod:`fourdcrystal.context`; none: there.
        indices: h and k of every peak in its pattern's lattice, NaN where it belongs to none, (N, 2); none: not known.
    """
    indices = np.full((len(peaks), 2), np.nan) if indices is None else indices
    alone = peaks if alone is None else alone
    rx, ry = np.unravel_index(peaks.pattern, grid)
    q = (straight.positions - centres[peaks.pattern]) * dq
    columns = {
        "rx": rx.astype(np.int32),
        "ry": ry.astype(np.int32),
        "h": pd.array(indices[:, 0], dtype="Int16"),
        "k": pd.array(indices[:, 1], dtype="Int16"),
        "qx_px": peaks.qx_px,
        "qy_px": peaks.qy_px,
        "qx": q[:, 0],
        "qy": q[:, 1],
        "qz": peaks.qz,
        "intensity": peaks.intensity,
        "sigma_px": peaks.sigma_px,
        "qx_alone_px": alone.qx_px,
        "qy_alone_px": alone.qy_px,
        "sigma_alone_px": alone.sigma_px,
        "significance": peaks.significance,
        "electrons": peaks.electrons,
    }
    made = pd.DataFrame(columns)
    made.attrs["units"] = UNITS | {"intensity": intensity_units}
    return made


def write_parquet(path: Path, vectors: pd.DataFrame) -> None:
    """Write the table; units are in its metadata (``DataFrame.attrs`` and the schema's ``PANDAS_ATTRS``)."""
    with files.replaced(path) as temporary:
        vectors.to_parquet(temporary, index=False)


class BraggVectors(emdfile.Custom):
    """What py4DSTEM 0.14 writes for its class of this name: the file names the class that shall open it."""

    def __init__(self, vectors: emdfile.PointListArray, pattern_shape: tuple[int, int]) -> None:
        super().__init__(name="braggvectors")
        self._v_uncal = vectors
        shape = emdfile.Metadata(name="_braggvectors_shape")
        shape["Rshape"] = tuple(vectors.shape)
        shape["Qshape"] = tuple(pattern_shape)
        self.metadata = shape


class Calibration(emdfile.Metadata):
    """py4DSTEM's calibration: the pixel size and the direct beam's positions."""


@dataclass(frozen=True)
class Camera:
    """How vectors in pixels become vectors in 1/Å.

    Attributes:
        shape: Pixels of a pattern.
        dq: Size of a pixel [1/Å].
        centres: Position of the direct beam in every pattern as the camera saw it [px], (P, 2).
        ellipse: Ratio of long to short axis of what should be a circle, and the long axis' angle [rad].
    """

    shape: tuple[int, int]
    dq: float
    centres: np.ndarray
    ellipse: tuple[float, float] = (1.0, 0.0)


def write_emd(path: Path, peaks: Peaks, grid: tuple[int, int], camera: Camera) -> None:
    """Write EMD 1.0; ``py4DSTEM.read`` gives a BraggVectors with fields qz, sigma_px, significance and electrons.

    Args:
        path: File to write.
        peaks: Peaks of all patterns of a scan, in the order of the scan, as the camera saw them.
        grid: Scan positions along both axes.
        camera: Becomes py4DSTEM's calibration.
    """
    own = ("intensity", "qz", "sigma_px", "significance", "electrons")
    names = ("qx", "qy", *own)
    columns = (peaks.qx_px, peaks.qy_px, *(getattr(peaks, name) for name in own))
    rows = np.empty(len(peaks), dtype=[(name, np.float64) for name in names])
    for name, column in zip(names, columns, strict=True):
        rows[name] = column
    vectors = emdfile.PointListArray(dtype=rows.dtype, shape=tuple(grid), name="_v_uncal")
    first = np.searchsorted(peaks.pattern, np.arange(grid[0] * grid[1] + 1))
    for p in range(grid[0] * grid[1]):
        if first[p + 1] > first[p]:
            vectors[np.unravel_index(p, grid)].add(rows[first[p] : first[p + 1]])
    origin = camera.centres.reshape(*grid, 2)
    ratio, angle = camera.ellipse
    calibration = Calibration(name="calibration")
    # py4DSTEM shrinks the long axis alone, we keep the ellipse's area: its pixels are larger by the root of the ratio
    calibration["Q_pixel_size"] = float(camera.dq * np.sqrt(ratio))
    calibration["Q_pixel_units"] = "A^-1"
    calibration["R_pixel_size"] = 1.0
    calibration["R_pixel_units"] = "pixels"
    calibration["QR_flip"] = False
    for axis, name in enumerate(("qx0", "qy0")):
        calibration[name] = origin[..., axis]
        calibration[f"{name}_mean"] = float(origin[..., axis].mean())
        calibration[f"{name}_shift"] = origin[..., axis] - origin[..., axis].mean()
    if ratio != 1:
        calibration["a"], calibration["b"], calibration["theta"] = float(ratio), 1.0, float(angle)
    calibration["_target_paths"] = ["/braggvectors"]
    calibration["_root_treepath"] = ""
    root = emdfile.Root(name="braggvectors_root")
    root.metadata = calibration
    root.tree(BraggVectors(vectors, camera.shape))
    # emdfile draws a progress bar of its own
    with files.replaced(path) as temporary, contextlib.redirect_stderr(io.StringIO()):
        emdfile.save(str(temporary), root, mode="o")
