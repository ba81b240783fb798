"""How exactly numbers are stored: rounded to few significant bits, so that they compress, within a stated error.

Rounded numbers are ordinary float32: every Zarr reader understands them, no scale factor has to be applied.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

# half a step is the error: 2^-20 = 0.95e-6 of the vacuum probe's maximum, or 2^-9 = 0.195 % of the value
PATTERN_STEP, SIGNIFICANT_BITS = 2.0**-19, 8
POTENTIAL_STEP = 2.0**-10  # V
HEIGHT_STEP = 2.0**-14  # 1/Å


def rounded(values: ArrayLike, step: float) -> NDArray[np.float32]:
    """Values rounded to a fixed step where they are small and to a relative precision where they are large.

    Args:
        values: Any shape; finite.
        step: Finest spacing of the results, a power of two, in the unit of ``values``.

    Returns:
        float32 of the same shape: multiples of max(``step``, 2^(e - 8)), where 2^e <= \\|value\\| < 2^(e + 1). The
        error is at most step / 2 or 2^-9 of the value, whichever is larger. Rounding again changes nothing.
    """
    x = np.ascontiguousarray(values, dtype=np.float32)
    exponent_bits = x.view(np.int32) & 0x7F800000
    finest = np.float32(step).view(np.int32)
    # the spacing 2^(e - 8), made by arithmetic on the exponent's bits; float32 keeps them above bit 23
    spacing = np.maximum(exponent_bits - (SIGNIFICANT_BITS << 23), finest).view(np.float32)
    return np.rint(x / spacing) * spacing + np.float32(0)  # + 0 turns -0 into 0, so that bytes are unique
