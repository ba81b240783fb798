"""Files as microscopes write them: written by RosettaSciIO where it can, else made here, number by number."""

import importlib

import numpy as np
import pytest

from fourdcrystal import scan_files
from fourdcrystal.errors import InputError

SCAN = np.random.default_rng(0).poisson(3.0, (3, 4, 32, 32)).astype(np.uint16)
PROBE = np.random.default_rng(1).poisson(3.0, (32, 32)).astype(np.float32)


def signal(data):
    """What RosettaSciIO's writers want: data, axes with units, metadata."""
    names = (("y", 0.5, "nm", True), ("x", 0.5, "nm", True), ("ky", 0.2, "1/nm", False), ("kx", 0.2, "1/nm", False))
    axes = [
        {"name": n, "scale": s, "offset": 0.0, "units": u, "size": size, "navigate": nav, "_type": "UniformDataAxis"}
        | {"is_binned": False, "index_in_array": i}
        for i, ((n, s, u, nav), size) in enumerate(zip(names, data.shape, strict=True))
    ]
    about = {
        "Acquisition_instrument": {"TEM": {"beam_energy": 200.0, "camera_length": 100.0}},
        "General": {"title": "scan", "date": "2026-11-23", "time": "12:00:00"},
        "Signal": {"signal_type": "electron_diffraction"},
    }
    made = {"data": data, "axes": axes, "metadata": about, "original_metadata": {}, "tmp_parameters": {}}
    return made | {"attributes": {"_lazy": False}, "package_info": {"package": "", "package_version": ""}}


def read(path, folder, **options):
    np.save(folder / "probe.npy", PROBE)
    return scan_files.read(path, folder / "probe.npy", **options)


@pytest.mark.parametrize(
    ("suffix", "writer", "kind"),
    [
        ("blo", "blockfile", np.uint8),
        ("emd", "emd", np.uint16),
        ("nxs", "nexus", np.uint16),
        ("tvips", "tvips", np.uint16),
    ],
)
def test_what_rosettasciio_writes_is_read_back(tmp_path, suffix, writer, kind):
    path = tmp_path / (f"scan_000.{suffix}" if suffix == "tvips" else f"scan.{suffix}")
    importlib.import_module(f"rsciio.{writer}").file_writer(str(path), signal(SCAN.astype(kind)))
    sampling = 0.02 if suffix in ("tvips", "blo") else None
    grid = {"grid": (3, 4)} if suffix == "tvips" else {}
    scan = read(path, tmp_path, sampling=sampling, **grid)
    assert scan.grid == (3, 4) and scan.dq == pytest.approx(0.02)
    np.testing.assert_array_equal(np.concatenate(list(scan.batches(5))).reshape(SCAN.shape), SCAN)


def test_frames_of_a_medipix_camera(tmp_path):
    """Quantum Detectors' .mib: every frame has a header of 384 bytes, and big-endian numbers."""
    with (tmp_path / "scan.mib").open("wb") as file:
        for number, frame in enumerate(SCAN.reshape(-1, 32, 32), 1):
            words = (
                f"MQ1,{number:06d},00384,01,0032,0032,U16,   1x1,01,2026-11-23 12:00:00.000000,0.001000,0,0,0,1.0E2,"
            )
            words += "5.0E0,MQ1A,2026-11-23T12:00:00.000000Z,1000000ns,12,"
            file.write(words.ljust(384).encode() + frame.astype(">u2").tobytes())
    scan = read(tmp_path / "scan.mib", tmp_path, sampling=0.02, grid=(3, 4))
    # RosettaSciIO turns Medipix frames as HyperSpy draws them
    np.testing.assert_array_equal(scan.read(slice(1, 2), slice(2, 3))[0], SCAN[1, 2][::-1])


def test_raw_frames_of_an_empad(tmp_path):
    """130 rows of 128 numbers: the pattern, and two rows of the camera's own."""
    frames = np.random.default_rng(2).random((3, 4, 130, 128), np.float32)
    np.save(tmp_path / "probe.npy", np.ones((128, 128)))
    for name, grid in (("scan_x4_y3.raw", None), ("other.raw", (3, 4))):
        frames.tofile(tmp_path / name)
        scan = scan_files.read(tmp_path / name, tmp_path / "probe.npy", sampling=0.02, grid=grid)
        assert scan.grid == (3, 4) and scan.shape == (128, 128)
        np.testing.assert_array_equal(scan.read(slice(2, 3), slice(1, 2))[0], frames[2, 1, :128])
    (tmp_path / "cut_x4_y3.raw").write_bytes((tmp_path / "other.raw").read_bytes()[:-100])
    with pytest.raises(InputError, match="not whole frames"):
        scan_files.read(tmp_path / "cut_x4_y3.raw", tmp_path / "probe.npy", sampling=0.02)
