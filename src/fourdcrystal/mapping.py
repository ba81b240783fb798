"""Maps over a scan: Bragg vector map, virtual images, strain and orientation as self-describing Zarr stores."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fourdcrystal import files, lattice, strain, tilt
from fourdcrystal.errors import InputError
from fourdcrystal.lattice import Lattices
from fourdcrystal.peaks import Peaks
from fourdcrystal.strain import COMPONENTS, Strain

if TYPE_CHECKING:
    import xarray

FLAGS = {
    "not_finite": 1,  # the pattern has NaN or infinity: not searched
    "empty": 2,  # no counts: not searched
    "saturated": 4,  # more than a handful of pixels at the camera's largest number
    "no_peaks": 8,
    "no_lattice": 16,  # too few peaks agree with one lattice
}
SATURATED_PIXELS = 10


@dataclass(frozen=True)
class Maps:
    """What the peaks of a scan say about the crystal; every array begins with the scan's positions, (P, ...).

    Attributes:
        lattices: Lattice of every pattern [px].
        reference: Basis that strain is relative to [px], (2, 2).
        centres: Direct beam [px], (P, 2): of the pattern's lattice, or the scan's median where there is none.
        strain: Strain and rotation.
        tilt: Tilt of the crystal along x and y [rad], (P, 2).
        tilt_sigma: Its standard uncertainty [rad], (P, 2).
    """

    lattices: Lattices
    reference: np.ndarray
    centres: np.ndarray
    strain: Strain
    tilt: np.ndarray
    tilt_sigma: np.ndarray


def of_peaks(
    peaks: Peaks,
    n_patterns: int,
    shape: tuple[int, int],
    dq: float,
    centre: np.ndarray,
    region: np.ndarray | None = None,
) -> Maps:
    """Lattice, strain and tilt at every position of a scan.

    Args:
        peaks: Peaks of all patterns.
        n_patterns: Number of scan positions.
        shape: Pixels of a pattern.
        dq: Size of a pixel [1/Å].
        centre: Where the direct beam is, to less than half a lattice vector [px], (2,): the vacuum probe's centre.
        region: Mask of the positions whose median is the unstrained reference, (P,); none: all.

    Where the peaks of the whole scan make no lattice, strain and tilt are NaN and every pattern is flagged.

    Raises:
        InputError: if there are lattices, but none in the region.
    """
    basis = lattice.find(peaks, shape)
    lattices = lattice.none(n_patterns, centre) if basis is None else lattice.fit(peaks, n_patterns, basis, centre)
    if region is not None and lattices.fitted.any() and not (lattices.fitted & region).any():
        raise InputError("no lattice could be fitted to any pattern of the reference region; choose another one")
    reference = strain.reference(lattices, region)
    centres = np.where(lattices.fitted[:, None], lattices.centre, _typical(lattices, centre))
    tilts, sigmas = np.full((n_patterns, 2), np.nan), np.full((n_patterns, 2), np.nan)
    if len(peaks) and np.isfinite(peaks.qz).all():
        first = np.searchsorted(peaks.pattern, np.arange(n_patterns + 1))
        for p in range(n_patterns):
            rows = slice(first[p], first[p + 1])
            q = (peaks.positions[rows] - centres[p]) * dq
            tilts[p], sigmas[p], _ = tilt.robust_plane(q, peaks.qz[rows], peaks.intensity[rows])
    return Maps(lattices, reference, centres, strain.of_lattices(lattices, reference), tilts, sigmas)


def _typical(lattices: Lattices, start: np.ndarray) -> np.ndarray:
    """Median position of the direct beam over the patterns that have a lattice; else where it was looked for."""
    return np.median(lattices.centre[lattices.fitted], axis=0) if lattices.fitted.any() else start


def orientations(maps: Maps) -> np.ndarray:
    """Rotation of the crystal at every position, (P, 3, 3), from the reference with its zone axis along the beam.

    First about the beam by θ, then the zone axis from +z to (t_x, t_y, 1) by the shortest rotation (Rodrigues).
    """
    theta = maps.strain.values[:, 3]
    axis = np.column_stack([maps.tilt, np.ones(len(theta))])
    axis /= np.linalg.norm(axis, axis=1, keepdims=True)
    x, y, z = axis.T
    # R v = v + k × v + k × (k × v) / (1 + z), k = e_z × axis
    cross = np.zeros((len(theta), 3, 3))
    cross[:, 0, 2], cross[:, 1, 2] = x, y
    cross[:, 2, 0], cross[:, 2, 1] = -x, -y
    leaning = np.eye(3) + cross + cross @ cross / (1 + z)[:, None, None]
    c, s, zero, one = np.cos(theta), np.sin(theta), np.zeros_like(theta), np.ones_like(theta)
    turning = np.array([[c, -s, zero], [s, c, zero], [zero, zero, one]]).transpose(2, 0, 1)
    return leaning @ turning


def bragg_vector_map(peaks: Peaks, centres: np.ndarray, shape: tuple[int, int], sampling: int = 4) -> np.ndarray:
    """Histogram of all Bragg vectors from their pattern's centre, weighted by intensity, (sampling X, sampling Y).

    Args:
        peaks: Peaks of all patterns.
        centres: Direct beam of each pattern [px], (P, 2); it comes to lie at the map's pixel sampling · (n // 2).
        shape: Pixels of a pattern.
        sampling: Bins per pixel.
    """
    at = peaks.positions - centres[peaks.pattern] + np.array(shape) // 2
    bins = np.rint(at * sampling).astype(int)
    size = sampling * shape[0], sampling * shape[1]
    inside = (bins >= 0).all(1) & (bins < size).all(1)
    flat = np.ravel_multi_index(tuple(bins[inside].T), size)
    return np.bincount(flat, peaks.intensity[inside], size[0] * size[1]).reshape(size)


def virtual_image(
    peaks: Peaks, centres: np.ndarray, n_patterns: int, dq: float, inner: float, outer: float
) -> np.ndarray:
    """Sum of intensities [V] of the peaks with inner <= |q| < outer [1/Å] at every position, (P,)."""
    q = np.hypot(*((peaks.positions - centres[peaks.pattern]) * dq).T)
    chosen = (q >= inner) & (q < outer)
    return np.bincount(peaks.pattern[chosen], peaks.intensity[chosen], n_patterns)


def flags(patterns: np.ndarray, largest: float | None) -> np.ndarray:
    """Flags of patterns that can be told before detection, (N,) uint8.

    Args:
        patterns: Counts, (N, X, Y).
        largest: Largest number of the camera's integers; none where it has no limit.
    """
    finite = np.isfinite(patterns).all((1, 2))
    made = np.where(finite, 0, FLAGS["not_finite"]).astype(np.uint8)
    made[finite & (patterns.max((1, 2)) <= 0)] |= FLAGS["empty"]
    if largest is not None:
        made[(patterns >= largest).sum((1, 2)) > SATURATED_PIXELS] |= FLAGS["saturated"]
    return made


def strain_dataset(maps: Maps, flag: np.ndarray, grid: tuple[int, int], attributes: dict[str, Any]) -> "xarray.Dataset":
    """e_xx, e_yy, e_xy, theta and their uncertainties over (rx, ry), with units."""
    import xarray

    dims = ("rx", "ry")
    long_names = {"e_xx": "strain along x", "e_yy": "strain along y", "e_xy": "shear strain", "theta": "rotation"}
    variables = {}
    for i, name in enumerate(COMPONENTS):
        units = "rad" if name == "theta" else "1"
        for suffix, values, kind in (("", maps.strain.values, ""), ("_sigma", maps.strain.sigma, "uncertainty of ")):
            about = {"units": units, "long_name": kind + long_names[name]}
            variables[name + suffix] = (dims, values[:, i].reshape(grid), about)
    residual = maps.lattices.residual.reshape(grid)
    variables["lattice_residual"] = (dims, residual, {"units": "px", "long_name": "RMS distance from the lattice"})
    agreeing = maps.lattices.agreeing.reshape(grid)
    variables["lattice_peaks"] = (dims, agreeing, {"units": "1", "long_name": "peaks on the lattice"})
    about = {"flag_masks": list(FLAGS.values()), "flag_meanings": " ".join(FLAGS), "long_name": "what was wrong"}
    variables["flags"] = (dims, flag.reshape(grid), about)
    convention = (
        "x is the detector's axis 0; strain is the left stretch minus one, in the laboratory's frame; theta is "
        "positive from x towards y; both are relative to the attribute reference [px]"
    )
    return xarray.Dataset(
        variables, attrs=attributes | {"convention": convention, "reference": maps.reference.tolist()}
    )


def orientation_dataset(maps: Maps, grid: tuple[int, int], attributes: dict[str, Any]) -> "xarray.Dataset":
    """Tilt and rotation of the crystal over (rx, ry), with units."""
    import xarray

    dims = ("rx", "ry")
    variables = {}
    for i, axis in enumerate("xy"):
        about = {"units": "rad", "long_name": f"tilt of the zone axis towards {axis}"}
        variables[f"tilt_{axis}"] = (dims, maps.tilt[:, i].reshape(grid), about)
        about = {"units": "rad", "long_name": f"uncertainty of the tilt towards {axis}"}
        variables[f"tilt_{axis}_sigma"] = (dims, maps.tilt_sigma[:, i].reshape(grid), about)
    rotation = orientations(maps).reshape(*grid, 3, 3)
    about = {"units": "1", "long_name": "active rotation of the crystal from the reference with its zone axis along z"}
    variables["rotation"] = ((*dims, "axis", "crystal_axis"), rotation, about)
    convention = "the beam travels along +z; the zone axis points along (tilt_x, tilt_y, 1)"
    return xarray.Dataset(variables, attrs=attributes | {"convention": convention})


def write(path: Path, dataset: "xarray.Dataset") -> None:
    """Write a data set as Zarr v3, whole or not at all."""
    with files.replaced_folder(path) as folder:
        dataset.to_zarr(folder, mode="w", zarr_format=3, consolidated=False)
