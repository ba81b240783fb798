"""A data set grows: splits stay, and nothing that is tested on gets trained on."""

import random
from collections import defaultdict

from hypothesis import given
from hypothesis import strategies as st

from fourdcrystal import growth
from fourdcrystal.selection import Candidate, select
from fourdcrystal.settings import Crystals
from fourdcrystal.sheet import Row


def sheet(classes: int, each: int, total: int, seed: int) -> list[Row]:
    """A selection from so many classes of so many crystals, some of one compound."""
    candidates = [
        Candidate(f"c{p}-{i}", f"p{p}", f"A{i % 5}", 225, "cubic", f"w{p}", f"c{p}-{i}")
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
    assert {row.id for row in rows} == {row.id for row in (*before, *selected)}
    prototypes, compounds = defaultdict(set), defaultdict(set)
    for row in rows:
        prototypes[row.prototype].add(row.split)
        compounds[row.prototype, row.formula].add(row.split)
    assert all(splits == {"test_prototype"} for splits in prototypes.values() if "test_prototype" in splits)
    assert all("train" in splits for splits in prototypes.values() if "test" in splits)
    assert all(len(splits) == 1 for splits in compounds.values())


def test_growing_by_nothing_changes_nothing():
    before = sheet(6, 3, 10, 0)
    assert growth.grown(before, before) == before
