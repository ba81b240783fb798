"""How well found peaks agree with true reflections: score, position error, R factor, strain and tilt error."""

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from fourdcrystal.peaks import Peaks
from fourdcrystal.tilt import plane

TILTED = 1e-3  # rad; a smaller tilt is none
LEAST_SIGMA = 0.03  # px; added to stated deviations where they weigh peaks, so that none rules a fit alone


@dataclass(frozen=True)
class Truth:
    """True reflections of many patterns, one entry of every array each.

    Attributes:
        pattern: Pattern that a reflection belongs to, ascending, (N,).
        positions: Centre of its disk [px], (N, 2).
        intensity: |V_g| w [V], (N,).
        g: Scattering vector [1/Å], (N, 3).
        counted: Whether it must be found; finding any other one is neither right nor wrong, (N,). Not counted are the
            direct beam, reflections too weak to be labelled, and disks that the detector's edge cuts.
    """

    pattern: np.ndarray
    positions: np.ndarray
    intensity: np.ndarray
    g: np.ndarray
    counted: np.ndarray

    def where(self, keep: np.ndarray) -> "Truth":
        """Reflections selected by a mask."""
        return Truth(*(getattr(self, name)[keep] for name in ("pattern", "positions", "intensity", "g", "counted")))


@dataclass(frozen=True)
class Matches:
    """Which found peak is which reflection.

    Attributes:
        found: Index of the found peak, (M,).
        true: Index of the reflection, (M,).
        false: Indices of found peaks that are no reflection.
        missed: Indices of counted reflections that were not found.
    """

    found: np.ndarray
    true: np.ndarray
    false: np.ndarray
    missed: np.ndarray


def match(
    found: Peaks, true: Truth, distance_px: float | np.ndarray, shape: tuple[int, int], border: float | np.ndarray
) -> Matches:
    """Pair found peaks with reflections, nearest pairs first, each used once.

    Args:
        found: Found peaks.
        true: True reflections.
        distance_px: Largest distance of a pair [px]; a number, or one for each pattern, (P,).
        shape: (X, Y) of the patterns.
        border: Found peaks nearer to the detector's edge than this and without partner aren't counted as false [px]; a
            number, or one for each pattern, (P,).
    """
    # patterns are laid side by side along a third axis, too far apart for a pair between them
    farthest = float(np.max(distance_px))
    far = 10 * farthest + 1
    a = np.column_stack([found.positions, found.pattern * far])
    b = np.column_stack([true.positions, true.pattern * far])
    pairs = cKDTree(a).sparse_distance_matrix(cKDTree(b), farthest, output_type="ndarray")
    if isinstance(distance_px, np.ndarray):
        pairs = pairs[pairs["v"] <= distance_px[found.pattern[pairs["i"]]]]
    # counted ones first: a weak neighbour mustn't take the peak of a reflection that has to be found
    pairs = pairs[np.lexsort((pairs["v"], ~true.counted[pairs["j"]]))]
    free_found, free_true = np.ones(len(found), bool), np.ones(len(true.pattern), bool)
    chosen = []
    for i, j in zip(pairs["i"].tolist(), pairs["j"].tolist(), strict=True):
        if free_found[i] and free_true[j]:
            free_found[i] = free_true[j] = False
            chosen.append((i, j))
    i, j = np.array(chosen, dtype=np.int64).reshape(-1, 2).T
    counted = true.counted[j]
    # a second peak beside a reflection that isn't counted, such as the direct beam, isn't false either
    near_ignored = np.unique(pairs["i"][~true.counted[pairs["j"]]])
    free_found[near_ignored] = False
    edge = border[found.pattern, None] if isinstance(border, np.ndarray) else border
    inside = (found.positions >= edge).all(1) & (found.positions <= np.array(shape) - 1 - edge).all(1)
    return Matches(
        i[counted], j[counted], np.flatnonzero(free_found & inside), np.flatnonzero(free_true & true.counted)
    )


def in_volts(found: Peaks, true: Truth, matches: Matches) -> np.ndarray:
    """Intensities of a classical method as |V|: the root, as kinematic theory has it, at each pattern's best scale.

    The scale of a pattern is the one that makes its matched intensities' sum right, which favours the classical method.
    """
    root = np.sqrt(np.clip(found.intensity, 0, None))
    n = 1 + max(found.pattern.max(initial=0), true.pattern.max(initial=0))
    wanted = np.bincount(true.pattern[matches.true], true.intensity[matches.true], n)
    given = np.bincount(found.pattern[matches.found], root[matches.found], n)
    strongest = np.zeros(n)
    np.maximum.at(strongest, found.pattern, root)
    fallback = np.zeros(n)  # nothing matched: the strongest found counts as much as the strongest true
    np.maximum.at(fallback, true.pattern[true.counted], true.intensity[true.counted])
    scale = np.where(
        given > 0, wanted / np.where(given > 0, given, 1), fallback / np.where(strongest > 0, strongest, 1)
    )
    return root * scale[found.pattern]


def by_pattern(
    found: Peaks, true: Truth, matches: Matches, intensity: np.ndarray, n_patterns: int, dq: np.ndarray
) -> dict[str, np.ndarray]:
    """Sums and errors of each pattern, from which :func:`summary` makes scores of any group of patterns.

    Args:
        found: Found peaks.
        true: True reflections.
        matches: Their pairs.
        intensity: Of the found peaks [V], (N,).
        n_patterns: Number of patterns.
        dq: Pixel size of each pattern [1/Å], (n_patterns,).

    Returns:
        Columns, (n_patterns,): tp, fp, fn (numbers of peaks); the same with _v, weighted by |V| [V]; r_numerator and
        r_denominator of the R factor [V], missed and false peaks included; error2_px and error_px, squared sums and
        medians of the distance between found and true position; joint_px, median distance that an affine fit of found
        to true positions leaves; within and stated, errors along an axis within the stated deviation, and how many
        have one; strain, RMS of the components of the affine distortion that carries true onto found positions; tilt,
        between the planes q_z(q_x, q_y) of found and true peaks [rad]; untilted, the same for q_z = 0 everywhere.
        NaN where too few peaks were found.
    """

    def total(pattern: np.ndarray, weight: np.ndarray | None = None) -> np.ndarray:
        """Sum of weights, or number, of each pattern, (P,)."""
        return np.bincount(pattern, weight, n_patterns)

    hit, miss, wrong = true.pattern[matches.true], true.pattern[matches.missed], found.pattern[matches.false]
    v_true, v_found = true.intensity[matches.true], intensity[matches.found]
    v_missed, v_wrong = true.intensity[matches.missed], intensity[matches.false]
    offset = found.positions[matches.found] - true.positions[matches.true]
    distance = np.hypot(*offset.T)
    sigma = found.sigma_px[matches.found]
    stated = np.isfinite(sigma)
    held = (np.abs(offset) < np.where(stated, sigma, 0)[:, None]).mean(1)
    columns = {
        "tp": total(hit),
        "fp": total(wrong),
        "fn": total(miss),
        "tp_v": total(hit, v_true),
        "fp_v": total(wrong, v_wrong),
        "fn_v": total(miss, v_missed),
        "r_numerator": total(hit, np.abs(v_true - v_found)) + total(miss, v_missed) + total(wrong, v_wrong),
        "r_denominator": total(hit, v_true) + total(miss, v_missed),
        "error2_px": total(hit, distance**2),
        "within": total(hit, held),
        "stated": total(hit[stated]),
        **{name: np.full(n_patterns, np.nan) for name in ("error_px", "joint_px", "strain", "tilt", "untilted")},
    }
    order = np.argsort(hit, kind="stable")
    first = np.searchsorted(hit[order], np.arange(n_patterns + 1))
    for p in range(n_patterns):
        rows = order[first[p] : first[p + 1]]
        if not len(rows):
            continue
        columns["error_px"][p] = np.median(distance[rows])
        g = true.g[matches.true[rows]]
        precise = stated[rows].all()  # then strain is fitted with what the method says about itself
        weight = 1 / (sigma[rows] ** 2 + LEAST_SIGMA**2) if precise else v_true[rows]
        strain, joint = _affine_error(g[:, :2], offset[rows] * dq[p], weight)
        columns["strain"][p], columns["joint_px"][p] = strain, joint / dq[p]
        columns["tilt"][p] = _tilt_error(g, found.qz[matches.found[rows]], v_true[rows])
        columns["untilted"][p] = _tilt_error(g, np.zeros(len(rows)), v_true[rows])
    return columns


def _affine_error(g: np.ndarray, offset: np.ndarray, weight: np.ndarray) -> tuple[float, float]:
    """What errors of position do to a joint fit of the pattern's lattice; NaN below four peaks.

    Args:
        g: True positions from the pattern's centre [1/Å], (N, 2).
        offset: Found minus true positions [1/Å], (N, 2).
        weight: Of each peak in the fit, (N,).

    Returns:
        RMS of the strain components of the affine map that the errors look like, and the median error that it leaves
        at the peaks [1/Å].
    """
    if len(g) < 4 or np.linalg.svd(g - g.mean(0), compute_uv=False)[1] < 1e-2:
        return np.nan, np.nan
    design = np.column_stack([np.ones(len(g)), g])
    root = np.sqrt(weight)[:, None]
    solved, *_ = np.linalg.lstsq(design * root, offset * root, rcond=None)
    gradient = solved[1:]
    strain = -(gradient + gradient.T) / 2  # reciprocal space shrinks where the crystal is stretched
    rms = float(np.sqrt((strain[0, 0] ** 2 + strain[1, 1] ** 2 + strain[0, 1] ** 2) / 3))
    return rms, float(np.median(np.hypot(*(design @ solved).T)))


def _tilt_error(g: np.ndarray, qz: np.ndarray, weight: np.ndarray) -> float:
    """Angle between the planes q_z = -tilt·q of found and true peaks [rad]; NaN unless the true ones lie in a plane."""
    if len(g) < 4 or not np.isfinite(qz).all() or np.linalg.svd(g[:, :2], compute_uv=False)[1] < 1e-2:
        return np.nan
    true_tilt, true_residual = plane(g[:, :2], g[:, 2], weight)
    if true_residual > 0.01:  # higher Laue zones are no plane through the origin
        return np.nan
    found_tilt, _ = plane(g[:, :2], qz, weight)
    return float(np.hypot(*(found_tilt - true_tilt)))


def middle(values: np.ndarray) -> float:
    """Median of the finite values; NaN where there are none."""
    values = values[np.isfinite(values)]
    return float(np.median(values)) if len(values) else float("nan")


def summary(columns: dict[str, np.ndarray], dq: np.ndarray) -> dict[str, float]:
    """Scores of a group of patterns from the columns of :func:`by_pattern`, restricted to the group.

    Returns:
        score and score_weighted, TP / (TP + FP + FN), plain and weighted by |V|; position_median_px (median over
        patterns of each pattern's median), position_rms_px and the same in 1/Å; position_joint_px, after a joint fit;
        coverage, share of errors along an axis within the stated deviation; r_factor; strain_rmse (RMS over patterns)
        and strain_median; tilt_median_mrad, and untilted_median_mrad for the answer "no tilt", both over the patterns
        that are tilted by more than :data:`TILTED`.
    """
    sums = {name: float(np.nansum(columns[name])) for name in columns}

    def ratio(a: float, b: float) -> float:
        """a over b; NaN where b is 0."""
        return a / b if b > 0 else float("nan")

    strain = columns["strain"][np.isfinite(columns["strain"])]
    tilted = columns["untilted"] > TILTED  # on an axis "no tilt" is right, and many patterns are on one
    floor = {"position_floor_px": middle(columns["floor_px"])} if "floor_px" in columns else {}
    return {
        "patterns": len(columns["tp"]),
        "reflections": int(sums["tp"] + sums["fn"]),
        "score": ratio(sums["tp"], sums["tp"] + sums["fp"] + sums["fn"]),
        "score_weighted": ratio(sums["tp_v"], sums["tp_v"] + sums["fp_v"] + sums["fn_v"]),
        "position_median_px": middle(columns["error_px"]),
        "position_rms_px": ratio(sums["error2_px"], sums["tp"]) ** 0.5,
        "position_joint_px": middle(columns["joint_px"]),
        "coverage": ratio(sums["within"], sums["stated"]),
        "position_median_invA": middle(columns["error_px"] * dq),
        "position_rms_invA": ratio(float(np.nansum(columns["error2_px"] * dq**2)), sums["tp"]) ** 0.5,
        "r_factor": ratio(sums["r_numerator"], sums["r_denominator"]),
        "strain_rmse": float(np.sqrt(np.mean(strain**2))) if len(strain) else float("nan"),
        "strain_median": middle(strain),
        "tilt_median_mrad": 1e3 * middle(columns["tilt"][tilted]),
        "untilted_median_mrad": 1e3 * middle(columns["untilted"][tilted]),
        **floor,
    }
