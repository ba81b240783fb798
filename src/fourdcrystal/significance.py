"""Whether counts stand behind a peak.

A network knows that reflections lie on a lattice and may put one where its V_g belongs although no electron arrived
there. For the potential map that is right; for positions and strain such a peak is a guess.
"""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from scipy.ndimage import uniform_filter

from fourdcrystal import background, correlation
from fourdcrystal.peaks import Peaks, spaced

LEAST = 4.0  # standard deviations above the background
FAINT = 2.0  # the same where a disk is as likely as none; see :mod:`fourdcrystal.occupancy`
BESIDE = 1.0  # px beyond the disk's edge, where the ring begins, and where other disks end
FEWEST = 0.25  # of a sector must be free of other disks
SECTORS = 8  # of the ring whose median is the background: neighbouring disks cover the others
CHUNK = 1024  # peaks at a time
ENOUGH = 2**22  # numbers that tell what the step between them is
DARK = (0.0, 0.2, 0.4)  # of pixels, in order of their counts, between which noise is looked at
FEWEST_TIMES = 3  # numbers, or all there are, that must be multiples of a step
MULTIPLES = 1000  # of a step between numbers, up to which they are looked at
APART = 0.75  # radii of the probe; two peaks that are closer after refinement lie on one disk


def unit(patterns: np.ndarray) -> float:
    """One electron in the numbers of patterns: the step between them, or where they have none what noise says.

    Counts of electrons have a variance of as many, so what the variance of neighbours rises by with the mean is one.
    It is read off the darker pixels, where patterns are smooth, within a factor of 0.6 to 1.6 (docs/log.md).
    """
    values = _values(patterns)
    if not len(values):
        return 1.0
    return _step(values) or _noise(patterns) or float(values[0])


def doubts(patterns: np.ndarray) -> str | None:
    """Says that one electron can't be told from patterns' numbers, in a sentence; none if it can.

    Args:
        patterns: Some of a scan, (P, X, Y), in the camera's numbers.
    """
    values = _values(patterns)
    if not len(values) or _step(values) is not None:
        return None
    return (
        "the patterns' numbers are no multiples of one step, as with a camera's read noise, so what one electron "
        "is was told from their noise: electrons in disks and significance are estimates"
    )


def _values(patterns: np.ndarray) -> np.ndarray:
    """The different positive numbers of patterns, ascending, or of enough of their pixels."""
    some = patterns.reshape(-1)[:: 1 + patterns.size // ENOUGH]
    return np.unique(some[np.isfinite(some) & (some > 0)])


def _step(values: np.ndarray) -> float | None:
    """The step that ascending numbers are multiples of; none if they are of none."""
    step = float(np.diff(values, prepend=0).min())
    times = values[values < MULTIPLES * step] / step
    enough = len(times) >= min(len(values), FEWEST_TIMES)  # noise has steps far below its smallest numbers
    return step if enough and np.abs(times - np.rint(times)).max() < 0.02 else None


def _noise(patterns: np.ndarray) -> float | None:
    """By how much more the variance is than the mean between the two darkest fifths of pixels; none if it isn't.

    So a camera's offset and its read noise, which are the same in both, don't count. Variances are those of neighbours.
    """
    known = patterns.reshape(-1, *patterns.shape[-2:])
    known = known[np.isfinite(known).all((1, 2))]
    if not len(known):
        return None
    level = uniform_filter(known.mean(0, dtype=float), 5)
    pair = np.maximum(level[:, 1:], level[:, :-1])
    limits, means, variances = np.quantile(pair, DARK), [], []
    for low, high in pairwise(limits):
        here = (pair > low) & (pair <= high)
        left, right = (side[:, here].astype(float) for side in (known[:, :, :-1], known[:, :, 1:]))
        if not left.size:
            return None
        means.append((left + right).mean() / 2)
        variances.append(((left - right) ** 2).mean() / 2)
    more = np.subtract(*means[::-1]), np.subtract(*variances[::-1])
    return float(more[1] / more[0]) if min(more) > 0 else None


def judged(patterns: np.ndarray, probe: np.ndarray, peaks: Peaks, electron: float | None = None) -> Peaks:
    """The peaks with the electrons in their disks above the background, and how many standard deviations that is.

    The root of the likelihood ratio of counts on and off a source (Li and Ma, Astrophys. J. 272, 317 (1983), eq. 17),
    which holds for few electrons, too. Off it are a ring around the disk without what other peaks' disks light up of
    it, half of which is believed, and one electron in the area that holds one by the mean of the pattern at that
    distance from the direct beam: where the ring has next to none, or other disks cover it, that tells the background
    better.

    Args:
        patterns: Counts, (P, X, Y); finite where there are peaks.
        probe: Vacuum probe, (X, Y).
        peaks: Peaks of the patterns.
        electron: One electron in the patterns' numbers; none: what :func:`unit` says of these patterns.
    """
    if not len(peaks):
        return peaks
    size = correlation.radius(probe)
    reach = int(np.ceil(size + 4))
    areas = _areas(size, reach).reshape(-1, SECTORS + 1)
    whole = areas[:, 1:].sum(0)
    patterns = patterns / np.float32(unit(patterns) if electron is None else electron)
    level = background.around_beam(patterns, probe, peaks)
    side = (2 * reach + 1,) * 2
    free = ~background.covered(patterns.shape, probe, peaks, size + BESIDE)
    edge = ((0, 0), (reach, reach), (reach, reach))
    around, lit, dark = (
        sliding_window_view(np.pad(images, edge), side, (1, 2))
        for images in (patterns, patterns * free, free.astype(np.float32))
    )
    frame = sliding_window_view(np.pad(np.ones(patterns.shape[1:], np.float32), reach), side)
    x, y = np.rint(peaks.positions).astype(int).T
    x, y = x.clip(0, patterns.shape[1] - 1), y.clip(0, patterns.shape[2] - 1)
    electrons, deviations = np.empty(len(peaks)), np.empty(len(peaks))
    for start in range(0, len(peaks), CHUNK):
        part = slice(start, start + CHUNK)
        at = peaks.pattern[part], x[part], y[part]
        on = around[at].reshape(-1, len(areas)).astype(float) @ areas[:, 0]
        area_on = frame[x[part], y[part]].reshape(-1, len(areas)) @ areas[:, 0]  # pixels within the frame
        sums, seen = (images[at].reshape(-1, len(areas)).astype(float) @ areas[:, 1:] for images in (lit, dark))
        beside = _median(np.divide(sums, seen, out=np.full_like(sums, np.inf), where=seen >= FEWEST * whole))
        ring = seen.sum(1) / 2
        off, area_off = beside * ring + 1, ring + 1 / level[part]
        electrons[part] = on - area_on * off / area_off
        deviations[part] = excess(on, area_on, off, area_off)
    return replace(peaks, significance=deviations, electrons=electrons)


def excess(on: np.ndarray, area_on: np.ndarray, off: np.ndarray, area_off: np.ndarray) -> np.ndarray:
    """Electrons on a source above what is expected from off it, in standard deviations; negative below it.

    Li and Ma, eq. 17: the signed root of twice the logarithm of the likelihood ratio.

    Args:
        on: Electrons on it.
        area_on: Pixels that they fell on.
        off: Electrons off it, more than none.
        area_off: Pixels that they fell on.
    """
    share = area_on / (area_on + area_off)
    expected = share * (on + off), (1 - share) * (on + off)  # without a source
    gained = np.where(on > 0, on * np.log(np.maximum(on, 1e-9) / np.maximum(expected[0], 1e-300)), 0)
    squared = 2 * (gained + off * np.log(off / expected[1]))
    return np.sign(on - expected[0]) * np.sqrt(np.maximum(squared, 0))


def _areas(size: float, reach: int) -> np.ndarray:
    """Masks of a disk of a radius [px] and of the sectors of the ring around it, (S, S, 1 + SECTORS)."""
    steps = np.arange(-reach, reach + 1)
    distance = np.hypot(steps[:, None], steps[None])
    angle = np.floor((np.arctan2(steps[None], steps[:, None]) / (2 * np.pi) + 0.5) * SECTORS).clip(0, SECTORS - 1)
    ring = (distance > size + BESIDE) & (distance <= size + 4)
    return np.stack([distance <= max(size, 1.0), *(ring & (angle == s) for s in range(SECTORS))], -1).astype(float)


def _median(values: np.ndarray) -> np.ndarray:
    """Medians of the finite values of each row, (N, n) to (N,); 0 where none is."""
    ordered, count = np.sort(values, 1), np.isfinite(values).sum(1)
    rows = np.arange(len(values))
    middle = (ordered[rows, np.maximum(count - 1, 0) // 2] + ordered[rows, np.minimum(count // 2, SECTORS - 1)]) / 2
    return np.where(count > 0, middle, 0.0)


def sure(peaks: Peaks) -> np.ndarray:
    """Which peaks counts stand behind by themselves, (N,); all whose counts nobody looked at."""
    return ~(peaks.significance < LEAST)


def refined(
    patterns: np.ndarray,
    probe: np.ndarray,
    peaks: Peaks,
    refine: Callable[[np.ndarray, np.ndarray, Peaks], Peaks],
    faint: bool = False,
    electron: float | None = None,
) -> Peaks:
    """Refined positions of the peaks that counts stand behind, one for each disk.

    Args:
        patterns: Counts, (P, X, Y); finite where there are peaks.
        probe: Vacuum probe, (X, Y).
        peaks: Peaks of the patterns.
        refine: Gives better positions of peaks.
        faint: Keep those that only a scan can tell from noise, too.
        electron: See :func:`judged`.
    """
    found = judged(patterns, probe, peaks, electron)
    kept = found.significance >= FAINT if faint else sure(found)
    placed = judged(patterns, probe, refine(patterns, probe, found.where(kept)), electron)
    return single(probe, placed if faint else placed.where(sure(placed)))


def single(probe: np.ndarray, peaks: Peaks) -> Peaks:
    """One peak for each disk, of :func:`distinct` ones."""
    return peaks.where(distinct(probe, peaks))


def distinct(probe: np.ndarray, peaks: Peaks) -> np.ndarray:
    """Which peaks have a disk of their own, (M,): of several on one the strongest, of sure and faint ones a sure."""
    apart = APART * correlation.radius(probe)
    most = int(peaks.pattern.max(initial=-1)) + 1
    order = np.lexsort((~sure(peaks), peaks.pattern))  # stable: within both, from strong to weak as before
    pattern, positions = torch.as_tensor(peaks.pattern[order]), torch.as_tensor(peaks.positions[order])
    return np.sort(order[spaced(pattern, positions, apart, most).numpy()])
