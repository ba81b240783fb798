"""Results over a scan as self-describing Zarr stores: strain, orientation, virtual images; units in every variable."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pymatgen.core import Structure

from fourdcrystal import files, groups, ipf, mapping
from fourdcrystal.flags import FLAGS
from fourdcrystal.mapping import Maps
from fourdcrystal.search import DARK_FIELD, Found
from fourdcrystal.strain import COMPONENTS

if TYPE_CHECKING:
    import xarray

DIMS = ("rx", "ry")

Variable = tuple[tuple[str, ...], np.ndarray, dict[str, Any]]  # dimensions, values, attributes


def strain(maps: Maps, flag: np.ndarray, grid: tuple[int, int], attributes: dict[str, Any]) -> "xarray.Dataset":
    """e_xx, e_yy, e_xy, theta and their uncertainties over (rx, ry), with units."""
    import xarray

    long_names = {"e_xx": "strain along x", "e_yy": "strain along y", "e_xy": "shear strain", "theta": "rotation"}
    variables: dict[str, Variable] = {}
    for i, name in enumerate(COMPONENTS):
        units = "rad" if name == "theta" else "1"
        for suffix, values, kind in (("", maps.strain.values, ""), ("_sigma", maps.strain.sigma, "uncertainty of ")):
            about = {"units": units, "long_name": kind + long_names[name]}
            variables[name + suffix] = (DIMS, values[:, i].reshape(grid), about)
    residual = maps.lattices.residual.reshape(grid)
    variables["lattice_residual"] = (DIMS, residual, {"units": "px", "long_name": "RMS distance from the lattice"})
    agreeing = maps.lattices.agreeing.reshape(grid)
    variables["lattice_peaks"] = (DIMS, agreeing, {"units": "1", "long_name": "peaks on the lattice"})
    about = {"units": "1", "long_name": "grain, by size; -1: no lattice"}
    variables["grain"] = (DIMS, maps.grain.astype(np.int32).reshape(grid), about)
    meanings = {"flag_masks": list(FLAGS.values()), "flag_meanings": " ".join(FLAGS), "long_name": "what was wrong"}
    variables["flags"] = (DIMS, flag.reshape(grid), meanings)
    convention = (
        "x is the detector's axis 0 turned by frame_degree towards axis 1; strain is the left stretch minus one; theta "
        "is positive from x towards y; both are relative to the attribute reference [px]"
    )
    frame = {
        "convention": convention,
        "reference": maps.reference.tolist(),
        "reference_is": "the crystal's lattice"
        if maps.absolute
        else "the mean of the middle two fifths of the reference positions",
        "frame_degree": float(np.degrees(maps.frame)),
    }
    return xarray.Dataset(variables, attrs=attributes | frame)


def orientation(
    maps: Maps, grid: tuple[int, int], attributes: dict[str, Any], crystal: Structure | None = None
) -> "xarray.Dataset":
    """Tilt and rotation of the crystal over (rx, ry), with units; colours of the inverse pole figure of a known one."""
    import xarray

    variables: dict[str, Variable] = {}
    for i, axis in enumerate("xy"):
        about = {"units": "rad", "long_name": f"tilt of the zone axis towards {axis}"}
        variables[f"tilt_{axis}"] = (DIMS, maps.tilt[:, i].reshape(grid), about)
        about = {"units": "rad", "long_name": f"uncertainty of the tilt towards {axis}"}
        variables[f"tilt_{axis}_sigma"] = (DIMS, maps.tilt_sigma[:, i].reshape(grid), about)
    rotation = mapping.orientations(maps)
    if maps.zone is not None and crystal is not None:
        about = {
            "units": "1",
            "long_name": "colour of the crystal direction along x, y and z (the beam): TSL, Laue group",
        }
        colours = ipf.colours(rotation, crystal).astype(np.float32).reshape(*grid, 3, 3)
        variables["ipf_colour"] = ((*DIMS, "axis", "rgb"), colours, about)
    begin = "the reference with its zone axis along z" if maps.zone is None else "the crystal's own frame"
    about = {"units": "1", "long_name": f"active rotation of the crystal from {begin}"}
    variables["rotation"] = ((*DIMS, "axis", "crystal_axis"), rotation.reshape(*grid, 3, 3), about)
    convention = (
        "x and y are the detector's axes 0 and 1, whatever frame strain has; the beam travels along +z; the zone axis "
        "points along (tilt_x, tilt_y, 1)"
    )
    known = {} if maps.zone is None else {"zone_axis": list(maps.zone.axis)}
    return xarray.Dataset(variables, attrs=attributes | known | {"convention": convention})


def write(path: Path, dataset: "xarray.Dataset") -> None:
    """Write a data set as Zarr v3, whole or not at all."""
    with files.replaced_folder(path) as folder, groups.put(folder) as store:
        dataset.to_zarr(store, mode="w", zarr_format=3, consolidated=False)


def virtual_images(found: Found, grid: tuple[int, int], attributes: dict[str, Any]) -> "xarray.Dataset":
    """Bright and dark field and the number of peaks over (rx, ry); mean and largest pattern over (qx, qy)."""
    import xarray

    usable = max(int(((found.flags & FLAGS["not_finite"]) == 0).sum()), 1)
    peaks = np.bincount(found.peaks.pattern, minlength=len(found))
    maps = {
        "bright_field": (found.bright, "counts", "counts in the direct beam's disk"),
        "dark_field": (found.dark, "counts", f"counts beyond {DARK_FIELD:g} radii of the direct beam's disk"),
        "peaks": (peaks, "1", "Bragg peaks"),
    }
    images = {
        "mean_pattern": (found.total / usable, "counts", "mean of all patterns without NaN"),
        "most_pattern": (found.most, "counts", "largest number of every pixel"),
    }
    variables = {
        name: (dims, values.reshape(shape), {"units": units, "long_name": long_name})
        for dims, shape, group in ((DIMS, grid, maps), (("qx", "qy"), found.total.shape, images))
        for name, (values, units, long_name) in group.items()
    }
    return xarray.Dataset(variables, attrs=attributes)
