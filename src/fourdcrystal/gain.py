"""A camera's gain: what one electron is in the numbers of its patterns, and what the camera adds to them.

Electrons that are counted have a variance of as many. A camera that counts them has numbers that are multiples of one
step. One that integrates has numbers that rise by its gain g per electron on top of an offset o and a read noise of
variance r². Their variance is v = r² + g (m - o), a line over the means m of its pixels (photon transfer, Janesick,
2007). In units of the gain, and with v / g² - m / g of the dark added, numbers have a variance that is their mean, so
that what is said of counts holds for them, too (Snyder, Hammoud and White, J. Opt. Soc. Am. A 10, 1014 (1993)).
"""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import uniform_filter

ENOUGH = 2**22  # numbers that tell what the step between them is
FEWEST_TIMES = 3  # numbers, or all there are, that must be multiples of a step
MULTIPLES = 1000  # of a step between numbers, up to which they are looked at
GROUPS = 12  # of pixels, by their mean, to which the line is fitted
RISING = 4.0  # standard deviations that a line rises by, or it says nothing
QUIET = 0.25  # quantile over pairs of patterns: where they show different things, the variance of both is too large
COUNTED = 4.0  # steps; an electron that is more of them is no count but a camera's gain
ADDED = 0.5  # of the darkest pixels, and at least one electron: so much less, or more, noise is the camera's


@dataclass(frozen=True)
class Gain:
    """What turns a camera's numbers into electrons, or into what has their mean and variance.

    Attributes:
        electron: One electron in the camera's numbers.
        dark: What is to be added to each pixel [electrons]: variance of the read noise minus offset.
        counted: Whether numbers are multiples of one electron; otherwise noise told it.
    """

    electron: float = 1.0
    dark: float = 0.0
    counted: bool = True

    def counts(self, patterns: np.ndarray) -> np.ndarray:
        """Patterns in electrons, float32, of a variance that is their mean."""
        return patterns / np.float32(self.electron) + np.float32(self.dark)

    def words(self) -> str | None:
        """Says what isn't taken as counts, in a sentence; none for a camera that counts electrons."""
        if self.counted and not self.dark:
            return None
        if self.counted:
            size = _rounded(abs(self.dark) ** (0.5 if self.dark > 0 else 1) * self.electron)
            what = (
                f"a read noise of {size}, which counts" if self.dark > 0 else f"an offset of {size}, which is taken off"
            )
            return f"the camera's numbers have {what}"
        return (
            "the camera's numbers have a gain and read noise, so what one electron is was told from their noise, about "
            f"{_rounded(self.electron)}: electrons in disks and significance are estimates"
        )


def of_patterns(patterns: np.ndarray) -> Gain:
    """The gain that patterns show.

    The step between numbers is one electron, unless the noise says that an electron is several steps; where there is
    none, noise alone tells. Within a factor of 0.9 to 2.6 it does (docs/log.md), too large where patterns differ most.

    Args:
        patterns: Numbers of the camera, (N, X, Y), pairs of neighbours in the scan one after the other; finite, or NaN
            where the camera has none.
    """
    some = patterns.reshape(-1)[:: 1 + patterns.size // ENOUGH]
    values = np.unique(some[np.isfinite(some) & (some > 0)])
    if not len(values):
        return Gain()
    step, noise = _step(values), _noise(patterns)
    if noise is None:
        return Gain(step) if step else Gain(float(values[0]), counted=False)
    electron, mean, variance = noise
    counted = step is not None and (electron < COUNTED * step or len(patterns) < 2)
    if step is not None and counted:
        electron = step
    dark = variance / electron**2 - mean / electron
    added = abs(dark) > max(ADDED * abs(mean) / electron, 1)
    return Gain(electron, dark if added or not counted else 0.0, counted)


def _rounded(number: float) -> str:
    """Two figures of a number, in words' notation."""
    return f"{float(f'{number:.2g}'):,g}"


def _step(values: np.ndarray) -> float | None:
    """The step that ascending numbers are multiples of; none if they are of none."""
    step = float(np.diff(values, prepend=0).min())
    times = values[values < MULTIPLES * step] / step
    enough = len(times) >= min(len(values), FEWEST_TIMES)  # noise has steps far below its smallest numbers
    return step if enough and np.abs(times - np.rint(times)).max() < 0.02 else None


def _noise(patterns: np.ndarray) -> tuple[float, float, float] | None:
    """How the variance rises with the mean, and mean and variance of the darkest pixels; none where it isn't known.

    The variance is that of differences between neighbouring pixels and, where there are several patterns, between
    pairs of them: shapes that a pixel's neighbour or the next pattern has, too, don't count.
    """
    known = patterns[np.isfinite(patterns).any((1, 2))].astype(float)
    seen = np.isfinite(known).all(0)
    together = min(len(known), 2)
    here = seen[:, 1:] & seen[:, :-1]
    if not together or here.sum() < GROUPS:
        return None
    known = np.where(seen, known, 0)
    pairs = known[: len(known) // together * together].reshape(-1, together, *seen.shape)
    means = ((pairs[..., 1:] + pairs[..., :-1]) / 2).mean(1)[:, here]
    changes = np.diff(pairs[:, 0] - pairs[:, 1] if together == 2 else pairs[:, 0])[:, here]
    level = uniform_filter(known.mean(0), 5)
    level = np.maximum(level[:, 1:], level[:, :-1])[here]
    group = np.searchsorted(np.quantile(level, np.arange(1, GROUPS) / GROUPS), level)
    size = np.bincount(group, minlength=GROUPS)
    lines = []
    for mean, change in zip(means, changes, strict=True):
        m, v = (np.bincount(group, part, GROUPS)[size > 0] / size[size > 0] for part in (mean, change**2))
        v = v / (2 * together)
        m, v, weight = m[v > 0], v[v > 0], np.sqrt(size[size > 0][v > 0])
        if len(np.unique(m)) > 1:
            line, deviation = np.polyfit(m, v, 1, w=weight / v / np.sqrt(2), cov="unscaled")
            if line[0] > RISING * np.sqrt(deviation[0, 0]):
                lines.append((float(line[0]), float(m.min()), float(np.polyval(line, m.min()))))
    lines.sort()
    return lines[int(QUIET * len(lines))] if lines else None
