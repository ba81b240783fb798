"""Scans in the formats of cameras and microscopes that RosettaSciIO reads."""

import importlib
import math
import struct
from pathlib import Path
from typing import Any

import numpy as np

from fourdcrystal.diffraction_units import in_inverse_angstrom
from fourdcrystal.errors import InputError
from fourdcrystal.scan_views import Content

# RosettaSciIO's readers of diffraction patterns and of images; it has many more, for spectra and surfaces
READERS = (
    "Arina",
    "Blockfile",
    "DENS",
    "DigitalMicrograph",
    "EMD",
    "EMPAD",
    "HSPY",
    "Hamamatsu",
    "Image",
    "MRC",
    "MRCZ",
    "NeXus",
    "PantaRhei",
    "QuantumDetector",
    "Ripple",
    "TIA",
    "TIFF",
    "TVIPS",
    "Topspin",
    "USID",
)
OBLONG = 1.02  # times the other side; calibrations of both axes differ by less where pixels are square
MOST_BYTES = 2**44  # of a scan: 16 TB, which RosettaSciIO divides into a hundred thousand blocks
# the beginning of a .blo: id, magic number, two offsets, flags, pixels of a side, rotation, positions along x and y
BLOCKFILE = struct.Struct("<6sHIIIHHHH")


def read(path: Path, energy: float | None, probe: bool) -> Content:
    """What the reader for a file's suffix finds in it, lazily.

    Args:
        path: File.
        energy: Beam energy [eV], for axes in mrad.
        probe: Whether an image or stack of the probe is wanted instead of a 4-D scan.

    Raises:
        InputError: if no reader knows the suffix, or none of them can read the file.
    """
    import rsciio

    suffix = path.suffix.lower().lstrip(".")
    readers = [p for p in rsciio.IO_PLUGINS if p["name"] in READERS]
    fitting = [p for p in readers if suffix in {e.lower() for e in p["file_extensions"]}]
    if not fitting:
        said = f"'.{suffix}' is no known format" if suffix else "has no suffix, which tells a file's format"
        own = {"npz", "npy", "raw", "zarr", "zspy"}
        known = sorted({e.lower() for p in readers for e in p["file_extensions"]} | own)
        raise InputError(f"{path}: {said}; known are {', '.join(known)}")
    if suffix == "blo":
        _check_blockfile(path)
    problems = []
    for plugin in fitting:
        try:
            read_file = importlib.import_module(plugin["api"]).file_reader
            signals = read_file(str(path), lazy=True)
        except Exception as error:  # the next plugin may be the right one for this suffix
            problems.append(f"{plugin['name']}: {' '.join(str(error).split())[:120] or type(error).__name__}")
            continue
        return from_signals(path, signals, energy, probe)
    raise InputError(f"{path}: can't be read ({'; '.join(problems)})")


def _check_blockfile(path: Path) -> None:
    """Refuse a .blo whose header claims too much; its reader divides that into blocks before it looks at the file."""
    with path.open("rb") as file:
        header = file.read(BLOCKFILE.size)
    if len(header) == BLOCKFILE.size:
        side, _, columns, rows = BLOCKFILE.unpack(header)[-4:]
        check_size((rows, columns, side, side), np.dtype(np.uint8), path)


def check_size(shape: tuple[int, ...], dtype: np.dtype, name: object) -> None:
    """Refuse an array that is larger than any scan: a damaged header can say that a kilobyte holds a petabyte.

    Raises:
        InputError: saying how large.
    """
    size = math.prod(shape) * dtype.itemsize
    if size > MOST_BYTES:
        raise InputError(f"{name}: says that it holds {size / 1e9:.3g} GB, more than any scan; is it damaged?")


def from_signals(path: Path, signals: list[dict[str, Any]], energy: float | None, probe: bool) -> Content:
    """The largest suitable signal of a RosettaSciIO reader; arguments as of :func:`read`.

    Raises:
        InputError: if there is none, or it can't be as large as it says.
    """
    suitable = [s for s in signals if (s["data"].ndim >= 2 if probe else s["data"].ndim in (2, 3, 4))]
    if not suitable:
        dims = ", ".join(str(tuple(s["data"].shape)) for s in signals)
        raise InputError(f"{path}: holds arrays of shape {dims}; none is {'an image' if probe else 'a 4-D scan'}")
    signal = max(suitable, key=lambda s: math.prod(s["data"].shape))
    check_size(signal["data"].shape, signal["data"].dtype, path)
    instrument = signal.get("metadata", {}).get("Acquisition_instrument", {}).get("TEM", {})
    stated = float(instrument["beam_energy"]) * 1e3 if instrument.get("beam_energy") else None  # keV
    content: Content = {"patterns": signal["data"], "energy": stated}
    known = energy if energy is not None else stated
    sides = [
        in_inverse_angstrom(float(axis.get("scale", 1.0)), str(axis.get("units") or ""), known)
        for axis in signal["axes"][-2:]
    ]
    along_x, along_y = sides
    if not along_y:  # some write 0 where they don't know
        return content
    if along_x and not 1 / OBLONG < along_x / along_y < OBLONG:
        return content | {"oblong": (along_x, along_y)}
    return content | {"dq": along_y}
