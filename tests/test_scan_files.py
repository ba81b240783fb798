"""Scans are read from what microscopes and other programs write, with pixel size and energy in our units."""

import sys

import h5py
import numpy as np
import pytest
from rsciio import hspy

from fourdcrystal import scan_files, scans
from fourdcrystal.errors import InputError

SCAN = np.random.default_rng(0).poisson(3.0, (3, 4, 20, 24)).astype(np.uint16)
PROBE = np.random.default_rng(1).poisson(3.0, (20, 24)).astype(np.float32)


def test_npz_with_everything_in_it(tmp_path):
    np.savez(tmp_path / "scan.npz", scan=SCAN, probe=PROBE, dq=0.02, energy=3e5, distortion=np.ones((3, 4, 2, 2)))
    scan = scan_files.read(tmp_path / "scan.npz")
    assert (scan.dq, scan.energy, scan.grid, scan.shape) == (0.02, 3e5, (3, 4), (20, 24))
    np.testing.assert_array_equal(scan.patterns, SCAN)
    assert scan.truth["distortion"].shape == (3, 4, 2, 2)


def test_options_win_over_the_file(tmp_path):
    np.savez(tmp_path / "scan.npz", scan=SCAN, probe=PROBE, dq=0.02)
    assert scan_files.read(tmp_path / "scan.npz", sampling=0.03, energy=8e4).dq == 0.03


def hyperspy_axes(scale, units):
    names = (("y", 0.5, "nm", True), ("x", 0.5, "nm", True), ("ky", scale, units, False), ("kx", scale, units, False))
    return [
        {"name": n, "scale": s, "offset": 0.0, "units": u, "size": size, "navigate": nav, "_type": "UniformDataAxis"}
        | {"is_binned": False, "index_in_array": i}
        for i, ((n, s, u, nav), size) in enumerate(zip(names, SCAN.shape, strict=True))
    ]


def write_zspy(path, signal):
    """As HyperSpy lays it out; RosettaSciIO's own writer doesn't work with zarr 3."""
    import zarr

    experiment = zarr.open_group(path, mode="w", zarr_format=2).create_group("Experiments/scan")
    experiment.create_array("data", data=signal["data"])
    for axis in signal["axes"]:
        experiment.create_group(f"axis-{axis['index_in_array']}").attrs.update(axis)
    instrument = experiment.create_group("metadata/Acquisition_instrument/TEM")
    instrument.attrs.update(signal["metadata"]["Acquisition_instrument"]["TEM"])


def hyperspy_signal(scale, units):
    return {
        "data": SCAN,
        "axes": hyperspy_axes(scale, units),
        "metadata": {
            "Acquisition_instrument": {"TEM": {"beam_energy": 200.0}},
            "General": {"title": "scan"},
            "Signal": {},
        },
        "original_metadata": {},
        "tmp_parameters": {},
        "attributes": {"_lazy": False, "ragged": False},
        "package_info": {"package": "test", "package_version": "0"},
        "learning_results": {},
        "models": {},
    }


@pytest.mark.parametrize("suffix", ["hspy", "hdf5", "zspy"])
@pytest.mark.parametrize(("scale", "units"), [(0.02, "1/Å"), (0.2, "1/nm"), (0.2, "nm$^{-1}$"), (0.5, "mrad")])
def test_hyperspy_files_with_their_units(tmp_path, suffix, scale, units):
    signal = hyperspy_signal(scale, units)
    path = tmp_path / f"scan.{suffix}"
    if suffix == "zspy":
        write_zspy(path, signal)
    else:
        hspy.file_writer(str(path), signal)
    np.save(tmp_path / "probe.npy", PROBE)
    scan = scan_files.read(path, tmp_path / "probe.npy")
    wanted = 0.5e-3 / 0.0250793 if units == "mrad" else 0.02
    assert scan.dq == pytest.approx(wanted, rel=1e-4)
    assert scan.energy == 200e3
    assert not isinstance(scan.patterns, np.ndarray)  # lazy
    np.testing.assert_array_equal(np.asarray(scan.patterns[1, 2]), SCAN[1, 2])


def test_py4dstem_files(tmp_path):
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        file.attrs["emd_group_type"] = "file"
        root = file.create_group("root")
        cube = root.create_group("datacube")
        cube.attrs["python_class"] = "DataCube"
        cube["data"] = SCAN
        calibration = root.create_group("metadatabundle/calibration")
        calibration.attrs["python_class"] = "Calibration"
        calibration["Q_pixel_size"], calibration["Q_pixel_units"] = 0.025, "A^-1"
        vacuum = root.create_group("probe")
        vacuum.attrs["python_class"] = "Probe"
        vacuum["data"] = np.stack([PROBE, PROBE])
    scan = scan_files.read(tmp_path / "scan.h5")
    assert scan.dq == 0.025
    np.testing.assert_array_equal(scan.probe, PROBE)
    np.testing.assert_array_equal(scan.patterns[2, 3], SCAN[2, 3])


def test_plain_hdf5_files(tmp_path):
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        file["deep/inside"], file["small"], file["probe"] = SCAN, SCAN[:1, :1], PROBE
        file.attrs.update(dq=0.02, energy=2e5)
    scan = scan_files.read(tmp_path / "scan.h5")
    assert (scan.dq, scan.energy, scan.grid) == (0.02, 2e5, (3, 4))
    np.testing.assert_array_equal(scan.probe, PROBE)
    np.testing.assert_array_equal(scan.patterns[2, 3], SCAN[2, 3])
    for name, array in (("image", PROBE), ("stack", SCAN[0])):  # of a probe, whatever it is called
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            file[f"some/{name}"] = array
    read = scan_files.read(tmp_path / "stack.h5", tmp_path / "image.h5", sampling=0.02, grid=(2, 2))
    np.testing.assert_array_equal(read.patterns[:, :], SCAN[0].reshape(2, 2, 20, 24))
    np.testing.assert_array_equal(read.probe, PROBE)
    vacuum = scan_files.read(tmp_path / "image.h5", tmp_path / "stack.h5", sampling=0.02)
    np.testing.assert_allclose(vacuum.probe, SCAN[0].mean(0))
    assert vacuum.grid == (1, 1)
    whole = (tmp_path / "scan.h5").read_bytes()
    (tmp_path / "short.h5").write_bytes(whole[: len(whole) // 2])
    refused("no HDF5 file, or was cut off", tmp_path / "short.h5")


def test_files_of_dectris_cameras(tmp_path):
    """A master file that links to stacks of patterns in other files, and says which pixels can't count."""
    stack = SCAN.reshape(12, *SCAN.shape[2:])
    mask = np.zeros(stack.shape[1:], np.uint32)
    mask[5] = 1
    with h5py.File(tmp_path / "scan_master.h5", "w") as master:
        for number, part in enumerate((stack[:5], stack[5:]), 1):
            with h5py.File(tmp_path / f"scan_data_{number:06d}.h5", "w") as file:
                file["entry/data/data"] = part
            link = h5py.ExternalLink(f"scan_data_{number:06d}.h5", "entry/data/data")
            master[f"entry/data/data_{number:06d}"] = link
        master["entry/instrument/detector/detectorSpecific/pixel_mask"] = mask
    path, probe = tmp_path / "scan_master.h5", tmp_path / "probe.npy"
    np.save(probe, PROBE)
    refused("such as --grid 3x4", path, probe, sampling=0.02)
    scan = scan_files.read(path, probe, sampling=0.02, grid=(3, 4))
    read = scan.read(slice(0, 3), slice(1, 4, 2)).reshape(3, 2, *stack.shape[1:])
    np.testing.assert_array_equal(read[:, :, 6:], SCAN[:, 1::2, 6:])
    assert np.isnan(read[:, :, 5]).all()
    vacuum = scan_files.read(path, path, sampling=0.02, grid=(3, 4)).probe  # a scan of vacuum has the same mask
    assert np.isfinite(vacuum).all()
    np.testing.assert_allclose(vacuum[6:], stack.mean(0)[6:])
    (tmp_path / "scan_data_000002.h5").unlink()
    refused("isn't beside it", path, probe, sampling=0.02, grid=(3, 4))


def test_a_scan_at_nexus_usual_place_is_no_stack_of_a_dectris_camera(tmp_path):
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        file["entry/data/data"] = SCAN
        for axis, name in enumerate("xy"):
            file[f"entry/data/{name}"] = np.arange(SCAN.shape[axis], dtype=float)
    np.save(tmp_path / "probe.npy", PROBE)
    scan = scan_files.read(tmp_path / "scan.h5", tmp_path / "probe.npy", sampling=0.02)
    assert scan.grid == SCAN.shape[:2]
    np.testing.assert_array_equal(scan.patterns[1, 2], SCAN[1, 2])


def test_pixels_that_are_not_square_are_said_unless_their_size_is_given(tmp_path):
    signal = hyperspy_signal(0.02, "1/Å")
    signal["axes"][2]["scale"] = 0.04
    files = tmp_path / "scan.hspy", tmp_path / "probe.npy"
    hspy.file_writer(str(files[0]), signal)
    np.save(files[1], PROBE)
    refused("0.04 x 0.02 1/Å, and square ones are needed", *files)
    assert scan_files.read(*files, sampling=0.03).dq == 0.03


def test_what_unpacks_a_file_is_named_where_it_is_missing(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "hdf5plugin", None)
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        nobody = {"compression": 40000, "allow_unknown_filter": True}  # a number that no filter has
        file.create_dataset("scan", SCAN.shape, SCAN.dtype, chunks=(1, 1, *SCAN.shape[2:]), **nobody)
    refused("pip install hdf5plugin", tmp_path / "scan.h5")


def test_zarr_folders(tmp_path):
    import zarr

    root = zarr.open_group(tmp_path / "scan.zarr", mode="w")
    root.create_array("scan", data=SCAN)
    root.create_array("probe", data=PROBE)
    root.attrs.update(dq=0.02, energy=2e5)
    scan = scan_files.read(tmp_path / "scan.zarr")
    assert scan.grid == (3, 4) and scan.energy == 2e5
    root.attrs["dq"] = "0.02 1/nm"
    refused("dq is '0.02 1/nm', which is no number", tmp_path / "scan.zarr")


def test_a_vacuum_scan_is_averaged(tmp_path):
    np.save(tmp_path / "scan.npy", SCAN)
    scan = scan_files.read(tmp_path / "scan.npy", tmp_path / "scan.npy", sampling=0.02)
    np.testing.assert_allclose(scan.probe, SCAN.mean((0, 1)))


def test_a_long_stack_of_vacuum_is_averaged_without_being_held(tmp_path):
    class Stack:
        shape, ndim = (5000, 20, 24), 3

        def __getitem__(self, index):
            assert isinstance(index, int)
            return np.full((20, 24), index % 2)

    np.testing.assert_array_equal(scan_files.averaged(Stack()), 0.5)


def refused(words, *arguments, **options):
    with pytest.raises(InputError, match=words):
        scan_files.read(*arguments, **options)


def test_bad_files_are_refused_in_words(tmp_path):
    np.savez(tmp_path / "scan.npz", scan=SCAN, dq=0.02)
    np.savez(tmp_path / "other.npz", data=SCAN)
    (tmp_path / "scan.dm4").write_bytes(b"this is no micrograph")
    (tmp_path / "scan.xyz").write_bytes(b"")
    whole = (tmp_path / "scan.npz").read_bytes()
    (tmp_path / "short.npz").write_bytes(whole[: len(whole) // 2])
    np.save(tmp_path / "probe.npy", PROBE)
    refused("no such scan file", tmp_path / "absent.dm4")
    refused("no such vacuum probe file", tmp_path / "scan.npz", tmp_path / "absent.npy")
    refused("has no vacuum probe", tmp_path / "scan.npz")
    refused("no 'scan'", tmp_path / "other.npz")
    refused("can't be read", tmp_path / "scan.dm4")
    refused("no known format", tmp_path / "scan.xyz")
    refused("no .npz file, or was cut off", tmp_path / "short.npz")
    np.save(tmp_path / "scan.npy", SCAN)
    refused("how large a detector pixel is", tmp_path / "scan.npy", tmp_path / "probe.npy")


@pytest.mark.parametrize("energy", [-1.0, 200.0, np.nan])
def test_an_energy_that_cannot_be_is_refused(tmp_path, energy):
    np.savez(tmp_path / "scan.npz", scan=SCAN, probe=PROBE, dq=0.02, energy=energy)
    refused(f"beam energy is {energy:g} eV; .* such as 200e3 for 200 keV", tmp_path / "scan.npz")
    assert scan_files.read(tmp_path / "scan.npz", energy=3e5).energy == 3e5


def test_the_axes_of_a_stack_s_patterns_are_exchanged(tmp_path):
    np.save(tmp_path / "stack.npy", SCAN.reshape(12, 20, 24).transpose(0, 2, 1))
    np.save(tmp_path / "probe.npy", PROBE)
    files = tmp_path / "stack.npy", tmp_path / "probe.npy"
    scan = scan_files.read(*files, sampling=0.02, grid=(3, 4), axes=(0, 1, 3, 2))
    np.testing.assert_array_equal(np.concatenate(list(scan.batches(5))).reshape(SCAN.shape), SCAN)


def test_pieces_of_a_search_with_other_axes_are_no_pieces_of_this_one(tmp_path):
    np.save(tmp_path / "square.npy", SCAN[..., :20])
    np.save(tmp_path / "probe.npy", PROBE[:, :20])
    files = tmp_path / "square.npy", tmp_path / "probe.npy"
    plain, again = (scan_files.read(*files, sampling=0.02).identity for _ in range(2))
    assert plain == again != scan_files.read(*files, sampling=0.02, axes=(0, 1, 3, 2)).identity


def test_an_image_of_the_probe_says_more_than_its_angle(tmp_path):
    np.savez(tmp_path / "scan.npz", scan=SCAN, probe=PROBE, dq=0.02, energy=2e5)
    np.testing.assert_array_equal(scan_files.read(tmp_path / "scan.npz", semiangle=1.0).probe, PROBE)
    np.save(tmp_path / "probe.npy", PROBE)
    refused("--probe and --semiangle exclude", tmp_path / "scan.npz", tmp_path / "probe.npy", semiangle=1.0)


def test_a_probe_can_be_made_from_its_angle_and_a_single_pattern_is_a_scan(tmp_path):
    from disk_patterns import disk

    np.save(tmp_path / "one.npy", 100 * disk((64, 60), (30.0, 33.0), 4.0) + 20 * disk((64, 60), (12.0, 33.0), 4.0))
    angle = 4.0 * 0.02 * 0.0250793 * 1e3
    scan = scan_files.read(tmp_path / "one.npy", sampling=0.02, energy=200e3, semiangle=angle)
    assert scan.grid == (1, 1)
    assert np.abs(np.array(scan.centre) - [30, 33]).max() < 0.5
    refused("--semiangle needs it", tmp_path / "one.npy", sampling=0.02, semiangle=angle)


def test_reading_never_asks_for_more_than_a_batch():
    """A scan larger than memory: 100 GB that are never there, read in pieces of a batch."""
    from fourdcrystal.scans import Scan

    class Large:
        shape, dtype, ndim = (500, 400, 256, 256), np.dtype("float64"), 4
        pieces = ()

        def __getitem__(self, index):
            size = [len(range(n)[i]) for n, i in zip(self.shape, index, strict=False)]
            self.pieces += (size[0] * size[1],)
            return np.ones((*size, *self.shape[2:]), np.float32)

    large = Large()
    batches = Scan("large", large, np.zeros((256, 256)), 0.02).batches(16)
    for _ in range(60):
        assert len(next(batches)) <= 16
    assert max(large.pieces) * 256 * 256 * 8 <= scans.READ_BYTES
