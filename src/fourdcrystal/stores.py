"""The store of one crystal's quartets, ``patterns/{crystal}.zarr``: its arrays, how it is written and opened.

A store is a Zarr v3 group that explains itself: named dimensions, units, coordinates, the crystal, the recipe, versions
and a checksum of every byte. docs/data_format.md describes it for readers who don't have this package.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr
from numpy.typing import ArrayLike, NDArray

from fourdcrystal import __version__, groups, places, shards
from fourdcrystal.checksums import seal
from fourdcrystal.errors import InputError
from fourdcrystal.files import replaced_folder
from fourdcrystal.layout import ARRAYS, DESCRIBED, FORMAT, FORMAT_VERSION, IMAGE, Axes
from fourdcrystal.places import Location, Place
from fourdcrystal.precision import HEIGHT_STEP, PATTERN_STEP, POTENTIAL_STEP, rounded, single

if TYPE_CHECKING:
    import xarray

    from fourdcrystal.crystals import Crystal
    from fourdcrystal.reflections import Reflections


class Writer:
    """Takes the results of one orientation after the other, in any order; made by :func:`new_store`.

    Patterns go to the disk at once, everything else is small and waits in memory.
    """

    def __init__(self, folder: Path, group: zarr.Group, axes: Axes) -> None:
        self._folder, self._group, self._axes, self._sizes = folder, group, axes, axes.sizes()
        self._create("cbed", self._shape("cbed"))
        self._small: dict[str, NDArray[Any]] = {
            name: np.zeros(self._shape(name), np.float32) for name in ("vg", "qz", "intensity", "seam_fraction")
        }
        self._beam = np.ones((len(axes.energy), len(axes.semiangle)))
        self._reflections: dict[int, Reflections] = {}

    def put_probe(self, probe: ArrayLike) -> None:
        """Write the vacuum probes, (energy, semiangle, qx, qy), each with maximum 1. Comes first."""
        images = rounded(probe, PATTERN_STEP)
        self._beam = _total(images)
        self._array("probe", images)

    def put(
        self,
        orientation: int,
        cbed: ArrayLike,
        vg: ArrayLike,
        qz: ArrayLike,
        reflections: "Reflections",
        seam_fraction: ArrayLike,
    ) -> None:
        """Write everything about one orientation.

        Args:
            orientation: Its index in ``axes.orientations``.
            cbed: Intensities over the vacuum probe's maximum, (energy, semiangle, thickness, qx, qy).
            vg: Label map [V], (energy, qx, qy).
            qz: Label map [1/Å], as ``vg``.
            reflections: Table with ``hkl`` (N, 3), ``g`` (N, 3) [1/Å] and ``vg`` (N,) [V].
            seam_fraction: Fraction of intensity near the lateral seam, (energy, semiangle, thickness).

        Raises:
            ValueError: if a shape is wrong or a number is not finite.
        """
        if orientation in self._reflections:
            raise ValueError(f"orientation {orientation} is written twice")
        if np.shape(cbed) != (shape := self._shape("cbed")[1:]):
            raise ValueError(f"cbed has the shape {np.shape(cbed)}, not {shape}")
        try:
            images = rounded(cbed, PATTERN_STEP)
        except ValueError as error:
            raise ValueError(f"cbed of orientation {orientation}: {error}") from error
        shards.write(self._folder / "cbed" / "c" / f"{orientation}/0/0/0/0/0", images)
        self._small["vg"][orientation] = rounded(vg, POTENTIAL_STEP)
        self._small["qz"][orientation] = rounded(qz, HEIGHT_STEP)
        self._small["intensity"][orientation] = _total(images) / self._beam[:, :, None]
        self._small["seam_fraction"][orientation] = seam_fraction
        self._reflections[orientation] = reflections

    def finish(self) -> None:
        """Write what all orientations share.

        Raises:
            ValueError: if an orientation is missing, or a number is not finite.
        """
        expected = range(self._sizes["orientation"])
        if missing := sorted(set(expected) - set(self._reflections)):
            raise ValueError(f"orientations {missing} were not written")
        tables = [self._reflections[i] for i in expected]
        lengths = [len(t.hkl) for t in tables]
        small = self._small | self._axes.coordinates()
        small["reflection_orientation"] = np.repeat(np.array(expected, dtype=np.int32), lengths)
        small["reflection_hkl"] = np.concatenate([np.asarray(t.hkl, dtype=np.int32) for t in tables])
        small["reflection_g"] = np.concatenate([np.asarray(t.g, dtype=np.float64) for t in tables])
        small["reflection_vg"] = np.concatenate([np.asarray(t.vg, dtype=np.complex64) for t in tables])
        for name, values in small.items():
            if name != "purpose" and not np.isfinite(values).all():
                raise ValueError(f"{name} has values that are not finite")
            self._array(name, values)

    def _shape(self, name: str) -> tuple[int, ...]:
        return tuple(self._sizes[d] for d in ARRAYS[name][0])

    def _array(self, name: str, values: NDArray[Any]) -> None:
        self._create(name, values.shape)[...] = values

    def _create(self, name: str, shape: tuple[int, ...]) -> zarr.Array:
        """An empty array: images in chunks of one, everything of an orientation in one file (shard)."""
        dims, kind, units, meaning = ARRAYS[name]
        chunks, shard = shape, None
        if dims[-2:] == IMAGE:
            chunks = (*(1 for _ in shape[:-2]), *shape[-2:])
            shard = (1, *shape[1:]) if name == "cbed" else shape
        attributes: dict[str, Any] = {"long_name": meaning} | ({"units": units} if units else {})
        if kind == "float16":
            attributes["scale_factor"] = 1.0  # by the CF conventions: xarray then doesn't compute in half precision
        if name == "cbed":
            attributes["coordinates"] = DESCRIBED
        text = kind == "string"
        return self._group.create_array(
            name,
            shape=shape,
            dtype=str if text else kind,
            chunks=tuple(max(n, 1) for n in chunks),
            shards=shard,
            compressors="auto" if text else [shards.compressor(np.dtype(kind).itemsize)],
            dimension_names=dims,
            attributes=attributes,
            config={"write_empty_chunks": True},  # a missing file is always damage
        )


def _total(images: NDArray[np.float16]) -> NDArray[np.float64]:
    """Sum over the pixels of each image, one after the other: they stay in the processor's cache."""
    each = images.reshape(-1, *images.shape[-2:])
    return np.array([single(image).sum(dtype=np.float64) for image in each]).reshape(images.shape[:-2])


@contextmanager
def new_store(
    path: str | Path, crystal: "Crystal", axes: Axes, recipe: Mapping[str, Any], patterns_version: int
) -> Iterator[Writer]:
    """Write a store that is whole or absent, with the same bytes for the same input.

    Args:
        path: The store, ``{crystal}.zarr``. An older one is replaced when the new one is complete.
        crystal: What it is made from.
        axes: What the axes mean.
        recipe: The settings that it depends on, as plain data (``settings.model_dump(mode="json", include=...)``).
        patterns_version: Version of the simulation's numbers.

    Yields:
        A writer that wants ``put_probe`` once and ``put`` for every orientation.

    Raises:
        InputError: if the path doesn't end in ``.zarr``: what is there may be a folder of other things.
    """
    if Path(path).suffix != ".zarr":
        raise InputError(f"{path}: is no name of a store, which replaces what is there; allowed are names in .zarr")
    with replaced_folder(path) as folder:
        with groups.put(folder) as small:
            group = zarr.open_group(small, mode="w", zarr_format=3)
            writer = Writer(folder, group, axes)
            yield writer
            writer.finish()
            group.attrs.update(attributes(crystal, recipe, patterns_version))
        seal(folder)


def attributes(crystal: "Crystal", recipe: Mapping[str, Any], patterns_version: int) -> dict[str, Any]:
    """What a store says of its origin: the crystal, the whole recipe, and versions."""
    from fourdcrystal.crystals import structure_to_dict  # pymatgen, which reading a store doesn't need

    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "crystal": {
            "id": crystal.id,
            "formula": crystal.formula,
            "prototype": crystal.prototype,
            "spacegroup": crystal.spacegroup,
            "crystal_system": crystal.crystal_system,
            "source": dict(crystal.source),
            "structure": structure_to_dict(crystal.structure),
        },
        "recipe": dict(recipe),
        "versions": {
            "fourdcrystal": __version__,
            "abtem": version("abtem"),
            "patterns": patterns_version,
        },
    }


def content(location: Location, place: Place) -> dict[str, Any]:
    """All of a store's ``zarr.json``: its attributes, and the metadata of all arrays.

    Raises:
        InputError: if the store is missing, incomplete, not one of ours, or of a newer format.
    """
    try:
        found = json.loads(place.read("zarr.json"))
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{location}: is not a complete Zarr store (no zarr.json)") from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{location}: its zarr.json can't be read ({error})") from error
    check_format(location, found.get("attributes", {}) if isinstance(found, dict) else {})
    return found


def metadata(location: Location) -> dict[str, Any]:
    """Attributes of a store, read without opening its arrays.

    Raises:
        InputError: as :func:`content`.
    """
    return content(location, places.at(location))["attributes"]


def check_format(path: Location, attributes: Mapping[str, Any]) -> None:
    """Refuse a store that this version can't read.

    Raises:
        InputError: naming the store and the formats that can be read.
    """
    if attributes.get("format") != FORMAT:
        raise InputError(f"{path}: is not a store of 4D-Crystal patterns (no attribute format: '{FORMAT}')")
    found = attributes.get("format_version")
    if found != FORMAT_VERSION:
        raise InputError(
            f"{path}: has the format version {found}, but this program reads {FORMAT_VERSION}; "
            "a newer 4D-Crystal may read it"
        )
    if "checksums" not in attributes:
        raise InputError(f"{path}: is not complete (no checksums); make it again")


def open(path: Location) -> "xarray.Dataset":
    """Open a store as an xarray Dataset whose arrays are read when they are used.

    Args:
        path: Folder, or the URL of an object store, such as ``s3://bucket/patterns/Si.zarr``; credentials and endpoint
            come from the environment, as for other tools of that store (AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL, ...).

    Raises:
        InputError: if it is missing, incomplete, damaged, not one of ours, or of a newer format.
    """
    import xarray
    from zarr.storage import ObjectStore

    metadata(path)
    source = ObjectStore(places.object_store(str(path)), read_only=True) if places.remote(path) else str(path)
    try:
        return xarray.open_zarr(source, chunks=None)
    except (KeyError, TypeError, ValueError) as error:  # what zarr and xarray say of metadata that make no sense
        raise InputError(f"{path}: its metadata are damaged ({' '.join(str(error).split())[:200]})") from error
