"""What holds in every store, whoever wrote it: layout, recipe, and the physics that ties its arrays together."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from fourdcrystal import labels
from fourdcrystal.layout import ARRAYS, IMAGE, dimensions
from fourdcrystal.precision import HEIGHT_STEP, POTENTIAL_STEP
from fourdcrystal.settings import DetectorSettings, Labels

PURPOSES = {"unrotated", "zone_axis", "mistilted", "random"}
ON_LATTICE = 1e-6  # 1/Å; how far a reflection may lie from the lattice, which is stored in double precision
WHOLE_BEAM = 1.002  # of the beam at most on the detector, with the rounding of patterns and probe
Breach = tuple[str, str]  # array, what is wrong with it


def breaches(path: Path, about: Mapping[str, Any]) -> Iterator[Breach]:
    """Where a store on disk breaks the contract.

    Args:
        path: The store; every array in it can be read.
        about: Its attributes.
    """
    group = zarr.open_group(path, mode="r", use_consolidated=False)
    wrong = list(_layout(path, group))
    if wrong:
        yield from wrong
        return
    small = {name: np.asarray(group[name][...]) for name in ARRAYS if name not in ("cbed", "vg", "qz")}
    numbers = {name: values for name, values in small.items() if name != "purpose"}
    if unreal := [name for name, values in numbers.items() if not np.isfinite(values).all()]:
        yield from ((name, "has values that are not finite") for name in unreal)
        return
    yield from _coordinates(small)
    yield from _recipe(small, about["recipe"])
    yield from _reflections(small, about["crystal"]["structure"])
    yield from _patterns(group, small)
    yield from _labels(group, small, Labels.model_validate(about["recipe"]["labels"]))


def _layout(path: Path, group: zarr.Group) -> Iterator[Breach]:
    """Names, dimensions, types, units and shapes."""
    gathered = json.loads((path / "zarr.json").read_bytes())["consolidated_metadata"]["metadata"]
    sizes: dict[str, int] = {"index": 3, "axis": 3, "crystal_axis": 3}
    by_thickness = "vg" in group and group["vg"].ndim == 5
    for name, (_, kind, units, _) in ARRAYS.items():
        if name not in group:
            yield name, "is missing"
            continue
        array, dims = group[name], dimensions(name, by_thickness)
        if gathered.get(name) != json.loads((path / name / "zarr.json").read_bytes()):
            yield name, "its metadata differ from those gathered in zarr.json"
        if array.metadata.dimension_names != dims:
            yield name, f"has the dimensions {array.metadata.dimension_names}, not {dims}"
            continue
        if str(array.attrs.get("units", "")) != units:
            yield name, f"has the units '{array.attrs.get('units', '')}', not '{units}'"
        if kind != "string" and array.dtype != kind:
            yield name, f"has the type {array.dtype}, not {kind}"
        for dim, size in zip(dims, array.shape, strict=True):
            if sizes.setdefault(dim, size) != size:
                yield name, f"is {size} long along {dim}, where other arrays are {sizes[dim]}"


def _coordinates(small: Mapping[str, NDArray[Any]]) -> Iterator[Breach]:
    """Axes in order, rotations that don't distort, zero frequency at n // 2."""
    for name in ("energy", "semiangle", "thickness", *IMAGE):
        if (np.diff(small[name]) <= 0).any():
            yield name, "is not in ascending order"
    for name in IMAGE:
        if small[name][len(small[name]) // 2] != 0 or np.ptp(np.diff(small[name])) > 1e-9:
            yield name, "is not evenly spaced with zero at n // 2"
    rotation = small["rotation"]
    if np.abs(rotation @ rotation.transpose(0, 2, 1) - np.eye(3)).max() > 1e-9 or (np.linalg.det(rotation) < 0).any():
        yield "rotation", "is not a rotation"
    if unknown := set(small["purpose"].tolist()) - PURPOSES:
        yield "purpose", f"has '{sorted(unknown)[0]}'; allowed are {', '.join(sorted(PURPOSES))}"


def _recipe(small: Mapping[str, NDArray[Any]], recipe: Mapping[str, Any]) -> Iterator[Breach]:
    """The axes are those that the recipe asks for."""
    microscope = recipe["microscope"]
    asked = {
        "energy": microscope["energy"],
        "semiangle": microscope["semiangle_cutoff"],
        "thickness": recipe["specimen"]["thickness"],
    }
    for name, values in asked.items():
        if small[name].tolist() != list(values):
            yield name, f"is {small[name].tolist()}, but the recipe says {values}"
    detector = DetectorSettings.model_validate(recipe["detector"])
    for name, count in zip(IMAGE, detector.shape, strict=True):
        if len(small[name]) != count or not np.allclose(np.diff(small[name]), detector.dq, atol=1e-9):
            yield name, f"is not the recipe's axis of {count} px of {detector.dq:g} 1/Å"


def _reflections(small: Mapping[str, NDArray[Any]], structure: Mapping[str, Any]) -> Iterator[Breach]:
    """Every g is a vector of the rotated reciprocal lattice: g = R (h a* + k b* + l c*)."""
    of = small["reflection_orientation"]
    if (np.diff(of) < 0).any() or (len(of) and not 0 <= of.min() <= of.max() < len(small["rotation"])):
        yield "reflection_orientation", "is not a list of orientations in ascending order"
        return
    reciprocal = np.linalg.inv(np.array(structure["lattice"])).T
    expected = np.einsum("nij,nj->ni", small["rotation"][of], small["reflection_hkl"] @ reciprocal)
    off = np.abs(small["reflection_g"] - expected).max(axis=1, initial=0)
    if off.max(initial=0) > ON_LATTICE:
        worst = int(off.argmax())
        yield "reflection_g", f"reflection {worst} is {off[worst]:.2g} 1/Å off the crystal's reciprocal lattice"


def _patterns(group: zarr.Group, small: Mapping[str, NDArray[Any]]) -> Iterator[Breach]:
    """Probes with maximum 1; intensities that are not negative and add up to what was recorded."""
    probe = small["probe"].astype(np.float32)
    if (probe.max((-2, -1)) != 1).any() or (probe < 0).any():
        yield "probe", "is not a probe with maximum 1"
    if ((small["seam_fraction"] < 0) | (small["seam_fraction"] > 1)).any():
        yield "seam_fraction", "is not a fraction"
    if ((small["intensity"] <= 0) | (small["intensity"] > WHOLE_BEAM)).any():
        yield "intensity", "is not a fraction of the beam"
    beam = probe.sum((-2, -1), dtype=np.float64)
    for orientation in range(len(small["rotation"])):
        cbed = np.asarray(group["cbed"][orientation]).astype(np.float32)
        total = cbed.sum((-2, -1), dtype=np.float64) / beam[..., None]
        if not np.isfinite(total).all() or (cbed < 0).any():
            yield "cbed", f"orientation {orientation} has values that are negative or not finite"
        elif not np.allclose(total, small["intensity"][orientation], rtol=1e-6, atol=0):
            yield "intensity", f"orientation {orientation}: cbed does not add up to it"


def _labels(group: zarr.Group, small: Mapping[str, NDArray[Any]], settings: Labels) -> Iterator[Breach]:
    """Maps that are finite and, where labels are analytic, the ones that the reflections draw."""
    shape = (len(small["qx"]), len(small["qy"]))
    dq = float(small["qx"][1] - small["qx"][0])
    for orientation in range(len(small["rotation"])):
        vg, qz = (np.asarray(group[name][orientation]).astype(np.float32) for name in ("vg", "qz"))
        if unreal := [name for name, map_ in (("vg", vg), ("qz", qz)) if not np.isfinite(map_).all()]:
            yield unreal[0], f"orientation {orientation} has values that are not finite"
            continue
        if settings.method != "analytic":
            continue
        mine = small["reflection_orientation"] == orientation
        table = SimpleNamespace(g=small["reflection_g"][mine], vg=small["reflection_vg"][mine])
        for e, energy in enumerate(small["energy"]):
            weights = labels.weights(table, float(energy), settings)
            centres = labels.positions(table.g, dq, shape)
            drawn, height = labels.draw(centres, weights, table.g[:, 2], shape, settings.width)
            if (np.abs(vg[e] - drawn) > POTENTIAL_STEP + 0.004 * drawn).any():
                yield "vg", f"orientation {orientation}, energy {e} is not the map that its reflections draw"
            clear = drawn > 0.01 * drawn.max(initial=0)  # well above where it is no longer defined
            if (np.abs(qz[e] - height)[clear] > HEIGHT_STEP + 0.004 * np.abs(height[clear])).any():
                yield "qz", f"orientation {orientation}, energy {e} is not the map that its reflections draw"
