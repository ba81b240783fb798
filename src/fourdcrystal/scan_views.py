"""Scans seen otherwise than their files hold them, without reading more than is asked for.

Each has ``shape``, ``dtype`` and slices of the two axes of the scan: ``view[rows, columns]`` is (n, m, qx, qy).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

# of a file: patterns, and probe, dq [1/Å] (or both sides of a pixel as oblong), energy [eV] and truth where it has them
Content = dict[str, Any]


@dataclass(frozen=True)
class Mapped:
    """An array in an .npy file, mapped into memory only while something is read, so that pages don't add up.

    Attributes:
        path: The file.
        shape: Of the array.
        dtype: Of its numbers.
    """

    path: Path
    shape: tuple[int, ...]
    dtype: np.dtype

    @classmethod
    def of(cls, path: Path) -> "Mapped":
        """The array of a file."""
        seen = np.load(path, mmap_mode="r", allow_pickle=False)
        return cls(path, seen.shape, seen.dtype)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    def __getitem__(self, index: Any) -> np.ndarray:
        return np.array(np.load(self.path, mmap_mode="r", allow_pickle=False)[index])


@dataclass(frozen=True)
class Stack:
    """A stack of patterns, (N, qx, qy), as a scan of N = rx · ry positions; slices may go on to its pixels."""

    patterns: Any
    grid: tuple[int, int]

    @property
    def shape(self) -> tuple[int, ...]:
        """(rx, ry, qx, qy)."""
        return (*self.grid, *self.patterns.shape[1:])

    @property
    def dtype(self) -> np.dtype:
        """Of the camera's numbers."""
        return self.patterns.dtype

    def __getitem__(self, index: tuple[slice, ...]) -> np.ndarray:
        rows, columns = (range(n)[i] for n, i in zip(self.grid, index[:2], strict=True))
        # a row at a time: a stride along the rows would otherwise read what it leaves out
        starts = [slice(r * self.grid[1] + columns.start, r * self.grid[1] + columns.stop, columns.step) for r in rows]
        read = np.stack([np.asarray(self.patterns[start]) for start in starts])
        return read[:, :, *index[2:]]  # pixels, where a view on this one has its axes there


@dataclass(frozen=True)
class Joined:
    """Stacks of patterns one after the other, (N, qx, qy); where a mask says so, float32 with NaN instead of counts."""

    parts: tuple[Any, ...]
    mask: np.ndarray | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, qx, qy)."""
        return (sum(part.shape[0] for part in self.parts), *self.parts[0].shape[1:])

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return 3

    @property
    def dtype(self) -> np.dtype:
        """Of the camera's numbers."""
        return self.parts[0].dtype if self.mask is None else np.dtype(np.float32)

    def __getitem__(self, index: int | slice) -> np.ndarray:
        wanted = range(self.shape[0])[index]
        if isinstance(wanted, int):
            return self[wanted : wanted + 1][0]
        pieces, start = [np.empty((0, *self.shape[1:]), self.dtype)], 0
        for part in self.parts:
            inside = [i - start for i in wanted if start <= i < start + part.shape[0]]
            if inside:
                pieces.append(np.asarray(part[inside[0] : inside[-1] + 1 : wanted.step]))
            start += part.shape[0]
        counts = np.concatenate(pieces)
        return counts if self.mask is None else np.where(self.mask, np.float32(np.nan), counts)


@dataclass(frozen=True)
class Reordered:
    """A scan whose file has its axes in another order: ``axes`` says where (rx, ry, qx, qy) are in it."""

    patterns: Any
    axes: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """(rx, ry, qx, qy)."""
        return tuple(self.patterns.shape[i] for i in self.axes)

    @property
    def dtype(self) -> np.dtype:
        """Of the camera's numbers."""
        return self.patterns.dtype

    def __getitem__(self, index: tuple[slice, slice]) -> np.ndarray:
        asked: list[slice] = [slice(None)] * 4
        for where, part in zip(self.axes, index, strict=False):
            asked[where] = part
        return np.asarray(self.patterns[tuple(asked)]).transpose(self.axes)


@dataclass(frozen=True)
class Part:
    """Some positions of a scan, read when they are asked for: slicing a file itself would read it all at once."""

    patterns: Any
    x: range
    y: range

    @property
    def shape(self) -> tuple[int, ...]:
        """(rx, ry, qx, qy)."""
        return (len(self.x), len(self.y), *self.patterns.shape[2:])

    @property
    def dtype(self) -> np.dtype:
        """Of the camera's numbers."""
        return self.patterns.dtype

    def __getitem__(self, index: tuple[slice, slice]) -> np.ndarray:
        x, y = (slice(r.start, r.stop, r.step) for r in (self.x[index[0]], self.y[index[1]]))
        return np.asarray(self.patterns[x, y])


@dataclass(frozen=True)
class Binned:
    """Patterns whose pixels are summed by n x n when they are read; a rest at the far edges is left out."""

    patterns: Any
    n: int

    @property
    def shape(self) -> tuple[int, ...]:
        """(rx, ry, qx, qy)."""
        return (*self.patterns.shape[:2], *(side // self.n for side in self.patterns.shape[2:]))

    @property
    def dtype(self) -> np.dtype:
        """Of the camera's numbers; sums are float32."""
        return self.patterns.dtype

    def __getitem__(self, index: Any) -> np.ndarray:
        return binned(np.asarray(self.patterns[index], dtype=np.float32), self.n)


def binned(images: np.ndarray, n: int) -> np.ndarray:
    """Images with n x n pixels summed, (..., X // n, Y // n)."""
    x, y = images.shape[-2] // n, images.shape[-1] // n
    return images[..., : x * n, : y * n].reshape(*images.shape[:-2], x, n, y, n).sum((-3, -1))
