"""Bragg vectors as files: a Parquet table, and EMD 1.0 that py4DSTEM opens as BraggVectors."""

import contextlib
import io
from pathlib import Path

import emdfile
import numpy as np
import pandas as pd

from fourdcrystal import files
from fourdcrystal.peaks import Peaks

UNITS = {
    "rx": "position",
    "ry": "position",
    "qx_px": "px",
    "qy_px": "px",
    "qx": "1/Å",
    "qy": "1/Å",
    "qz": "1/Å",
    "intensity": "V",
    "sigma_px": "px",
}


def table(peaks: Peaks, grid: tuple[int, int], centres: np.ndarray, dq: float) -> pd.DataFrame:
    """One row per peak: rx, ry, qx_px, qy_px, qx, qy, qz, intensity, sigma_px.

    Args:
        peaks: Peaks of all patterns of a scan, in the order of the scan.
        grid: Scan positions along both axes.
        centres: Position of the direct beam in every pattern [px], (P, 2).
        dq: Size of a pixel [1/Å].
    """
    rx, ry = np.unravel_index(peaks.pattern, grid)
    q = (peaks.positions - centres[peaks.pattern]) * dq
    columns = {
        "rx": rx.astype(np.int32),
        "ry": ry.astype(np.int32),
        "qx_px": peaks.qx_px,
        "qy_px": peaks.qy_px,
        "qx": q[:, 0],
        "qy": q[:, 1],
        "qz": peaks.qz,
        "intensity": peaks.intensity,
        "sigma_px": peaks.sigma_px,
    }
    made = pd.DataFrame(columns)
    made.attrs["units"] = UNITS
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


def write_emd(
    path: Path,
    peaks: Peaks,
    grid: tuple[int, int],
    shape: tuple[int, int],
    centres: np.ndarray,
    dq: float,
) -> None:
    """Write EMD 1.0; ``py4DSTEM.read`` gives a BraggVectors whose vectors also have fields qz and sigma_px.

    Args:
        path: File to write.
        peaks: Peaks of all patterns of a scan, in the order of the scan.
        grid: Scan positions along both axes.
        shape: Pixels of a pattern.
        centres: Position of the direct beam in every pattern [px], (P, 2).
        dq: Size of a pixel [1/Å].
    """
    names = ("qx", "qy", "intensity", "qz", "sigma_px")
    columns = (peaks.qx_px, peaks.qy_px, peaks.intensity, peaks.qz, peaks.sigma_px)
    rows = np.empty(len(peaks), dtype=[(name, np.float64) for name in names])
    for name, column in zip(names, columns, strict=True):
        rows[name] = column
    vectors = emdfile.PointListArray(dtype=rows.dtype, shape=tuple(grid), name="_v_uncal")
    first = np.searchsorted(peaks.pattern, np.arange(grid[0] * grid[1] + 1))
    for p in range(grid[0] * grid[1]):
        if first[p + 1] > first[p]:
            vectors[np.unravel_index(p, grid)].add(rows[first[p] : first[p + 1]])
    origin = centres.reshape(*grid, 2)
    calibration = Calibration(name="calibration")
    calibration["Q_pixel_size"] = float(dq)
    calibration["Q_pixel_units"] = "A^-1"
    calibration["R_pixel_size"] = 1.0
    calibration["R_pixel_units"] = "pixels"
    calibration["QR_flip"] = False
    for axis, name in enumerate(("qx0", "qy0")):
        calibration[name] = origin[..., axis]
        calibration[f"{name}_mean"] = float(origin[..., axis].mean())
        calibration[f"{name}_shift"] = origin[..., axis] - origin[..., axis].mean()
    calibration["_target_paths"] = ["/braggvectors"]
    calibration["_root_treepath"] = ""
    root = emdfile.Root(name="braggvectors_root")
    root.metadata = calibration
    root.tree(BraggVectors(vectors, shape))
    # emdfile draws a progress bar of its own
    with files.replaced(path) as temporary, contextlib.redirect_stderr(io.StringIO()):
        emdfile.save(str(temporary), root, mode="o")
