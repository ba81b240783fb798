"""Several crystals in one job, so that the start of a process or of a GPU is paid once.

How many share a job changes neither data nor paths: each crystal's store depends on the seed, crystal and recipe
alone, and lies where it would lie anyway.
"""

import json
import resource
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fourdcrystal import PATTERNS_VERSION, checksums, collection, crystals, production, sheet, stores
from fourdcrystal.crystals import Crystal
from fourdcrystal.errors import InputError
from fourdcrystal.files import write_text
from fourdcrystal.progress import Progress
from fourdcrystal.settings import PATTERN_SECTIONS, Settings


def is_current(path: Path, crystal: Crystal, settings: Settings) -> bool:
    """Whether a store is complete and was made from this crystal with this recipe by these versions."""
    recipe = settings.model_dump(mode="json", include=set(PATTERN_SECTIONS))
    expected = json.loads(json.dumps(stores.attributes(crystal, recipe, PATTERNS_VERSION)))
    try:
        found = stores.metadata(path)
    except InputError:  # missing, or of another format: to be made
        return False
    return {name: found.get(name) for name in expected} == expected


def make(structures: Path, listed: Path, ids: Sequence[str], patterns: Path, record: Path, settings: Settings) -> None:
    """Simulate some crystals of a sample sheet, one store each; then record checksums and what each has cost.

    Stores that are complete and current are kept, so a job that was cut off goes on where it ended.

    Args:
        structures: Table of structures.
        listed: Sample sheet.
        ids: Crystals to make.
        patterns: Folder of the stores.
        record: JSON file; by id: ``checksum`` of the store, wall time ``s`` and the process's peak memory ``mem_MB`` so
            far (none for a store that was kept).
        settings: The recipe.

    Raises:
        InputError: naming the crystal that can't be made.
    """
    made: dict[str, dict[str, Any]] = {}
    with Progress(len(ids), record.stem, "crystals") as progress:
        for id in ids:
            crystal = crystals.listed(sheet.one(listed, id), collection.one(structures, id))
            store, began, memory = patterns / f"{id}.zarr", time.monotonic(), None
            if not is_current(store, crystal, settings):
                orientations, cells = production.supercells(crystal, settings)
                production.write_patterns(store, crystal, orientations, cells, settings)
                memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            spent = None if memory is None else round(time.monotonic() - began, 2)
            made[id] = {"checksum": checksums.identity(store), "s": spent, "mem_MB": memory}
            progress.add(1)
    write_text(record, json.dumps(made, indent=1) + "\n")
