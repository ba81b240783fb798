"""Scans in HDF5 files that are read here: py4DSTEM's, those of Dectris' cameras (Arina), and plain arrays.

Each reader gives the content of a file as :mod:`fourdcrystal.scan_files` wants it, patterns as HDF5 arrays that are
read piece by piece.
"""

import importlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py

from fourdcrystal import memory
from fourdcrystal.diffraction_units import in_inverse_angstrom
from fourdcrystal.errors import InputError
from fourdcrystal.scan_views import Content, Joined

DECTRIS = "entry/data"  # arrays data_000001, data_000002, ... of this group, often links to other files
NUMBERED = re.compile(r"data_\d+")
MASK = "entry/instrument/detector/detectorSpecific/pixel_mask"  # not 0: a gap, or a dead pixel
FOREIGN = "file_format", "Measurement_000"  # of HyperSpy's and of USID's files, which RosettaSciIO reads
Reader = Callable[[Path, float | None, bool], Content]


def reader(path: Path) -> Reader | None:
    """What reads an HDF5 file; none if RosettaSciIO does.

    Raises:
        InputError: if it can't be opened at all.
    """
    try:
        with h5py.File(path) as file:
            if file.attrs.get("emd_group_type") == "file":
                return py4dstem
            if path.suffix.lower() == ".emd":
                return None
            if _numbered(file):
                return dectris
            if any(mark in file or mark in file.attrs for mark in FOREIGN):
                return None
            if _array(file) is not None or "probe" in file:
                return plain
    except (OSError, KeyError, RuntimeError) as error:  # h5py's words for a damaged file
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: is no HDF5 file, or was cut off ({reason[:200]})") from error
    return None


def py4dstem(path: Path, energy: float | None, probe: bool) -> Content:
    """EMD 1.0 as py4DSTEM 0.14 writes it: the first DataCube (or Probe), and the calibration at its root."""
    file = h5py.File(path)  # stays open: patterns are read from it later
    found: dict[str, Any] = {}

    def look(name: str, node: Any) -> None:
        """Remember the first group of each class of py4DSTEM."""
        if isinstance(node, h5py.Group):
            found.setdefault(_text(node.attrs.get("python_class")), node)

    file.visititems(look)
    cube = found.get("DataCube", found.get("Array"))
    vacuum = found.get("Probe")
    if probe:
        node = vacuum if vacuum is not None else cube
        if node is None:
            return {}
        data = node["data"]
        return {"patterns": data[0] if node is vacuum and data.ndim == 3 else data}
    content: Content = {"patterns": None if cube is None else cube["data"]}
    if vacuum is not None:
        stored = memory.whole(path, vacuum["data"])
        content["probe"] = stored[0] if stored.ndim == 3 else stored
    calibration = found.get("Calibration")
    if calibration is not None and "Q_pixel_size" in calibration:
        units = _text(calibration["Q_pixel_units"][()])
        content["dq"] = in_inverse_angstrom(float(calibration["Q_pixel_size"][()]), units, energy)
    return content


def dectris(path: Path, energy: float | None, probe: bool) -> Content:
    """A master file of Dectris' cameras: one stack from all its arrays, NaN where the camera says it can't count.

    Raises:
        InputError: if a file with its data is missing, or packed in a way that can't be undone here.
    """
    file = h5py.File(path)
    try:
        arrays = [file[DECTRIS][name] for name in _numbered(file)]
    except (KeyError, OSError) as error:
        raise InputError(f"{path}: links to a file with its data that isn't beside it ({error})") from error
    for array in arrays:
        _decodable(path, array)
    gaps = memory.whole(path, file[MASK]) != 0 if MASK in file else None
    return {"patterns": Joined(tuple(arrays), gaps)}


def _numbered(file: h5py.File) -> list[str]:
    """Names of the arrays of Dectris' cameras in a file, in order; none in other files with such a group."""
    group = file.get(DECTRIS)
    return sorted(filter(NUMBERED.fullmatch, group)) if isinstance(group, h5py.Group) else []


def plain(path: Path, energy: float | None, probe: bool) -> Content:
    """Any file with a scan, stack or image: its array of most dimensions; a probe, dq and energy by their names."""
    file = h5py.File(path)
    vacuum = file.get("probe")
    if probe and vacuum is not None:
        return {"patterns": memory.whole(path, vacuum)}
    content: Content = {"patterns": _array(file), "probe": None if vacuum is None else memory.whole(path, vacuum)}
    if content["patterns"] is not None:
        _decodable(path, content["patterns"])
    return content | {name: float(file.attrs[name]) for name in ("dq", "energy") if name in file.attrs}


def _array(file: h5py.File) -> h5py.Dataset | None:
    """The numeric array of four, three or two dimensions that has most of them, of several the largest."""
    found: list[h5py.Dataset] = []

    def look(name: str, node: Any) -> None:
        """Remember data sets that can be it."""
        if isinstance(node, h5py.Dataset) and 2 <= node.ndim <= 4 and node.dtype.kind in "uif" and name != "probe":
            found.append(node)

    file.visititems(look)
    return max(found, key=lambda array: (array.ndim, array.size), default=None)


def _decodable(path: Path, array: h5py.Dataset) -> None:
    """Load what unpacks an array, where HDF5 itself can't.

    Raises:
        InputError: if that isn't installed.
    """
    filters = array.id.get_create_plist()
    packed = [filters.get_filter(i) for i in range(filters.get_nfilters())]
    for number, _, _, name in packed:
        if h5py.h5z.filter_avail(number):
            continue
        try:
            importlib.import_module("hdf5plugin")
        except ImportError:
            known = _text(name).partition(";")[0] or f"filter {number}"
            raise InputError(f"{path}: is packed with {known}; pip install hdf5plugin, which unpacks it") from None


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
