"""Peaks of single frequencies in transforms under Hann's window."""

import numpy as np


def peak(image, around):
    """Place [px] and height of a peak, from the largest pixel near a place and its neighbours.

    Exact for one frequency under Hann's window: with R = A(1)/A(0), δ = (2R - 1)/(R + 1), and A(0) is lower than the
    peak by sin(πδ) / (πδ (1 - δ²)) along each axis (Rife & Vincent, Bell Syst. Tech. J. 49 (1970) 197).
    """
    corner = np.round(around).astype(int) - 1
    part = image[corner[0] : corner[0] + 3, corner[1] : corner[1] + 3]
    top = np.array(np.unravel_index(part.argmax(), part.shape)) + corner
    place, height = top.astype(float), image[tuple(top)]
    for axis in (0, 1):
        low, high = (image[tuple(top + step * np.eye(2, dtype=int)[axis])] for step in (-1, 1))
        ratio = max(low, high) / image[tuple(top)]
        shift = max((2 * ratio - 1) / (ratio + 1), 1e-9)
        place[axis] += shift if high > low else -shift
        height *= np.pi * shift * (1 - shift**2) / np.sin(np.pi * shift)
    return place, height
