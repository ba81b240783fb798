"""Electron waves on a grid: transforms, transmission, propagation.

A multislice step is: multiply by the slice's transmission function, transform, multiply by the propagator, transform
back. Two facts make it fast. The propagator is zero outside two thirds of the grid's band, so a third of the
transforms along x would only move zeros: they are left out. And transforms along one axis between two buffers with
padded rows are as fast with FFTW's first guess of a plan as with its best-timed one: plans don't depend on timing,
and the same input gives the same bits (docs/decisions/0020).
"""

from dataclasses import dataclass
from functools import cached_property
from types import ModuleType
from typing import Any

import numpy as np
import pyfftw

from fourdcrystal.settings import wavelength

CUTOFF, TAPER = 0.6666666, 0.01  # abTEM's antialias.cutoff and antialias.taper
PADDING = 8  # numbers added to each row, against rows that fall on the same lines of the cache
FITS_CACHE = 320  # grids up to this many points a side: two buffers fit in a core's cache, and out of place is faster


def fast_length(least: float) -> int:
    """Smallest number of points, not below ``least``, that transforms fast: 1, 3, 5 or 15 times a power of two >= 8."""
    candidates = [odd * 2**a for odd in (1, 3, 5, 15) for a in range(3, 16)]
    return min(n for n in candidates if n >= least - 1e-9)


@dataclass(frozen=True)
class Grid:
    """A square, periodic grid.

    Attributes:
        n: Points along x and along y, even.
        edge: Length of the box's edge [Å].
    """

    n: int
    edge: float

    @property
    def sampling(self) -> float:
        """Distance of neighbouring points [Å]."""
        return self.edge / self.n

    @cached_property
    def frequencies(self) -> np.ndarray:
        """Spatial frequencies of an axis [1/Å], (n,), zero at n // 2."""
        return (np.arange(self.n) - self.n // 2) / self.edge

    @cached_property
    def band(self) -> slice:
        """Columns (k_y) that the band limit keeps, widened to where rows are aligned in memory."""
        kept = np.flatnonzero(np.abs(self.frequencies) <= CUTOFF / 2 / self.sampling)
        return slice(kept[0] // 8 * 8, min(self.n, -(-(kept[-1] + 1) // 8) * 8))

    @cached_property
    def aperture(self) -> np.ndarray:
        """Anti-aliasing aperture of the kept columns, (n, columns), float32: abTEM's, 2/3 of Nyquist, tapered."""
        cutoff, taper = CUTOFF / self.sampling / 2, TAPER / self.sampling
        k = self.frequencies
        r = np.hypot(k[:, None], k[self.band])
        soft = 0.5 * (1 + np.cos(np.pi * (r - cutoff + taper) / taper))
        return np.where(r > cutoff, 0.0, np.where(r > cutoff - taper, soft, 1.0)).astype(np.float32)

    @cached_property
    def checkerboard(self) -> np.ndarray:
        """(-1)^(i + j), (n, n), float32: a wave times it has its zero frequency at n // 2 instead of 0."""
        sign = (1.0 - 2.0 * (np.arange(self.n) % 2)).astype(np.float32)
        return sign[:, None] * sign

    def propagator(self, energy: float, distance: float) -> np.ndarray:
        """Fresnel propagator exp(-iπ λ z k²) times the aperture, for the kept columns, (n, columns), complex64.

        Args:
            energy: Beam energy [eV].
            distance: Distance along the beam [Å].
        """
        k2 = self.frequencies[:, None] ** 2 + self.frequencies[self.band] ** 2
        return (np.exp(-1j * np.pi * wavelength(energy) * distance * k2) * self.aperture).astype(np.complex64)


class Wave:
    """One or more arrays on a grid, in real space with the checkerboard's signs, or in Fourier space, centred.

    Attributes:
        real: The arrays in real space, (..., n, n), complex64.
        spectrum: The kept columns in Fourier space, (..., n, columns). Valid after ``forward``.
        xp: Array module.
    """

    def __init__(self, grid: Grid, full: bool = False, scratch: "Wave | None" = None) -> None:
        """A wave on the CPU.

        Args:
            grid: Its grid.
            full: Keep all columns, not only those within the band limit.
            scratch: Waves that are used one after another may share one's scratch memory.
        """
        self.xp = np
        kept = slice(0, grid.n) if full else grid.band
        pitch = grid.n + PADDING
        buffer = pyfftw.zeros_aligned((grid.n, pitch), dtype="complex64")
        self._other = pyfftw.zeros_aligned((grid.n, pitch), dtype="complex64") if scratch is None else scratch._other
        real, other = buffer[:, : grid.n], self._other[:, : grid.n]
        band = (slice(None), kept)
        # along y from one buffer to the other; along x back into the first, or in place where the cache is too small
        middle = real[band] if grid.n <= FITS_CACHE else other[band]
        self._outside = [other[:, : kept.start], other[:, kept.stop :]]
        self._forward = [self._plan(real, other, 1), self._plan(other[band], middle, 0)]
        self._backward = [self._plan(middle, other[band], 0, True), self._plan(other, real, 1, True)]
        self.real, self.spectrum = real, middle

    @staticmethod
    def _plan(source: np.ndarray, target: np.ndarray, axis: int, inverse: bool = False) -> Any:
        direction = "FFTW_BACKWARD" if inverse else "FFTW_FORWARD"
        return pyfftw.FFTW(source, target, axes=(axis,), direction=direction, flags=("FFTW_ESTIMATE",)).execute

    def forward(self) -> None:
        """To Fourier space, without a factor."""
        for transform in self._forward:
            transform()

    def backward(self) -> None:
        """To real space, without a factor: a round trip multiplies by n²."""
        for columns in self._outside:
            columns[...] = 0
        for transform in self._backward:
            transform()


class DeviceWave:
    """The same for a stack of any array module's arrays, such as CuPy's on a GPU, with that module's own transforms."""

    def __init__(self, grid: Grid, xp: ModuleType, full: bool = False, shape: tuple[int, ...] = ()) -> None:
        """A stack of waves.

        Args:
            grid: Their grid.
            xp: Array module.
            full: Keep all columns, not only those within the band limit.
            shape: Of the stack.
        """
        self._kept = slice(0, grid.n) if full else grid.band
        self.xp = xp
        self.real = xp.zeros((*shape, grid.n, grid.n), dtype=xp.complex64)
        self._full = xp.zeros_like(self.real)
        self.spectrum = self._full[..., self._kept]

    def forward(self) -> None:
        """To Fourier space, without a factor."""
        self._full = self.xp.fft.fft2(self.real)
        self.spectrum = self._full[..., self._kept]

    def backward(self) -> None:
        """To real space, without a factor: a round trip multiplies by n²."""
        self._full[..., : self._kept.start] = 0
        self._full[..., self._kept.stop :] = 0
        self.real[...] = self.xp.fft.ifft2(self._full, norm="forward")


def stack(grid: Grid, xp: ModuleType = np, full: bool = False) -> Wave | DeviceWave:
    """One empty wave: FFTW's on the CPU, the array module's own elsewhere."""
    return Wave(grid, full) if xp is np else DeviceWave(grid, xp, full)


class Transmission:
    """Turns potential slices into band-limited transmission functions for one energy."""

    def __init__(self, grid: Grid, interaction: float, work: Wave | DeviceWave) -> None:
        """Prepare the transmission functions of an energy.

        Args:
            grid: The wave's grid.
            interaction: Interaction constant [1/(V Å)].
            work: A wave to compute in; may be shared with others.
        """
        self._work, xp = work, work.xp
        self._checkerboard = xp.asarray(grid.checkerboard)
        self._phase_per_volt = self._checkerboard * np.float32(interaction)
        self._aperture = xp.asarray(grid.aperture / grid.n**2)
        self._phase = xp.empty_like(self._checkerboard)
        self._part = xp.empty_like(self._checkerboard)

    def __call__(self, potential: Any, out: Any) -> None:
        """exp(iσV), band-limited, into ``out``, (n, n), complex64.

        Args:
            potential: Projected potential of the slice times the grid's checkerboard [V Å], (n, n).
            out: Where the result goes.
        """
        xp, real = self._work.xp, self._work.real
        xp.multiply(potential, self._phase_per_volt, out=self._phase)
        for function, part in ((xp.cos, real.real), (xp.sin, real.imag)):
            function(self._phase, out=self._part)
            xp.multiply(self._part, self._checkerboard, out=part)
        self._work.forward()
        self._work.spectrum *= self._aperture
        self._work.backward()
        xp.multiply(self._work.real, self._checkerboard, out=out)
