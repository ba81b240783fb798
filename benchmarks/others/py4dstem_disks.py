"""Disks as py4DSTEM finds them, for scan_accuracy.py; runs in an environment that has py4DSTEM and needs nothing else.

python py4dstem_disks.py THRESHOLD SCAN.npz RADIUS [SCAN.npz RADIUS ...]

Writes SCAN.NAME.found.npy for every way of doing it: rows of pattern, q_x [px], q_y [px], intensity.
"""

import sys
import warnings
from pathlib import Path

import numpy as np
import py4DSTEM
import py4DSTEM.braggvectors.diskdetection as detection
from rows import save

warnings.filterwarnings("ignore")
detection.tqdmnd = lambda *ranges, **_: np.ndindex(*(len(r) if hasattr(r, "__len__") else r for r in ranges))


def disks(patterns: np.ndarray, vacuum: np.ndarray, radius: float, threshold: float, subpixel: str) -> np.ndarray:
    """Rows of pattern, position and height of the correlation."""
    probe = py4DSTEM.Probe(vacuum)
    probe.get_kernel(mode="sigmoid", radii=(radius, 2 * radius), bilinear=False)
    found = py4DSTEM.DataCube(patterns).find_Bragg_disks(
        template=probe.kernel,
        corrPower=1,
        sigma_cc=2,
        subpixel=subpixel,
        upsample_factor=16,
        edgeBoundary=max(1, round(radius / 2)),
        minRelativeIntensity=threshold,
        relativeToPeak=0,
        minPeakSpacing=radius,
        maxNumPeaks=100,
    )
    places = [found.raw[at] for at in np.ndindex(*patterns.shape[:2])]
    rows = [np.column_stack([np.full(len(p.qx), n), p.qx, p.qy, p.data["intensity"]]) for n, p in enumerate(places)]
    return np.concatenate(rows)


if __name__ == "__main__":
    for path, radius in zip(sys.argv[2::2], sys.argv[3::2], strict=True):
        with np.load(path) as file:
            counts, vacuum = file["scan"].astype(float), file["probe"].astype(float)
        for subpixel in ("poly", "multicorr"):
            for name, scaled in (("", lambda image: image), (", root", np.sqrt)):
                made = disks(scaled(counts), scaled(vacuum), float(radius), float(sys.argv[1]), subpixel)
                save(Path(path).with_suffix(f".py4DSTEM {subpixel}{name}.found.npy"), made)
