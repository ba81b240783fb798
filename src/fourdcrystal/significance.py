"""Whether counts stand behind a peak.

A network knows that reflections lie on a lattice and may put one where its V_g belongs although no electron arrived
there. For the potential map that is right; for positions and strain such a peak is a guess.
"""

from collections.abc import Callable

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view

from fourdcrystal import correlation
from fourdcrystal.peaks import Peaks, spaced

LEAST = 4.0  # standard deviations above the background
SECTORS = 8  # of the ring whose median is the background: neighbouring disks cover the others
CHUNK = 1024  # peaks at a time
APART = 0.75  # radii of the probe; two peaks that are closer after refinement lie on one disk


def of_peaks(patterns: np.ndarray, probe: np.ndarray, peaks: Peaks) -> np.ndarray:
    """Counts in each peak's disk above the background of a ring around it, in standard deviations, (N,).

    The noise is that of Poisson statistics with the pattern's smallest positive number as one electron, so patterns in
    other units than electrons are judged mildly rather than wrongly.

    Args:
        patterns: Counts, (P, X, Y); finite where there are peaks.
        probe: Vacuum probe, (X, Y).
        peaks: Peaks of the patterns.
    """
    if not len(peaks):
        return np.zeros(0)
    size = correlation.radius(probe)
    reach = int(np.ceil(size + 4))
    areas = _areas(size, reach).reshape(-1, SECTORS + 1)
    positive = np.where(patterns > 0, patterns, np.inf).min((1, 2))
    electron = np.where(np.isfinite(positive), positive, 1.0)
    side = (2 * reach + 1,) * 2
    around = sliding_window_view(np.pad(patterns, ((0, 0), (reach, reach), (reach, reach))), side, (1, 2))
    frame = sliding_window_view(np.pad(np.ones(patterns.shape[1:], np.float32), reach), side)
    x, y = np.rint(peaks.positions).astype(int).T
    x, y = x.clip(0, patterns.shape[1] - 1), y.clip(0, patterns.shape[2] - 1)
    result = np.empty(len(peaks))
    for start in range(0, len(peaks), CHUNK):
        part = slice(start, start + CHUNK)
        sums = around[peaks.pattern[part], x[part], y[part]].reshape(-1, len(areas)).astype(float) @ areas
        seen = frame[x[part], y[part]].reshape(-1, len(areas)) @ areas  # pixels of each area within the frame
        total, area = sums[:, 0], seen[:, 0]
        background = _median(np.divide(sums, seen, out=np.full_like(sums, np.inf), where=seen > 0)[:, 1:])
        unit = electron[peaks.pattern[part]]
        noise = unit * (total + background * area**2 / (areas[:, 1:].sum() / 2)) + unit**2
        result[part] = (total - background * area) / np.sqrt(noise)
    return result


def _areas(size: float, reach: int) -> np.ndarray:
    """Masks of a disk of a radius [px] and of the sectors of the ring around it, (S, S, 1 + SECTORS)."""
    steps = np.arange(-reach, reach + 1)
    distance = np.hypot(steps[:, None], steps[None])
    angle = np.floor((np.arctan2(steps[None], steps[:, None]) / (2 * np.pi) + 0.5) * SECTORS).clip(0, SECTORS - 1)
    ring = (distance > size + 1) & (distance <= size + 4)
    return np.stack([distance <= max(size, 1.0), *(ring & (angle == s) for s in range(SECTORS))], -1).astype(float)


def _median(values: np.ndarray) -> np.ndarray:
    """Medians of the finite values of each row, (N, n) to (N,); 0 where none is."""
    ordered, count = np.sort(values, 1), np.isfinite(values).sum(1)
    rows = np.arange(len(values))
    middle = (ordered[rows, np.maximum(count - 1, 0) // 2] + ordered[rows, np.minimum(count // 2, SECTORS - 1)]) / 2
    return np.where(count > 0, middle, 0.0)


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
