"""A 4D-STEM scan with its vacuum probe, read in bounded memory."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from fourdcrystal import correlation
from fourdcrystal.errors import InputError
from fourdcrystal.pixels import Pixel
from fourdcrystal.scan_views import Binned, Part, binned

READ_BYTES = 2**27  # read at a time, counted as 8 bytes a pixel: some readers convert


@dataclass(frozen=True)
class Scan:
    """A scan and its vacuum probe.

    Attributes:
        name: For messages: the file.
        patterns: Counts, (rx, ry, qx, qy): a NumPy, HDF5, Zarr or dask array, read piece by piece.
        probe: Vacuum probe, (qx, qy).
        dq: Size of a detector pixel [1/Å].
        energy: Beam energy [eV], if known.
        truth: What is known exactly about a made scan: ``centres`` (rx, ry, R, 2) [px], ``weight`` (rx, ry, R),
            ``distortion`` (rx, ry, 2, 2), ``tilt`` (rx, ry, 2) [rad]; whatever of it is known.
        identity: What file it is, in which state, and which part of it: two scans with the same one are the same.
    """

    name: str
    patterns: Any
    probe: np.ndarray
    dq: float
    energy: float | None = None
    truth: dict[str, np.ndarray] = field(default_factory=dict)
    identity: str = ""

    @property
    def grid(self) -> tuple[int, int]:
        """Scan positions along both axes."""
        return tuple(self.patterns.shape[:2])

    @property
    def shape(self) -> tuple[int, int]:
        """Pixels of a pattern."""
        return tuple(self.patterns.shape[2:])

    @property
    def pixel(self) -> Pixel:
        """A pixel of the patterns; not known where the beam's energy isn't."""
        return Pixel.of(self.dq, self.energy)

    @property
    def centre(self) -> tuple[float, float]:
        """Where the direct beam is: the vacuum probe's centre [px]."""
        return correlation.centre(self.probe)

    def __len__(self) -> int:
        return self.grid[0] * self.grid[1]

    def rectangles(
        self, size: int, rows: slice = slice(None), columns: slice = slice(None)
    ) -> list[tuple[slice, slice]]:
        """Whole rows, or parts of one row, of at most ``size`` positions, in the order of the scan."""
        x, y = range(self.grid[0])[rows], range(self.grid[1])[columns]
        height = max(1, size // len(y))
        return [
            (slice(row, min(row + height, x.stop)), slice(first, min(first + size, y.stop)))
            for row in range(x.start, x.stop, height)
            for first in range(y.start, y.stop, size)
        ]

    def batches(self, size: int, rows: slice = slice(None), columns: slice = slice(None)) -> Iterator[np.ndarray]:
        """Patterns in the order of the scan, (n, qx, qy) float32, at most ``size`` at a time.

        What is read at a time is larger, for files whose chunks hold many patterns, and is read while the block before
        is worked on.
        """
        pixels = self.shape[0] * self.shape[1] * (self.patterns.n**2 if isinstance(self.patterns, Binned) else 1)
        most = max(1, READ_BYTES // (8 * pixels))
        blocks = self.rectangles(most, rows, columns)
        with ThreadPoolExecutor(1) as reader:
            ahead = reader.submit(self.read, *blocks[0])
            for block in [*blocks[1:], None]:
                read = ahead.result()
                if block is not None:
                    ahead = reader.submit(self.read, *block)
                for start in range(0, len(read), size):
                    yield read[start : start + size]

    def read(self, rows: slice, columns: slice) -> np.ndarray:
        """Some patterns as float32, (n, qx, qy).

        Raises:
            InputError: if the file ends early or can't be decoded.
        """
        try:
            piece = np.asarray(self.patterns[rows, columns])
        except MemoryError:
            raise
        except Exception as error:  # whatever damaged data make one of all those formats' readers do
            raise InputError(f"{self.name}: can't be read at scan rows {rows.start}-{rows.stop} ({error})") from error
        return piece.astype(np.float32, copy=False).reshape(-1, *self.shape)

    def spread(self, most: int) -> np.ndarray:
        """Indices of positions spread evenly over the scan, (n,)."""
        return np.linspace(0, len(self) - 1, min(most, len(self))).astype(int)

    def sample(self, most: int = 16) -> np.ndarray:
        """The patterns there, (n, qx, qy) float32."""
        x, y = np.unravel_index(self.spread(most), self.grid)
        one = [self.read(slice(i, i + 1), slice(j, j + 1)) for i, j in zip(x.tolist(), y.tolist(), strict=True)]
        return np.concatenate(one)

    def pairs(self, most: int = 8) -> np.ndarray:
        """Patterns of neighbouring positions one after the other, spread evenly, (2 n, qx, qy) float32.

        A scan of a single position has no pairs, only (1, qx, qy).
        """
        size = np.minimum(self.grid, (1, 2) if self.grid[1] > 1 else (2, 1))
        places = self.grid - size + 1
        at = np.linspace(0, places.prod() - 1, min(most, places.prod())).astype(int)
        x, y = np.unravel_index(at, tuple(places))
        two = [
            self.read(slice(i, i + size[0]), slice(j, j + size[1])) for i, j in zip(x.tolist(), y.tolist(), strict=True)
        ]
        return np.concatenate(two)

    def masses(self, fill: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """Centre of mass of every pattern [px], (rx, ry, 2); NaN where there is none.

        Args:
            fill: Patterns (N, X, Y) with what the camera can't see filled, as :meth:`fourdcrystal.gaps.Gaps.fill` does.
        """
        x, y = (axis.ravel().astype(np.float32) for axis in np.indices(self.shape))
        every = np.stack([np.ones_like(x), x, y], axis=1)
        total, along_x, along_y = np.concatenate(
            [fill(batch).reshape(len(batch), -1) @ every for batch in self.batches(64)]
        ).T
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.stack([along_x / total, along_y / total], axis=1).reshape(*self.grid, 2)

    def binned(self, n: int) -> "Scan":
        """The scan with n x n detector pixels summed; the truth, where known, moves with them.

        Raises:
            InputError: if fewer than 16 pixels a side would be left.
        """
        if n == 1:
            return self
        if min(self.shape) // n < 16:
            size = f"{self.shape[0]} x {self.shape[1]} px"
            raise InputError(f"{self.name}: {size} can be binned by {min(self.shape) // 16} at most, not by {n}")
        truth = dict(self.truth)
        if "centres" in truth:  # the first bin's centre lies between its pixels
            truth["centres"] = (truth["centres"] - (n - 1) / 2) / n
        return replace(
            self,
            patterns=Binned(self.patterns, n),
            probe=binned(self.probe, n),
            dq=self.dq * n,
            identity=f"{self.identity}, binned {n}",
            truth=truth,
        )

    def region(self, x: slice, y: slice, stride: int = 1) -> "Scan":
        """A part of the scan: positions x, y (slices of both axes), every ``stride``-th of them.

        Raises:
            InputError: if nothing is left, or it goes beyond the scan.
        """
        beyond = any((side.stop or 0) > last for side, last in zip((x, y), self.grid, strict=True))
        x, y = slice(x.start, x.stop, stride), slice(y.start, y.stop, stride)
        part = Part(self.patterns, range(self.grid[0])[x], range(self.grid[1])[y])
        if beyond or 0 in part.shape:
            what = "goes beyond" if beyond else "holds no position of"
            raise InputError(f"{self.name}: the region {what} the {self.grid[0]} x {self.grid[1]} scan")
        per_position = {"centres", "weight", "distortion", "tilt", "g"}
        truth = {k: v[x, y] if k in per_position else v for k, v in self.truth.items()}
        return replace(self, patterns=part, identity=f"{self.identity}, {x}, {y}", truth=truth)
