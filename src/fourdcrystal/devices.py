"""Where waves are computed: on the CPU with NumPy or on a GPU with CuPy, and how many of them at a time."""

import sys
from types import ModuleType
from typing import Any

import numpy as np

from fourdcrystal import gpus

SHARE = 0.9  # of the free memory that is used: allocators lose some to fragments
KEPT = 3  # arrays for each wave between the steps: itself, its spectrum, and two intensities of half the size
TEMPORARY = 3  # arrays for each wave in the middle of a step: transform, its work area, product


def module() -> ModuleType:
    """CuPy where this process sees a GPU, NumPy elsewhere."""
    seen = gpus.visible()
    if not seen:
        return np
    try:
        import cupy
    except ImportError:
        print(
            f"GPU {seen[0]} is not used for the simulation, because cupy is not installed (pip install cupy-cuda13x)",
            file=sys.stderr,
        )
        return np
    return cupy


def free(xp: Any) -> int:
    """Bytes that an array module's device can still give, with what the module keeps for itself."""
    return int(xp.cuda.Device().mem_info[0]) + int(xp.get_default_memory_pool().free_bytes())


def release(xp: Any) -> None:
    """Give back memory that the module keeps for itself but doesn't use."""
    xp.get_default_memory_pool().free_all_blocks()


def batch(free: int, array: int, waves: int, resident: int) -> int:
    """How many waves to transform at a time, at least one.

    Args:
        free: Free bytes.
        array: Bytes of one wave.
        waves: How many there are to share a potential.
        resident: Bytes of everything else.
    """
    left = SHARE * free - resident - KEPT * waves * array
    return max(1, min(waves, int(left // (TEMPORARY * array))))
