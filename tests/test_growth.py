"""A data set grows: splits stay, and nothing that is tested on gets trained on."""

import random
from collections import defaultdict

from hypothesis import given
from hypothesis import strategies as st

from fourdcrystal import growth
from fourdcrystal.selection import Candidate, select
from fourdcrystal.settings import Crystals
from fourdcrystal.sheet import Row
from fourdcrystal.splits import families


def sheet(classes: int, each: int, total: int, seed: int) -> list[Row]:
    """A selection from so many classes of so many crystals, some of one compound.

    Of each second class, crystals from the eighth on have the label of the class after it.
    """
    candidates = [
        Candidate(f"c{p}-{i}", f"p{p}", f"A{i % 5}", 225, "cubic", f"w{p + (p % 2) * (i // 7)}", f"c{p}-{i}")
        for p in range(classes)
        for i in range(each)
    ]
    split = {"validation": 0.2, "test": 0.2, "test_prototypes": 0.2}
    return select(candidates, Crystals.model_validate({"total": total, "per_class_min": 0, "split": split}), seed)


@given(st.integers(4, 12), st.integers(1, 9), st.integers(0, 5), st.integers(0, 5))
def test_crystals_keep_their_split_and_nothing_tested_on_is_trained_on(classes, each, one, other):
    few = random.Random(one).randint(3, classes * each)
    before = sheet(classes, each, few, one)
    selected = sheet(classes + 3, each + 4, (classes + 3) * (each + 4) // 2, other)
    rows = growth.grown(before, selected)
    assert rows[: len(before)] == before
    prototypes, compounds = defaultdict(set), defaultdict(set)
    for row in rows:
        prototypes[row.prototype].add(row.split)
        compounds[row.prototype, row.formula].add(row.split)
    assert all(splits == {"test_prototype"} for splits in prototypes.values() if "test_prototype" in splits)
    assert all("train" in splits for splits in prototypes.values() if "test" in splits)
    assert all(len(splits) == 1 for splits in compounds.values())
    held = {row.protostructure for row in rows if row.split == "test_prototype"}
    assert not held & {row.protostructure for row in rows if row.split != "test_prototype"}
    family = families([*before, *selected])
    torn = {family[row.id] for row in before if row.split == "test_prototype"}
    torn &= {family[row.id] for row in before if row.split != "test_prototype"}
    left_out = {row.id for row in (*before, *selected)} - {row.id for row in rows}
    assert {family[id] for id in left_out} <= torn


def test_growing_by_nothing_changes_nothing():
    before = sheet(6, 3, 10, 0)
    assert growth.grown(before, before) == before


def test_a_crystal_with_relatives_on_both_sides_is_left_out():
    def row(id, prototype, label, split):
        return Row(id, prototype, 1, split, id, 225, "cubic", label, id)

    before = [row("a", "cuprite", "w1", "train"), row("b", "wurtzite", "w2", "test_prototype")]
    new = [row("c", "cuprite", "w2", "train"), row("d", "quartz", "w3", "validation")]
    assert growth.grown(before, new) == [*before, new[1]]
    assert growth.grown(before[:1], new)[1].split == "train"
