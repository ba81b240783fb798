"""Friedel's law: |V_g| = |V_-g| in every crystal, so that the two disks of a pair tell one number.

The potential is real, hence V_-g is the complex conjugate of V_g (Spence & Zuo, Electron Microdiffraction, chapter 4).
Disks of a pair differ by their excitation errors and by what dynamical scattering makes of them, so each tells V_g with
an error of its own. Labels are I_g = |V_g| w(s_g) with w(s) = exp(-s² / 2σ²) (:mod:`fourdcrystal.labels`); of two such
numbers, as uncertain as they are large, V = (I_g + I_-g) / (w_g + w_-g).
"""

from dataclasses import replace

import numpy as np
from scipy.spatial import cKDTree

from fourdcrystal import direct_beam
from fourdcrystal.peaks import Peaks

MOST_DAMPED = 1.0  # exponent of a label's weight; heights are too uncertain to believe more of it


def mates(peaks: Peaks, centre: tuple[float, float], radius: float, apart: float) -> np.ndarray:
    """Each peak's mate at -g, or the peak itself where there is none, (N,) int64.

    Args:
        peaks: Peaks of many patterns.
        centre: Of the vacuum probe [px], about where the direct beam is (:func:`fourdcrystal.direct_beam.strongest`);
            patterns without one have no mates.
        radius: Of the probe's disk [px].
        apart: How far a mate may be from where it should be [px].
    """
    beam = direct_beam.strongest(peaks, centre, radius)
    known = np.flatnonzero(np.isfinite(beam[peaks.pattern, 0]))
    if not len(known):
        return np.arange(len(peaks))
    # patterns are laid side by side along a third axis, too far apart for a pair between them
    far = 10 * apart + 1
    at, number = peaks.positions[known], peaks.pattern[known] * far
    opposite = np.column_stack([2 * beam[peaks.pattern[known]] - at, number])
    _, nearest = cKDTree(np.column_stack([at, number])).query(opposite, distance_upper_bound=apart)
    there = nearest < len(known)
    there[there] = nearest[nearest[there]] == np.flatnonzero(there)  # each the other's
    result = np.arange(len(peaks))
    result[known[there]] = known[nearest[there]]
    return result


def shared(
    peaks: Peaks, centre: tuple[float, float], radius: float, apart: float, curvature: float, sigma: float
) -> Peaks:
    """Peaks whose intensities |V_g| w(s_g) agree with Friedel's law; those without a mate stay as they are.

    Args:
        peaks: Peaks of a network, with heights.
        centre: Of the vacuum probe [px].
        radius: Of the probe's disk [px].
        apart: How far a mate may be from where it should be [px].
        curvature: λ dq² [1/Å]; where it isn't known, heights aren't, and both of a pair count alike.
        sigma: σ of the labels [1/Å].
    """
    if not len(peaks):
        return peaks
    s = -(peaks.qz + curvature * ((peaks.positions - np.array(centre)) ** 2).sum(1) / 2)
    w = np.exp(-np.nan_to_num(np.minimum(s**2 / (2 * sigma**2), MOST_DAMPED)))
    mate = mates(peaks, centre, radius, apart)
    return replace(peaks, intensity=w * (peaks.intensity + peaks.intensity[mate]) / (w + w[mate]))
