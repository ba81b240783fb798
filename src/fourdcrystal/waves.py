"""Waves in memory and their Fourier transforms: FFTW's on a CPU, an array module's own (CuPy's) on a GPU.

Three facts make the steps of a wave fast on a CPU (docs/decisions/0023). The propagator is zero outside two thirds of
the grid's band, so a third of the transforms along x would only move zeros. Between two steps a wave is kept half
transformed, over (x, k_y): each half of a step then transforms some lines, multiplies, and transforms them back while
they are in the core's cache. And every transform is along memory, for which FFTW's first guess of a plan is as fast as
its best-timed one: plans don't depend on timing, and the same input gives the same bits.
"""

import math
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pyfftw

from fourdcrystal.propagation import Grid

PADDING = 8  # numbers added to each line, against lines that fall on the same places of the cache
LINES = 32  # lines that are transformed, multiplied and transformed back at a time


def power(values: Any, xp: ModuleType) -> Any:
    """Sum of the squares of complex values over the last two axes, (...)."""
    parts = values.view(xp.float32)  # real and imaginary parts side by side
    return xp.einsum("...ij,...ij->...", parts, parts)


class _Lines:
    """Some lines of a wave along y, there and back; waves that are used one after another share them.

    Attributes:
        count: How many.
        real: In real space, (count, n).
        narrow: k_y before the transform to real space, (count, n); zero between the kept columns.
        wide: k_y after the transform back, (count, n).
    """

    def __init__(self, n: int) -> None:
        self.count = math.gcd(n, LINES)
        self.real = pyfftw.zeros_aligned((self.count, n), dtype="complex64")
        self.narrow, self.wide = (_padded(self.count, n) for _ in range(2))
        self.to_real = _plan(self.narrow, self.real, inverse=True)
        self.to_fourier = _plan(self.real, self.wide)


def _padded(lines: int, n: int) -> np.ndarray:
    return pyfftw.zeros_aligned((lines, n + PADDING), dtype="complex64")[:, :n]


def _plan(source: np.ndarray, target: np.ndarray, inverse: bool = False) -> Callable[[], None]:
    direction = "FFTW_BACKWARD" if inverse else "FFTW_FORWARD"
    return pyfftw.FFTW(source, target, axes=(1,), direction=direction, flags=("FFTW_ESTIMATE",)).execute


class Wave:
    """One array on a grid, on the CPU.

    Transforms have no factor: from real space to Fourier space and back multiplies by n².

    Attributes:
        spectrum: The kept columns in Fourier space, (n, C), zero frequency first. Valid after ``forward`` and after
            ``filter`` with ``keep``, until the next wave with the same scratch memory is used.
        lines: Lines of constant x that ``put`` and ``get`` handle at a time.
        full: Whether all columns are kept.
        shape: Of its values in real space, (n, n).
        xp: Array module.
    """

    xp: ModuleType = np

    def __init__(self, grid: Grid, full: bool = False, scratch: "Wave | None" = None) -> None:
        """A wave on the CPU.

        Args:
            grid: Its grid.
            full: Keep all columns, not only those within the band limit.
            scratch: Waves of one grid that are used one after another may share one's scratch memory.
        """
        n, half = grid.n, grid.n // 2 if full else grid.half
        self.full, self.shape = full, (n, n)
        self._lines = _Lines(n) if scratch is None else scratch._lines
        self._spectrum = (
            pyfftw.zeros_aligned((2 * half, n), dtype="complex64") if scratch is None else scratch._spectrum
        )
        self._columns = pyfftw.empty_aligned((LINES, n), dtype="complex64") if scratch is None else scratch._columns
        self.spectrum, self.lines = self._spectrum.T, self._lines.count
        between = _padded(2 * half, n)  # (k_y, x)
        self._along_x = []
        for start in range(0, 2 * half, LINES):
            part = between[start : start + LINES]
            scratched = self._columns[: len(part)]
            place = slice(start, start + len(part))
            self._along_x.append((place, _plan(part, scratched), scratched, _plan(scratched, part, inverse=True)))
        # numbers of eight bytes are copied faster as doubles than as complex ones
        narrow, wide = self._lines.narrow.view(np.float64), self._lines.wide.view(np.float64)
        self._narrow, self._wide = (narrow[:, :half], narrow[:, n - half :]), (wide[:, :half], wide[:, n - half :])
        turned, count = between.view(np.float64).T, self.lines
        self._along_y = [
            (slice(x, x + count), turned[x : x + count, :half], turned[x : x + count, half:])
            for x in range(0, n, count)
        ]

    @property
    def intensity(self) -> Any:
        """Sum of the squares of its values in real space, from ``spectrum`` (Parseval)."""
        return power(self._spectrum, np) * np.float32(self.shape[0] ** 2)

    def kernel(self, values: np.ndarray) -> np.ndarray:
        """What ``filter`` multiplies by, as it lies in memory, from (n, C), zero frequency first."""
        return np.asfortranarray(values, dtype=np.complex64)

    def put(self, values: np.ndarray) -> None:
        """Take values in real space, (n, n)."""
        self.fill(lambda lines, out: np.copyto(out, values[lines], casting="same_kind"))

    def fill(self, write: Callable[[slice, np.ndarray], None]) -> None:
        """Take values in real space: ``write(lines, out)`` writes those of some lines of constant x, (lines, n)."""
        lines = self._lines
        for place, low, high in self._along_y:
            write(place, lines.real)
            lines.to_fourier()
            low[...], high[...] = self._wide

    def get(self, out: np.ndarray) -> None:
        """Give values in real space, (n, n)."""
        self.look(lambda lines, values: np.copyto(out[lines], values))

    def look(self, read: Callable[[slice, np.ndarray], None]) -> None:
        """Give values in real space: ``read(lines, values)`` gets those of some lines of constant x, (lines, n)."""
        lines, (narrow_low, narrow_high) = self._lines, self._narrow
        for place, low, high in self._along_y:
            narrow_low[...], narrow_high[...] = low, high
            lines.to_real()
            read(place, lines.real)

    def multiply(self, function: np.ndarray, read: Callable[[slice, np.ndarray], None] | None = None) -> None:
        """Multiply by a function in real space, (n, n); before that, ``read`` may look as in :meth:`look`."""
        lines, (narrow_low, narrow_high), (wide_low, wide_high) = self._lines, self._narrow, self._wide
        for place, low, high in self._along_y:
            narrow_low[...], narrow_high[...] = low, high
            lines.to_real()
            if read is not None:
                read(place, lines.real)
            np.multiply(lines.real, function[place], out=lines.real)
            lines.to_fourier()
            low[...], high[...] = wide_low, wide_high

    def filter(self, kernel: np.ndarray, keep: bool = False) -> None:
        """Multiply by a kernel in Fourier space, and leave the result in ``spectrum`` if it is to be kept."""
        turned = kernel.T
        for place, there, part, back in self._along_x:
            there()
            np.multiply(part, turned[place], out=part)
            if keep:
                self._spectrum[place] = part
            back()

    def forward(self, kernel: np.ndarray, add: bool = False) -> None:
        """Compute ``spectrum``, times a kernel; or add that to what ``spectrum`` is."""
        turned = kernel.T
        for place, there, part, _ in self._along_x:
            there()
            np.multiply(part, turned[place], out=part)
            if add:
                self._spectrum[place] += part
            else:
                self._spectrum[place] = part

    def backward(self) -> None:
        """Take values in Fourier space, from ``spectrum``."""
        for place, _, part, back in self._along_x:
            part[...] = self._spectrum[place]
            back()


class DeviceWave:
    """The same for a stack of any array module's arrays, such as CuPy's on a GPU, with that module's own transforms.

    All columns are kept, and all lines are handled at once.
    """

    full = True

    def __init__(self, grid: Grid, xp: ModuleType, shape: tuple[int, ...] = ()) -> None:
        """A stack of waves.

        Args:
            grid: Their grid.
            xp: Array module.
            shape: Of the stack.
        """
        self.xp, self.lines, self.shape = xp, grid.n, (*shape, grid.n, grid.n)
        self._real = xp.zeros(self.shape, dtype=xp.complex64)
        self.spectrum = xp.zeros_like(self._real)

    @property
    def intensity(self) -> Any:
        """Sum of the squares of values in real space, from ``spectrum`` (Parseval), (...)."""
        return power(self.spectrum, self.xp) * self.xp.float32(self.lines**2)

    def kernel(self, values: np.ndarray) -> Any:
        """What ``filter`` multiplies by, from (n, C), zero frequency first."""
        return self.xp.asarray(values, dtype=self.xp.complex64)

    def put(self, values: Any) -> None:
        """Take values in real space, (..., n, n)."""
        self._real[...] = values

    def fill(self, write: Callable[[slice, Any], None]) -> None:
        """Take values in real space: ``write(lines, out)`` writes all of them, (..., n, n)."""
        write(slice(0, self.lines), self._real)

    def get(self, out: Any) -> None:
        """Give values in real space, (..., n, n)."""
        out[...] = self._real

    def look(self, read: Callable[[slice, Any], None]) -> None:
        """Give values in real space: ``read(lines, values)`` gets all of them, (..., n, n)."""
        read(slice(0, self.lines), self._real)

    def multiply(self, function: Any, read: Callable[[slice, Any], None] | None = None) -> None:
        """Multiply by a function in real space, (n, n); before that, ``read`` may look as in :meth:`look`."""
        if read is not None:
            self.look(read)
        self._real *= function

    def filter(self, kernel: Any, keep: bool = False) -> None:
        """Multiply by a kernel in Fourier space, and leave the result in ``spectrum`` if it is to be kept."""
        found = self.xp.fft.fft2(self._real)
        found *= kernel
        self._real = self.xp.fft.ifft2(found, norm="forward")
        if keep:
            self.spectrum = found

    def forward(self, kernel: Any, add: bool = False) -> None:
        """Compute ``spectrum``, times a kernel; or add that to what ``spectrum`` is."""
        found = self.xp.fft.fft2(self._real)
        found *= kernel
        self.spectrum = self.spectrum + found if add else found

    def backward(self) -> None:
        """Take values in Fourier space, from ``spectrum``."""
        self._real = self.xp.fft.ifft2(self.spectrum, norm="forward")


def wave(grid: Grid, xp: ModuleType = np, full: bool = False) -> Wave | DeviceWave:
    """One empty wave: FFTW's on the CPU, the array module's own elsewhere."""
    return Wave(grid, full) if xp is np else DeviceWave(grid, xp)
