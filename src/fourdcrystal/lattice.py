"""The plane reciprocal lattice of diffraction patterns: found by itself for a scan, fitted to every pattern."""

import itertools
from dataclasses import dataclass, fields

import numpy as np
from scipy.ndimage import gaussian_filter, maximum_filter

from fourdcrystal.peaks import Peaks

RAYLEIGH_MEDIAN = 2 * np.log(2)  # of the squared distance in two dimensions over σ² along an axis
LEAST_SIGMA = 0.01  # px; no position is better than that, whatever its fit says
BLOCK = 4096  # patterns fitted at once; bounds memory
REACH = 96.0  # px; farther vectors between peaks are looked at where there are too few that are shorter
CANDIDATES = 14  # shortest of them that are tried as basis vectors
DIFFERENCES = 50_000  # vectors between peaks that bases are judged by
AS_LONG = 0.02  # of a vector's length; others that are longer by less are as long
LEAST_PEAKS = 4  # that agree with a lattice; three would always fit
TOLERANCE = 0.25  # of the shortest basis vector; peaks farther from a lattice point don't belong to it


@dataclass(frozen=True)
class Lattices:
    """One lattice for each pattern: peaks lie at centre + h a + k b. NaN where none could be fitted.

    Attributes:
        centre: Position of the direct beam [px], (P, 2).
        vectors: Basis vectors a and b [px] as rows, (P, 2, 2).
        covariance: Of (centre, a, b) along either axis [px²], (P, 3, 3).
        residual: Robust RMS distance of a peak from its lattice point along an axis [px], (P,).
        agreeing: Number of peaks on the lattice, (P,).
    """

    centre: np.ndarray
    vectors: np.ndarray
    covariance: np.ndarray
    residual: np.ndarray
    agreeing: np.ndarray

    @property
    def fitted(self) -> np.ndarray:
        """Which patterns have a lattice, (P,)."""
        return np.isfinite(self.residual)

    def of(self, patterns: np.ndarray) -> "Lattices":
        """Lattices of some patterns: their numbers, or a mask."""
        return Lattices(*(getattr(self, field.name)[patterns] for field in fields(Lattices)))

    def with_others(self, patterns: np.ndarray, others: "Lattices") -> "Lattices":
        """The same but for some patterns, (N,), that have others."""
        made = {field.name: getattr(self, field.name).copy() for field in fields(Lattices)}
        for name, values in made.items():
            values[patterns] = getattr(others, name)
        return Lattices(**made)


def beyond(squared: np.ndarray, variance: np.ndarray, largest: float) -> float | None:
    """Deviation along an axis that distances in a plane have beyond their variances, from their median.

    Args:
        squared: Squared distances [px²], (N,).
        variance: Of each along an axis [px²], (N,).
        largest: Deviation [px]; None if it is larger.
    """
    tried = np.concatenate([[0.0], np.geomspace(1e-3, largest, 100)])
    enough = [tau for tau in tried if np.mean(squared < RAYLEIGH_MEDIAN * (variance + tau**2)) >= 0.5]
    return float(enough[0]) if enough else None


def none(n_patterns: int, centre: np.ndarray) -> Lattices:
    """What there is where the peaks of a scan make no lattice: the direct beam's position, and nothing else."""
    missing = np.full((n_patterns, 3, 3), np.nan)
    centres = np.broadcast_to(centre, (n_patterns, 2)).copy()
    return Lattices(centres, missing[:, :2, :2], missing, missing[:, 0, 0], np.zeros(n_patterns, int))


def reduced(vectors: np.ndarray) -> np.ndarray:
    """The same lattice by its two shortest vectors (Gauss), right-handed, the first with a positive first component.

    Of two that are as long, as in a square lattice, the first is the one nearer to axis 0: noise doesn't choose
    between them, but does between the three of a hexagonal lattice.
    """
    a, b = (v.copy() for v in np.asarray(vectors, float))
    while True:
        if a @ a > b @ b:
            a, b = b, a
        multiple = round((a @ b) / (a @ a))
        if multiple == 0:
            break
        b = b - multiple * a
    if b @ b < (1 + AS_LONG) ** 2 * (a @ a) and abs(b[0]) > abs(a[0]):
        a, b = b, a
    if a[0] < 0 or (a[0] == 0 and a[1] < 0):
        a = -a
    return np.array([a, b if a[0] * b[1] > a[1] * b[0] else -b])


def find(peaks: Peaks, shape: tuple[int, int], resolution: float = 0.5, most_patterns: int = 400) -> np.ndarray | None:
    """Basis of the lattice that most difference vectors between peaks of one pattern belong to.

    Differences need no centre, and summed over patterns they average out noise, missing and false peaks. Candidates are
    maxima of their histogram; the basis with the largest cell among those that explain nearly all of it wins.

    Args:
        peaks: Peaks of many patterns of one crystal and orientation (small strain and rotation between them).
        shape: (X, Y) of the patterns.
        resolution: Size of the histogram's bins [px].
        most_patterns: Evenly spread patterns that are used.

    Returns:
        Basis vectors [px] as rows, reduced, (2, 2); none where the peaks are too few or on one line.
    """
    used = np.unique(peaks.pattern)
    used = used[np.linspace(0, len(used) - 1, min(len(used), most_patterns)).astype(int)] if len(used) else used
    differences, weights = [], []
    for p in used:
        part = peaks.of_pattern(int(p))
        strongest = np.argsort(-part.intensity)[:40]
        if len(strongest) < 3:
            continue
        xy, root = part.positions[strongest], np.sqrt(np.clip(part.intensity[strongest], 0, None))
        i, j = np.nonzero(~np.eye(len(xy), dtype=bool))
        differences.append(xy[i] - xy[j])
        weights.append(root[i] * root[j] / (root.sum() ** 2 or 1))
    if not differences:
        return None
    vectors, weight = np.concatenate(differences), np.concatenate(weights)
    reach, whole = REACH, max(shape) * 0.75
    while True:
        candidates = _candidates(vectors, weight, min(reach, whole), resolution)
        if reach >= whole or len(candidates) == CANDIDATES:
            break
        reach *= 2
    if len(candidates) < 2:
        return None
    some = np.random.default_rng(0).permutation(len(vectors))[:DIFFERENCES]
    return _best_basis(candidates, vectors[some], weight[some])


def _candidates(vectors: np.ndarray, weight: np.ndarray, reach: float, resolution: float) -> np.ndarray:
    """Shortest of the strong maxima of the histogram of difference vectors, half a plane of them, (C, 2)."""
    n = round(2 * reach / resolution) | 1
    edges = (np.arange(n + 1) - n / 2) * resolution
    histogram, *_ = np.histogram2d(vectors[:, 0], vectors[:, 1], bins=[edges, edges], weights=weight)
    smooth = gaussian_filter(histogram, 1.0 / resolution)
    peak = (smooth == maximum_filter(smooth, round(3 / resolution) | 1)) & (smooth > 0.08 * smooth.max())
    x, y = np.nonzero(peak)
    at = np.column_stack([edges[x], edges[y]]) + resolution / 2
    half = (at[:, 0] > resolution) | ((np.abs(at[:, 0]) <= resolution) & (at[:, 1] > 0))
    length = np.hypot(*at.T)
    at = at[half & (length > 3) & (length < reach)]
    return at[np.argsort(np.hypot(*at.T))[:CANDIDATES]]


def _indexed(v: np.ndarray, basis: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the lattice vectors nearest to vectors, both (2, N), and whether they are nearer than 2 px, (N,)."""
    index = np.rint(np.linalg.inv(basis).T @ v)
    x, y = v - basis.T @ index
    return index, x * x + y * y < 4


def _best_basis(candidates: np.ndarray, vectors: np.ndarray, weight: np.ndarray) -> np.ndarray | None:
    tried, total = [], weight.sum()
    v = np.ascontiguousarray(vectors.T)  # (2, N): sums over both components of many vectors are slow the other way
    for i, j in itertools.combinations(range(len(candidates)), 2):
        basis = candidates[[i, j]]
        area = abs(np.linalg.det(basis))
        if area < 0.2 * np.hypot(*basis[0]) * np.hypot(*basis[1]):
            continue  # too skew; the reduced basis of the same lattice is among the candidates
        for _ in range(3):  # refine, so that far lattice points are judged fairly
            index, near = _indexed(v, basis)
            close = near & (np.abs(index[0]) <= 4) & (np.abs(index[1]) <= 4)
            if close.sum() < 4:
                break
            some, w = index[:, close], weight[close]
            normal = (some * w) @ some.T
            if np.linalg.cond(normal) > 1e8:
                break
            basis = np.linalg.solve(normal, (some * w) @ v[:, close].T)
        _, near = _indexed(v, basis)
        explained = weight[near].sum() / total
        # what a lattice this dense would explain of vectors thrown at random
        chance = min(1.0, np.pi * 4 / area)
        tried.append(((explained - chance) / (1 - chance) if chance < 1 else 0.0, area, basis))
    if not tried:
        return None
    best = max(score for score, _, _ in tried)
    _, _, basis = max((t for t in tried if t[0] >= 0.93 * best), key=lambda t: t[1])
    return reduced(basis)


def start_centres(peaks: Peaks, n_patterns: int, basis: np.ndarray, near: np.ndarray) -> np.ndarray:
    """The lattice point of every pattern that is nearest to where the direct beam is expected [px], (P, 2).

    The lattice's phase is a circular mean over the peaks around that point. Which lattice point is the direct beam its
    brightness can't tell: in a thick or tilted crystal other disks are brighter.

    Args:
        peaks: Peaks of all patterns.
        n_patterns: Number of patterns.
        basis: Approximate basis vectors [px] as rows, (2, 2).
        near: Where the direct beam is expected, to less than half a basis vector [px], (2,).
    """
    shortest = np.hypot(*basis.T).min()
    off = peaks.positions - near
    weight = np.sqrt(np.clip(peaks.intensity, 0, None)) * np.exp(-(off**2).sum(1) / (2 * (2.5 * shortest) ** 2))
    turns = np.exp(2j * np.pi * off @ np.linalg.inv(basis))
    total = np.stack(
        [
            np.bincount(peaks.pattern, weight * turns[:, axis].real, n_patterns)
            + 1j * np.bincount(peaks.pattern, weight * turns[:, axis].imag, n_patterns)
            for axis in (0, 1)
        ],
        axis=1,
    )
    return near + np.angle(total) / (2 * np.pi) @ basis


def fit(
    peaks: Peaks, n_patterns: int, basis: np.ndarray, centre: np.ndarray, rounds: int = 12, tolerance: float = TOLERANCE
) -> Lattices:
    """Robust weighted fit of one lattice to each pattern, thousands of patterns at once.

    Each peak gets the nearest indices, at first only near the centre and then ever farther out; peaks off the lattice
    are weighted down with Tukey's biweight. Where sigma_px is known, weights are 1 / (sigma_px² + extra²), the extra
    variance being what residuals have beyond the stated one; elsewhere they are the root of the intensity.

    Args:
        peaks: Peaks of all patterns.
        n_patterns: Number of patterns.
        basis: Approximate basis vectors [px] as rows, (2, 2).
        centre: Where the direct beam is expected, to less than half a basis vector [px], (2,).
        rounds: Iterations.
        tolerance: Peaks farther from a lattice point than this, in units of the shorter basis vector, are left out.
    """
    parts = []
    for start in range(0, n_patterns, BLOCK):
        count = min(BLOCK, n_patterns - start)
        some = peaks.of_patterns(start, start + count)
        parts.append(_fit(some, count, basis, centre, rounds, tolerance))
    return Lattices(*(np.concatenate([getattr(part, name.name) for part in parts]) for name in fields(Lattices)))


def _fit(
    peaks: Peaks, n_patterns: int, basis: np.ndarray, centre: np.ndarray, rounds: int, tolerance: float
) -> Lattices:
    xy, weight, present = padded(peaks, n_patterns)
    known = np.isfinite(peaks.sigma_px).all()
    stated = 1 / np.clip(weight, 1e-12, None) if known else np.zeros_like(weight)
    typical = np.array([np.median(row[used]) if used.any() else 0.0 for row, used in zip(stated, present, strict=True)])
    shortest = np.hypot(*basis.T).min()
    beta = np.empty((n_patterns, 3, 2))
    beta[:, 0], beta[:, 1:] = start_centres(peaks, n_patterns, basis, centre), basis
    reach = np.hypot(*np.moveaxis(xy - beta[:, :1], -1, 0))
    robust = present.astype(float)
    design = np.zeros((*xy.shape[:2], 3))
    covariance, scale = np.full((n_patterns, 3, 3), np.nan), np.full(n_patterns, np.nan)
    good = np.zeros(n_patterns, bool)
    agreeing = np.zeros(n_patterns, int)
    eye = np.eye(3)
    for i in range(rounds):
        index = np.rint((xy - beta[:, :1]) @ np.linalg.inv(beta[:, 1:]))
        design = np.concatenate([np.ones_like(index[..., :1]), index], axis=-1)
        off = xy - design @ beta
        distance = np.hypot(off[..., 0], off[..., 1])
        horizon = (2.6 + i) * shortest if i < 4 else np.inf
        usable = present & (distance < tolerance * shortest) & (reach < horizon)
        if i > 1:
            # no smaller than stated: four peaks may lie on a lattice by chance, and the fifth be thrown out
            scale = np.maximum(_scale(distance, usable), np.sqrt(typical))
            if known:
                extra = np.clip(scale**2 - typical, LEAST_SIGMA**2, None)
                weight = np.where(present, 1 / (stated + extra[:, None]), 0)
            robust = np.clip(1 - (distance / (4.685 * scale[:, None])) ** 2, 0, None) ** 2 * usable
        else:
            robust = usable.astype(float)
        w = weight * robust
        normal = np.einsum("pkm,pk,pkn->pmn", design, w, design)
        agreeing = (robust > 0).sum(1)
        good = (agreeing >= LEAST_PEAKS) & (np.linalg.cond(normal + 1e-300 * eye) < 1e10)
        moment = np.einsum("pkm,pk,pkd->pmd", design, w, xy)
        solved = np.linalg.solve(np.where(good[:, None, None], normal, eye), moment)
        sane = good & (np.abs(solved[:, 1:] - basis).max((1, 2)) < 0.3 * shortest)
        beta = np.where(sane[:, None, None], solved, beta)
        good = sane
    off = xy - design @ beta
    w = weight * robust
    freedom = np.clip(agreeing - 3, 1, None)
    # sandwich estimate: honest where the stated weights aren't the true inverse variances
    inverse = np.linalg.inv(np.where(good[:, None, None], np.einsum("pkm,pk,pkn->pmn", design, w, design), eye))
    spread = np.einsum("pkm,pk,pkn->pmn", design, w**2 * (off**2).mean(-1), design)
    # ... and where the biweight ψ = w r flattens: its slope in the plane is (1 - u²)(1 - 3u²), less than w = (1 - u²)²
    slope = np.sqrt(robust) * (3 * np.sqrt(robust) - 2)
    flattened = np.clip(w.sum(1) / np.clip((weight * slope).sum(1), 1e-12, None), 1, 2) ** 2
    covariance = inverse @ spread @ inverse * (flattened * agreeing / freedom)[:, None, None]
    residual = np.sqrt((robust * (off**2).mean(-1)).sum(1) / np.clip(robust.sum(1), 1e-12, None))
    beta = np.where(good[:, None, None], beta, np.nan)
    return Lattices(
        centre=beta[:, 0],
        vectors=beta[:, 1:],
        covariance=np.where(good[:, None, None], covariance, np.nan),
        residual=np.where(good, residual, np.nan),
        agreeing=np.where(good, agreeing, 0),
    )


def padded(peaks: Peaks, n_patterns: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Positions [px], (P, K, 2), weights, (P, K), and where there is a peak, (P, K), of patterns side by side.

    Weights are 1 / sigma_px² [1/px²] where it is known for all peaks, else the root of the intensity.
    """
    known = np.isfinite(peaks.sigma_px).all()
    each = 1 / peaks.sigma_px.clip(LEAST_SIGMA) ** 2 if known else np.sqrt(np.clip(peaks.intensity, 1e-12, None))
    present, xy, weight = peaks.side_by_side(n_patterns, peaks.positions, each)
    return xy, weight, present


def _scale(distance: np.ndarray, usable: np.ndarray) -> np.ndarray:
    """Robust standard deviation of the distances along one axis, (P,): the median of Rayleigh's law is 1.177 σ."""
    masked = np.where(usable, distance, np.nan)
    some = usable.any(1)
    masked[~some] = 1.0
    return np.where(some, np.nanmedian(masked, axis=1) / 1.177, 1.0) + 0.01
