"""Whether counts stand behind a peak.

A network knows that reflections lie on a lattice and may put one where its V_g belongs although no electron arrived
there. For the potential map that is right; for positions and strain such a peak is a guess.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view

from fourdcrystal import background, correlation
from fourdcrystal.peaks import Peaks, spaced

LEAST = 4.0  # standard deviations above the background
FAINT = 2.0  # the same where a disk is as likely as none; see :mod:`fourdcrystal.occupancy`
BESIDE = 1.0  # px beyond the disk's edge, where the ring begins, and where other disks end
FEWEST = 0.25  # of a sector must be free of other disks
SECTORS = 8  # of the ring whose median is the background: neighbouring disks cover the others
CHUNK = 1024  # peaks at a time
APART = 0.75  # radii of the probe; two peaks that are closer after refinement lie on one disk


def judged(patterns: np.ndarray, probe: np.ndarray, peaks: Peaks) -> Peaks:
    """The peaks with the electrons in their disks above the background, and how many standard deviations that is.

    The root of the likelihood ratio of counts on and off a source (Li and Ma, Astrophys. J. 272, 317 (1983), eq. 17),
    which holds for few electrons, too. Off it are a ring around the disk without what other peaks' disks light up of
    it, half of which is believed, and one electron in the area that holds one by the mean of the pattern at that
    distance from the direct beam: where the ring has next to none, or other disks cover it, that tells the background
    better.

    Args:
        patterns: Electrons (:mod:`fourdcrystal.gain`), (P, X, Y); finite where there are peaks.
        probe: Vacuum probe, (X, Y).
        peaks: Peaks of the patterns.
    """
    if not len(peaks):
        return peaks
    size = correlation.radius(probe)
    reach = int(np.ceil(size + 4))
    areas = _areas(size, reach).reshape(-1, SECTORS + 1)
    whole = areas[:, 1:].sum(0)
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
        on = np.maximum(around[at].reshape(-1, len(areas)).astype(float) @ areas[:, 0], 0)  # read noise may be below
        area_on = frame[x[part], y[part]].reshape(-1, len(areas)) @ areas[:, 0]  # pixels within the frame
        sums, seen = (images[at].reshape(-1, len(areas)).astype(float) @ areas[:, 1:] for images in (lit, dark))
        beside = _median(np.divide(sums, seen, out=np.full_like(sums, np.inf), where=seen >= FEWEST * whole))
        ring = seen.sum(1) / 2
        off, area_off = np.maximum(beside, 0) * ring + 1, ring + 1 / level[part]
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
) -> Peaks:
    """Refined positions of the peaks that counts stand behind, one for each disk.

    Args:
        patterns: Electrons (:mod:`fourdcrystal.gain`), (P, X, Y); finite where there are peaks.
        probe: Vacuum probe, (X, Y).
        peaks: Peaks of the patterns.
        refine: Gives better positions of peaks.
        faint: Keep those that only a scan can tell from noise, too.
    """
    found = judged(patterns, probe, peaks)
    kept = found.significance >= FAINT if faint else sure(found)
    placed = judged(patterns, probe, refine(np.maximum(patterns, 0), probe, found.where(kept)))
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
