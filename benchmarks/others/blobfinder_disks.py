"""Disks as LiberTEM-blobfinder finds them, for scan_accuracy.py; runs in an environment that has it.

python blobfinder_disks.py SCAN.npz RADIUS [SCAN.npz RADIUS ...]

Candidates are the peaks of the summed scan, as its documentation has it; it takes logarithms of counts itself.
Writes SCAN.NAME.found.npy for every way of doing it: rows of pattern, q_x [px], q_y [px], elevation.
"""

import sys
from pathlib import Path

import numpy as np
from libertem_blobfinder.common import correlation, patterns
from rows import save

PEAKS, UPSAMPLING = 400, 20  # of the summed scan, before those beside a stronger one are left out


def candidates(total: np.ndarray, pattern: patterns.MatchPattern, radius: float) -> np.ndarray:
    """Peaks of the summed scan [px], from strong to weak, at least a diameter apart and within the detector, (N, 2)."""
    kept = []
    for peak in correlation.get_peaks(total, pattern, PEAKS):
        inside = (peak > radius).all() and (peak < np.array(total.shape) - 1 - radius).all()
        if inside and all(np.hypot(*(peak - other)) > 2 * radius for other in kept):
            kept.append(peak)
    return np.array(kept)


if __name__ == "__main__":
    for path, text in zip(sys.argv[1::2], sys.argv[2::2], strict=True):
        radius = float(text)
        with np.load(path) as file:
            scan = file["scan"].astype(np.float32)
        frames = scan.reshape(-1, *scan.shape[2:])
        pattern = patterns.RadialGradientBackgroundSubtraction(radius=radius)
        peaks = candidates(frames.sum(0), pattern, radius)
        for name, upsample in (("", False), (", upsampled", UPSAMPLING)):
            _, at, _, elevation = correlation.process_frames_fast(pattern, frames, peaks, upsample)
            rows = np.column_stack(
                [np.repeat(np.arange(len(frames)), len(peaks)), at.reshape(-1, 2), elevation.ravel()]
            )
            save(Path(path).with_suffix(f".blobfinder{name}.found.npy"), rows)
