"""Several crystals in one job, so that the start of a process or of a GPU is paid once.

How many share a job changes neither data nor paths: each crystal's store depends on the seed, crystal and recipe
alone, and lies where it would lie anyway.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from fourdcrystal import PATTERNS_VERSION, checksums, collection, crystals, production, sheet, stores
from fourdcrystal.crystals import Crystal
from fourdcrystal.errors import InputError
from fourdcrystal.files import replaced
from fourdcrystal.progress import Progress
from fourdcrystal.settings import Settings


def is_current(path: Path, crystal: Crystal, settings: Settings) -> bool:
    """Whether a store is complete and was made from this crystal with this recipe by these versions."""
    recipe = settings.model_dump(mode="json", include=set(production.SECTIONS))
    expected = json.loads(json.dumps(stores.attributes(crystal, recipe, PATTERNS_VERSION)))
    try:
        found = stores.metadata(path)
    except InputError:  # missing, or of another format: to be made
        return False
    return {name: found.get(name) for name in expected} == expected


def make(structures: Path, listed: Path, ids: Sequence[str], patterns: Path, record: Path, settings: Settings) -> None:
    """Simulate some crystals of a sample sheet, one store each; then record the stores' checksums.

    Stores that are complete and current are kept, so a job that was cut off goes on where it ended.

    Args:
        structures: Table of structures.
        listed: Sample sheet.
        ids: Crystals to make.
        patterns: Folder of the stores.
        record: JSON file with the checksum of each store.
        settings: The recipe.

    Raises:
        InputError: naming the crystal that can't be made.
    """
    with Progress(len(ids), record.stem, "crystals") as progress:
        for id in ids:
            crystal = crystals.listed(sheet.one(listed, id), collection.one(structures, id))
            store = patterns / f"{id}.zarr"
            if not is_current(store, crystal, settings):
                orientations, cells = production.supercells(crystal, settings)
                production.write_patterns(store, crystal, orientations, cells, settings)
            progress.add(1)
    with replaced(record) as path:
        path.write_text(json.dumps({id: checksums.identity(patterns / f"{id}.zarr") for id in ids}, indent=1) + "\n")
