"""What a scan and its vacuum probe must be like, checked in words before anything is computed."""

import numpy as np
from scipy.ndimage import gaussian_filter, gaussian_filter1d

from fourdcrystal import correlation
from fourdcrystal.errors import InputError
from fourdcrystal.scans import Scan

SMALLEST_DISK, LARGEST_DISK = 1.2, 0.2  # px; fraction of the shorter side of the detector
# of the radius of a circle with the area of all that is bright: less has the disk only if it's one of many
SINGLE = 0.6
LARGEST_SIDE = 16384  # px of a pattern; what a damaged file says can be any number
OFF, SMALLEST_OFF = 0.08, 0.35  # of the probe's radius, and px: from there on it's said that disks have another one
NEGATIVE = 0.1  # of all counts; below that it's a dark reference's noise
NOISE = 0.4  # of all counts; noise alone has half of its counts below 0
DEEP = 0.5  # of the largest number; so far below 0 no read noise reaches where there are disks
MOST_BESIDE = 0.5  # of a vacuum probe's counts may be so far from its disk


def check_dimensions(scan: Scan) -> None:
    """Refuse a scan that isn't four-dimensional, is empty, has no pixel size, or whose axes are in another order.

    Raises:
        InputError: says which.
    """
    if len(scan.patterns.shape) != 4:
        dims = " x ".join(map(str, scan.patterns.shape))
        raise InputError(
            f"{scan.name}: has {len(scan.patterns.shape)} dimensions ({dims}); a 4D-STEM scan has four, two of the "
            "scan and two of the detector, in this order"
        )
    if scan.patterns.dtype.kind not in "uifb":
        raise InputError(f"{scan.name}: holds {scan.patterns.dtype}, not counts: allowed are whole and real numbers")
    if min(scan.grid) < 1:
        raise InputError(f"{scan.name}: is an empty scan of {scan.grid[0]} x {scan.grid[1]} positions")
    if min(scan.shape) < 16:
        raise InputError(
            f"{scan.name}: the last two axes are {scan.shape[0]} x {scan.shape[1]}, too few for a detector (16 px at "
            "least); if the file has the detector's axes first, say --axes 2,3,0,1"
        )
    if max(scan.shape) > LARGEST_SIDE:
        raise InputError(
            f"{scan.name}: says that its patterns have {scan.shape[0]} x {scan.shape[1]} px; allowed are "
            f"{LARGEST_SIDE} a side"
        )
    if not (np.isfinite(scan.dq) and scan.dq > 0):
        raise InputError(f"{scan.name}: the pixel size {scan.dq:g} 1/Å must be positive")


def check(scan: Scan) -> str | None:
    """Refuse a scan and a probe that can't be used together.

    Returns:
        What speaks against the probe without being a reason to refuse it, in a sentence; none if nothing does.

    Raises:
        InputError: on wrong dimensions, a probe of another size, a probe or pattern without a single disk, numbers that
            aren't finite, a pixel size that isn't positive.
    """
    check_dimensions(scan)
    if tuple(scan.probe.shape) != scan.shape:
        if tuple(scan.probe.shape) == scan.grid:
            raise InputError(
                f"{scan.name}: the vacuum probe has as many pixels ({scan.grid[0]} x {scan.grid[1]}) as the scan has "
                "positions, so the file has the detector's axes first; say so with --axes 2,3,0,1"
            )
        if tuple(scan.probe.shape) == scan.shape[::-1]:
            raise InputError(
                f"{scan.name}: the vacuum probe is {scan.probe.shape[0]} x {scan.probe.shape[1]} px, the patterns are "
                f"{scan.shape[0]} x {scan.shape[1]} px: one has its axes exchanged; for the patterns say --axes 0,1,3,2"
            )
        raise InputError(
            f"{scan.name}: the vacuum probe has {' x '.join(map(str, scan.probe.shape))} px but the patterns have "
            f"{scan.shape[0]} x {scan.shape[1]} px; both must come from the same camera setting"
        )
    if not np.isfinite(scan.probe).all():
        raise InputError(f"{scan.name}: the vacuum probe has values that are not finite")
    if scan.probe.max() <= 0:
        raise InputError(f"{scan.name}: the vacuum probe is empty")
    radius, limit = correlation.radius(scan.probe), LARGEST_DISK * min(scan.shape)
    if not SMALLEST_DISK <= radius <= limit:
        raise InputError(
            f"{scan.name}: the vacuum probe's disk has a radius of {radius:.1f} px; allowed are {SMALLEST_DISK:g} to "
            f"{limit:.0f} px (a fifth of the detector), so check that the probe is an image of vacuum without hot "
            "pixels side by side, or, where none was recorded, semi-angle [mrad], energy [eV] and sampling [1/Å]"
        )
    beside = _beside_the_disk(scan.probe, radius)
    if beside > MOST_BESIDE:
        raise InputError(
            f"{scan.name}: {100 * beside:.0f} % of the vacuum probe's counts lie beside its brightest disk; it must be "
            "recorded without a specimen"
        )
    some = scan.sample()
    gaps = np.isnan(some).all(0)
    finite = np.isfinite(np.where(gaps, 0, some)).all((1, 2)) & ~gaps.all()
    some = np.where(gaps, 0, some)
    if not finite.any():
        raise InputError(f"{scan.name}: all patterns looked at have values that are not finite (NaN)")
    negative = -np.minimum(some[finite], 0).sum() / np.abs(some[finite]).sum().clip(1e-30)
    far = -some[finite].min() / max(some[finite].max(), 1e-30)  # read noise around 0 isn't, numbers that ran over are
    if negative > NEGATIVE and (far > DEEP or negative > NOISE):
        raise InputError(
            f"{scan.name}: {100 * negative:.0f} % of the counts are negative, so they are no counts: look for numbers "
            "that ran over (unsigned ones read as signed), or for an offset that was subtracted twice"
        )
    return _check_disk(scan, some[finite], radius)


def _beside_the_disk(probe: np.ndarray, radius: float) -> float:
    """Share of an image's counts, above its background, that lie two radii and more from its brightest disk.

    0 where that disk's edge is about where the area of all that is bright says, ``radius`` [px]: there is one disk.
    """
    edge = edge_radius(probe, radius)
    if edge > SINGLE * radius:
        return 0.0
    x, y = correlation.brightest_disk(probe, edge)
    rows, columns = np.indices(probe.shape)
    counts = (probe - np.median(probe)).clip(min=0)
    return float(counts[np.hypot(rows - x, columns - y) > 2 * edge].sum() / counts.sum())


def _check_disk(scan: Scan, some: np.ndarray, radius: float) -> str | None:
    """Refuse a probe whose disk is clearly of another size than the scan's brightest disk; say if it's a little off.

    Roots of counts are looked at: where a crystal is thick, the steepest slope of counts lies within the disk. The mean
    of patterns has the least noise and contrast, unless the beam moves over the camera: then single ones tell.
    """
    roots = np.sqrt(some[some.max((1, 2)) > 0].clip(min=0))
    if not len(roots):
        raise InputError(f"{scan.name}: all patterns looked at are empty")
    wanted = edge_radius(np.sqrt(scan.probe.clip(min=0)), radius)

    found = edge_radius(roots.mean(0), radius), float(np.median([edge_radius(root, radius) for root in roots]))
    seen = min(found, key=lambda r: abs(r - wanted))
    sizes = f"the disks have a radius of about {seen:.1f} px but the vacuum probe's is {wanted:.1f} px"
    if abs(seen - wanted) > 1.5 and not 0.6 <= seen / wanted <= 1.67:
        raise InputError(
            f"{scan.name}: {sizes}; the probe must be recorded at the same convergence angle, camera length and "
            "binning as the scan"
        )
    if abs(seen - wanted) > SMALLEST_OFF and abs(seen / wanted - 1) > OFF:
        return f"{sizes}, so positions may be off: was it recorded at the same convergence angle and camera length?"
    return None


def edge_radius(image: np.ndarray, radius: float) -> float:
    """Radius of the brightest disk [px]: where its azimuthal mean falls most steeply.

    Args:
        image: Pattern or vacuum probe, (X, Y).
        radius: About what is expected [px]; three times that is looked at.
    """
    smooth = gaussian_filter(image.astype(float), radius / 2)
    rows, columns = np.indices(image.shape)
    x, y = np.unravel_index(np.argmax(smooth), image.shape)
    for _ in range(5):  # to the disk's own centre of mass
        near = np.hypot(rows - x, columns - y) < 1.5 * radius
        weight = np.where(near, np.clip(image - np.median(image[near]) * 0.25, 0, None), 0)
        x, y = (weight * rows).sum() / weight.sum(), (weight * columns).sum() / weight.sum()
    distance = np.hypot(rows - x, columns - y)
    bins = np.arange(0, 3 * radius + 2, 0.5)
    which = np.digitize(distance, bins) - 1
    inside = which < len(bins) - 1
    counts = np.bincount(which[inside], minlength=len(bins) - 1)
    profile = np.bincount(which[inside], image[inside], len(bins) - 1) / np.clip(counts, 1, None)
    middle = (bins[:-1] + 0.25)[counts > 0]
    slope = np.gradient(gaussian_filter1d(profile[counts > 0], 1.5), middle)
    steepest = int(np.argmin(slope))
    if not 0 < steepest < len(slope) - 1:
        return float(middle[steepest])
    before, at, after = slope[steepest - 1 : steepest + 2]
    bend = before - 2 * at + after
    return float(middle[steepest] + (0.25 * (before - after) / bend if bend > 0 else 0.0))  # of a parabola; bins of 0.5
