"""Conditions that patterns are scored under: what is held out, thickness, how far the crystal is off a zone axis."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pandas as pd

SPLITS = {"test": "held-out crystals", "test_prototype": "held-out prototypes"}  # those that networks are scored on
ON_AXIS, ANY = "on axis", "random"
TILT_EDGES = (10, 30, 100)  # mrad; small and large mistilts are scored apart
TILTS = (
    ON_AXIS,
    f"< {TILT_EDGES[0]}",
    *(f"{low}–{high}" for low, high in pairwise(TILT_EDGES)),
    f"> {TILT_EDGES[-1]}",
    ANY,
)


def tilts(table: pd.DataFrame) -> np.ndarray:
    """The one of :data:`TILTS` [mrad] that each row of a catalogue belongs to, (N,).

    Crystals that are not rotated have none (""): which of their zone axes is near the beam isn't known.
    """
    purpose, off = table["purpose"].to_numpy(str), table["mistilt_mrad"].to_numpy(float)
    mistilted = np.array(TILTS[1:-1])[np.digitize(off, TILT_EDGES)]
    known = [purpose == "zone_axis", purpose == "mistilted", purpose == "random"]
    return np.select(known, [np.full(len(off), ON_AXIS), mistilted, np.full(len(off), ANY)], "")


def groups(table: pd.DataFrame) -> Iterator[tuple[dict[str, float | str], np.ndarray]]:
    """Patterns that are scored together: all, those of each thickness, and those of each tilt.

    Args:
        table: Rows of a catalogue.

    Yields:
        What they have in common, ``thickness_A`` (NaN: any) and ``tilt`` ("": any), and which rows they are, (N,).
    """
    thickness, tilt = table["thickness_A"].to_numpy(), tilts(table)
    yield {"thickness_A": float("nan"), "tilt": ""}, np.ones(len(table), bool)
    for value in np.unique(thickness):
        yield {"thickness_A": float(value), "tilt": ""}, thickness == value
    for name in TILTS:
        if (tilt == name).any():
            yield {"thickness_A": float("nan"), "tilt": name}, tilt == name
