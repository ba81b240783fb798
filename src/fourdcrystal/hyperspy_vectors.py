"""Bragg vectors as a HyperSpy file (.hspy) that pyxem opens as DiffractionVectors.

HyperSpy draws the last axis of an image along x, so its k_x is our q_y and its k_y our q_x.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from fourdcrystal import __version__, files

COLUMNS = {"kx": "qy", "ky": "qx", "intensity": "intensity", "qz": "qz", "sigma": "sigma_px"}


def write(path: Path, vectors: pd.DataFrame, grid: tuple[int, int], dq: float, title: str) -> None:
    """Write Bragg vectors; ``hyperspy.api.load`` gives a ragged signal over (ry, rx), pyxem's DiffractionVectors.

    Args:
        path: File to write (.hspy).
        vectors: Table of :func:`fourdcrystal.bragg_vectors.table`, in the order of the scan.
        grid: Scan positions along both axes.
        dq: Size of a pixel [1/Å]; uncertainties are stored in 1/Å as positions are.
        title: Of the signal.
    """
    from rsciio.hspy import file_writer

    rows = vectors[list(COLUMNS.values())].to_numpy(copy=True)
    rows[:, -1] *= dq
    pattern = np.ravel_multi_index((vectors["rx"], vectors["ry"]), grid)
    first = np.searchsorted(pattern, np.arange(grid[0] * grid[1] + 1))
    data = np.empty(grid[0] * grid[1], dtype=object)
    for p in range(len(data)):
        data[p] = rows[first[p] : first[p + 1]]
    axes = [
        {"_type": "UniformDataAxis", "name": name, "scale": 1.0, "offset": 0.0, "units": "position", "size": size}
        | {"navigate": True, "is_binned": False, "index_in_array": i}
        for i, (name, size) in enumerate(zip(("rx", "ry"), grid, strict=True))
    ]
    units = ["1/Å", "1/Å", vectors.attrs["units"]["intensity"], "1/Å", "1/Å"]
    about = {"column_names": list(COLUMNS), "units": units, "scales": None, "offsets": None, "detector_shape": None}
    signal = {
        "data": data.reshape(grid),
        "axes": axes,
        "metadata": {
            "General": {"title": title},
            "Signal": {"signal_type": "diffraction_vectors"},
            "VectorMetadata": about,
        },
        "original_metadata": {},
        "attributes": {"_lazy": False, "ragged": True},
        "package_info": {"package": "fourdcrystal", "package_version": __version__},
        "learning_results": {},
        "models": {},
        "tmp_parameters": {},
    }
    with files.replaced(path) as temporary:
        temporary.unlink(missing_ok=True)  # the writer asks before it overwrites
        file_writer(str(temporary), signal)
