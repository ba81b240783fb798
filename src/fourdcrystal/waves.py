"""Waves in memory and their Fourier transforms: compiled passes on a CPU, an array module's own (CuPy's) on a GPU.

Two facts make the steps of a wave fast on a CPU (docs/decisions/0023, 0025). The propagator is zero outside two thirds
of the grid's band, so a third of the transforms along x would only move zeros. And between two steps a wave is kept
half transformed, over (x, k_y): each half of a step then transforms some lines, multiplies, and transforms them back
while they are in the core's cache.

What waves are multiplied by lies in an order of the wave's own: ``samples`` in real space, a ``kernel`` in Fourier
space.
"""

from types import ModuleType
from typing import Any

import numpy as np

from fourdcrystal.butterflies import order
from fourdcrystal.lanes import LANES
from fourdcrystal.passes import Compiled, address, aligned, compiled
from fourdcrystal.propagation import Grid


class Wave:
    """One array on a grid, on the CPU.

    Transforms have no factor: from real space to Fourier space and back multiplies by n².

    Attributes:
        spectrum: The kept columns in Fourier space, in the order of a kernel. Valid after ``forward``, until the next
            wave with the same scratch memory is used.
        diffracted: |ψ|² of the kept columns in Fourier space, (n, C), zero frequency first. Valid after ``filter`` with
            ``keep``, as long as ``spectrum``.
        intensity: |ψ|² in real space, in the order of samples, after ``multiply`` with ``keep``, as long.
        full: Whether all columns are kept.
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
        n, columns = grid.n, len(grid.k_y(full))
        self.full, self._n, self._columns, self._order = full, n, columns, order(n)
        self._passes: Compiled = compiled(n, columns)
        self._wave = aligned(n // LANES, columns, 2, LANES)
        if scratch is None:
            self._lines = aligned(n, 2, LANES)
            self.spectrum = aligned(columns // LANES, 2, n, LANES)
            self.diffracted, self.intensity = aligned(n, columns), aligned(n // LANES, n, LANES)
        else:
            self._lines, self.spectrum = scratch._lines, scratch.spectrum
            self.diffracted, self.intensity = scratch.diffracted, scratch.intensity
        # found once: finding it takes as long as a hundredth of a pass
        self._at = tuple(array.ctypes.data for array in (self._wave, self._lines))
        self._spectrum_at, self._diffracted_at, self._intensity_at = (
            array.ctypes.data for array in (self.spectrum, self.diffracted, self.intensity)
        )

    def samples(self, *stack: int) -> np.ndarray:
        """Memory for complex values at all points in real space, any number of times, (..., n / LANES, 2, n, LANES)."""
        return aligned(*stack, self._n // LANES, 2, self._n, LANES)

    def parts(self, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Real and imaginary parts of samples, each (..., n / LANES, n, LANES)."""
        return samples[..., 0, :, :], samples[..., 1, :, :]

    def places(self) -> tuple[np.ndarray, np.ndarray, int]:
        """Where a point's number is in samples.

        Returns:
            What each line of constant x and each of constant y add to the place of a real part, and how far the
            imaginary part is behind it.
        """
        n, x = self._n, np.arange(self._n)
        return x // LANES * (2 * n * LANES) + x % LANES, np.argsort(self._order) * LANES, n * LANES

    def ordered(self, image: np.ndarray) -> np.ndarray:
        """Real values at all points, (n, n), in the order of one part of samples, float32."""
        lines = image[:, self._order].reshape(-1, LANES, self._n)
        return np.ascontiguousarray(lines.swapaxes(1, 2), dtype=np.float32)

    def image(self, part: np.ndarray) -> np.ndarray:
        """One part of samples as an image, (n, n)."""
        found = np.empty((self._n, self._n), part.dtype)
        found[:, self._order] = part.swapaxes(1, 2).reshape(self._n, self._n)
        return found

    def sorted(self, values: np.ndarray) -> np.ndarray:
        """Values in Fourier space in the order of a kernel, from (..., n, C), zero frequency first."""
        blocks = values[..., self._order, :].reshape(*values.shape[:-1], -1, LANES)  # (..., n, C / LANES, LANES)
        blocks = np.moveaxis(blocks, -3, -2)  # (..., C / LANES, n, LANES)
        made = aligned(*blocks.shape[:-2], 2, *blocks.shape[-2:])
        made[..., 0, :, :], made[..., 1, :, :] = blocks.real, blocks.imag
        return made

    def kernel(self, values: np.ndarray) -> np.ndarray:
        """What ``filter`` multiplies by, from (n, C), zero frequency first."""
        return self.sorted(values)

    def within(self, frame: np.ndarray) -> Any:
        """Sum of ``intensity`` times a weight in the order of one part of samples."""
        return np.einsum("ijk,ijk->", self.intensity, frame)

    def put(self, samples: np.ndarray) -> None:
        """Take values in real space."""
        self._pass("put", samples)

    def get(self, samples: np.ndarray) -> None:
        """Give values in real space."""
        self._pass("get", samples)

    def look(self) -> None:
        """Leave ``intensity``."""
        samples = self.samples()
        self.get(samples)
        real, imaginary = self.parts(samples)
        self.intensity[...] = real**2 + imaginary**2

    def multiply(self, samples: np.ndarray, keep: bool = False) -> None:
        """Multiply by a function in real space; before that, leave ``intensity`` if it is to be kept."""
        if keep:
            self._pass("multiply_seen", samples, self._intensity_at)
        else:
            self._pass("multiply", samples)

    def filter(self, kernel: np.ndarray, keep: bool = False) -> None:
        """Multiply by a kernel in Fourier space, and leave what is ``diffracted`` if it is to be kept."""
        if keep:
            self._pass("filter_seen", kernel, self._diffracted_at)
        else:
            self._pass("filter", kernel)

    def forward(self, kernel: np.ndarray, add: bool = False) -> None:
        """Compute ``spectrum``, times a kernel; or add that to what ``spectrum`` is."""
        self._pass("forward_add" if add else "forward", kernel, self._spectrum_at)

    def backward(self) -> None:
        """Take values in Fourier space, from ``spectrum``."""
        self._pass("backward", self.spectrum)

    def _pass(self, name: str, factor: np.ndarray, *results: int) -> None:
        """A pass with samples, (n, n) complex numbers, or with something in Fourier space, (n, C)."""
        columns = self._n if name in ("put", "get", "multiply", "multiply_seen") else self._columns
        wave, lines = self._at
        self._passes.run(name, wave, address(factor, 2 * self._n * columns), lines, *results)


class DeviceWave:
    """The same for a stack of any array module's arrays, such as CuPy's on a GPU, with that module's own transforms.

    All columns are kept, and everything is in its natural order: complex numbers over (x, y) and (k_x, k_y).
    """

    full = True

    def __init__(self, grid: Grid, xp: ModuleType, shape: tuple[int, ...] = ()) -> None:
        """A stack of waves.

        Args:
            grid: Their grid.
            xp: Array module.
            shape: Of the stack.
        """
        self.xp, self._n, self._shape = xp, grid.n, (*shape, grid.n, grid.n)
        self._real = xp.zeros(self._shape, dtype=xp.complex64)
        self.spectrum = xp.zeros_like(self._real)
        self.diffracted, self.intensity = (xp.zeros(self._shape, dtype=xp.float32) for _ in range(2))

    def samples(self, *stack: int) -> Any:
        """Memory for complex values at all points in real space, any number of times, (..., n, n)."""
        return self.xp.zeros((*stack, self._n, self._n), dtype=self.xp.complex64)

    def parts(self, samples: Any) -> tuple[Any, Any]:
        """Real and imaginary parts of samples, each (..., n, n)."""
        return samples.real, samples.imag

    def places(self) -> tuple[np.ndarray, np.ndarray, int]:
        """Where a point's number is in samples: see :meth:`Wave.places`."""
        return 2 * self._n * np.arange(self._n), 2 * np.arange(self._n), 1

    def ordered(self, image: np.ndarray) -> Any:
        """Real values at all points, (n, n), in the order of one part of samples, float32."""
        return self.xp.asarray(image, dtype=self.xp.float32)

    def image(self, part: Any) -> Any:
        """One part of samples as an image, (n, n)."""
        return part

    def sorted(self, values: np.ndarray) -> np.ndarray:
        """Values in Fourier space in the order of a kernel, (..., n, n), zero frequency first."""
        return values.astype(np.complex64)

    def kernel(self, values: np.ndarray) -> Any:
        """What ``filter`` multiplies by, from (n, n), zero frequency first."""
        return self.xp.asarray(values, dtype=self.xp.complex64)

    def within(self, frame: Any) -> Any:
        """Sum of ``intensity`` times a weight, (...)."""
        return self.xp.einsum("...ij,ij->...", self.intensity, frame)

    def put(self, samples: Any) -> None:
        """Take values in real space, (..., n, n)."""
        self._real[...] = samples

    def get(self, samples: Any) -> None:
        """Give values in real space, (..., n, n)."""
        samples[...] = self._real

    def look(self) -> None:
        """Leave ``intensity``."""
        self.intensity = self._power(self._real)

    def multiply(self, samples: Any, keep: bool = False) -> None:
        """Multiply by a function in real space; before that, leave ``intensity`` if it is to be kept."""
        if keep:
            self.look()
        self._real *= samples

    def filter(self, kernel: Any, keep: bool = False) -> None:
        """Multiply by a kernel in Fourier space, and leave what is ``diffracted`` if it is to be kept."""
        found = self.xp.fft.fft2(self._real)
        found *= kernel
        self._real = self.xp.fft.ifft2(found, norm="forward")
        if keep:
            self.diffracted = self._power(found)

    def forward(self, kernel: Any, add: bool = False) -> None:
        """Compute ``spectrum``, times a kernel; or add that to what ``spectrum`` is."""
        found = self.xp.fft.fft2(self._real)
        found *= kernel
        self.spectrum = self.spectrum + found if add else found

    def backward(self) -> None:
        """Take values in Fourier space, from ``spectrum``."""
        self._real = self.xp.fft.ifft2(self.spectrum, norm="forward")

    def _power(self, values: Any) -> Any:
        return values.real**2 + values.imag**2


def wave(grid: Grid, xp: ModuleType = np, full: bool = False) -> Wave | DeviceWave:
    """One empty wave: with compiled passes on the CPU, with the array module's own transforms elsewhere."""
    return Wave(grid, full) if xp is np else DeviceWave(grid, xp)
