"""The camera: which Fourier pixels of a wave make up each of its pixels."""

from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from fourdcrystal.propagation import Grid


@dataclass(frozen=True)
class Camera:
    """A detector whose pixels are ``binning`` x ``binning`` Fourier pixels of the wave.

    A pixel is as wide as ``binning`` Fourier pixels and centred on one. With an even number of them, the two at its
    edges belong by halves to its neighbours.

    Attributes:
        grid: The wave's grid.
        shape: Pixels along q_x and q_y.
        binning: Fourier pixels along the edge of a pixel.
    """

    grid: Grid
    shape: tuple[int, int]
    binning: int

    def record(self, diffracted: Any, xp: ModuleType = np) -> Any:
        """Intensity on each pixel, (..., X, Y), float32.

        Args:
            diffracted: |ψ|² in Fourier space, (..., n, C): zero frequency first, all columns or those that waves keep.
            xp: Its array module.
        """
        spans = [self._span(axis, diffracted.shape[axis - 2]) for axis in (0, 1)]
        size = [self.shape[axis] * self.binning + (self.binning % 2 == 0) for axis in (0, 1)]
        # a pixel at the rim may reach beyond the kept columns, where the wave is zero
        intensity = xp.zeros((*diffracted.shape[:-2], *size), dtype=xp.float32)
        for to_x, from_x in spans[0]:
            for to_y, from_y in spans[1]:
                intensity[..., to_x, to_y] = diffracted[..., from_x, from_y]
        return self._binned(self._binned(intensity, -2), -1)

    def _span(self, axis: int, length: int) -> list[tuple[slice, slice]]:
        """Negative and other frequencies that the detector sees along an axis: places in its image, in the spectrum."""
        m = self.binning
        below = self.shape[axis] // 2 * m + m // 2
        above = self.shape[axis] * m + (m % 2 == 0) - below
        low, high = min(below, length // 2), min(above, length // 2)
        return [
            (slice(below - low, below), slice(length - low, length)),
            (slice(below, below + high), slice(0, high)),
        ]

    def _binned(self, intensity: Any, axis: int) -> Any:
        m = self.binning
        if m == 1:
            return intensity
        intensity = intensity.swapaxes(axis, -1)
        whole = intensity[..., : intensity.shape[-1] // m * m]
        binned = whole.reshape(*whole.shape[:-1], -1, m).sum(-1)
        if m % 2 == 0:
            edges = intensity[..., ::m]
            binned = binned + (edges[..., 1:] - edges[..., :-1]) / 2
        return binned.swapaxes(axis, -1)
