"""How exactly images are stored: rounded to few significant bits, so that they compress, within a stated error.

The rounded numbers are ordinary half-precision floats: every Zarr reader understands them. benchmarks/storage.py
compares this with other ways.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

# half a step is the error: 2^-20 = 0.95e-6 of the vacuum probe's maximum, or 2^-9 = 0.195 % of the value
PATTERN_STEP, SIGNIFICANT_BITS = 2.0**-19, 8
POTENTIAL_STEP = 2.0**-10  # V
HEIGHT_STEP = 2.0**-14  # 1/Å
_SINGLE = np.arange(1 << 16, dtype=np.uint16).view(np.float16).astype(np.float32)  # every half-precision number
_BLOCK = 1 << 15  # numbers at a time: they stay in the processor's cache
_DROPPED = 23 - SIGNIFICANT_BITS  # bits of float32's fraction


def rounded(values: ArrayLike, step: float) -> NDArray[np.float16]:
    """Values rounded to a fixed step where they are small and to a relative precision where they are large.

    Args:
        values: Any shape; finite, below 65504.
        step: Finest spacing of the results, a power of two from 2^-24, in the unit of ``values``.

    Returns:
        Same shape: multiples of ``step`` up to 2^8 steps, beyond that numbers of 8 fractional bits. The error is at
        most step / 2 or 2^-9 of the value, whichever is larger. Rounding again changes nothing.
    """
    exact = np.ascontiguousarray(values, dtype=np.float32).reshape(-1)
    result = np.empty(exact.shape, np.float16)
    relative = np.empty(_BLOCK, np.float32)
    small = np.float32(step * 2**SIGNIFICANT_BITS)
    shift = np.float32(1.5 * step * 2**23)  # float32 numbers near it are multiples of the step: adding it rounds
    for start in range(0, exact.size, _BLOCK):
        x = exact[start : start + _BLOCK]
        r = relative[: x.size]
        bits = r.view(np.int32)
        np.add(x.view(np.int32), 1 << (_DROPPED - 1), out=bits)  # a carry goes into the exponent, as it should
        np.bitwise_and(bits, -(1 << _DROPPED), out=bits)
        np.copyto(r, (x + shift) - shift, where=np.abs(x) < small)
        result[start : start + _BLOCK] = r
    return result.reshape(np.shape(values))


def single(images: NDArray[np.float16]) -> NDArray[np.float32]:
    """The same numbers in single precision, from a table: a quarter of the time that NumPy's conversion takes."""
    return _SINGLE.take(images.view(np.uint16))
