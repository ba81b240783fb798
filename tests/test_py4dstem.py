"""py4DSTEM opens what detection writes; it needs older NumPy and pymatgen, so it lives in an environment of its own."""

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from disk_patterns import peaks_on_lattices

from fourdcrystal import bragg_vectors

# python of an environment with py4dstem==0.14.18 numpy==1.26.4 pymatgen==2024.7.18 "monty<2025.2" "pandas<3"
PYTHON = os.environ.get("PY4DSTEM_PYTHON", "")
READ = """
import sys, numpy as np, py4DSTEM
vectors = py4DSTEM.read(sys.argv[1])
assert type(vectors) is py4DSTEM.BraggVectors, type(vectors)
assert vectors.Rshape == (2, 3) and vectors.Qshape == (128, 128)
vectors.calibration.set_QR_rotation(0)
vectors.calibrate()
assert vectors.calstate["center"] and vectors.calstate["pixel"]
near = min(np.hypot(vectors.cal[1, 2].qx, vectors.cal[1, 2].qy))
raw = vectors.raw[1, 2]
print(len(raw.qx), raw.qx[0], raw.I[0], near, vectors.calibration.get_Q_pixel_size())
assert vectors.histogram(mode="cal", sampling=1).data.sum() > 0
assert set(vectors._v_uncal.dtype.names) >= {"qz", "sigma_px"}
"""


@pytest.mark.skipif(not Path(PYTHON).is_file(), reason="PY4DSTEM_PYTHON names no python with py4dstem 0.14.18")
def test_py4dstem_opens_bragg_vectors_calibrated(tmp_path):
    centre = np.array([63.5, 64.2])
    peaks = peaks_on_lattices(
        np.stack([np.eye(2)] * 6), np.array([[14.0, 0], [0, 14]]), centre, 0.05, np.random.default_rng(0)
    )
    camera = bragg_vectors.Camera((128, 128), 0.02, np.tile(centre, (6, 1)))
    bragg_vectors.write_emd(tmp_path / "v.h5", peaks, (2, 3), camera)
    done = subprocess.run([PYTHON, "-W", "ignore", "-c", READ, tmp_path / "v.h5"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    count, first, intensity, near, sampling = map(float, done.stdout.split()[-5:])
    last = peaks.of_pattern(5)
    assert (count, first, intensity) == (len(last), last.qx_px[0], last.intensity[0])
    assert near < 0.005 and sampling == 0.02
