"""The shot-noise floor: how well counts can tell where a disk is, whatever the method.

The Cramér-Rao bound of the position of a disk without contrast, whose shape, brightness and background are known, under
Poisson statistics: the inverse Fisher information, F_ab = Σ ∂_a I ∂_b I / I over the pixels (Kay, Fundamentals of
Statistical Signal Processing I, 1993, eq. 3.31). Only the edge tells, so a sharp one of width w and radius R with N
electrons gives σ = √(2 w R / N) along each axis. Unknown contrast makes it worse; contrast that were known, better. An
estimate without bias from the disk alone can't beat it; one that knows the pattern's lattice can.
"""

import numpy as np
import torch

from fourdcrystal import vacuum
from fourdcrystal.samples import Sample
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


def of_sample(given: Sample, dose: float) -> np.ndarray:
    """Least standard deviation of each true position along an axis that shot noise allows [px], (N,).

    That of :func:`sigma`, for the electrons that a disk has beyond the median of a ring around it.

    Args:
        given: Patterns with their reflections.
        dose: Electrons in a pattern.
    """
    true, found = given.true, np.empty(len(given.true.pattern))
    for index, probe in given.groups():
        rows = np.flatnonzero(np.isin(true.pattern, index))
        scale = dose / probe.sum(dtype=np.float64)
        vacuum_probe = vacuum.of_probe(probe)
        reach = int(np.ceil(vacuum_probe.radius + 4))
        steps = np.arange(-reach, reach + 1)
        distance = np.hypot(steps[:, None], steps)
        disk, ring = distance <= vacuum_probe.radius, distance > vacuum_probe.radius + 1.5
        at = np.rint(true.positions[rows]).astype(int)
        x, y = (np.clip(at[:, i, None] + steps, 0, given.cbed.shape[i + 1] - 1) for i in (0, 1))
        crops = given.cbed[true.pattern[rows, None, None], x[:, :, None], y[:, None]].astype(np.float64) * scale
        level = np.median(crops[:, ring], axis=1)
        electrons = np.maximum(crops[:, disk].sum(1) - level * disk.sum(), 1.0)
        found[rows] = sigma(vacuum_probe, electrons, level)
    return found
