"""Whatever happens to a data set on disk, verification finds it and says where."""

import json
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import zarr
from made_up import row, write

from fourdcrystal import catalogue, checksums, sheet, verification
from fourdcrystal.errors import InputError

SCRIPT = Path(__file__).parents[1] / "scripts" / "verify.py"
NAMES = ("Si-1", "Si-2")


@pytest.fixture(scope="module")
def untouched(tmp_path_factory):
    """Two crystals and their catalogue."""
    made = tmp_path_factory.mktemp("untouched")
    for seed, name in enumerate(NAMES):
        write(made / "patterns" / f"{name}.zarr", seed=seed, orientations=1)
    listed = [row(name, split) for name, split in zip(NAMES, ("train", "test"), strict=True)]
    catalogue.write(made / "catalogue.parquet", catalogue.build(made / "patterns", listed))
    return made


@pytest.fixture
def dataset(untouched, tmp_path):
    """A copy to be disturbed."""
    return Path(shutil.copytree(untouched, tmp_path / "dataset"))


@pytest.fixture
def store(dataset):
    """One of its stores."""
    return dataset / "patterns" / "Si-1.zarr"


def flipped(content: bytes, rng: np.random.Generator) -> bytes:
    place, changed = int(rng.integers(len(content))), bytearray(content)
    changed[place] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def test_an_undisturbed_data_set_has_nothing_wrong(dataset):
    verdict = verification.verify(dataset)
    assert verdict.problems == []
    assert (verdict.stores, verdict.quartets) == (2, 12)


def test_each_of_1000_corruptions_is_found_and_its_store_and_array_named(dataset):
    rng = np.random.default_rng(1)
    patterns = dataset / "patterns"
    pristine = {p: p.read_bytes() for p in sorted(patterns.rglob("*")) if p.is_file()}
    files, kinds = list(pristine), Counter()
    for _ in range(1000):
        file = files[int(rng.integers(len(files)))]
        store = patterns / file.relative_to(patterns).parts[0]
        array = file.relative_to(store).parts[0]
        kind = str(rng.choice(["flipped byte", "truncated", "missing", "swapped", "edited metadata", "stray file"]))
        stray = file.with_name("stray")
        if kind == "flipped byte":
            file.write_bytes(flipped(pristine[file], rng))
        elif kind == "truncated":
            file.write_bytes(pristine[file][: int(rng.integers(len(pristine[file])))])
        elif kind == "missing":
            file.unlink()
        elif kind == "swapped":
            others = [f for f in files if f.parent.parent == file.parent.parent and pristine[f] != pristine[file]]
            others += [f for f in files if f.name == file.name and pristine[f] != pristine[file]]
            file.write_bytes(pristine[others[int(rng.integers(len(others)))]])
        elif kind == "edited metadata":
            file = store / (array if array == "zarr.json" else f"{array}/zarr.json")
            content = json.loads(pristine[file])
            content["attributes"]["long_name"] = "something else"
            file.write_text(json.dumps(content, indent=2))
        else:
            stray.write_bytes(b"0")
        problems = verification.of_store(store, store.stem).problems
        named = {problem.array for problem in problems}
        assert problems, f"{kind} of {file} was not found"
        assert all(problem.file == str(store) for problem in problems)
        # where the store's own metadata are damaged, there may be no array to name
        assert array == "zarr.json" or array in named, f"{kind} of {file}: {problems}"
        kinds[kind] += 1
        stray.unlink(missing_ok=True)
        file.write_bytes(pristine[file])
    assert min(kinds.values()) > 100
    assert verification.of_store(patterns / "Si-1.zarr").problems == []


def test_swapped_missing_and_forgotten_stores_are_found(dataset):
    first, second = (dataset / "patterns" / f"{name}.zarr" for name in NAMES)
    first.rename(dataset / "x")
    second.rename(first)
    (dataset / "x").rename(second)
    said = [str(p) for p in verification.verify(dataset).problems]
    assert f"{first}: holds the crystal Si-2, not Si-1" in said
    assert f"{second}: holds the crystal Si-1, not Si-2" in said
    shutil.rmtree(second)
    assert any(p.startswith(f"{second}: is missing") for p in map(str, verification.verify(dataset).problems))
    write(dataset / "patterns" / "Si-3.zarr")
    assert verification.verify(dataset).others == [str(dataset / "patterns" / "Si-3.zarr")]


def test_a_catalogue_that_is_there_but_cannot_be_read_does_not_pass_for_none(dataset):
    (dataset / "catalogue.parquet").unlink()
    (dataset / "catalogue.parquet").mkdir()
    with pytest.raises(InputError, match=r"catalogue\.parquet can't be read"):
        verification.verify(dataset)


def test_splits_that_let_a_network_see_what_it_is_tested_on_are_found(dataset):
    listed = [row("Si-1", "train"), row("Si-2", "test_prototype")]
    catalogue.write(dataset / "catalogue.parquet", catalogue.build(dataset / "patterns", listed))
    said = [str(p) for p in verification.verify(dataset).problems]
    assert said == [f"{dataset / 'catalogue.parquet'}: split: prototype A_cF8_227_a is held out, but also in train"]
    listed = [row("Si-1", "test"), row("Si-2", "train")]
    catalogue.write(dataset / "catalogue.parquet", catalogue.build(dataset / "patterns", listed))
    sheet.write(dataset / "crystals.csv", [row("Si-1", "train"), row("Si-2", "train")])
    said = [str(p) for p in verification.verify(dataset).problems]
    assert len(said) == 1 and "crystal Si-1 is in test, but" in said[0] and said[0].endswith("says train")


def test_a_store_that_was_made_again_makes_the_catalogue_stale(dataset):
    write(dataset / "patterns" / "Si-2.zarr", seed=7, orientations=1)
    said = [str(p) for p in verification.verify(dataset).problems]
    assert any("catalogue.parquet: is stale" in s and "Si-2.zarr" in s for s in said)


def test_every_edited_catalogue_value_is_found_although_its_checksum_was_renewed(dataset):
    path = dataset / "catalogue.parquet"
    table, about = pq.read_table(path), pq.read_metadata(path).metadata
    for column in set(catalogue.COLUMNS) - {"crystal", "split"}:  # a split is the sheet's word, no store knows it
        values = table[column].to_pylist()
        values[5] = values[5] + "x" if isinstance(values[5], str) else values[5] + 1
        edited = table.set_column(table.schema.get_field_index(column), column, [values]).cast(table.schema)
        catalogue.write(path, edited.replace_schema_metadata({b"fourdcrystal": renewed(about[b"fourdcrystal"])}))
        problems = verification.of_catalogue(path, dataset / "patterns")
        assert [(problem.file, problem.array) for problem in problems] == [(str(path), column)]
        assert "row 5 says" in problems[0].what


def renewed(about: bytes) -> bytes:
    content = json.loads(about)
    content[checksums.SELF] = checksums.BLANK
    return json.dumps(content).encode()


def test_every_flipped_byte_of_the_catalogue_is_found(dataset):
    rng, path = np.random.default_rng(2), dataset / "catalogue.parquet"
    content = path.read_bytes()
    for _ in range(200):
        path.write_bytes(flipped(content, rng))
        assert verification.of_catalogue(path, dataset / "patterns")


def forge(store: Path, array: str, change) -> None:
    """Change an array and renew all checksums."""
    opened = zarr.open_group(store, mode="r+", use_consolidated=False)[array]
    values = opened[...]
    opened[...] = change(values)
    checksums.seal(store)


@pytest.mark.parametrize(
    ("array", "change", "said"),
    [
        ("cbed", lambda v: v * np.float16(1.25), "intensity: orientation 0: cbed does not add up"),
        (
            "cbed",
            lambda v: np.where(v > 0.5, np.nan, v),
            "cbed: orientation 0 has values that are negative or not finite",
        ),
        ("probe", lambda v: v * np.float16(0.5), "probe: is not a probe with maximum 1"),
        ("probe", lambda v: (v * np.float32(1.001)).astype(np.float16), "probe: is not a probe with maximum 1"),
        ("intensity", lambda v: 2 * v, "intensity: orientation 0: cbed does not add up"),
        ("qz", lambda v: v + np.float16(0.01), "qz: orientation 0, energy 0 is not the map that its reflections draw"),
        (
            "vg",
            lambda v: np.roll(v, 2, axis=-1),
            "vg: orientation 0, energy 0 is not the map that its reflections draw",
        ),
        ("qz", lambda v: v + np.float16(np.inf), "qz: orientation 0 has values that are not finite"),
        ("reflection_g", lambda v: v + 1e-4, "reflection_g: reflection 0 is"),
        ("reflection_hkl", lambda v: v + np.array([1, 0, 0]), "off the crystal's reciprocal lattice"),
        ("rotation", lambda v: 1.01 * v, "rotation: is not a rotation"),
        ("energy", lambda v: 1.5 * v, "energy: is [300000.0], but the recipe says [200000.0]"),
        ("thickness", lambda v: v[::-1], "thickness: is not in ascending order"),
        ("qx", lambda v: v + 0.02, "qx: is not evenly spaced with zero at n // 2"),
        ("seam_fraction", lambda v: v + 2, "seam_fraction: is not a fraction"),
        ("mistilt", lambda v: v * np.nan, "mistilt: has values that are not finite"),
    ],
)
def test_a_forged_array_with_renewed_checksums_breaks_the_contract(store, array, change, said):
    forge(store, array, change)
    assert any(said in str(problem) for problem in verification.of_store(store).problems)


def test_units_and_dimension_names_are_part_of_the_contract(store):
    file = store / "qx" / "zarr.json"
    file.write_text(
        file.read_text().replace('"units": "1/Å"', '"units": "px"').replace('"units": "1/\\u00c5"', '"units": "px"')
    )
    checksums.seal(store)
    assert [str(p) for p in verification.of_store(store).problems] == [f"{store}: qx: has the units 'px', not '1/Å'"]


def test_the_command_line_names_what_is_wrong_and_fails(dataset):
    def run(*arguments):
        return subprocess.run([sys.executable, SCRIPT, *arguments], capture_output=True, text=True)

    good = run(dataset, "-o", dataset / "verdict.json", "--workers", "2")
    assert (good.returncode, good.stderr) == (0, "")
    assert "nothing wrong in 2 stores, 12 quartets" in good.stdout
    assert json.loads((dataset / "verdict.json").read_text())["problems"] == []
    (dataset / "patterns/Si-1.zarr/vg/c/0/0/0/0").write_bytes(b"")
    bad = run(dataset)
    assert bad.returncode == 1
    assert "Si-1.zarr: vg: differs from its checksum" in bad.stdout
    (dataset / "empty").mkdir()
    nothing = run(dataset / "empty")
    assert nothing.returncode == 2
    assert nothing.stderr.startswith("error: ") and nothing.stderr.count("\n") == 1
