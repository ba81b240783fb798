"""Any quartet, made again from its store's own words (crystal, recipe) and compared with the stored one."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fourdcrystal import PATTERNS_VERSION, catalogue, places, production, recipe, stores
from fourdcrystal.crystals import Crystal, structure_from_dict
from fourdcrystal.errors import InputError
from fourdcrystal.files import replaced
from fourdcrystal.layout import PATTERN
from fourdcrystal.places import Location
from fourdcrystal.precision import HEIGHT_STEP, PATTERN_STEP, POTENTIAL_STEP, rounded
from fourdcrystal.settings import Settings

STEPS = {"probe": PATTERN_STEP, "cbed": PATTERN_STEP, "vg": POTENTIAL_STEP, "qz": HEIGHT_STEP}
Images = dict[str, NDArray[np.float16]]


@dataclass(frozen=True)
class Remade:
    """A quartet made again, and the stored one: probe, cbed, vg, qz, each (qx, qy), as precise as stored.

    Attributes:
        store: Where the stored one is.
        made: Images made now.
        stored: Images read.
    """

    store: Location
    made: Images
    stored: Images

    def differences(self) -> dict[str, float]:
        """Largest difference of each image, in its unit; 0 where both are the same bit by bit."""
        return {
            name: float(np.abs(self.made[name].astype(np.float32) - self.stored[name].astype(np.float32)).max())
            for name in STEPS
        }


def crystal_of(about: Mapping[str, Any]) -> Crystal:
    """The crystal that a store's attributes describe."""
    said = dict(about["crystal"])
    said.pop("formula")
    return Crystal(**said | {"structure": structure_from_dict(said["structure"])})


def settings_of(about: Mapping[str, Any]) -> Settings:
    """The settings that a store's attributes record."""
    return recipe.validate(dict(about["recipe"]), "recipe of the store")


def quartet(store: Location, index: tuple[int, int, int, int]) -> Remade:
    """Make one quartet of a store again.

    Args:
        store: The store.
        index: Of orientation, energy, semi-angle and thickness.

    Raises:
        InputError: if the store can't be used, or other numbers come from this version of the simulation.
    """
    about = stores.metadata(store)
    made_by = about["versions"]["patterns"]
    if made_by != PATTERNS_VERSION:
        raise InputError(
            f"{store}: was made by version {made_by} of the simulation, this is version {PATTERNS_VERSION}; "
            f"fourdcrystal {about['versions']['fourdcrystal']} makes the same numbers"
        )
    orientation, energy, semiangle, thickness = index
    images = production.quartets(crystal_of(about), settings_of(about), orientation, energy, semiangle)
    images["cbed"] = images["cbed"][thickness]
    opened = stores.open(store).isel(dict(zip(PATTERN, index, strict=True)))
    return Remade(
        store=store,
        made={name: rounded(images[name], step) for name, step in STEPS.items()},
        stored={name: opened[name].values.astype(np.float16) for name in STEPS},
    )


def row(path: Location, patterns: Location, number: int) -> Remade:
    """Make the quartet of one row of a catalogue again.

    Args:
        path: catalogue.parquet.
        patterns: Folder of the stores.
        number: Of the row.

    Raises:
        InputError: if there is no such row, or its store is stale or can't be used.
    """
    table = catalogue.read(path, columns=["crystal", *PATTERN])
    if not 0 <= number < len(table):
        raise InputError(f"{path}: has no row {number}; allowed are 0 to {len(table) - 1}")
    chosen = table.iloc[number]
    catalogue.check_fresh(path, patterns, [chosen["crystal"]])
    orientation, energy, semiangle, thickness = (int(chosen[name]) for name in PATTERN)
    return quartet(places.inside(patterns, f"{chosen['crystal']}.zarr"), (orientation, energy, semiangle, thickness))


def write(path: Path, found: Remade) -> None:
    """Write the images made now as .npz."""
    with replaced(path) as temporary, temporary.open("wb") as file:
        images: dict[str, Any] = {name: image.astype(np.float32) for name, image in found.made.items()}
        np.savez_compressed(file, **images)
