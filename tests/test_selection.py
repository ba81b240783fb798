"""The square-root law, and splits that keep test crystals and held-out prototypes away from training."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from known_crystals import SILICON

from fourdcrystal import census, classification, collection, limits, recipe, selection, sheet, sources, splits
from fourdcrystal.classification import Classified
from fourdcrystal.crystal_settings import Crystals, Split
from fourdcrystal.errors import InputError
from fourdcrystal.selection import Candidate
from fourdcrystal.sheet import OTHER
from fourdcrystal.splits import Member

CONFIG = Path(__file__).parents[1] / "config"
SYSTEMS = ["cubic", "hexagonal", "triclinic"]


def offered(sizes: dict[str, int]) -> list[Candidate]:
    return [
        Candidate(f"{name}-{i}", name, f"X{i}", 1, SYSTEMS[i % len(SYSTEMS)], f"{name}-label{i % 7}", f"{name}#{i}")
        for name, size in sizes.items()
        for i in range(size)
    ]


SIZES = {"rock_salt": 900, "perovskite": 400, "zincblende": 100, "quartz": 9, "calcite": 2, "cinnabar": 1, OTHER: 2500}


def taken(**options) -> Counter:
    return Counter(r.prototype for r in selection.select(offered(SIZES), Crystals(**options), seed=3))


def test_of_a_class_of_n_crystals_the_square_root_of_n_are_taken():
    assert taken() == {
        "rock_salt": 30,
        "perovskite": 20,
        "zincblende": 10,
        "quartz": 3,
        "calcite": 1,
        "cinnabar": 1,
        OTHER: 50,
    }


def test_the_law_scales_to_a_wanted_total_in_the_same_proportions():
    found = taken(total=230)
    assert found.total() == 230
    exact = {name: np.sqrt(n) for name, n in SIZES.items()}
    for name in ("rock_salt", "perovskite", "zincblende", OTHER):
        assert found[name] == pytest.approx(230 * exact[name] / sum(exact.values()), rel=0.03)


def test_caps_and_least_numbers_hold_and_no_class_gives_more_than_it_has():
    found = taken(total=60, per_class_min=2, per_class_max=20)
    assert found.total() == 60
    assert max(found.values()) <= 20
    assert (found["calcite"], found["cinnabar"]) == (2, 1)


def test_crystals_of_no_known_prototype_can_be_left_out():
    assert OTHER not in taken(other=False)


def test_no_crystal_is_taken_twice_and_the_seed_decides():
    first, again, other = (selection.select(offered(SIZES), Crystals(), seed) for seed in (1, 1, 2))
    assert first == again != other
    assert len({r.id for r in first}) == len(first)


def test_the_selection_does_not_depend_on_the_order_of_the_source():
    candidates = offered(SIZES)
    assert selection.select(candidates[::-1], Crystals(), 1) == selection.select(candidates, Crystals(), 1)


def test_the_draw_within_a_class_does_not_depend_on_other_classes():
    def chosen(sizes):
        return {r.id for r in selection.select(offered(sizes), Crystals(), 1) if r.prototype == "rock_salt"}

    assert chosen(SIZES) == chosen({"rock_salt": 900, "wurtzite": 70})


def test_stratified_classes_have_the_crystal_systems_of_their_source():
    rows = selection.select(offered(SIZES), Crystals(stratify=True), seed=1)
    assert Counter(r.crystal_system for r in rows if r.prototype == "rock_salt") == dict.fromkeys(SYSTEMS, 10)


def test_a_small_stratified_total_has_every_crystal_system():
    candidates = [
        Candidate(f"x{i}", f"p{i}", "X", 1, "triclinic" if i == 0 else "cubic", f"p{i}", f"{i}") for i in range(100)
    ]
    for seed in range(20):
        rows = selection.select(candidates, Crystals(stratify=True, total=5, per_class_min=0), seed)
        assert Counter(r.crystal_system for r in rows) == {"triclinic": 1, "cubic": 4}


@given(st.lists(st.floats(0, 5), min_size=1, max_size=30), st.integers(0, 1000))
@settings(max_examples=50, deadline=None)
def test_whole_numbers_differ_from_quotas_by_less_than_one_and_keep_the_sum(parts, seed):
    quotas = np.array([*parts, np.ceil(sum(parts)) - sum(parts)])
    drawn = selection.draw_whole(quotas, np.random.default_rng(seed))
    assert drawn.sum() == round(quotas.sum())
    assert (np.abs(drawn - quotas) < 1 + 1e-6).all()


def test_the_draw_of_whole_numbers_has_the_quotas_as_its_mean():
    quotas = np.array([0.1, 0.2, 0.3, 0.4, 1.5, 2.5])
    rng = np.random.default_rng(0)
    mean = np.mean([selection.draw_whole(quotas, rng) for _ in range(4000)], axis=0)
    assert mean == pytest.approx(quotas, abs=0.03)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"total": 5}, "crystals.total: 5 is fewer than the 7 that per_class_min 1 asks for in 7 classes"),
        ({"total": 4000}, "crystals.total: 4000 is more than the 3912 crystals"),
        ({"split": {"hold_out": ["rocksalt"]}}, "did you mean 'rock_salt'?"),
    ],
)
def test_a_law_that_cannot_be_met_is_refused_in_words(options, said):
    with pytest.raises(InputError) as caught:
        taken(**options)
    assert said in str(caught.value)


def test_a_prototype_of_the_library_that_no_crystal_has_is_as_good_as_held_out():
    absent = "AB_cP8_198_a_a-FeSi"
    assert taken(split={"hold_out": [absent]}) == taken()


def test_names_of_the_library_hold_nothing_out_where_classes_are_protostructure_labels_and_are_refused():
    labels = offered({"AB_cF8_216_a_c": 9, "A_cF4_225_a": 9})  # the library calls zincblende AB_cF8_216_c_a
    options = Crystals(classes="protostructure", split={"hold_out": ["AB_cF8_216_c_a"]})
    with pytest.raises(InputError, match="did you mean 'AB_cF8_216_a_c'"):
        selection.select(labels, options, seed=0)


def test_the_class_other_can_be_held_out_whole():
    options = Crystals(split={"hold_out": [OTHER], "test_prototypes": 0})
    rows = selection.select(offered(SIZES), options, seed=0)
    assert {r.split for r in rows if r.prototype == OTHER} == {"test_prototype"}
    assert {r.prototype for r in rows if r.split == "test_prototype"} == {OTHER}


def test_an_empty_selection_is_refused_in_words():
    with pytest.raises(InputError, match="leaves no crystal to select; allowed are wider"):
        selection.select([], Crystals(), 0)
    with pytest.raises(InputError, match="leaves no crystal to select"):
        selection.select(offered({OTHER: 3}), Crystals(other=False), 0)


@given(
    st.dictionaries(st.sampled_from([f"p{i}" for i in range(12)]), st.integers(1, 9), min_size=1),
    st.floats(0, 0.5),
    st.floats(0, 0.5),
    st.floats(0, 0.5),
    st.integers(0, 100),
)
@settings(max_examples=100, deadline=None)
def test_no_test_crystal_or_held_out_prototype_is_ever_trained_on(sizes, validation, test, prototypes, seed):
    # two crystals in three are of the same compound as their neighbour
    members = [Member(f"{name}-{i}", name, f"X{i - i % 3 // 2}", name) for name, n in sizes.items() for i in range(n)]
    fractions = Split(validation=validation, test=test, test_prototypes=prototypes)
    found = splits.split(members, fractions, seed)
    by = {word: {m.prototype for m in members if found[m.id] == word} for word in sheet.SPLITS}
    assert found.keys() == {m.id for m in members}
    assert len({(m.prototype, m.formula) for m in members}) == len(
        {(m.prototype, m.formula, found[m.id]) for m in members}
    )
    assert by["train"]
    assert not by["test_prototype"] & (by["train"] | by["validation"] | by["test"])
    assert by["test"] <= by["train"]
    assert len(by["test_prototype"]) <= max(round(prototypes * len(sizes)), 0)


CRYSTALS_OF_TWO_TIERS = st.lists(
    st.tuples(st.sampled_from([*(f"p{i}" for i in range(15)), OTHER]), st.integers(0, 20)), min_size=1, max_size=60
)


@given(CRYSTALS_OF_TWO_TIERS, st.floats(0, 0.5), st.integers(0, 100))
@settings(max_examples=100, deadline=None)
def test_neither_a_prototype_nor_a_protostructure_label_is_on_both_sides_of_what_is_held_out(kinds, fraction, seed):
    members = [Member(f"{i}", prototype, "X", f"w{label}") for i, (prototype, label) in enumerate(kinds)]
    found = splits.split(members, Split(test_prototypes=fraction), seed)
    held = [m for m in members if found[m.id] == "test_prototype"]
    seen = [m for m in members if found[m.id] != "test_prototype"]
    assert not {m.protostructure for m in held} & {m.protostructure for m in seen}
    assert not {m.prototype for m in held if m.prototype != OTHER} & {m.prototype for m in seen}


def test_crystals_that_others_link_are_one_family_and_the_class_other_links_nothing():
    members = [
        Member("1", "cuprite", "X", "a"),
        Member("2", "wurtzite", "X", "a"),  # the label of 1
        Member("3", "wurtzite", "X", "b"),  # the prototype of 2
        Member("4", OTHER, "X", "b"),  # the label of 3
        Member("5", OTHER, "X", "c"),
    ]
    assert splits.families(members) == {**dict.fromkeys("1234", "cuprite"), "5": "other:c"}


def test_fractions_of_the_split_are_met_where_prototypes_have_several_crystals():
    members = [Member(f"{p}-{i}", f"p{p}", f"X{i}", f"p{p}") for p in range(20) for i in range(10)]
    found = Counter(splits.split(members, Split(validation=0.1, test=0.15, test_prototypes=0.2), 0).values())
    assert found == {"train": 110, "validation": 20, "test": 30, "test_prototype": 40}


def test_named_prototypes_are_held_out_and_always_selected():
    for seed in range(5):
        options = Crystals(total=10, per_class_min=0, split={"hold_out": ["cinnabar"]})
        rows = selection.select(offered(SIZES), options, seed)
        assert [r.split for r in rows if r.prototype == "cinnabar"] == ["test_prototype"]


def test_within_the_class_other_labels_are_held_out_whole():
    rows = selection.select(offered(SIZES), Crystals(split={"test_prototypes": 0.3}), 1)
    held = {r.protostructure for r in rows if r.prototype == OTHER and r.split == "test_prototype"}
    seen = {r.protostructure for r in rows if r.prototype == OTHER and r.split != "test_prototype"}
    assert held and not held & seen


@pytest.fixture(scope="module")
def law_of_the_demo(tmp_path_factory):
    """The square-root law over the embedded source, with the committed settings."""
    folder = tmp_path_factory.mktemp("law")
    chosen = recipe.read(CONFIG / "config.yaml")
    collection.write(folder / "structures.parquet", sources.entries(chosen.crystals))
    classification.run(folder / "structures.parquet", folder / "classes.parquet", workers=1)
    entries, classes = collection.read(folder / "structures.parquet"), classification.read(folder / "classes.parquet")
    candidates, counts = census.candidates(entries, classes, chosen.crystals)
    return selection.select(candidates, chosen.crystals, chosen.seed), counts


def test_the_committed_sheet_and_counts_are_what_the_law_gives_with_the_committed_settings(law_of_the_demo):
    rows, counts = law_of_the_demo
    assert sheet.read(CONFIG / "crystals.csv") == rows
    committed = census.read_counts(CONFIG / "crystals.counts.json", rows)
    assert committed | {"database_versions": counts["database_versions"]} == counts


@pytest.mark.parametrize("ids", [("Si-2", "Si-1"), ("Si-1",), ("Si-1", "Si-2", "Si-3")])
def test_crystals_are_never_classed_by_what_another_one_is(ids):
    entries = [sources.Entry(id, SILICON, sources.origin("made up", id)) for id in ("Si-1", "Si-2")]
    measures = limits.measure(SILICON)
    classified = [Classified(id, "A_cF8_227_a", ("A_cF8_227_a",), "A_cF8_227_a", measures) for id in ids]
    with pytest.raises(InputError, match=r"^Si-[123]: the classified structures are not those that were collected"):
        census.candidates(entries, classified, Crystals())


def test_every_offered_crystal_is_accounted_for(law_of_the_demo):
    rows, counts = law_of_the_demo
    assert counts["offered"] == counts["accepted"] + sum(counts["rejected"].values()) == 288
    assert counts["rejected"]["too many sites"] > 30  # the demo wants small crystals
    assert counts["rejected"]["partial occupancy"] == 0  # counted, and said to be none
    assert "288 crystals offered; rejected: too many sites " in census.words(counts, rows)


def test_the_demo_has_all_crystal_systems_and_never_trains_on_zincblende():
    rows = sheet.read(CONFIG / "crystals.csv")
    assert len(rows) >= 12 and len({r.prototype for r in rows}) >= 10
    assert {r.crystal_system for r in rows} == set(census.SYSTEMS)
    assert {r.split for r in rows if r.prototype == "AB_cF8_216_c_a"} == {"test_prototype"}


def test_a_census_counts_every_crystal_of_the_sheet_and_is_drawn(tmp_path, panels):
    rows = selection.select(offered(SIZES), Crystals(), 1)
    sheet.write(tmp_path / "crystals.csv", rows)
    assert "rejected" not in census.of_sheet(tmp_path / "crystals.csv")
    rejected = {"too many sites": 88, "partial occupancy": 0}
    census.write(tmp_path / "crystals.counts.json", {"offered": 4000, "accepted": 3912, "rejected": rejected})
    content = census.of_sheet(tmp_path / "crystals.csv")
    assert content["selected"] == sum(content["splits"].values()) == sum(c["selected"] for c in content["classes"])
    assert content["rejected"] == rejected
    census.plot(tmp_path / "census.png", content)
    assert (tmp_path / "census.png").read_bytes().startswith(b"\x89PNG")
    classes, fates = panels
    sizes = {(c["class_size"], c["selected"]) for c in content["classes"]}
    assert {tuple(point) for point in classes.collections[0].get_offsets()} == sizes
    assert sum(bar.get_width() for bar in fates.patches) == 4000  # everything that was offered


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"offered": 40, "acc', "can't be read as the counts of a selection"),
        ("[]", "can't be read as the counts of a selection"),
        ('{"offered": 40, "accepted": 40, "rejected": {}}', "is of another selection than the sample sheet beside it"),
        ('{"offered": 9999, "accepted": 4000, "rejected": {}}', "is of another selection"),
    ],
)
def test_counts_that_are_damaged_or_of_another_selection_are_refused(tmp_path, text, said):
    sheet.write(tmp_path / "crystals.csv", selection.select(offered(SIZES), Crystals(), 1))
    (tmp_path / "crystals.counts.json").write_text(text)
    with pytest.raises(InputError, match=said) as caught:
        census.of_sheet(tmp_path / "crystals.csv")
    assert "\n" not in str(caught.value)
