"""A data set grows: splits stay, and nothing that is tested on gets trained on."""

import itertools
import random
import shutil
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import yaml
import zarr
from hypothesis import given
from hypothesis import strategies as st

from fourdcrystal import catalogue, growth, verification
from fourdcrystal.crystal_settings import Crystals
from fourdcrystal.selection import Candidate, select
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


def files(folder: Path) -> dict[Path, tuple[int, bytes]]:
    """Every file of a folder: when it was written, and its bytes."""
    return {p.relative_to(folder): (p.stat().st_mtime_ns, p.read_bytes()) for p in folder.rglob("*") if p.is_file()}


def chunks(store: Path) -> dict[tuple[bytes, float, float, float], bytes]:
    """Bytes on disk of every pattern, by the crystal's rotation, energy, semi-angle and thickness."""
    group = zarr.open_group(store, mode="r")
    energy, semiangle, thickness = (group[name][...].tolist() for name in ("energy", "semiangle", "thickness"))
    found = {}
    for number, rotation in enumerate(group["rotation"][...]):
        shard = (store / "cbed" / "c" / f"{number}/0/0/0/0/0").read_bytes()
        axes = list(itertools.product(energy, semiangle, thickness))
        index = np.frombuffer(shard[-16 * len(axes) - 4 : -4], "<u8").reshape(-1, 2).tolist()
        for values, (offset, length) in zip(axes, index, strict=True):
            found[rotation.tobytes(), *values] = shard[offset : offset + length]
    return found


def splits(results: Path) -> dict[str, str]:
    table = catalogue.read(results / "catalogue.parquet", columns=["crystal", "split"]).drop_duplicates()
    return dict(zip(table["crystal"].astype(str), table["split"].astype(str), strict=True))


@pytest.mark.parametrize(
    ("section", "change", "factor"),
    [("specimen", {"thickness": [20, 40, 60]}, 3 / 2), ("orientations", {"random": 2}, 4 / 3)],
    ids=["thickness", "orientation"],
)
def test_snakemake_grows_a_data_set_and_every_chunk_that_was_there_stays(production, tmp_path, section, change, factor):
    grown = production.copy(tmp_path / "copy")
    content = yaml.safe_load(grown.configuration.read_text())
    content[section].update(change)
    grown.configuration.write_text(yaml.safe_dump(content))
    grown.snakemake("--cores", "2", "--until", "catalogue")
    assert len(splits(production.results)) == 6
    assert splits(grown.results) == splits(production.results)
    for crystal in splits(production.results):
        before, after = (chunks(made.results / "patterns" / f"{crystal}.zarr") for made in (production, grown))
        assert len(after) == factor * len(before)
        assert {key: after[key] for key in before} == before
    assert verification.verify(grown.results).problems == []


def test_a_row_more_in_a_frozen_sheet_makes_one_store_and_rewrites_no_other(production, tmp_path):
    frozen = production.copy(tmp_path / "copy")
    patterns, sheet = frozen.results / "patterns", frozen.folder / "crystals.csv"
    lines = (production.results / "crystals.csv").read_text().splitlines(keepends=True)
    new = next(line.split(",")[0] for line in lines if ",train," in line)
    shutil.rmtree(patterns / f"{new}.zarr")
    for left in ("crystals", "stores"):
        (frozen.results / left / f"{new}.json").unlink()
    sheet.write_text("".join(line for line in lines if not line.startswith(f"{new},")))
    content = yaml.safe_load(frozen.configuration.read_text())
    content["crystals"]["sheet"] = str(sheet)
    frozen.configuration.write_text(yaml.safe_dump(content))
    frozen.snakemake("--cores", "2", "--until", "catalogue")
    before, split = files(patterns), splits(frozen.results)
    assert len(split) == 5 and new not in split

    sheet.write_text("".join(lines))
    frozen.snakemake("--cores", "2", "--until", "catalogue")
    after = files(patterns)
    assert {path.parts[0] for path in after if path not in before} == {f"{new}.zarr"}
    assert {path: after[path] for path in before} == before
    assert splits(frozen.results) == split | {new: "train"}
    assert {p: b for p, (_, b) in after.items()} == {
        p: b for p, (_, b) in files(production.results / "patterns").items()
    }
