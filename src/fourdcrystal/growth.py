"""A data set that gets further crystals: those it has keep their split, and nothing that is tested on is trained on."""

from collections.abc import Sequence
from dataclasses import replace

from fourdcrystal.selection import OTHER
from fourdcrystal.sheet import Row


def _group(row: Row) -> str:
    """What is held out together (:func:`fourdcrystal.selection.group`)."""
    return row.prototype if row.prototype != OTHER else f"{OTHER}:{row.protostructure}"


def grown(before: Sequence[Row], selected: Sequence[Row]) -> list[Row]:
    """The rows of a sheet as they are, and after them those of a further selection that are new, sorted by id.

    A new crystal has the split of its selection, unless that would mix what is trained on with what is tested on: it is
    held out if its prototype is, it goes with other crystals of its compound and prototype, and it is trained on if its
    prototype can't be held out any more or has no training crystal yet.

    Args:
        before: The data set's sheet.
        selected: A sheet that was selected anew, with a larger total or from a larger source.
    """
    there = {row.id for row in before}
    splits: dict[str, set[str]] = {}
    for row in before:
        splits.setdefault(_group(row), set()).add(row.split)
    compounds = {(_group(row), row.formula): row.split for row in before}
    added = []
    for row in (r for r in selected if r.id not in there):
        group = _group(row)
        known = splits.get(group)
        if known is None:
            split = row.split
        elif "test_prototype" in known:
            split = "test_prototype"
        elif (group, row.formula) in compounds:
            split = compounds[group, row.formula]
        elif row.split == "test_prototype" or "train" not in known:
            split = "train"
        else:
            split = row.split
        added.append(replace(row, split=split))
    return [*before, *sorted(added, key=lambda row: row.id)]
