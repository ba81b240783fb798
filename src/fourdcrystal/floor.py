"""The shot-noise floor: how well counts can tell where a disk is, whatever the method.

The Cramér-Rao bound of the position of a disk without contrast, whose shape, brightness and background are known, under
Poisson statistics: the inverse Fisher information, F_ab = Σ ∂_a I ∂_b I / I over the pixels (Kay, Fundamentals of
Statistical Signal Processing I, 1993, eq. 3.31). Only the edge tells, so a sharp one of width w and radius R with N
electrons gives σ = √(2 w R / N) along each axis. Unknown contrast makes it worse; contrast that were known, better. An
estimate without bias from the disk alone can't beat it; one that knows the pattern's lattice can.
"""

import numpy as np
import torch

from fourdcrystal.vacuum import Vacuum

MARGIN = 4  # of the image beyond the disk [px]


def sigma(probe: Vacuum, electrons: np.ndarray, background: np.ndarray | float = 0.0) -> np.ndarray:
    """Least standard deviation of a disk's position along an axis [px], (N,), that any unbiased estimate can have.

    Args:
        probe: Vacuum probe.
        electrons: Expected in each disk, (N,).
        background: Expected electrons per pixel beside it, (N,) or one for all.
    """
    shape, slopes = _shape(probe)
    electrons = np.asarray(electrons, float)
    level = np.broadcast_to(np.asarray(background, float), electrons.shape)
    expected = electrons[:, None] * shape + np.maximum(level[:, None], 1e-6)
    information = np.einsum("np,ap,bp->nab", electrons[:, None] ** 2 / expected, slopes, slopes)
    return np.sqrt(np.trace(np.linalg.inv(information), axis1=1, axis2=2) / 2)


def _shape(probe: Vacuum) -> tuple[np.ndarray, np.ndarray]:
    """Share of the probe's electrons in each pixel, (P,), and its slopes along both axes [1/px], (2, P)."""
    reach = int(np.ceil(probe.radius + MARGIN))
    axis = torch.arange(-reach, reach + 1, dtype=torch.float64)
    pixels = torch.cartesian_prod(axis, axis)
    image = probe.sample(pixels)
    step = 0.25
    slopes = [(probe.sample(pixels + step * e) - probe.sample(pixels - step * e)) / (2 * step) for e in torch.eye(2)]
    total = image.sum()
    return (image / total).numpy(), (torch.stack(slopes) / total).numpy()
