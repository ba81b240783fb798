"""The search of a whole scan, piece by piece: in bounded memory, resumed where it was killed, shared among jobs.

A piece is a fixed stretch of the scan, whoever searches it. Finished ones lie in a folder under a name that says what
they depend on, so a run that was killed goes on where it was, other options begin anew, and several jobs (parts) can
search one scan; what is put together is the same, to the last bit, as from a single run with the same batches.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import overload

import numpy as np

from fourdcrystal import correlation, files
from fourdcrystal.errors import InputError
from fourdcrystal.flags import FLAGS, of_patterns
from fourdcrystal.gain import Gain
from fourdcrystal.gaps import Gaps
from fourdcrystal.peaks import Peaks
from fourdcrystal.progress import Progress
from fourdcrystal.scans import Scan

PATTERNS = 1024  # of a piece, at most: minutes on a slow machine
DARK_FIELD = 1.5  # radii of the probe's disk around the direct beam; beyond it is the annular dark field

Method = Callable[[np.ndarray, np.ndarray], Peaks]  # peaks from patterns (N, X, Y) and the vacuum probe (X, Y)


@dataclass(frozen=True)
class Found:
    """What the search of a scan, or of a stretch of it, gives.

    Attributes:
        peaks: Peaks of all patterns, in the order of the scan.
        flags: Of every pattern, (P,), bits of :data:`fourdcrystal.flags.FLAGS`.
        bright: Counts in the direct beam's disk, where the vacuum probe was, (P,).
        dark: Counts beyond it: the annular dark field, (P,).
        total: Sum of the usable patterns [counts], (X, Y).
        most: The largest number of every pixel, (X, Y).
        seconds: For all of it, reading included.
    """

    peaks: Peaks
    flags: np.ndarray
    bright: np.ndarray
    dark: np.ndarray
    total: np.ndarray
    most: np.ndarray
    seconds: float

    def __len__(self) -> int:
        return len(self.flags)

    @classmethod
    def joined(cls, parts: list["Found"]) -> "Found":
        """Consecutive stretches as one."""
        return cls(
            Peaks.joined([part.peaks for part in parts], [len(part) for part in parts]),
            np.concatenate([part.flags for part in parts]),
            np.concatenate([part.bright for part in parts]),
            np.concatenate([part.dark for part in parts]),
            np.sum([part.total for part in parts], axis=0),
            np.max([part.most for part in parts], axis=0),
            sum(part.seconds for part in parts),
        )

    def write(self, path: Path) -> None:
        """Write as .npz, whole or not at all."""
        columns = {f"peaks_{field.name}": getattr(self.peaks, field.name) for field in fields(Peaks)}
        others = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "peaks"}
        with files.replaced(path) as temporary:
            np.savez(temporary, **columns, **others)

    @classmethod
    def read(cls, path: Path) -> "Found":
        """Read what :meth:`write` wrote."""
        with np.load(path, allow_pickle=False) as file:
            peaks = Peaks(*(file[f"peaks_{field.name}"] for field in fields(Peaks)))
            others = {field.name: file[field.name] for field in fields(cls) if field.name != "peaks"}
            return cls(peaks, seconds=float(others.pop("seconds")), **others)


@dataclass(frozen=True)
class Searcher:
    """How patterns of a scan are searched.

    Attributes:
        method: Gives peaks of patterns in electrons.
        probe: The vacuum probe, (X, Y).
        gaps: What the camera can't see.
        camera: Makes electrons of its numbers.
        batch_size: Patterns at a time.
    """

    method: Method
    probe: np.ndarray
    gaps: Gaps
    camera: Gain
    batch_size: int

    def batch(self, patterns: np.ndarray) -> Found:
        """One batch, (N, X, Y), as it was read."""
        started = time.monotonic()
        flag = of_patterns(patterns, self.gaps.blind if self.gaps.count else None)
        patterns = self.gaps.fill(patterns)
        electrons = self.camera.counts(patterns)
        found = self.gaps.unhidden(self.method(electrons, self.probe), correlation.radius(self.probe))
        usable = patterns[(flag & FLAGS["not_finite"]) == 0]
        with np.errstate(invalid="ignore"):  # NaN stays NaN, and its pattern is flagged
            bright, dark = (patterns.reshape(len(patterns), -1) @ self._detectors).T
        total = usable.sum(0, dtype=np.float64)
        return Found(found, flag, bright, dark, total, usable.max(0, initial=0), time.monotonic() - started)

    @cached_property
    def _detectors(self) -> np.ndarray:
        """Virtual detectors, one a column: the direct beam's disk, and what lies beyond it."""
        x, y = correlation.centre(self.probe)
        rows, columns = np.indices(self.probe.shape)
        distance, radius = np.hypot(rows - x, columns - y), correlation.radius(self.probe)
        parts = (distance <= radius, distance > DARK_FIELD * radius)
        return np.stack([part.ravel() for part in parts], axis=1).astype(np.float32)

    def stretch(self, scan: Scan, rows: slice, columns: slice, told: Callable[[int], None]) -> Found:
        """One piece of the scan; ``told`` hears how many patterns are done."""
        started, parts = time.monotonic(), []
        for patterns in scan.batches(self.batch_size, rows, columns):
            parts.append(self.batch(patterns))
            told(len(patterns))
        return replace(Found.joined(parts), seconds=time.monotonic() - started)


def pieces(scan: Scan) -> list[tuple[slice, slice]]:
    """The fixed stretches of a scan, in its order."""
    return scan.rectangles(PATTERNS)


@overload
def whole(scan: Scan, searcher: Searcher, label: str, folder: Path | None = None, identity: str = "") -> Found: ...


@overload
def whole(
    scan: Scan, searcher: Searcher, label: str, folder: Path | None, identity: str, part: tuple[int, int]
) -> Found | None: ...


def whole(
    scan: Scan,
    searcher: Searcher,
    label: str,
    folder: Path | None = None,
    identity: str = "",
    part: tuple[int, int] = (1, 1),
) -> Found | None:
    """Search a scan.

    Args:
        scan: The scan.
        searcher: How.
        label: What is done, for the progress bar.
        folder: Where finished pieces are kept, to resume and to share; none: nowhere.
        identity: What results depend on, short, part of the pieces' names.
        part: Search only the i-th of n parts of the pieces, and leave them in the folder.

    Returns:
        What was found; none for one of several parts, which a search of the whole joins.

    Raises:
        InputError: if there is no such part.
    """
    number, parts = part
    every = pieces(scan)
    if not 1 <= number <= parts:
        raise InputError(f"--part {number}/{parts}: allowed are numbers from 1 to {parts}")
    mine = [i for i in range(len(every)) if i * parts // len(every) == number - 1]
    places = {i: None if folder is None else folder / f"{identity}-{i:06d}.npz" for i in mine}
    sizes = {i: _size(scan, *every[i]) for i in mine}
    there = {i for i, place in places.items() if place is not None and place.exists()}
    done = sum(sizes[i] for i in there)
    if done:
        print(f"{label}: goes on; {done} of {sum(sizes.values())} patterns were searched before", flush=True)
    kept: dict[int, Found] = {}
    with Progress(sum(sizes.values()) - done, label, "patterns") as progress:
        for i in mine:
            if i in there:
                continue
            found = searcher.stretch(scan, *every[i], progress.add)
            if (place := places[i]) is None:
                kept[i] = found
            else:
                found.write(place)
    if parts > 1:
        return None
    return Found.joined([kept[i] if place is None else Found.read(place) for i, place in places.items()])


def forget(folder: Path, identity: str) -> None:
    """Remove the pieces of one search, and the folder if nothing else is in it."""
    for piece in folder.glob(f"{identity}-*.npz"):
        piece.unlink()
    with suppress(OSError):  # another search's pieces, or what a user has put there
        folder.rmdir()


def _size(scan: Scan, rows: slice, columns: slice) -> int:
    return len(range(scan.grid[0])[rows]) * len(range(scan.grid[1])[columns])
