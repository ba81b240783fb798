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

    def record(self, spectrum: Any, xp: ModuleType = np) -> Any:
        """Intensity on each pixel, (..., X, Y), float32.

        Args:
            spectrum: Kept columns of waves in Fourier space, (..., n, columns).
            xp: Its array module.
        """
        rows, above = self._span(0, self.grid.n, 0)
        columns, left = self._span(1, self.grid.band.stop - self.grid.band.start, self.grid.band.start)
        seen = spectrum[..., rows, columns]
        intensity = seen.real**2 + seen.imag**2
        if any((*above, *left)):  # a pixel at the rim reaches beyond the band, where the wave is zero
            intensity = xp.pad(intensity, [(0, 0)] * (intensity.ndim - 2) + [above, left])
        return self._binned(self._binned(intensity, -2), -1)

    def _span(self, axis: int, length: int, offset: int) -> tuple[slice, tuple[int, int]]:
        """Indices that the detector sees along an axis, and how many are missing at either end."""
        m = self.binning
        start = self.grid.n // 2 - self.shape[axis] // 2 * m - m // 2 - offset
        stop = start + self.shape[axis] * m + (m % 2 == 0)
        return slice(max(start, 0), min(stop, length)), (max(-start, 0), max(stop - length, 0))

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
