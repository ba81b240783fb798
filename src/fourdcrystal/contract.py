"""What holds in every store, whoever wrote it: layout, recipe, and the physics that ties its arrays together."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fourdcrystal import labels
from fourdcrystal.contents import Contents
from fourdcrystal.instrument_settings import DetectorSettings
from fourdcrystal.layout import ARRAYS, IMAGE, asked
from fourdcrystal.precision import HEIGHT_STEP, POTENTIAL_STEP, single
from fourdcrystal.settings import Labels

PURPOSES = {"unrotated", "zone_axis", "mistilted", "random"}
ON_LATTICE = 1e-6  # 1/Å; how far a reflection may lie from the lattice, which is stored in double precision
WHOLE_BEAM = 1.002  # of the beam at most on the detector, with the rounding of patterns and probe
Breach = tuple[str, str]  # array, what is wrong with it


def breaches(found: Contents, content: Mapping[str, Any]) -> Iterator[Breach]:
    """Where a store breaks the contract.

    Args:
        found: What it holds.
        content: Its ``zarr.json``.
    """
    yield from ((name, f"can't be decoded ({why})") for name, why in found.undecoded.items())
    wrong = list(_layout(found, content["consolidated_metadata"]["metadata"]))
    if wrong or found.undecoded:
        yield from wrong
        return
    about, small = content["attributes"], found.arrays
    numbers = {name: small[name] for name in small if name not in ("purpose", "vg", "qz")}
    if unreal := [name for name, values in numbers.items() if not np.isfinite(values).all()]:
        yield from ((name, "has values that are not finite") for name in unreal)
        return
    yield from _coordinates(small)
    yield from _recipe(small, about["recipe"])
    yield from _reflections(small, about["crystal"]["structure"])
    yield from _patterns(found.totals, small)
    yield from _labels(small, Labels.model_validate(about["recipe"]["labels"]))


def _layout(found: Contents, gathered: Mapping[str, Any]) -> Iterator[Breach]:
    """Names, dimensions, types, units and shapes."""
    sizes: dict[str, int] = {"index": 3, "axis": 3, "crystal_axis": 3}
    for name, (dims, kind, units, _) in ARRAYS.items():
        if name not in found.about:
            yield name, "is missing"
            continue
        about = found.about[name]
        if gathered.get(name) != about:
            yield name, "its metadata differ from those gathered in zarr.json"
        if tuple(about["dimension_names"]) != dims:
            yield name, f"has the dimensions {tuple(about['dimension_names'])}, not {dims}"
            continue
        if (said := about["attributes"].get("units", "")) != units:
            yield name, f"has the units '{said}', not '{units}'"
        if about["data_type"] != kind:
            yield name, f"has the type {about['data_type']}, not {kind}"
        for dim, size in zip(dims, about["shape"], strict=True):
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
    for name, values in asked(recipe).items():
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


def _patterns(totals: NDArray[np.float64], small: Mapping[str, NDArray[Any]]) -> Iterator[Breach]:
    """Probes with maximum 1; intensities that are not negative and add up to what was recorded."""
    probe = single(small["probe"])
    if (probe.max((-2, -1)) != 1).any() or (probe < 0).any():
        yield "probe", "is not a probe with maximum 1"
    if ((small["seam_fraction"] < 0) | (small["seam_fraction"] > 1)).any():
        yield "seam_fraction", "is not a fraction"
    if ((small["intensity"] <= 0) | (small["intensity"] > WHOLE_BEAM)).any():
        yield "intensity", "is not a fraction of the beam"
    shares = totals / probe.sum((-2, -1), dtype=np.float64)[..., None]
    for orientation in np.flatnonzero(~np.isfinite(shares).all((1, 2, 3))):
        yield "cbed", f"orientation {orientation} has values that are negative or not finite"
    off = np.abs(shares - small["intensity"]) > 1e-6 * small["intensity"]
    for orientation in np.flatnonzero(off.any((1, 2, 3))):
        yield "intensity", f"orientation {orientation}: cbed does not add up to it"


def _labels(small: Mapping[str, NDArray[Any]], settings: Labels) -> Iterator[Breach]:
    """Maps that are finite and, where labels are analytic, the ones that the reflections draw."""
    for name in ("vg", "qz"):
        for orientation in np.flatnonzero(~np.isfinite(small[name]).all(tuple(range(1, small[name].ndim)))):
            yield name, f"orientation {orientation} has values that are not finite"
    if settings.method != "analytic":
        return
    shape = (len(small["qx"]), len(small["qy"]))
    dq = float(small["qx"][1] - small["qx"][0])
    ends = np.searchsorted(small["reflection_orientation"], np.arange(len(small["rotation"]) + 1))
    for orientation, energy in np.ndindex(small["vg"].shape[:2]):
        mine = slice(ends[orientation], ends[orientation + 1])
        g = small["reflection_g"][mine]
        weights = labels.weights(g, small["reflection_vg"][mine], float(small["energy"][energy]), settings)
        seen = weights > 0
        g, weights = g[seen].astype(np.float32), weights[seen].astype(np.float32)
        centres = labels.positions(g, np.float32(dq), shape)
        drawn, height = labels.draw(centres, weights, g[:, 2], shape, settings.width)
        vg, qz = (single(small[name][orientation, energy]) for name in ("vg", "qz"))
        if not (np.abs(vg - drawn) <= POTENTIAL_STEP + 0.004 * drawn).all():
            yield "vg", f"orientation {orientation}, energy {energy} is not the map that its reflections draw"
        clear = drawn > 0.01 * drawn.max(initial=0)  # well above where it is no longer defined
        if not (np.abs(qz - height) <= HEIGHT_STEP + 0.004 * np.abs(height))[clear].all():
            yield "qz", f"orientation {orientation}, energy {energy} is not the map that its reflections draw"
