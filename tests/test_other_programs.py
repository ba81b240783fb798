"""py4DSTEM and pyxem open what detection writes; each lives in an environment of its own, with other versions."""

import json
import subprocess

import h5py
import numpy as np
import pytest
from disk_patterns import peaks_on_lattices
from services import environments

from fourdcrystal import analysis, bragg_vectors, hyperspy_vectors

CENTRE, DQ = np.array([63.5, 64.2]), 0.02
PY4DSTEM = """
import json, sys, numpy as np, py4DSTEM
vectors = py4DSTEM.read(sys.argv[1])
assert type(vectors) is py4DSTEM.BraggVectors, type(vectors)
vectors.calibration.set_QR_rotation(0)
vectors.calibrate()
assert vectors.calstate["center"] and vectors.calstate["pixel"]
raw, cal = vectors.raw[1, 2], vectors.cal[1, 2]
assert vectors.histogram(mode="cal", sampling=1).data.sum() > 0
print(json.dumps({
    "Rshape": list(map(int, vectors.Rshape)), "Qshape": list(map(int, vectors.Qshape)),
    "fields": vectors._v_uncal.dtype.names,
    "raw": np.stack([raw.qx, raw.qy, raw.I], 1).tolist(), "cal": np.stack([cal.qx, cal.qy], 1).tolist(),
    "empty": len(vectors.raw[0, 1].qx), "ellipse": bool(vectors.calstate["ellipse"]),
}))
"""
PYXEM = """
import json, sys, hyperspy.api as hs
from pyxem.signals import DiffractionVectors
vectors = hs.load(sys.argv[1])
assert type(vectors) is DiffractionVectors, type(vectors)
print(json.dumps({
    "shape": vectors.data.shape, "names": list(vectors.column_names), "units": list(vectors.units),
    "one": vectors.data[1, 2].tolist(), "empty": len(vectors.data[0, 1]),
}))
"""


def asked(name: str, packages: list[str], program: str, path) -> dict:
    """What a program of another environment says about a file."""
    python = environments.python(name, packages)
    done = subprocess.run([python, "-W", "ignore", "-c", program, path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def ellipse():
    return analysis.ellipse(1.04, 0.5)


@pytest.fixture(scope="module")
def peaks(ellipse):
    """Of a scan of 2 x 3 positions seen by a camera with ellipticity; the second one has none."""
    basis = np.array([[14.0, 0], [0, 14]])
    made = peaks_on_lattices(np.tile(ellipse, (6, 1, 1)), basis, CENTRE, 0.01, np.random.default_rng(0))
    return made.where(made.pattern != 1)


def test_py4dstem_opens_bragg_vectors_calibrated(tmp_path, peaks, ellipse):
    camera = bragg_vectors.Camera((128, 128), DQ, np.tile(CENTRE, (6, 1)), analysis.axes(ellipse))
    bragg_vectors.write_emd(tmp_path / "v.h5", peaks, (2, 3), camera)
    said = asked("py4dstem", environments.PY4DSTEM, PY4DSTEM, tmp_path / "v.h5")
    last = peaks.of_pattern(5)
    assert said["Rshape"] == [2, 3] and said["Qshape"] == [128, 128] and said["empty"] == 0
    assert {"qz", "sigma_px", "significance", "electrons"} <= set(said["fields"])
    np.testing.assert_array_equal(said["raw"], np.column_stack([last.positions, last.intensity]))
    assert said["ellipse"]
    straight = analysis.straightened(last, ellipse, CENTRE)
    np.testing.assert_allclose(said["cal"], (straight.positions - CENTRE) * DQ, atol=1e-9)


def test_py4dstem_s_calibration_is_in_the_file_also_where_py4dstem_can_not_be_asked(tmp_path, peaks):
    centres = np.array([[60.0 + i, 70.0 - 2 * i] for i in range(6)])
    camera = bragg_vectors.Camera((128, 128), DQ, centres, (1.04, 0.5))
    bragg_vectors.write_emd(tmp_path / "v.h5", peaks, (2, 3), camera)
    with h5py.File(tmp_path / "v.h5") as file:
        said = file["braggvectors_root/metadatabundle/calibration"]
        np.testing.assert_array_equal(said["qx0"][...], centres[:, 0].reshape(2, 3))
        np.testing.assert_array_equal(said["qy0"][...], centres[:, 1].reshape(2, 3))
        assert (said["a"][()], said["b"][()], said["theta"][()]) == (1.04, 1.0, 0.5)
        assert said["Q_pixel_size"][()] == pytest.approx(DQ * np.sqrt(1.04))
        assert said["Q_pixel_units"][()] in ("A^-1", b"A^-1")


def test_pyxem_opens_bragg_vectors_as_diffraction_vectors(tmp_path, peaks, ellipse):
    straight = analysis.straightened(peaks, ellipse, CENTRE)
    table = bragg_vectors.table(peaks, straight, (2, 3), np.tile(CENTRE, (6, 1)), DQ)
    hyperspy_vectors.write(tmp_path / "v.hspy", table, (2, 3), DQ, "scan")
    said = asked("hyperspy", environments.HYPERSPY, PYXEM, tmp_path / "v.hspy")
    assert said["shape"] == [2, 3] and said["empty"] == 0
    assert said["names"] == ["kx", "ky", "intensity", "qz", "sigma"] and said["units"][:3] == ["1/Å", "1/Å", "V"]
    one = table[(table.rx == 1) & (table.ry == 2)]
    np.testing.assert_allclose(np.array(said["one"])[:, :3], one[["qy", "qx", "intensity"]], rtol=1e-12)


def test_pyxem_s_columns_are_in_the_file_also_where_pyxem_can_not_be_asked(tmp_path, peaks):
    table = bragg_vectors.table(peaks, peaks, (2, 3), np.tile(CENTRE, (6, 1)), DQ)
    hyperspy_vectors.write(tmp_path / "v.hspy", table, (2, 3), DQ, "scan")
    one = table[(table.rx == 1) & (table.ry == 2)]
    with h5py.File(tmp_path / "v.hspy") as file:
        names = [name.decode() for name in file["Experiments/scan/metadata/VectorMetadata/_list_column_names"]]
        columns = file["Experiments/scan/data"][1, 2].reshape(-1, 5).T
    said = dict(zip(names, columns, strict=True))
    for name, ours in (("kx", one.qy), ("ky", one.qx), ("intensity", one.intensity), ("sigma", DQ * one.sigma_px)):
        np.testing.assert_allclose(said[name], ours, rtol=1e-12)
