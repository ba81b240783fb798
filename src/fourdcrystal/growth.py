"""A data set that gets further crystals: those it has keep their split, and nothing that is tested on is trained on."""

from collections.abc import Sequence
from dataclasses import replace

from fourdcrystal.sheet import Row
from fourdcrystal.splits import families, group


def grown(before: Sequence[Row], selected: Sequence[Row]) -> list[Row]:
    """The rows of a sheet as they are, and after them those of a further selection that are new, sorted by id.

    A new crystal has the split of its selection, unless that would mix what is trained on with what is tested on: it is
    held out if its family is (:func:`fourdcrystal.splits.families`), it goes with other crystals of its compound and
    prototype, and it is trained on if its family can't be held out any more or its prototype has no training crystal
    yet. Where new crystals would join a family that is held out with one that is trained on, they are left out.

    Args:
        before: The data set's sheet.
        selected: A sheet that was selected anew, with a larger total or from a larger source.
    """
    there = {row.id for row in before}
    new = [row for row in selected if row.id not in there]
    family = families([*before, *new])
    of_family: dict[str, set[str]] = {}
    of_group: dict[str, set[str]] = {}
    for row in before:
        of_family.setdefault(family[row.id], set()).add(row.split)
        of_group.setdefault(group(row), set()).add(row.split)
    compounds = {(group(row), row.formula): row.split for row in before}
    added = []
    for row in new:
        known, prototype = of_family.get(family[row.id], set()), of_group.get(group(row), set())
        if "test_prototype" in known and len(known) > 1:
            continue
        if "test_prototype" in known:
            split = "test_prototype"
        elif (group(row), row.formula) in compounds:
            split = compounds[group(row), row.formula]
        elif known and (row.split == "test_prototype" or (prototype and "train" not in prototype)):
            split = "train"
        else:
            split = row.split
        added.append(replace(row, split=split))
    return [*before, *sorted(added, key=lambda row: row.id)]
