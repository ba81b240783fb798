"""Lattices of a scan of several grains: patterns that one lattice doesn't explain get another one, or none.

Whether a lattice explains a pattern its peaks say. Three of them lie on any lattice that is fitted to them; of the
others a share lies on it by chance, that of the area around its points in its cell, and what they do beyond chance is
(share - chance) / (1 - chance): 0 for peaks of another grain or of an amorphous halo, 1 for peaks of the lattice alone.

Grains of one crystal that are turned about the beam have the same lattice, turned. Which vectors of it are which the
lattice can't tell; those are taken that need the least stretch, and of these (a square has four) the least rotation.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import binom

from fourdcrystal import context, lattice
from fourdcrystal.indexing import UNIMODULAR, WORST
from fourdcrystal.lattice import LEAST_PEAKS, TOLERANCE, Lattices
from fourdcrystal.peaks import Peaks

NEAR = 3.0  # of the lattice's residual and of the peak's deviation: so far from its point a peak counts as on it ...
LEAST_NEAR = 0.1  # px; ... and as far as this anyway: a fit to four peaks may have no residual at all
UNKNOWN = 0.2  # px; deviation of peaks that state none
EXPLAINED = 0.35  # beyond chance; of two grains that share a pattern each explains a half
BETTER = 0.05  # more must another lattice explain: noise doesn't move patterns between grains
SURE = 0.7  # above, no other grain's lattice would explain more
SEED = 0.5  # beyond chance, for a lattice that is made to suit a single pattern
CHANCE = (1e-2, 1e-5)  # of as many peaks on a lattice, at most: on the first of a scan, and on one that is searched for
FAILURES = 20  # patterns without a lattice of their own, after which no further ones are looked at
MOST = 100  # grains
ASKED = (0.0, 0.25, 0.5, 0.75)  # of a grain's patterns, by falling number of peaks: whether it's an integer too fine
COARSER = 1.5  # times the area of a cell; the next finer lattice has twice the points
WHOLE = 0.05  # vectors; so near to whole numbers of another lattice's one is among its points
ALIKE = 0.01  # stretch; bases that differ by less are told apart by their rotation
IDENTITY = int(np.flatnonzero((np.eye(2) == UNIMODULAR).all((1, 2)))[0])


@dataclass(frozen=True)
class Grains:
    """Which lattice the patterns of a scan have.

    Attributes:
        lattices: Of every pattern; of patterns whose peaks no lattice explains none.
        number: Grain of every pattern, (P,), by size; -1 where there is no lattice.
    """

    lattices: Lattices
    number: np.ndarray

    def largest(self, region: np.ndarray | None) -> int:
        """Number of the grain that most patterns are of, or most of a region's, (P,); 0 where these have none."""
        there = self.number >= 0 if region is None else (self.number >= 0) & region
        return int(np.argmax(np.bincount(self.number[there], minlength=1)))


def explained(peaks: Peaks, lattices: Lattices) -> tuple[np.ndarray, np.ndarray]:
    """How much more of each pattern's peaks lies on its lattice than by chance, and how often chance does as much.

    Both (P,); NaN where there is no lattice.

    Args:
        peaks: That lattices were fitted to.
        lattices: Fitted.
    """
    has, count = lattices.fitted, len(lattices.fitted)
    vectors = np.where(has[:, None, None], lattices.vectors, np.eye(2))
    distance = np.linalg.norm(peaks.positions - context.lattice_points(peaks, lattices)[0], axis=1)  # NaN is nowhere
    deviation = np.nan_to_num(lattices.residual)[peaks.pattern] + np.nan_to_num(peaks.sigma_px, nan=UNKNOWN)
    farthest = TOLERANCE * np.linalg.norm(vectors, axis=2).min(1)
    near = np.minimum(LEAST_NEAR + NEAR * deviation, farthest[peaks.pattern])
    every = np.bincount(peaks.pattern, minlength=count)
    area = np.abs(np.linalg.det(vectors)) * np.maximum(every, 1)
    chance = np.minimum(np.bincount(peaks.pattern, np.pi * near**2, count) / area, 0.99)
    free = every - 3
    on = np.bincount(peaks.pattern, distance < near, count) - 3
    judged, tail = has & (free > 0), binom.sf(on - 1, np.maximum(free, 1), chance)
    share = (on / np.maximum(free, 1) - chance) / (1 - chance)
    return np.where(judged, share, np.nan), np.where(judged, tail, np.nan)


def find(peaks: Peaks, n_patterns: int, shape: tuple[int, int], centre: np.ndarray) -> Grains:
    """The lattices of a scan, each fitted to the patterns that it explains.

    One is looked for in all patterns, the next in those that are left, and where these have none in common, in single
    ones of them, those with the most peaks first.

    Args:
        peaks: Of all patterns, without the camera's distortion.
        n_patterns: Number of patterns.
        shape: (X, Y) of the patterns.
        centre: Where the direct beam is, to less than half a lattice vector [px], (2,).
    """
    found = _Assignment(peaks, n_patterns, shape, centre)
    failures, tried = 0, np.zeros(n_patterns, bool)
    while (found.left & ~tried).any() and len(found.bases) < MOST and failures < FAILURES:
        single = failures > 0
        fullest = int(np.argmax(np.where(found.left & ~tried, found.size, -1)))
        basis = found.of_pattern(fullest) if single else found.of_all(found.left)
        if basis is not None and found.add(basis):
            failures = 0
        else:
            failures += 1
            tried[fullest] |= single
    found.settle()
    return Grains(found.lattices, _by_size(found.number))


class _Assignment:
    """Which of the lattices that were found so far each pattern has.

    Args: those of :func:`find`.

    Attributes:
        size: Peaks of each pattern, (P,).
        bases: Of the lattices found.
        lattices: Of every pattern.
        number: Of the basis that it has, (P,); -1: none.
        share: Of its peaks that lie on it beyond chance, (P,); -inf: none.
    """

    def __init__(self, peaks: Peaks, n_patterns: int, shape: tuple[int, int], centre: np.ndarray) -> None:
        self.peaks, self.shape, self.centre = peaks, shape, centre
        self.size = np.bincount(peaks.pattern, minlength=n_patterns)
        self.bases: list[np.ndarray] = []
        self.lattices, self.number = lattice.none(n_patterns, centre), np.full(n_patterns, -1)
        self.share = np.full(n_patterns, -np.inf)

    @property
    def left(self) -> np.ndarray:
        """Patterns that another lattice may explain better, (P,)."""
        return (self.size >= LEAST_PEAKS) & (self.share < SURE)

    def of_all(self, patterns: np.ndarray) -> np.ndarray | None:
        """The basis that patterns, (P,), have in common; none if they have none."""
        return lattice.find(self.peaks.where(patterns[self.peaks.pattern]), self.shape)

    def of_pattern(self, pattern: int) -> np.ndarray | None:
        """The basis that a single pattern's peaks have, if it explains them so well that it isn't made up."""
        looked = np.arange(len(self.number)) == pattern
        basis = self.of_all(looked)
        if basis is None:
            return None
        _, better, chance, _ = _explained_by(basis, self.peaks, looked, self.centre)
        return basis if ((better >= SEED) & (chance <= CHANCE[1])).any() else None

    def add(self, basis: np.ndarray) -> bool:
        """Give a new lattice to the patterns that it explains; whether there are any."""
        grain, left = len(self.bases), self.left
        before = self.lattices, self.number.copy(), self.share.copy()
        if not self._give(basis, left, grain):
            return False
        coarser = self._told_apart(basis, self.number == grain)
        if coarser is not None:
            self.lattices, self.number, self.share = before
            self._give(coarser, left, grain)
        self.bases.append(basis if coarser is None else coarser)
        return True

    def settle(self) -> None:
        """Let patterns have whichever lattice explains more: one that came first may do by coincidence."""
        for grain, basis in enumerate(self.bases):
            doubtful = self.left & (self.number != grain)
            if doubtful.any():
                self._give(basis, doubtful, grain)

    def _give(self, basis: np.ndarray, patterns: np.ndarray, grain: int) -> bool:
        """Whether a lattice explains any of some patterns, (P,), better than theirs; those have it now."""
        rows, better, chance, fitted = _explained_by(basis, self.peaks, patterns, self.centre)
        good = (better >= EXPLAINED) & (chance <= CHANCE[grain > 0]) & (better > self.share[rows] + BETTER)
        # a pattern of two grains is explained by many a dense lattice that is of neither
        good &= (self.share[rows] < EXPLAINED) | (better >= SURE) | (grain < len(self.bases))
        good &= ~_finer(fitted, self.lattices.of(rows))
        self.lattices = self.lattices.with_others(rows[good], fitted.of(good))
        self.number[rows[good]], self.share[rows[good]] = grain, better[good]
        return bool(good.any())

    def _told_apart(self, basis: np.ndarray, mine: np.ndarray) -> np.ndarray | None:
        """The coarser basis of one of several grains that together, (P,), seem to have a lattice finer than theirs.

        A single pattern tells, unless two grains overlap in it; so several are asked, of many peaks and of few. Its
        lattice explains what it explains as well as the finer one did, which that of a superlattice's strong
        reflections doesn't.
        """
        by_size = np.flatnonzero(mine)[np.argsort(-self.size[mine], kind="stable")]
        for pattern in dict.fromkeys(by_size[(np.array(ASKED) * len(by_size)).astype(int)].tolist()):
            own = self.of_pattern(pattern)
            if own is not None and abs(np.linalg.det(own)) > COARSER * abs(np.linalg.det(basis)):
                rows, better, _, _ = _explained_by(own, self.peaks, mine, self.centre)
                if (better >= self.share[rows] - BETTER)[better >= EXPLAINED].mean() >= 0.5:
                    return own
        return None


def _explained_by(
    basis: np.ndarray, peaks: Peaks, patterns: np.ndarray, centre: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, Lattices]:
    """Numbers of some patterns, (P,) bool, what :func:`explained` says of lattices fitted to each, and those."""
    some = peaks.where(patterns[peaks.pattern])
    some = replace(some, pattern=(np.cumsum(patterns) - 1)[some.pattern])  # the others would be fitted for nothing
    fitted = lattice.fit(some, int(patterns.sum()), basis, centre)
    return np.flatnonzero(patterns), *explained(some, fitted), fitted


def _finer(lattices: Lattices, others: Lattices) -> np.ndarray:
    """Which lattices are others with further points between theirs, (P,): a superlattice's, of which they are part."""
    index = others.vectors @ np.linalg.inv(np.where(lattices.fitted[:, None, None], lattices.vectors, np.eye(2)))
    whole = np.abs(index - np.rint(index)).max((1, 2)) < WHOLE  # never where anything is NaN
    return whole & (np.abs(np.linalg.det(np.nan_to_num(index))) > COARSER)


def turned(grains: Grains, region: np.ndarray | None) -> tuple[Grains, np.ndarray]:
    """Grains whose lattices have the vectors that correspond to one grain's, and which have its lattice, turned, (P,).

    Lattices that would have to be stretched by more than :data:`fourdcrystal.indexing.WORST` are other ones: of
    another phase, or seen along another zone axis. They stay as they are, and are of other grains, also where one
    basis led to both; so are patterns of which other vectors correspond.

    Args:
        grains: Of a scan with a lattice.
        region: Patterns of whose grains the largest is meant, (P,) bool; none: all.
    """
    # what was one grain may be several by then, of which another one is the largest
    return _turned(_turned(grains, region)[0], region)


def _turned(grains: Grains, region: np.ndarray | None) -> tuple[Grains, np.ndarray]:
    found, number = grains.lattices, grains.number
    main = grains.largest(region)
    middle = _typical(found, number == main)
    stretch, angle = _changed(middle, found.vectors)
    near = np.zeros(len(number))
    for grain in range(int(number.max(initial=-1)) + 1):
        strains, angles = _changed(middle, _typical(found, number == grain)[None])
        alike = strains[0] <= strains[0].min() + ALIKE
        near[number == grain] = angles[0][np.argmin(np.where(alike, np.abs(angles[0]), np.inf))]
    away = np.abs(np.angle(np.exp(1j * (angle - near[:, None]))))
    with np.errstate(invalid="ignore"):  # NaN where there is no lattice
        best = np.argmin(np.where(stretch <= stretch.min(1, keepdims=True) + ALIKE, away, np.inf), axis=1)
        same = stretch.min(1) <= WORST
    best[~same] = IDENTITY
    change = np.tile(np.eye(3), (len(number), 1, 1))
    change[:, 1:, 1:] = UNIMODULAR[best]
    vectors, covariance = change[:, 1:, 1:] @ found.vectors, change @ found.covariance @ change.swapaxes(1, 2)
    return Grains(
        replace(found, vectors=vectors, covariance=covariance),
        _by_size(np.where(number < 0, -1, 2 * (number * len(UNIMODULAR) + best) + ~same)),
    ), same


def _typical(lattices: Lattices, patterns: np.ndarray) -> np.ndarray:
    """Vectors of that one of some patterns, (P,), that is nearest to their median, (2, 2)."""
    vectors = lattices.vectors[patterns]
    return vectors[np.argmin(np.abs(vectors - np.median(vectors, axis=0)).sum((1, 2)))]


def _changed(basis: np.ndarray, vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Stretch and rotation [rad] from a basis to others, (P, 2, 2), by whatever of their vectors, (P, changes)."""
    f = np.linalg.inv(basis) @ (UNIMODULAR @ vectors[:, None])  # rows G = G₀ Fᵀ: this is Fᵀ
    sums, det = (f**2).sum((-2, -1)), f[..., 0, 0] * f[..., 1, 1] - f[..., 0, 1] * f[..., 1, 0]
    root = np.sqrt(np.maximum(sums**2 - 4 * det**2, 0))
    largest, smallest = np.sqrt((sums + root) / 2), np.sqrt(np.maximum(sums - root, 0) / 2)
    angle = np.arctan2(f[..., 0, 1] - f[..., 1, 0], f[..., 0, 0] + f[..., 1, 1])
    return np.maximum(np.abs(largest - 1), np.abs(smallest - 1)), angle


def _by_size(number: np.ndarray) -> np.ndarray:
    """Whole numbers as ranks of how often there are, the most frequent 0; what is negative becomes -1."""
    there = number >= 0
    _, which, sizes = np.unique(number[there], return_inverse=True, return_counts=True)
    made = np.full(len(number), -1)
    made[there] = np.argsort(np.argsort(-sizes, kind="stable"))[which]
    return made


def words(number: np.ndarray, same: np.ndarray) -> tuple[str, ...]:
    """What the user should know of a scan's grains, in sentences; nothing where there is one.

    Args:
        number: Grain of every pattern, (P,); -1 where there is no lattice.
        same: Which are the reference's lattice, turned, (P,).
    """
    sizes, other = np.bincount(number[number >= 0]), np.count_nonzero((number >= 0) & ~same)
    said = []
    if np.count_nonzero(sizes) > 1:
        said.append(
            f"the scan has {np.count_nonzero(sizes)} lattices, the largest in {sizes.max()} of {len(number)} patterns "
            "('grain' in strain.zarr); strain and rotation are relative to the reference's"
        )
    if other:
        said.append(f"patterns whose lattice isn't the reference's, turned, and which have no strain: {other}")
    return tuple(said)
