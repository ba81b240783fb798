"""Where the direct beam is, position by position of a scan: on a smooth path, except for how much it wanders off it.

Scanning moves the direct beam over the camera, smoothly, as far as it isn't descanned. So the patterns of a scan tell
of each other where its lattice begins. What a pattern's own lattice says has the variance v; the path is a polynomial
of the scan's two coordinates and the wander off it a deviation ω, which the scan itself tells: what differs from the
path beyond v (a random-effects regression, DerSimonian & Laird, Control. Clin. Trials 7, 177 (1986); ω from the median
of the squares, and weights of Student's t, so that lattices gone wrong don't count). Where the beam jumps about, ω is
large and says nothing.
"""

from dataclasses import dataclass

import numpy as np

from fourdcrystal.lattice import LEAST_SIGMA, Lattices, beyond
from fourdcrystal.peaks import Peaks

NU = 4.0  # degrees of freedom of the t distribution
PLANE, PARABOLA = 15, 36  # patterns with a lattice that a path of the first and of the second degree takes at least
LARGEST = 3.0  # ω [px]; beyond that nothing is smooth
REACH = 3.0  # radii of the probe around its centre where a pattern's own direct beam is looked for
ROUNDS = 10  # of fitting the path and telling the wander off it


@dataclass(frozen=True)
class Path:
    """The path of the direct beam.

    Attributes:
        at: Expected position in every pattern [px], (P, 2).
        variance: Of the expectation along an axis, the wander included [px²], (P,).
        wander: ω, how far the beam is off its path along an axis [px].
    """

    at: np.ndarray
    variance: np.ndarray
    wander: float


def path(lattices: Lattices, grid: tuple[int, int]) -> Path | None:
    """The path of the direct beam over a scan; none where too few patterns have a lattice, or it isn't smooth.

    Args:
        lattices: Each fitted to its own pattern.
        grid: Scan positions along both axes.
    """
    known = lattices.fitted & np.isfinite(lattices.covariance[:, 0, 0])
    if np.count_nonzero(known) < PLANE:
        return None
    every = _powers(grid, 2 if np.count_nonzero(known) >= PARABOLA else 1)
    x, at, variance = every[known], lattices.centre[known], lattices.covariance[known, 0, 0]
    freedom = 1 - np.linalg.matrix_rank(x) / len(x)
    smooth, wander = np.broadcast_to(np.median(at, axis=0), at.shape), LARGEST
    for _ in range(ROUNDS):
        squared = ((at - smooth) ** 2).sum(1)
        found = beyond(squared / freedom, variance, LARGEST)
        if found is None:
            return None
        wander = found
        total = np.maximum(variance + wander**2, LEAST_SIGMA**2)
        weight = (NU + 2) / (NU + squared / total) / total
        inverse = np.linalg.pinv(np.einsum("pi,p,pj->ij", x, weight, x), hermitian=True)
        beta = inverse @ (x * weight[:, None]).T @ at
        smooth = x @ beta
    uncertain = np.einsum("pi,ij,pj->p", every, inverse, every)
    return Path(every @ beta, uncertain + wander**2 + LEAST_SIGMA**2, wander)


def _powers(grid: tuple[int, int], degree: int) -> np.ndarray:
    """Products of powers of the scan's coordinates up to a degree, (P, terms); the coordinates run from -1 to 1."""
    u, v = (axis.ravel() for axis in np.meshgrid(*(np.linspace(-1, 1, n) for n in grid), indexing="ij"))
    return np.column_stack([u**i * v**j for i in range(degree + 1) for j in range(degree + 1 - i)])


def strongest(peaks: Peaks, centre: tuple[float, float] | np.ndarray, radius: float) -> np.ndarray:
    """Where each pattern's direct beam is by itself [px], (P, 2), NaN where it has none; P is its last pattern + 1.

    No |V_g| is larger than V_0, so it is the strongest peak near the vacuum probe, wherever descan has taken it.

    Args:
        peaks: Peaks of a network.
        centre: Of the vacuum probe [px].
        radius: Of its disk [px]; the direct beam is within :data:`REACH` of these.
    """
    beam = np.full((int(peaks.pattern.max(initial=-1)) + 1, 2), np.nan)
    near = np.flatnonzero(np.hypot(*(peaks.positions - np.asarray(centre)).T) < REACH * radius)
    order = near[np.lexsort((-peaks.intensity[near], peaks.pattern[near]))]
    patterns, first = np.unique(peaks.pattern[order], return_index=True)
    beam[patterns] = peaks.positions[order[first]]
    return beam
