"""Reading scans and vacuum probes as microscopes, py4DSTEM, HyperSpy and this package write them."""

import math
import re
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from fourdcrystal import correlation, gaps, hdf5, memory, scan_hdf5, scan_rosettasciio
from fourdcrystal.electrons import ENERGIES, wavelength
from fourdcrystal.errors import InputError
from fourdcrystal.scan_checks import check_dimensions
from fourdcrystal.scan_views import Content, Mapped, Reordered, Stack
from fourdcrystal.scans import Scan

TRUTH = ("centres", "weight", "distortion", "tilt", "hkl", "g")


def read(
    path: str | Path,
    probe: str | Path | None = None,
    sampling: float | None = None,
    energy: float | None = None,
    semiangle: float | None = None,
    grid: tuple[int, int] | None = None,
    axes: tuple[int, ...] | None = None,
) -> Scan:
    """A scan with its vacuum probe.

    Args:
        path: 4D-STEM file: .npz with ``scan``, .npy, .zarr, py4DSTEM's .h5, or any format of RosettaSciIO.
        probe: File of the vacuum probe: one image, or a scan or stack of vacuum that is averaged; none: the one in the
            scan's file.
        sampling: Size of a detector pixel [1/Å]; none: as the file has it.
        energy: Beam energy [eV]; none: as the file has it.
        semiangle: Convergence semi-angle [mrad], from which a round probe is made where the scan's file has no image of
            one. Its centre is that of the brightest disk of the mean pattern.
        grid: Scan positions of a file that holds a stack of patterns, (rx, ry).
        axes: Where the file has the axes (rx, ry, qx, qy), if in another order: 2, 3, 0, 1 if the detector comes first.

    Raises:
        InputError: if a file is missing, unreadable or has no 4-D array; if there is no probe or pixel size, or the
            energy is that of no microscope; if both probe and semi-angle are given.
    """
    path = Path(path)
    if probe is not None and semiangle is not None:
        raise InputError("--probe and --semiangle exclude each other; leave --semiangle out, since an image says more")
    content = load(path, energy)
    dq = sampling if sampling is not None else content.get("dq")
    if dq is None and "oblong" in content:
        raise InputError(
            f"{path}: says that a detector pixel is {content['oblong'][0]:.3g} x {content['oblong'][1]:.3g} 1/Å, and "
            "square ones are needed; if they are, say how large with --sampling, in 1/Å"
        )
    if dq is None:
        raise InputError(
            f"{path}: doesn't say how large a detector pixel is in 1/Å; give it with --sampling, or, if its axes are "
            "angles, the beam's --energy"
        )
    known = energy if energy is not None else content.get("energy")
    if known is not None and not ENERGIES[0] <= known <= ENERGIES[1]:
        raise InputError(
            f"{path}: says that the beam energy is {known:g} eV; allowed are {ENERGIES[0]:g} to {ENERGIES[1]:g}, so "
            "give --energy, such as 200e3 for 200 keV"
        )
    patterns = content["patterns"]
    if patterns.ndim == 2:  # a single pattern is a scan of one position
        patterns = memory.whole(path, patterns)[None, None]
    if patterns.ndim == 3:
        patterns = _stacked(path, patterns, grid)
    elif grid is not None and tuple(patterns.shape[:2]) != grid:
        raise InputError(
            f"{path}: is a scan of {patterns.shape[0]} x {patterns.shape[1]} positions already; leave --grid out"
        )
    identity = _state(path)
    if axes is not None:
        patterns = Reordered(patterns, axes)
        identity += f", axes {axes}"
    made = Scan(path.name, patterns, np.empty((0, 0)), float(dq), known, content.get("truth", {}), identity)
    if probe is not None:
        image = _clean(load(Path(probe), energy, probe=True)["patterns"])
    elif content.get("probe") is not None:
        image = _clean(content["probe"])
    elif semiangle is not None:
        image = _round_probe(made, semiangle)
    else:
        raise InputError(f"{path}: has no vacuum probe; give one with --probe, or its angle with --semiangle")
    return replace(made, probe=image)


def _state(path: Path) -> str:
    """Which file, and in which state it is; not where: machines that share a scan may have mounted it elsewhere."""
    about = path.stat()
    return f"{path.resolve().name}, {about.st_size}, {about.st_mtime_ns}"


def _stacked(path: Path, patterns: Any, grid: tuple[int, int] | None) -> Stack:
    count = patterns.shape[0]
    if grid is None:
        divisors = [(a, count // a) for a in range(1, math.isqrt(count) + 1) if count % a == 0]
        a, b = divisors[-1]
        raise InputError(
            f"{path}: holds a stack of {count} patterns and doesn't say how many rows the scan has; give its positions "
            f"with --grid, such as --grid {a}x{b}"
        )
    if grid[0] * grid[1] != count:
        raise InputError(f"{path}: holds {count} patterns, not the {grid[0]} x {grid[1]} of --grid")
    return Stack(patterns, grid)


def _round_probe(scan: Scan, semiangle: float) -> np.ndarray:
    if scan.energy is None:
        raise InputError(f"{scan.name}: doesn't say the beam energy; --semiangle needs it, so give it with --energy")
    check_dimensions(scan)
    radius = semiangle * 1e-3 / wavelength(scan.energy) / scan.dq
    some = np.nan_to_num(scan.sample()).mean(0)
    return correlation.round_probe(scan.shape, correlation.brightest_disk(some, radius), radius)


def load(path: Path, energy: float | None = None, probe: bool = False) -> Content:
    """The arrays of one file, lazily where its format allows.

    Args:
        path: File or Zarr folder.
        energy: Beam energy [eV], for axes in mrad.
        probe: Whether an image or stack of the probe is wanted instead of a 4-D scan.

    Raises:
        InputError: as for :func:`read`.
    """
    if not path.exists():
        raise InputError(f"{path}: no such {'vacuum probe' if probe else 'scan'} file")
    hdf5.check(path)
    reader = _reader(path)
    try:
        content = reader(path, energy, probe)
    except InputError:
        raise
    except Exception as error:  # any reader's complaint about a damaged file; said in one sentence
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{path}: can't be read as {path.suffix or 'a'} file ({reason[:200]})") from error
    if content.get("patterns") is None:
        wanted = "image of the probe" if probe else "array of four dimensions (scan, scan, detector, detector)"
        raise InputError(f"{path}: has no {wanted}")
    return content


def _reader(path: Path) -> Callable[[Path, float | None, bool], Content]:
    suffix = path.suffix.lower()
    if suffix == ".npz":
        return _npz
    if suffix == ".npy":
        return _npy
    if suffix == ".raw":
        return _empad
    if suffix == ".zarr":
        return _zarr
    if suffix == ".zspy":
        return _zspy
    if suffix in (".h5", ".hdf5", ".emd"):
        return scan_hdf5.reader(path) or scan_rosettasciio.read
    return scan_rosettasciio.read


def _clean(vacuum: Any) -> np.ndarray:
    """The vacuum probe of its image, stack or scan, without what is no count of it."""
    return gaps.mended(np.asarray(averaged(vacuum), dtype=float))


def averaged(images: Any) -> np.ndarray:
    """Mean of a stack or scan of any number of dimensions, (X, Y), row by row so that it needs little memory.

    Raises:
        InputError: if there is no image.
    """
    if images.ndim < 2 or 0 in images.shape:
        dims = " x ".join(map(str, images.shape))
        raise InputError(f"the vacuum probe's array is {dims or 'a number'}; allowed are an image, a stack or a scan")
    if images.ndim == 2:
        return np.asarray(images)
    total = np.zeros(images.shape[-2:])
    for i in range(images.shape[0]):
        total = total + averaged(images[i])
    return total / images.shape[0]


def _npy(path: Path, energy: float | None, probe: bool) -> Content:
    array = Mapped.of(path)
    return {"patterns": array[...] if array.ndim < 3 else array}


def _empad(path: Path, energy: float | None, probe: bool) -> Content:
    """EMPAD's raw numbers: frames of 128 x 128 px and two rows of the camera's own, the grid in the file's name."""
    frame = 4 * 130 * 128
    if path.stat().st_size % frame or not path.stat().st_size:
        raise InputError(f"{path}: is no EMPAD file: {path.stat().st_size} bytes are not whole frames of {frame} bytes")
    frames = np.memmap(path, "<f4", "r").reshape(-1, 130, 128)[:, :128]
    named = re.search(r"_x(\d+)_y(\d+)", path.stem)
    columns, rows = map(int, named.groups()) if named else (0, 0)
    if rows * columns == len(frames):
        frames = frames.reshape(rows, columns, 128, 128)
    return {"patterns": frames}


def _npz(path: Path, energy: float | None, probe: bool) -> Content:
    if not zipfile.is_zipfile(path):
        raise InputError(f"{path}: is no .npz file, or was cut off")
    with np.load(path, allow_pickle=False) as file:
        names = set(file.files)
        memory.check(path, sum(member.file_size for member in file.zip.infolist()))

        def array(name: str) -> np.ndarray:
            """One of the arrays; NumPy gives the bytes of what isn't one."""
            if not isinstance(found := file[name], np.ndarray):
                raise InputError(f"{path}: its '{name}' is no array of NumPy's")
            return found

        if probe:
            return {"patterns": array("probe" if "probe" in names else next(iter(file.files)))}
        if "scan" not in names:
            raise InputError(f"{path}: has the arrays {', '.join(sorted(names))} but no 'scan' (rx, ry, qx, qy)")
        content: Content = {"patterns": array("scan"), "probe": array("probe") if "probe" in names else None}
        content |= {name: _number(path, name, array(name)) for name in ("dq", "energy") if name in names}
        return content | {"truth": {name: array(name) for name in TRUTH if name in names}}


def _zarr(path: Path, energy: float | None, probe: bool) -> Content:
    import zarr

    root = zarr.open(path, mode="r")
    attributes: dict[str, Any] = dict(root.attrs)
    arrays = {"scan": root} if isinstance(root, zarr.Array) else dict(root.arrays())
    if probe:
        chosen = arrays.get("probe", next(iter(arrays.values()), None))
        return {"patterns": None if chosen is None else memory.whole(path, chosen)}
    scan = arrays.get("scan", next((a for a in arrays.values() if a.ndim == 4), None))
    vacuum = arrays.get("probe")
    content: Content = {"patterns": scan, "probe": None if vacuum is None else memory.whole(path, vacuum)}
    return content | {name: _number(path, name, attributes[name]) for name in ("dq", "energy") if name in attributes}


def _number(path: Path, name: str, value: Any) -> float:
    """A file's dq or energy.

    Raises:
        InputError: if it isn't a number.
    """
    try:
        return float(value)
    except (TypeError, ValueError):
        said = " ".join(str(value).split())[:50]
        raise InputError(f"{path}: {name} is '{said}', which is no number; it is given in 1/Å or eV") from None


def _zspy(path: Path, energy: float | None, probe: bool) -> Content:
    """HyperSpy's .zspy, read here since RosettaSciIO's reader needs zarr 2; zarr 3 reads the format as well."""
    import zarr

    signals = []
    for _, experiment in zarr.open_group(path, mode="r", path="Experiments").groups():
        data = cast(zarr.Array, experiment["data"])
        axes = [dict(experiment[f"axis-{i}"].attrs) for i in range(data.ndim)]
        instrument = "metadata/Acquisition_instrument/TEM"
        about = dict(experiment[instrument].attrs) if instrument in experiment else {}
        metadata = {"Acquisition_instrument": {"TEM": about}}
        signals.append({"data": data, "axes": axes, "metadata": metadata})
    return scan_rosettasciio.from_signals(path, signals, energy, probe)
