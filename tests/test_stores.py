"""The store of a crystal: it explains itself, is whole or absent, and the same bytes for the same input."""

import json
import warnings

import numpy as np
import pytest
import xarray
from made_up import SHAPE, axes, fill, reflections, silicon, write

from fourdcrystal import checksums, layout, stores
from fourdcrystal.errors import InputError
from fourdcrystal.precision import HEIGHT_STEP, PATTERN_STEP, rounded
from fourdcrystal.reader import StoreReader


def test_a_store_opens_in_xarray_with_named_dimensions_units_and_recipe_and_without_warnings(tmp_path):
    write(tmp_path / "Si-1.zarr")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        opened = xarray.open_zarr(tmp_path / "Si-1.zarr")
    assert opened.cbed.dims == ("orientation", "energy", "semiangle", "thickness", "qx", "qy")
    for name, (dims, kind, units, _) in layout.ARRAYS.items():
        assert opened[name].dims == dims
        assert opened[name].attrs.get("units", "") == units
        # images are stored in half precision, but not computed with in it
        assert kind == "string" or opened[name].dtype == ("float64" if kind == "float16" else kind)
    assert set(opened.coords) == {*layout.DESCRIBED.split(), *layout.PATTERN[1:], *layout.IMAGE}
    assert float(opened.qx[SHAPE[0] // 2]) == 0 == float(opened.qy[SHAPE[1] // 2])
    assert opened.attrs["recipe"]["seed"] == 0
    assert opened.attrs["crystal"]["source"] == silicon().source
    assert silicon().source.keys() == {"name", "id", "database_version", "licence", "citation"}
    assert all(silicon().source.values())
    assert list(opened.purpose.values) == ["zone_axis", "zone_axis"]


def test_a_store_gives_back_what_was_put_into_it(tmp_path):
    """Every number differs from every other one, so that nothing can come back in another place."""
    rng, put = np.random.default_rng(0), {}
    probe = rng.uniform(0.01, 1, (1, 2, *SHAPE))
    with stores.new_store(tmp_path / "Si-1.zarr", silicon(), axes(2), {"seed": 0}, 1) as writer:
        writer.put_probe(probe)
        for i in (1, 0):
            put[i] = {
                "cbed": rng.uniform(0.01, 1, (1, 2, 3, *SHAPE)),
                "vg": rng.uniform(1, 9, (1, *SHAPE)),
                "qz": rng.uniform(-0.1, 0.1, (1, *SHAPE)),
                "reflections": reflections(4 + i),
                "seam_fraction": rng.uniform(0, 0.01, (1, 2, 3)),
            }
            writer.put(i, *put[i].values())
    opened = stores.open(tmp_path / "Si-1.zarr")
    np.testing.assert_allclose(opened.probe, probe, rtol=2e-3, atol=1e-6)
    for i, of in put.items():
        for name, smallest in (("cbed", 1e-6), ("vg", 1e-6), ("qz", HEIGHT_STEP), ("seam_fraction", 0)):
            np.testing.assert_allclose(opened[name][i], of[name], rtol=2e-3, atol=smallest, err_msg=name)
        mine = opened.reflection_orientation.values == i
        for name in ("hkl", "g", "vg"):
            stored = opened[f"reflection_{name}"].values[mine]
            np.testing.assert_allclose(stored, getattr(of["reflections"], name), rtol=1e-6)


def test_patterns_are_rounded_by_less_than_the_stated_error():
    rng = np.random.default_rng(3)
    exact = 10 ** rng.uniform(-9, 0, 100_000)
    error = np.abs(rounded(exact, PATTERN_STEP) - exact)
    assert np.all(error <= np.maximum(1e-6, 0.002 * exact))
    again = rounded(rounded(exact, PATTERN_STEP), PATTERN_STEP)
    np.testing.assert_array_equal(again, rounded(exact, PATTERN_STEP))


def test_heights_of_both_signs_and_numbers_as_large_as_half_precision_holds_are_rounded_alike():
    exact = np.array([0.0, 3e-5, 0.00371, 0.7123, 65471.99], np.float32)
    there, back = rounded(exact, HEIGHT_STEP), rounded(-exact, HEIGHT_STEP)
    np.testing.assert_array_equal(there, -back)
    np.testing.assert_array_equal(there.astype(float)[:3], np.round(exact[:3] / HEIGHT_STEP) * HEIGHT_STEP)
    assert (np.abs(there[3:] - exact[3:]) <= exact[3:] / 512).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 65472, 65503, 1e5])
def test_what_half_precision_cannot_hold_is_never_stored(value):
    with pytest.raises(ValueError, match="not finite, or too large"):
        rounded([0.5, value], PATTERN_STEP)


def test_the_same_input_gives_the_same_bytes_and_another_input_another_identity(tmp_path):
    one, same, other = (tmp_path / folder / "Si-1.zarr" for folder in "abc")
    write(one), write(same), write(other, seed=1)
    files = {p.relative_to(one) for p in one.rglob("*") if p.is_file()}
    assert len(files) > 30
    for file in files:
        assert (one / file).read_bytes() == (same / file).read_bytes()
    assert checksums.identity(one) != checksums.identity(other)


def test_a_failure_leaves_nothing_and_an_older_store_untouched(tmp_path):
    path, made = tmp_path / "Si-1.zarr", axes()
    with pytest.raises(ZeroDivisionError), stores.new_store(path, silicon(), made, {}, 1) as writer:
        fill(writer, made, np.random.default_rng())
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []
    write(path)
    before = checksums.identity(path)
    missing = pytest.raises(ValueError, match=r"orientations \[0, 1\] were not written")
    with missing, stores.new_store(path, silicon(), made, {}, 1):
        pass
    assert checksums.identity(path) == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_store_replaces_no_folder_that_is_not_called_one(tmp_path):
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "thesis.tex").touch()
    with pytest.raises(InputError, match="results: is no name of a store"):
        write(tmp_path / "results")
    assert (tmp_path / "results" / "thesis.tex").exists()


def test_a_number_that_is_not_finite_is_refused(tmp_path):
    made = axes(1)
    with (
        pytest.raises(ValueError, match="cbed of orientation 0"),
        stores.new_store(tmp_path / "x.zarr", silicon(), made, {}, 1) as w,
    ):
        w.put_probe(np.ones((1, 2, *SHAPE)))
        w.put(
            0,
            np.full((1, 2, 3, *SHAPE), np.nan),
            np.zeros((1, *SHAPE)),
            np.zeros((1, *SHAPE)),
            reflections(),
            np.zeros((1, 2, 3)),
        )


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda p: (p / "zarr.json").unlink(), "is not a complete Zarr store"),
        (lambda p: (p / "zarr.json").write_text("{"), "its zarr.json can't be read"),
        (lambda p: edit(p, format="something else"), "is not a store of 4D-Crystal patterns"),
        (lambda p: edit(p, format_version=99), "has the format version 99"),
        (lambda p: edit(p, checksums=None), "is not complete"),
        (lambda p: replace(p, '"zstd"', '"tes"'), "its metadata are damaged .*tes"),
    ],
)
def test_a_store_that_cannot_be_used_gets_one_sentence(tmp_path, damage, said):
    path = tmp_path / "Si-1.zarr"
    write(path)
    damage(path)
    with pytest.raises(InputError, match=said) as error:
        stores.open(path)
    assert str(path) in str(error.value)


def edit(path, **changes) -> None:
    content = json.loads((path / "zarr.json").read_text())
    content["attributes"] = {k: v for k, v in (content["attributes"] | changes).items() if v is not None}
    (path / "zarr.json").write_text(json.dumps(content))


def replace(path, old, new) -> None:
    file = path / "zarr.json"
    file.write_text(file.read_text().replace(old, new))


def nonsense(path, array, **changes) -> None:
    content = json.loads((path / "zarr.json").read_text())
    about = content["consolidated_metadata"]["metadata"]
    about[array] |= changes
    (path / "zarr.json").write_text(json.dumps(content))


@pytest.mark.parametrize(
    "damage",
    [
        lambda p: replace(p, '"consolidated_metadata"', '"unconsolidated_metadata"'),
        lambda p: replace(p, '"cbed"', '"abed"'),
        lambda p: replace(p, '"thickness"', '"thinness"'),
        lambda p: nonsense(p, "thickness", data_type="float63"),
        lambda p: nonsense(p, "thickness", shape=[10**12]),
        lambda p: nonsense(p, "thickness", chunk_grid={"configuration": {"chunk_shape": [10**15]}}),
        lambda p: nonsense(p, "thickness", codecs=None),
    ],
)
def test_a_reader_says_in_words_that_metadata_make_no_sense(tmp_path, damage):
    path = tmp_path / "Si-1.zarr"
    write(path)
    damage(path)
    with pytest.raises(InputError, match="damaged"):
        StoreReader(path).array("thickness")


def test_the_checksum_of_the_metadata_covers_every_byte_of_them(tmp_path):
    write(tmp_path / "Si-1.zarr")
    text = (tmp_path / "Si-1.zarr" / "zarr.json").read_bytes()
    stated = checksums.identity(tmp_path / "Si-1.zarr")
    assert checksums.of_self(text) == stated
    rng = np.random.default_rng(0)
    for place in rng.integers(0, len(text), 300):
        flipped = bytearray(text)
        flipped[place] ^= 1 << rng.integers(8)
        changed = bytes(flipped)
        assert checksums.of_self(changed) != stated or stated.encode() not in changed
