"""Heights that agree with which reflections are strong: the Laue circle.

Of reflections with the same V_g those near the Ewald sphere are strong: they lie around a circle through the direct
beam, whose centre τ says how the crystal is tilted (t = λ dq τ). A network reads heights q_z, hence τ, off a pattern as
a picture; here τ is what explains the counts best, given the U_g that the network found. Two beams share electrons as
1 / (1 + (s ξ)²), averaged over thickness, with the excitation error s and 1 / ξ = λ U (Hirsch et al., Electron
Microscopy of Thin Crystals, chapter 8); here it is k U. In a disk s differs by ±h = |g| α. With a width w for thin
crystals, which no reflection can be sharper than,

    I_g = A (k U)² / (2 h κ) (arctan((s + h) / κ) - arctan((s - h) / κ)),    κ² = (k U)² + w²,

is the mean along a diameter. Other beams make all of that untrue for single reflections, by half or twice, so it is
fitted in logarithms and robustly, beside what the network says; what is left over many reflections is the circle.
Lengths are in px, U in dq² (px²), heights and excitation errors in units of λ dq² (px²), so that k is a number:
s = τ·g - g² / 2, with a sign that I_g doesn't know. See docs/decisions/0056.
"""

from dataclasses import replace

import numpy as np

from fourdcrystal import direct_beam
from fourdcrystal.peaks import Peaks
from fourdcrystal.pixels import Pixel

FEWEST = 6  # reflections beside the direct beam
SCATTER = (
    1.3  # standard deviation of the logarithms of intensities around the model, as if reflections were independent
)
DARK = 2.0  # electrons; below that an intensity's logarithm says nothing
OUTLIER = 0.7  # residual over its deviation from which it counts less (soft L1)
FLOOR, SHARE = 0.3, 0.2  # radii of the probe, and of τ: how far off a network's τ is, as a standard deviation
SHARPNESS = 10.0  # k: ten times two beams' width, as many beams widen rocking curves
WEAKEST = 2.0  # px²; U_g of reflections below that isn't told apart
WIDTH = 3e-3  # w [1/Å]: 300 Å of crystal
LOOSE = 1.5  # how well the logarithms of both are known
ROUNDS, BLOCK = 40, 1024  # of Levenberg and Marquardt's steps; patterns at a time


def settled(peaks: Peaks, centre: tuple[float, float], radius: float, pixel: Pixel) -> Peaks:
    """The peaks with heights that agree with their electrons; unchanged where these or the pixel are not known.

    All heights of a pattern are changed by one plane through the direct beam; what is off a plane, as a reflection of a
    higher Laue zone, stays so.

    Args:
        peaks: Peaks with V_g [V], heights and electrons.
        centre: Where the direct beam is, to within three radii of the probe [px]; patterns without one there stay.
        radius: Of the probe's disk [px].
        pixel: Of the patterns.
    """
    known = np.isfinite(peaks.qz) & np.isfinite(peaks.electrons)
    if not len(peaks) or not np.isfinite(pixel.curvature) or not known.all():
        return peaks
    patterns = np.unique(peaks.pattern)
    qz = peaks.qz.copy()
    for start in range(0, len(patterns), BLOCK):
        first, last = np.searchsorted(peaks.pattern, [patterns[start], patterns[start : start + BLOCK][-1] + 1])
        rows = slice(int(first), int(last))
        qz[rows] += pixel.curvature * _change(peaks.where(rows), np.array(centre), radius, pixel)
    return replace(peaks, qz=qz)


def _change(peaks: Peaks, centre: np.ndarray, radius: float, pixel: Pixel) -> np.ndarray:
    """By how much the heights of some patterns' peaks change [λ dq²], (N,)."""
    _, row = np.unique(peaks.pattern, return_inverse=True)
    count, numbered = int(row.max()) + 1, replace(peaks, pattern=row)
    potential, height = peaks.intensity / pixel.volts, peaks.qz / pixel.curvature
    there, at, u, heights, electrons, order = numbered.side_by_side(
        count, peaks.positions, potential, height, peaks.electrons, np.arange(len(peaks))
    )
    beam = direct_beam.strongest(numbered, centre, radius)
    seen = np.isfinite(beam[:, 0])
    beam = np.where(seen[:, None], beam, centre)
    g = np.where(there[..., None], at - beam[:, None], 0.0)
    used = there & (np.hypot(g[..., 0], g[..., 1]) > radius)
    weight = np.where(used, u, 0)
    normal = np.einsum("pki,pk,pkj->pij", g, weight, g)
    spread = (used.sum(1) >= FEWEST) & seen
    spread &= np.linalg.cond(normal + 1e-300 * np.eye(2)) < 1e4
    if not spread.any():
        return np.zeros(len(peaks))
    moment = -np.einsum("pki,pk,pk->pi", g, weight, heights)
    before = np.linalg.solve(np.where(spread[:, None, None], normal, np.eye(2)), moment[..., None])[..., 0]
    after = _circle(g[spread], used[spread], u[spread], electrons[spread], before[spread], radius, pixel.curvature)
    change = np.zeros_like(before)
    change[spread] = after - before[spread]
    result = np.empty(len(peaks))
    result[order[there]] = -(g @ change[..., None])[..., 0][there]
    return result


def _circle(
    g: np.ndarray,
    used: np.ndarray,
    u: np.ndarray,
    electrons: np.ndarray,
    start: np.ndarray,
    radius: float,
    curvature: float,
) -> np.ndarray:
    """Centres of Laue circles [px], (P, 2), of patterns with reflections g (P, K, 2)."""
    length = np.where(used, np.hypot(g[..., 0], g[..., 1]), 1.0)
    h, u = length * radius, np.maximum(u, WEAKEST)
    seen = np.log(np.maximum(electrons, 0) + DARK)
    deviation = np.sqrt(SCATTER**2 + 1 / (np.maximum(electrons, 0) + DARK))
    brightest = np.sort(np.where(used, electrons, 0), axis=1)[:, -3:].mean(1)
    k, w = np.log(SHARPNESS), np.log(WIDTH / curvature)
    middle = np.column_stack([start, np.full(len(g), k), np.log(brightest + 5 * DARK), np.full(len(g), w)])
    loose = np.empty((len(g), 5))
    loose[:, :2] = np.hypot(FLOOR * radius, SHARE * np.hypot(*start.T))[:, None]
    loose[:, 2:] = LOOSE, np.inf, LOOSE

    def residuals(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of logarithms of intensities, over their deviations, (P, K), and their derivatives, (P, K, 5)."""
        own, width = u * np.exp(x[:, 2, None]), np.exp(x[:, 4, None])
        kappa = np.hypot(own, width)
        s = length**2 / 2 - np.einsum("pki,pi->pk", g, x[:, :2])
        above, below = (s + h) ** 2 + kappa**2, (s - h) ** 2 + kappa**2
        angle = np.maximum(np.arctan((s + h) / kappa) - np.arctan((s - h) / kappa), 1e-12)
        made = np.exp(x[:, 3, None]) * own**2 / kappa * angle / (2 * h)
        by_s = (kappa / above - kappa / below) / angle
        by_kappa = ((s - h) / below - (s + h) / above) / angle - 1 / kappa
        share = -made / (made + DARK) / deviation * used  # of relative changes in changes of the logarithm
        relative = (-by_s[..., None] * g, 2 + by_kappa * own**2 / kappa, np.ones_like(s), by_kappa * width**2 / kappa)
        slopes = np.concatenate([part if part.ndim == 3 else part[..., None] for part in relative], axis=2)
        return np.where(used, (seen - np.log(made + DARK)) / deviation, 0), share[..., None] * slopes

    def cost(x: np.ndarray, r: np.ndarray) -> np.ndarray:
        """What is least at the best x, (P,)."""
        soft = 2 * OUTLIER**2 * (np.sqrt(1 + (r / OUTLIER) ** 2) - 1)
        return soft.sum(1) + (((x - middle) / loose) ** 2).sum(1)

    x, damping = middle.copy(), np.full(len(g), 1e-2)
    r, slopes = residuals(x)
    least = cost(x, r)
    for _ in range(ROUNDS):
        weight = 1 / np.sqrt(1 + (r / OUTLIER) ** 2)
        normal = np.einsum("pki,pk,pkj->pij", slopes, weight, slopes) + loose[:, None] ** -2.0 * np.eye(5)
        gradient = np.einsum("pki,pk->pi", slopes, weight * r) + (x - middle) / loose**2
        ridge = damping[:, None] * np.einsum("pii->pi", normal) + 1e-12
        step = np.linalg.solve(normal + ridge[:, None] * np.eye(5), gradient[..., None])[..., 0]
        tried = x - step
        r_tried, slopes_tried = residuals(tried)
        cost_tried = cost(tried, r_tried)
        better = cost_tried < least
        x, r, slopes = (
            np.where(better.reshape(-1, *(1,) * (new.ndim - 1)), new, old)
            for new, old in ((tried, x), (r_tried, r), (slopes_tried, slopes))
        )
        least = np.where(better, cost_tried, least)
        damping = np.clip(np.where(better, damping / 3, damping * 10), 1e-6, 1e6)
    return x[:, :2]
