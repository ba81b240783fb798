"""A scan searched in parts, killed or shared among jobs gives the same, to the last bit, as in one go."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from disk_patterns import scan

from fourdcrystal import detection, refinements, refiner, search
from fourdcrystal.detectors import Correlator
from fourdcrystal.search import Found


@pytest.fixture(scope="module")
def made():
    return replace(scan((4, 5)), identity="made")


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    monkeypatch.setattr(search, "PATTERNS", 5)


def same(one: Found, other: Found) -> None:
    for name in ("flags", "bright", "dark", "total", "most"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    for name in ("pattern", "qx_px", "qy_px", "intensity"):
        np.testing.assert_array_equal(getattr(one.peaks, name), getattr(other.peaks, name))


def test_parts_make_the_same_as_a_single_run(made, tmp_path):
    single = detection.detect(made, Correlator())
    for part in (3, 1, 2):
        assert detection.detect(made, Correlator(), folder=tmp_path, part=(part, 3)) is None
    assert len(list(tmp_path.glob("*.npz"))) == 4

    class Unused(Correlator):
        def detect(self, patterns, probe, pixel, faint=False):
            raise AssertionError("everything was searched before")

    joined = detection.detect(made, Unused(), folder=tmp_path)
    same(single.found, joined.found)
    np.testing.assert_array_equal(single.maps.strain.values, joined.maps.strain.values)


def test_a_killed_run_goes_on_and_other_options_begin_anew(made, tmp_path, capsys):
    class Killed(Correlator):
        calls = 0

        def detect(self, patterns, probe, pixel, faint=False):
            Killed.calls += 1
            if Killed.calls == 3:
                raise KeyboardInterrupt
            return super().detect(patterns, probe, pixel, faint=faint)

    with pytest.raises(KeyboardInterrupt):
        detection.detect(made, Killed(), folder=tmp_path)
    assert len(list(tmp_path.glob("*.npz"))) == 2
    resumed = detection.detect(made, Killed(), folder=tmp_path)
    assert Killed.calls == 3 + 2 and "10 of 20 patterns were searched before" in capsys.readouterr().out
    same(resumed.found, detection.detect(made, Correlator()).found)
    detection.detect(made, Correlator(threshold=0.1), folder=tmp_path)
    assert len(list(tmp_path.glob("*.npz"))) == 8


def test_pieces_of_another_pixel_size_energy_or_refiner_are_not_taken_for_these(made, tmp_path):
    same = detection.identity(made, Correlator())
    assert same == detection.identity(replace(made), Correlator())
    assert same != detection.identity(replace(made, dq=0.04), Correlator())
    assert same != detection.identity(replace(made, energy=80e3), Correlator())
    torch.manual_seed(0)
    refiner.save(tmp_path / "other.safetensors", refiner.Refiner(8), {})
    shipped, other = refinements.named("learned"), refinements.named(str(tmp_path / "other.safetensors"))
    assert shipped.name == other.name and shipped.identity != other.identity
    assert Correlator(refine=shipped).identity != Correlator(refine=other).identity


def test_virtual_images_add_up(made):
    found = detection.detect(made, Correlator()).found
    np.testing.assert_allclose(found.total, made.patterns.sum((0, 1)))
    np.testing.assert_array_equal(found.most, made.patterns.max((0, 1)))
    far = np.hypot(*(np.indices(made.shape) - np.array(made.centre)[:, None, None]))
    for counts, inside in ((found.bright, far <= 4), (found.dark, far > 6)):  # of a disk of 4 px, its rim in neither
        np.testing.assert_allclose(counts, (made.patterns * inside).sum((2, 3)).ravel(), rtol=0.05)
    even = detection.searcher_of(made, Correlator()).batch(np.ones((1, *made.shape), np.float32))
    assert even.bright == pytest.approx(np.pi * 4**2, rel=0.1)
    assert even.total.sum() - even.dark == pytest.approx(np.pi * 6**2, rel=0.1)
