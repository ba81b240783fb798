"""A 4D-STEM scan with its vacuum probe: checked in words before anything is computed, and read in bounded memory."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter, gaussian_filter1d

from fourdcrystal import correlation
from fourdcrystal.electrons import wavelength
from fourdcrystal.errors import InputError
from fourdcrystal.scan_views import Binned, Part, binned

READ_BYTES = 2**27  # read at a time, counted as 8 bytes a pixel: some readers convert
SMALLEST_DISK, LARGEST_DISK = 1.2, 0.2  # px; fraction of the shorter side of the detector
# of the radius of a circle with the area of all that is bright: less has the disk only if it's one of many
SINGLE = 0.6
LARGEST_SIDE = 16384  # px of a pattern; what a damaged file says can be any number
MOST_BESIDE = 0.5  # of a vacuum probe's counts may be so far from its disk


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
    def curvature(self) -> float:
        """λ dq² [1/Å], what heights q_z are measured in; NaN where the beam's energy isn't known."""
        return float("nan") if self.energy is None else wavelength(self.energy) * self.dq**2

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

    def sample(self, most: int = 16) -> np.ndarray:
        """Patterns spread evenly over the scan, (n, qx, qy) float32."""
        index = np.linspace(0, len(self) - 1, min(most, len(self))).astype(int)
        x, y = np.unravel_index(index, self.grid)
        one = [self.read(slice(i, i + 1), slice(j, j + 1)) for i, j in zip(x.tolist(), y.tolist(), strict=True)]
        return np.concatenate(one)

    def masses(self) -> np.ndarray:
        """Centre of mass of every pattern [px], (rx, ry, 2); NaN where there is none."""
        x, y = (axis.ravel().astype(np.float32) for axis in np.indices(self.shape))
        every = np.stack([np.ones_like(x), x, y], axis=1)
        total, along_x, along_y = np.concatenate([b.reshape(len(b), -1) @ every for b in self.batches(64)]).T
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
        per_position = {"centres", "weight", "distortion", "tilt"}
        truth = {k: v[x, y] if k in per_position else v for k, v in self.truth.items()}
        return replace(self, patterns=part, identity=f"{self.identity}, {x}, {y}", truth=truth)


def check_dimensions(scan: Scan) -> None:
    """Refuse a scan that isn't four-dimensional, is empty, has no pixel size, or whose axes are in another order.

    Raises:
        InputError: says which.
    """
    if len(scan.patterns.shape) != 4:
        dims = " x ".join(map(str, scan.patterns.shape))
        raise InputError(
            f"{scan.name}: has {len(scan.patterns.shape)} dimensions ({dims}); a 4D-STEM scan has four, two of the "
            "scan and two of the detector, in this order"
        )
    if scan.patterns.dtype.kind not in "uifb":
        raise InputError(f"{scan.name}: holds {scan.patterns.dtype}, not counts: allowed are whole and real numbers")
    if min(scan.grid) < 1:
        raise InputError(f"{scan.name}: is an empty scan of {scan.grid[0]} x {scan.grid[1]} positions")
    if min(scan.shape) < 16:
        raise InputError(
            f"{scan.name}: the last two axes are {scan.shape[0]} x {scan.shape[1]}, too few for a detector (16 px at "
            "least); if the file has the detector's axes first, say --axes 2,3,0,1"
        )
    if max(scan.shape) > LARGEST_SIDE:
        raise InputError(
            f"{scan.name}: says that its patterns have {scan.shape[0]} x {scan.shape[1]} px; allowed are "
            f"{LARGEST_SIDE} a side"
        )
    if not (np.isfinite(scan.dq) and scan.dq > 0):
        raise InputError(f"{scan.name}: the pixel size {scan.dq:g} 1/Å must be positive")


def check(scan: Scan) -> None:
    """Refuse a scan and a probe that can't be used together.

    Raises:
        InputError: on wrong dimensions, a probe of another size, a probe or pattern without a single disk, numbers that
            aren't finite, a pixel size that isn't positive.
    """
    check_dimensions(scan)
    if tuple(scan.probe.shape) != scan.shape:
        if tuple(scan.probe.shape) == scan.grid:
            raise InputError(
                f"{scan.name}: the vacuum probe has as many pixels ({scan.grid[0]} x {scan.grid[1]}) as the scan has "
                "positions, so the file has the detector's axes first; say so with --axes 2,3,0,1"
            )
        if tuple(scan.probe.shape) == scan.shape[::-1]:
            raise InputError(
                f"{scan.name}: the vacuum probe is {scan.probe.shape[0]} x {scan.probe.shape[1]} px, the patterns are "
                f"{scan.shape[0]} x {scan.shape[1]} px: one has its axes exchanged; for the patterns say --axes 0,1,3,2"
            )
        raise InputError(
            f"{scan.name}: the vacuum probe has {' x '.join(map(str, scan.probe.shape))} px but the patterns have "
            f"{scan.shape[0]} x {scan.shape[1]} px; both must come from the same camera setting"
        )
    if not np.isfinite(scan.probe).all():
        raise InputError(f"{scan.name}: the vacuum probe has values that are not finite")
    if scan.probe.max() <= 0:
        raise InputError(f"{scan.name}: the vacuum probe is empty")
    radius, limit = correlation.radius(scan.probe), LARGEST_DISK * min(scan.shape)
    if not SMALLEST_DISK <= radius <= limit:
        raise InputError(
            f"{scan.name}: the vacuum probe's disk has a radius of {radius:.1f} px; allowed are {SMALLEST_DISK:g} to "
            f"{limit:.0f} px (a fifth of the detector), so bin the scan or check that the probe is an image of vacuum"
        )
    beside = _beside_the_disk(scan.probe, radius)
    if beside > MOST_BESIDE:
        raise InputError(
            f"{scan.name}: {100 * beside:.0f} % of the vacuum probe's counts lie beside its brightest disk; it must be "
            "recorded without a specimen"
        )
    some = scan.sample()
    gaps = np.isnan(some).all(0)
    finite = np.isfinite(np.where(gaps, 0, some)).all((1, 2)) & ~gaps.all()
    some = np.where(gaps, 0, some)
    if not finite.any():
        raise InputError(f"{scan.name}: all patterns looked at have values that are not finite (NaN)")
    negative = -np.minimum(some[finite], 0).sum() / np.abs(some[finite]).sum().clip(1e-30)
    if negative > 0.1:  # below that it is a dark reference's noise, taken as 0
        raise InputError(
            f"{scan.name}: {100 * negative:.0f} % of the counts are negative; allowed are 10 %, so add the camera's "
            "offset, or clip at 0"
        )
    _check_disk(scan, some[finite], radius)


def _beside_the_disk(probe: np.ndarray, radius: float) -> float:
    """Share of an image's counts, above its background, that lie two radii and more from its brightest disk.

    0 where that disk's edge is about where the area of all that is bright says, ``radius`` [px]: there is one disk.
    """
    edge = edge_radius(probe, radius)
    if edge > SINGLE * radius:
        return 0.0
    x, y = correlation.brightest_disk(probe, edge)
    rows, columns = np.indices(probe.shape)
    counts = (probe - np.median(probe)).clip(min=0)
    return float(counts[np.hypot(rows - x, columns - y) > 2 * edge].sum() / counts.sum())


def _check_disk(scan: Scan, some: np.ndarray, radius: float) -> None:
    """Refuse a probe whose disk is clearly of another size than the scan's brightest disk.

    Roots of counts are looked at: where a crystal is thick, the steepest slope of counts lies within the disk.
    """
    total = np.sqrt(some.clip(min=0)).mean(0)
    if total.max() <= 0:
        raise InputError(f"{scan.name}: all patterns looked at are empty")
    seen = edge_radius(total, radius)
    wanted = edge_radius(np.sqrt(scan.probe.clip(min=0)), radius)
    if abs(seen - wanted) > 1.5 and not 0.6 <= seen / wanted <= 1.67:
        raise InputError(
            f"{scan.name}: the disks have a radius of about {seen:.1f} px but the vacuum probe's is {wanted:.1f} px; "
            "the probe must be recorded at the same convergence angle, camera length and binning as the scan"
        )


def edge_radius(image: np.ndarray, radius: float) -> float:
    """Radius of the brightest disk [px]: where its azimuthal mean falls most steeply.

    Args:
        image: Pattern or vacuum probe, (X, Y).
        radius: About what is expected [px]; three times that is looked at.
    """
    smooth = gaussian_filter(image.astype(float), radius / 2)
    rows, columns = np.indices(image.shape)
    x, y = np.unravel_index(np.argmax(smooth), image.shape)
    for _ in range(5):  # to the disk's own centre of mass
        near = np.hypot(rows - x, columns - y) < 1.5 * radius
        weight = np.where(near, np.clip(image - np.median(image[near]) * 0.25, 0, None), 0)
        x, y = (weight * rows).sum() / weight.sum(), (weight * columns).sum() / weight.sum()
    distance = np.hypot(rows - x, columns - y)
    bins = np.arange(0, 3 * radius + 2, 0.5)
    which = np.digitize(distance, bins) - 1
    inside = which < len(bins) - 1
    counts = np.bincount(which[inside], minlength=len(bins) - 1)
    profile = np.bincount(which[inside], image[inside], len(bins) - 1) / np.clip(counts, 1, None)
    middle = (bins[:-1] + 0.25)[counts > 0]
    slope = np.gradient(gaussian_filter1d(profile[counts > 0], 1.5), middle)
    return float(middle[np.argmin(slope)])
