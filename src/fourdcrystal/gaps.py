"""What a camera can't see: gaps between chips, dead and hot pixels, the shadow of a beam stop.

They are found from the scan itself: pixels that never change although their neighbours' counts say that they must.
Narrow ones are filled from their neighbours, so that no detector takes an edge of a gap for one of a disk; peaks on
disks that are mostly hidden are left out, since half a disk pulls its own position.
"""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import distance_transform_edt, gaussian_filter, label, maximum_filter
from scipy.spatial import cKDTree

from fourdcrystal import correlation
from fourdcrystal.gain import Gain
from fourdcrystal.peaks import Peaks
from fourdcrystal.scans import Scan

SAMPLE = 32  # patterns of a scan that tell where they are
LEAST_PATTERNS = 4  # different ones; fewer can't tell a gap from an empty place
IMPROBABLE = 20.0  # counts that should have come in all patterns together: none come with a probability of exp(-20)
SCALES = (1.5, 4.0, 12.0)  # px; how far neighbours are asked, for lines as for beam stops
BRIGHT = 0.8  # of a gap's border must have so many counts
HOT = 20.0  # times all its neighbours
SPIKE = 2.0  # the same in an image of the vacuum probe, all of whose bright pixels have bright neighbours ...
CAPPED = 0.5  # of the largest number; where others come so close, pixels that always have it are in a bright disk
CHANCE = 20.0  # ... but for a few electrons; in the smallest number of the image
COUNTING = Gain()  # a camera whose numbers are electrons
WIDEST = 3.0  # px; what lies deeper in a gap of the vacuum probe's image is taken as empty
NEIGHBOURS = 8  # that a blind pixel is filled from
SWALLOWED = 0.003  # of the brightest disk; a direct beam below that isn't there
HIDDEN = 0.1  # of a disk; a peak on a disk of which more is hidden is left out


@dataclass(frozen=True)
class Gaps:
    """Pixels that don't count.

    Attributes:
        blind: All of them, (X, Y) bool.
        filled: Flat indices of those that are filled from their neighbours, (M,).
        sources: Flat indices of the pixels that each is filled from, (M, K).
        weights: Of each source, (M, K).
    """

    blind: np.ndarray
    filled: np.ndarray
    sources: np.ndarray
    weights: np.ndarray

    @property
    def count(self) -> int:
        """How many pixels don't count."""
        return int(self.blind.sum())

    @property
    def stop(self) -> int:
        """How many of them lie so deep in a blind area that no neighbour can stand for them: a beam stop."""
        return self.count - len(self.filled)

    def fill(self, patterns: np.ndarray) -> np.ndarray:
        """Patterns with blind pixels filled from their neighbours, deep ones set to 0; (N, X, Y), a copy if any are."""
        if not self.count:
            return patterns
        flat = patterns.reshape(len(patterns), -1).astype(np.result_type(patterns, np.float32))  # fractions, too
        flat[:, self.blind.ravel()] = 0
        flat[:, self.filled] = (flat[:, self.sources] * self.weights).sum(-1)
        return flat.reshape(patterns.shape)

    def unhidden(self, peaks: Peaks, radius: float) -> Peaks:
        """Peaks whose disks, of a radius [px], are seen nearly whole."""
        if not self.count or not len(peaks):
            return peaks
        steps = np.arange(-np.ceil(radius), np.ceil(radius) + 1).astype(int)
        disk = np.argwhere(np.hypot(steps[:, None], steps[None]) <= max(radius, 1.0)) + steps[0]
        at = np.rint(peaks.positions).astype(int)[:, None] + disk
        inside = (at >= 0).all(-1) & (at < self.blind.shape).all(-1)
        at = at.clip(0, np.array(self.blind.shape) - 1)
        hidden = (self.blind[at[..., 0], at[..., 1]] & inside).sum(1) / len(disk)
        return peaks.where(hidden <= HIDDEN)

    def words(self) -> str | None:
        """What there is, in a sentence; none for a camera without gaps."""
        if not self.count:
            return None
        share = 100 * self.count / self.blind.size
        narrow, deep = len(self.filled), self.stop
        said = [f"{narrow} in gaps or dead, filled from their neighbours"] if narrow else []
        said += [f"{deep} behind a beam stop"] if deep else []
        return (
            f"{self.count} detector pixels ({share:.1f} %) don't count ({'; '.join(said)}); disks that they hide are "
            "left out"
        )


def direct_beam_missing(total: np.ndarray, probe: np.ndarray) -> str | None:
    """Says that no electrons arrive where the vacuum probe was, in a sentence; none if they do.

    The shadow of a beam stop can't be told from the dark between disks where there is no background, but no specimen
    swallows the direct beam all over a scan.

    Args:
        total: Sum of a scan's patterns [counts], (X, Y).
        probe: Vacuum probe, (X, Y).
    """
    radius, (x, y) = correlation.radius(probe), correlation.centre(probe)
    middle = total.shape[0] // 2, total.shape[1] // 2
    disk = np.fft.rfft2(np.fft.ifftshift(correlation.round_probe(total.shape, middle, radius)))
    inside = np.fft.irfft2(np.fft.rfft2(total) * disk.conj(), s=total.shape)  # counts in a disk around each pixel
    brightest, there = inside.max(), inside[round(x) % total.shape[0], round(y) % total.shape[1]]
    if brightest <= 0 or there > SWALLOWED * brightest:
        return None
    return (
        f"where the vacuum probe was, around ({x:.0f}, {y:.0f}) px, the scan has next to no counts, so its direct beam "
        "is behind a beam stop, or elsewhere: the bright-field image says nothing, and disks that a stop's edge cuts "
        "may be off"
    )


def of_mask(blind: np.ndarray, radius: float) -> Gaps:
    """Gaps from a mask of pixels that don't count, (X, Y); farther than ``radius`` [px] from others none is filled."""
    depth = distance_transform_edt(blind)
    filled = np.argwhere(blind & (depth <= max(radius, 2.0)))
    good = np.argwhere(~blind)
    if not len(filled) or len(good) < NEIGHBOURS:
        nothing = np.zeros((0, NEIGHBOURS))
        return Gaps(blind, np.zeros(0, int), nothing.astype(int), nothing)
    distance, index = cKDTree(good).query(filled, k=NEIGHBOURS)
    weights = 1 / distance**2
    sources = np.ravel_multi_index(tuple(good[index].transpose(2, 0, 1)), blind.shape)
    return Gaps(
        blind,
        np.ravel_multi_index((filled[:, 0], filled[:, 1]), blind.shape),
        sources,
        (weights / weights.sum(1, keepdims=True)).astype(np.float32),
    )


def find(patterns: np.ndarray, radius: float, camera: Gain = COUNTING) -> Gaps:
    """Gaps of a camera from patterns spread over a scan.

    Args:
        patterns: The camera's numbers, (N, X, Y); NaN where it has none.
        radius: Of the vacuum probe's disk [px].
        camera: Makes electrons of them.
    """
    missing = ~np.isfinite(patterns)
    blind = missing.all(0) if len(patterns) else np.zeros(patterns.shape[1:], bool)
    known = patterns[~(missing & ~blind).any((1, 2))]  # without patterns that are spoiled elsewhere
    known = np.where(np.isfinite(known), known, 0)
    known = known[known.max((1, 2), initial=0) > 0]
    different = len(np.unique(known.sum((1, 2))))
    if different >= LEAST_PATTERNS:
        mean = camera.counts(known.mean(0))
        still = (np.ptp(known, axis=0) == 0) & ~blind
        largest = known.max()
        if known[:, ~still].max(initial=0) > CAPPED * largest:
            still &= known[0] < largest  # a bright beam's
        seen = ~(still | blind)
        blind |= _sharp(still, mean * different)
        blind |= seen & (mean > HOT * _beside(mean)) & (mean * different > IMPROBABLE)
    return of_mask(blind, radius)


def of_scan(scan: Scan, camera: Gain) -> Gaps:
    """Gaps of a scan's camera, from some of its patterns."""
    return find(scan.sample(SAMPLE), correlation.radius(scan.probe), camera)


def mended(image: np.ndarray) -> np.ndarray:
    """The image of a vacuum probe with what is no count of it, NaN and single hot pixels, filled from its neighbours.

    Args:
        image: In any unit, (X, Y); NaN where the camera has no counts.

    Returns:
        The same, finite; without such pixels unchanged, to the last bit.
    """
    blind = ~np.isfinite(image)
    positive = image[~blind & (image > 0)]
    electron = positive.min() if positive.size else np.inf
    while True:  # beside a hot pixel a less hot one doesn't stand out
        known = of_mask(blind, WIDEST).fill(image[None])[0]
        hot = (known > SPIKE * _beside(known)) & (known > max(known.max() / 2, CHANCE * electron))
        if not hot.any():
            return known
        blind = blind | hot


def _beside(image: np.ndarray) -> np.ndarray:
    """The largest of each pixel's eight neighbours, (X, Y)."""
    around = np.ones((3, 3), bool)
    around[1, 1] = False
    return maximum_filter(image, footprint=around)


def _sharp(still: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The pieces of a dark area whose borders are bright: a camera's or a beam stop's, (X, Y).

    Between disks, and where no electron goes, counts fade into the dark; they never end from one pixel to the next.
    """
    pieces, count = label(still & (_around(~still, counts) > IMPROBABLE), np.ones((3, 3)))
    border = np.where(pieces == 0, maximum_filter(pieces, 3), 0)
    lit = np.bincount(border.ravel(), (counts > IMPROBABLE).ravel(), count + 1)
    share = lit / np.clip(np.bincount(border.ravel(), minlength=count + 1), 1, None)
    return (pieces > 0) & (share >= BRIGHT)[pieces]


def _around(seen: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Mean counts of the seen pixels around each pixel, of the nearest scale that has enough of them, (X, Y)."""
    expected = np.zeros_like(counts)
    for scale in SCALES:
        share = gaussian_filter(seen.astype(float), scale)
        near = gaussian_filter(np.where(seen, counts, 0), scale) / np.clip(share, 1e-9, None)
        expected = np.where((expected == 0) & (share > 0.05), near, expected)
    return expected
