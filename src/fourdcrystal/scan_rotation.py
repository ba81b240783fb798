"""Angle between the axes of the scan and those of the detector, from the field of the patterns' centres of mass.

The deflection of the beam is a gradient, so its curl vanishes when both have the same axes (Hachtel et al., Adv.
Struct. Chem. Imaging 4, 10 (2018); py4DSTEM's usual way). Turning all by half a turn changes nothing: the angle is
known but for 180°.
"""

import numpy as np

from fourdcrystal.errors import InputError


def find(mass: np.ndarray) -> float:
    """Angle from the detector's axis 0, towards its axis 1, at which the scan's axis 0 lies [rad], in [-π/2, π/2].

    The curl of the field turned by an angle is c cos + s sin; the sum of its squares has its minimum in closed form.

    Args:
        mass: Centres of mass [px], (rx, ry, 2); NaN where not known.

    Raises:
        InputError: if the scan is too small, or no pattern has a centre of mass.
    """
    if min(mass.shape[:2]) < 3:
        raise InputError(
            f"--rotation find needs a scan of 3 x 3 positions or more, not {mass.shape[0]} x {mass.shape[1]}"
        )
    if not np.isfinite(mass).all(-1).any():
        raise InputError("--rotation find: no pattern has a centre of mass, all being empty or having NaN; say degrees")
    field = np.where(np.isfinite(mass), mass - np.nanmedian(mass, axis=(0, 1)), 0)
    (xx, xy), (yx, yy) = (np.gradient(field[..., i])[:2] for i in (0, 1))
    # v' = R(-a) v: curl' = cos a (∂x v_y - ∂y v_x) - sin a (∂x v_x + ∂y v_y)
    curl, divergence = (yx - xy).ravel(), (xx + yy).ravel()
    a, b, c = curl @ curl, curl @ divergence, divergence @ divergence
    # minimum of a cos² - 2 b sin cos + c sin²
    return float(0.5 * np.arctan2(2 * b, c - a))
