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
LARGEST = 65472.0  # from here on 8 fractional bits round to 2^16, which half precision does not have
_SINGLE = np.arange(1 << 16, dtype=np.uint16).view(np.float16).astype(np.float32)  # every half-precision number
_BLOCK = 1 << 14  # numbers at a time: they stay in the processor's cache
_DROPPED = 23 - SIGNIFICANT_BITS  # bits of float32's fraction
_EXPONENTS = 112 << 23  # float32's exponents begin that much below half precision's
_SIGN = 1 << 15  # of half precision


def rounded(values: ArrayLike, step: float) -> NDArray[np.float16]:
    """Values rounded to a fixed step where they are small and to a relative precision where they are large.

    Args:
        values: Any shape; finite, of a size below 65472.
        step: Finest spacing of the results, a power of two from 2^-22, in the unit of ``values``.

    Returns:
        Same shape: multiples of ``step`` up to 2^8 steps, beyond that numbers of 8 fractional bits. The error is at
        most step / 2 or 2^-9 of the value, whichever is larger. Rounding again changes nothing.

    Raises:
        ValueError: if a value is not finite, or too large for half precision.
    """
    exact = np.ascontiguousarray(values, dtype=np.float32).reshape(-1)
    result = np.empty(exact.shape, np.uint16)
    few = 2**SIGNIFICANT_BITS
    multiples = (np.arange(-few, few + 1) * step).astype(np.float16).view(np.uint16)
    shift = np.float32(1.5 * step * 2**23)  # float32 numbers near it are multiples of the step: adding it rounds
    for start in range(0, exact.size, _BLOCK):
        x, out = exact[start : start + _BLOCK], result[start : start + _BLOCK]
        size = np.abs(x)
        if not size.max() < LARGEST:
            raise ValueError("values that are not finite, or too large for half precision, can't be stored")
        # half precision's bits straight from float32's: NumPy's conversion of numbers below 2^-14 is slow
        bits = size.view(np.int32)
        bits += (1 << (_DROPPED - 1)) - _EXPONENTS  # a carry goes into the exponent, as it should
        bits >>= _DROPPED
        bits <<= 10 - SIGNIFICANT_BITS
        bits |= np.signbit(x) * np.int32(_SIGN)
        out[...] = bits
        steps = (x + shift).view(np.int32)
        steps -= shift.view(np.int32) - few
        np.copyto(out, multiples.take(steps, mode="clip"), where=np.abs(x) < few * step)
    return result.view(np.float16).reshape(np.shape(values))


def single(images: NDArray[np.float16]) -> NDArray[np.float32]:
    """The same numbers in single precision, from a table: a quarter of the time that NumPy's conversion takes."""
    return _SINGLE.take(images.view(np.uint16))
