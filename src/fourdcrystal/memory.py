"""How much memory there is to work with: of the machine, of its control group (as SLURM sets it), or of a GPU."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch

from fourdcrystal.errors import InputError

CPU = torch.device("cpu")
GROUP = Path("/sys/fs/cgroup")


def free(device: torch.device) -> int:
    """Bytes that can be had now on a device."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return min(psutil.virtual_memory().available, _left_in_group(GROUP))


def check(name: object, needed: int) -> None:
    """Refuse what doesn't fit: a damaged or compressed file can say that it is any number of times larger than it is.

    Args:
        name: Of the file, for the message.
        needed: Bytes.

    Raises:
        InputError: if fewer are free.
    """
    if needed > (left := free(CPU)):
        raise InputError(
            f"{name}: holds {needed / 1e9:.3g} GB when unpacked, but {left / 1e9:.3g} GB of memory are free; "
            "keep large scans as .zarr or .h5, which are read piece by piece"
        )


def whole(name: object, array: Any) -> np.ndarray:
    """All of an array that is on disk.

    Raises:
        InputError: as :func:`check`.
    """
    check(name, math.prod(array.shape) * array.dtype.itemsize)
    return array[...]


def _left_in_group(group: Path) -> int:
    """What the control group (version 2) of this process leaves; without one, no limit."""
    try:
        own = Path("/proc/self/cgroup").read_text().strip().rpartition("::")[2].lstrip("/")
        folder = group / own
        most = (folder / "memory.max").read_text().strip()
        return 2**62 if most == "max" else int(most) - int((folder / "memory.current").read_text())
    except (OSError, ValueError):
        return 2**62  # other versions, other systems
