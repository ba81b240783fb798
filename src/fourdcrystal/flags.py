"""What can be wrong with a pattern, one bit each; flags go with every result of a scan."""

import numpy as np

FLAGS = {
    "not_finite": 1,  # the pattern has NaN or infinity: not searched
    "empty": 2,  # no counts: not searched
    "saturated": 4,  # a plateau of pixels at the pattern's largest number
    "no_peaks": 8,
    "no_lattice": 16,  # no lattice explains its peaks better than chance, or they are too few
    "uncertain": 32,  # the stated uncertainty of its strain is many times that of the scan's other patterns,
    # or its peaks are as many times farther from their lattice
    "other_lattice": 64,  # its lattice is no turned and strained one of the reference: it has no strain
}
WORDS = {
    "not_finite": "NaN or infinite",
    "empty": "empty",
    "saturated": "saturated",
    "no_peaks": "without peaks",
    "no_lattice": "without a lattice",
    "uncertain": "with an uncertain strain",
    "other_lattice": "with another lattice",
}
FEWEST = 100.0  # electrons that a pattern has in any experiment with more than a few disks
SATURATED_PIXELS = 10  # at exactly the largest number
OFF = 3.0  # times the median distance of peaks from their lattice
UNCERTAIN = 5.0  # times the median uncertainty of strain of the scan
SATURATED_COUNTS = 255.0  # least number, in the pattern's smallest, that chance doesn't repeat so often


def of_patterns(patterns: np.ndarray, blind: np.ndarray | None = None) -> np.ndarray:
    """Flags of patterns that can be told before detection, (N,) uint8.

    A camera of 12 bits in numbers of 16, or one with a corrected gain, saturates below its type's largest number.
    Saturated are therefore patterns with more than a handful of pixels at exactly their maximum, which counting
    statistics forbids where it is large.

    Args:
        patterns: Counts, (N, X, Y).
        blind: Pixels that don't count and may be anything, (X, Y).
    """
    used = patterns if blind is None else np.where(blind, 0, patterns)
    finite = np.isfinite(used).all((1, 2))
    made = np.where(finite, 0, FLAGS["not_finite"]).astype(np.uint8)
    top = used.max((1, 2))
    made[finite & (top <= 0)] |= FLAGS["empty"]
    for i in np.flatnonzero(finite & (top > 0)):
        plateau = used[i] == top[i]
        large = top[i] >= SATURATED_COUNTS * used[i][used[i] > 0].min()
        if large and np.count_nonzero(plateau) > SATURATED_PIXELS:
            made[i] |= FLAGS["saturated"]
    return made


def uncertain(sigma: np.ndarray, residual: np.ndarray) -> np.ndarray:
    """Patterns of a scan whose strain is known far worse than in others, (P,) bool.

    Where peaks are much farther from their lattice than elsewhere, two lattices may overlap, and strain lie between.

    Args:
        sigma: Stated uncertainties of the components of strain, (P, 4); NaN where strain isn't known.
        residual: RMS distance of peaks from their lattice [px], (P,).
    """
    known = np.isfinite(sigma).all(1) & np.isfinite(residual)
    if not known.any():
        return known
    worse = (sigma > UNCERTAIN * np.median(sigma[known], axis=0)).any(1)
    return known & (worse | (residual > OFF * np.median(residual[known])))


def scaled(total: np.ndarray, patterns: int) -> str | None:
    """Says that a scan's numbers aren't electrons, in a sentence; none if they may be.

    Args:
        total: Sum of the patterns, pixels that count, (N,) or (X, Y).
        patterns: How many they are.
    """
    mean = total.sum() / max(patterns, 1)
    if not 0 < mean < FEWEST or not (total % 1).any():
        return None
    return (
        f"a pattern's numbers are fractions and add up to {mean:.3g}, so they are no counts of electrons: positions "
        "are worse, and their uncertainties larger, than with the counts themselves"
    )


def counts(flags: np.ndarray) -> dict[str, int]:
    """How many patterns have each flag."""
    return {name: int((flags & bit > 0).sum()) for name, bit in FLAGS.items()}
