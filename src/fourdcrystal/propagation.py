"""The grid that electron waves live on, its band limit, and the propagator from slice to slice.

A multislice step multiplies a wave by a slice's transmission function (:mod:`fourdcrystal.transmission`) and, in
Fourier space, by the propagator. The transforms between the two are those of :mod:`fourdcrystal.waves`.
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from fourdcrystal.electrons import wavelength

CUTOFF, TAPER = 0.6666666, 0.01  # abTEM's antialias.cutoff and antialias.taper


def fast_length(least: float) -> int:
    """Smallest number of points, not below ``least``, that transforms fast: 1, 3, 5 or 15 times a power of two >= 8."""
    candidates = [odd * 2**a for odd in (1, 3, 5, 15) for a in range(3, 16)]
    return min(n for n in candidates if n >= least - 1e-9)


@dataclass(frozen=True)
class Grid:
    """A square, periodic grid.

    Attributes:
        n: Points along x and along y, a multiple of 8.
        edge: Length of the box's edge [Å].
    """

    n: int
    edge: float

    @property
    def sampling(self) -> float:
        """Distance of neighbouring points [Å]."""
        return self.edge / self.n

    @property
    def limit(self) -> float:
        """Largest spatial frequency that waves have [1/Å]: the radius of :meth:`aperture`."""
        return CUTOFF / 2 / self.sampling

    @cached_property
    def frequencies(self) -> np.ndarray:
        """Spatial frequencies of an axis [1/Å], (n,), zero at n // 2."""
        return (np.arange(self.n) - self.n // 2) / self.edge

    @cached_property
    def k_x(self) -> np.ndarray:
        """Spatial frequencies along x in the order of a Fourier transform, zero first [1/Å], (n,)."""
        return np.fft.ifftshift(self.frequencies)

    def k_y(self, full: bool = False) -> np.ndarray:
        """The same along y: those within the band limit (some more, to fill lines of the cache), or all [1/Å], (C,)."""
        return self.k_x if full else np.concatenate([self.k_x[: self.half], self.k_x[-self.half :]])

    @cached_property
    def half(self) -> int:
        """Half the number of columns (k_y) that waves keep: two thirds of all, and some more to fill cache lines."""
        kept = int(CUTOFF / 2 * self.n) + 1
        return min(-(-kept // 8) * 8, self.n // 2)

    def columns(self, array: Any, full: bool = False) -> Any:
        """Columns that waves keep of an array in Fourier space, zero frequency first, (..., n, n) to (..., n, C)."""
        return array if full else array[..., np.r_[: self.half, self.n - self.half : self.n]]

    @lru_cache(maxsize=4)  # noqa: B019  grids are small
    def aperture(self, full: bool = False) -> np.ndarray:
        """Anti-aliasing aperture, (n, C), zero frequency first: abTEM's, two thirds of Nyquist's frequency, tapered."""
        cutoff, taper = self.limit, TAPER / self.sampling
        r = np.hypot(self.k_x[:, None], self.k_y(full))
        soft = 0.5 * (1 + np.cos(np.pi * (r - cutoff + taper) / taper))
        return np.where(r > cutoff, 0.0, np.where(r > cutoff - taper, soft, 1.0))

    def propagator(self, energy: float, distance: float, full: bool = False) -> np.ndarray:
        """Fresnel propagator exp(-iπ λ z k²) times the aperture, (n, C), zero frequency first.

        Args:
            energy: Beam energy [eV].
            distance: Distance along the beam [Å].
            full: All columns, not only those within the band limit.
        """
        along_x, along_y = (
            np.exp(-1j * np.pi * wavelength(energy) * distance * k**2) for k in (self.k_x, self.k_y(full))
        )
        return along_x[:, None] * along_y * self.aperture(full)
