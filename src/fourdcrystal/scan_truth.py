"""A made scan's exact truth, and how far what was found is from it."""

from dataclasses import replace

import numpy as np

from fourdcrystal import correlation, metrics, strain
from fourdcrystal.mapping import Maps
from fourdcrystal.metrics import Truth
from fourdcrystal.peaks import Peaks
from fourdcrystal.scans import Scan

MATCH_DISTANCE = 0.05  # 1/Å


def reflections(scan: Scan) -> Truth:
    """True reflections of a made scan.

    Not counted are the direct beam, disks cut by the detector's edge, and those below 1 % of the strongest.
    """
    centres = scan.truth["centres"].reshape(len(scan), -1, 2)
    weight = scan.truth["weight"].reshape(len(scan), -1)
    radius = correlation.radius(scan.probe)
    inside = (centres > radius).all(2) & (centres < np.array(scan.shape) - 1 - radius).all(2)
    direct = (scan.truth["hkl"] == 0).all(1)
    strongest = np.where(direct, 0, weight).max(1, keepdims=True)
    counted = inside & ~direct & (weight >= 0.01 * strongest)
    g = scan.truth["g"].reshape(len(scan), -1, 3) if "g" in scan.truth else np.zeros((*weight.shape, 3))
    if "g" not in scan.truth:
        g[..., :2] = (centres - centres[:, direct]) * scan.dq
    pattern = np.repeat(np.arange(len(scan)), weight.shape[1])
    return Truth(pattern, centres.reshape(-1, 2), weight.ravel(), g.reshape(-1, 3), counted.ravel())


def scores(scan: Scan, peaks: Peaks, in_volts: bool) -> dict[str, float]:
    """Figures of :func:`fourdcrystal.metrics.summary` for the peaks of a made scan."""
    true = reflections(scan)
    border = correlation.radius(scan.probe)
    matches = metrics.match(peaks, true, MATCH_DISTANCE / scan.dq, scan.shape, border)
    volts = peaks.intensity if in_volts else metrics.in_volts(peaks, true, matches)
    dq = np.full(len(scan), scan.dq)
    return metrics.summary(metrics.by_pattern(peaks, true, matches, volts, len(scan), dq), dq)


def strains(scan: Scan, maps: Maps, region: np.ndarray | None = None) -> np.ndarray:
    """True e_xx, e_yy, e_xy, theta, (P, 4), relative to the measured ones' reference and along their axes.

    Relative to the crystal's own lattice only strain is known: its θ counts from the measured in-plane rotation.
    """
    transposed = scan.truth["distortion"].reshape(-1, 2, 2).swapaxes(1, 2)
    exact = replace(maps.lattices, vectors=maps.reference @ transposed)
    reference = maps.reference if maps.absolute else strain.reference(exact, region)
    return strain.in_frame(strain.of_lattices(exact, reference), maps.frame).values


def errors(scan: Scan, peaks: Peaks, maps: Maps, in_volts: bool, region: np.ndarray | None = None) -> dict[str, float]:
    """How far results are from the truth: the figures of :func:`metrics.summary` that apply, strain and tilt maps.

    ``strain_within`` is the share of strain components whose error is less than its stated standard uncertainty.
    Patterns without strain, such as those of another phase, don't count.
    """
    figures = scores(scan, peaks, in_volts)
    kept = ("score", "score_weighted", "position_median_px", "position_rms_px", "r_factor")
    result = {name: figures[name] for name in kept}
    if "distortion" in scan.truth and np.isfinite(maps.strain.values).all(1).any():
        known = np.isfinite(maps.strain.values).all(1)
        off = (maps.strain.values - strains(scan, maps, region))[known]
        result["strain_rmse"] = float(np.sqrt(np.mean(off[:, :3] ** 2)))
        stated = maps.strain.sigma[known]
        result["strain_within"] = float(np.mean(np.abs(off[:, :3]) < stated[:, :3]))
        if not maps.absolute:
            result["rotation_rmse_mrad"] = 1e3 * float(np.sqrt(np.mean(off[:, 3] ** 2)))
    if "tilt" in scan.truth and np.isfinite(maps.tilt).any():
        off = maps.tilt - scan.truth["tilt"].reshape(-1, 2)
        result["tilt_median_mrad"] = 1e3 * float(np.nanmedian(np.hypot(*off.T)))
    return {name: round(value, 6) for name, value in result.items() if np.isfinite(value)}
