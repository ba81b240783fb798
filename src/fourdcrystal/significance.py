"""Whether counts stand behind a peak.

A network knows that reflections lie on a lattice and may put one where its V_g belongs although no electron arrived
there. For the potential map that is right; for positions and strain such a peak is a guess.
"""

import warnings
from collections.abc import Callable

import numpy as np
import torch

from fourdcrystal import correlation
from fourdcrystal.peaks import Peaks, spaced

LEAST = 4.0  # standard deviations above the background
SECTORS = 8  # of the ring whose median is the background: neighbouring disks cover the others
APART = 0.75  # radii of the probe; two peaks that are closer after refinement lie on one disk


def of_peaks(patterns: np.ndarray, probe: np.ndarray, peaks: Peaks) -> np.ndarray:
    """Counts in each peak's disk above the background of a ring around it, in standard deviations, (N,).

    The noise is that of Poisson statistics with the pattern's smallest positive number as one electron, so patterns in
    other units than electrons are judged mildly rather than wrongly.

    Args:
        patterns: Counts, (P, X, Y).
        probe: Vacuum probe, (X, Y).
        peaks: Peaks of the patterns.
    """
    if not len(peaks):
        return np.zeros(0)
    size = correlation.radius(probe)
    reach = int(np.ceil(size + 4))
    steps = np.arange(-reach, reach + 1)
    distance = np.hypot(steps[:, None], steps[None])
    angle = np.floor((np.arctan2(steps[None], steps[:, None]) / (2 * np.pi) + 0.5) * SECTORS).clip(0, SECTORS - 1)
    inside, ring = distance <= max(size, 1.0), (distance > size + 1) & (distance <= size + 4)
    positive = np.where(patterns > 0, patterns, np.inf).min((1, 2))
    electron = np.where(np.isfinite(positive), positive, 1.0)
    padded = np.pad(patterns, ((0, 0), (reach, reach), (reach, reach)), constant_values=np.nan)
    x, y = np.rint(peaks.positions).astype(int).T
    x, y = x.clip(0, patterns.shape[1] - 1), y.clip(0, patterns.shape[2] - 1)
    result = np.empty(len(peaks))
    for start in range(0, len(peaks), 2048):
        part = slice(start, start + 2048)
        rows, columns = x[part, None] + steps + reach, y[part, None] + steps + reach
        crops = padded[peaks.pattern[part, None, None], rows[:, :, None], columns[:, None]]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # a sector outside the frame has no mean
            means = [np.nanmean(np.where(ring & (angle == s), crops, np.nan), axis=(1, 2)) for s in range(SECTORS)]
            background = np.nan_to_num(np.nanmedian(means, axis=0))
        seen = np.where(inside, crops, np.nan)
        area = np.isfinite(seen).sum((1, 2))
        total = np.nansum(seen, axis=(1, 2))
        unit = electron[peaks.pattern[part]]
        noise = unit * (total + background * area**2 / (ring.sum() / 2)) + unit**2
        result[part] = (total - background * area) / np.sqrt(noise)
    return result


def confirmed(patterns: np.ndarray, probe: np.ndarray, peaks: Peaks) -> Peaks:
    """Peaks that counts stand behind."""
    return peaks.where(of_peaks(patterns, probe, peaks) >= LEAST)


def refined(
    patterns: np.ndarray,
    probe: np.ndarray,
    peaks: Peaks,
    refine: Callable[[np.ndarray, np.ndarray, Peaks], Peaks],
) -> Peaks:
    """Refined positions of the peaks that counts stand behind, one for each disk."""
    return single(probe, refine(patterns, probe, confirmed(patterns, probe, peaks)))


def single(probe: np.ndarray, peaks: Peaks) -> Peaks:
    """One peak for each disk: of several on the same disk the strongest stays."""
    apart = APART * correlation.radius(probe)
    most = int(peaks.pattern.max(initial=-1)) + 1
    return peaks.where(spaced(torch.as_tensor(peaks.pattern), torch.as_tensor(peaks.positions), apart, most).numpy())
