"""Settings: what is accepted, and that everything else is refused in one sentence that a person can act on."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import yaml

from fourdcrystal import recipe
from fourdcrystal.electrons import wavelength
from fourdcrystal.errors import InputError
from fourdcrystal.experiment import Experiment
from fourdcrystal.instrument_settings import box_edge, wave_sampling
from fourdcrystal.seeds import generator
from fourdcrystal.settings import Settings

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize(("energy", "expected"), [(100e3, 0.037014), (200e3, 0.025079), (300e3, 0.019687)])
def test_wavelength_is_the_relativistic_one_of_textbooks(energy, expected):
    # Williams & Carter, Transmission Electron Microscopy, table 1.2 [Å]
    assert wavelength(energy) == pytest.approx(expected, rel=3e-5)


@pytest.mark.parametrize("path", sorted((ROOT / "config").glob("*.yaml")), ids=lambda p: p.name)
def test_every_shipped_configuration_is_valid(path):
    assert isinstance(recipe.read(path), Settings)


@pytest.mark.parametrize("root", [Settings, Experiment], ids=lambda root: root.__name__)
def test_settings_table_in_the_documentation_is_the_one_the_code_makes(root):
    text = (ROOT / "config" / "README.md").read_text()
    assert recipe.table(root) in text, "run: python scripts/settings_table.py"


def test_exponents_without_a_dot_are_numbers_although_yaml_calls_them_strings():
    assert yaml.safe_load("300e3") == "300e3"
    assert recipe.validate({"microscope": {"energy": "300e3"}}, "x").microscope.energy == [300e3]


def test_box_is_rounded_up_to_a_multiple_of_the_inverse_pixel():
    settings = recipe.validate({"specimen": {"box": 51}, "detector": {"sampling": 0.02}}, "x")
    assert box_edge(settings.specimen, settings.detector) == pytest.approx(100)
    exact = recipe.validate({"specimen": {"box": 50}, "detector": {"sampling": 0.02}}, "x")
    assert box_edge(exact.specimen, exact.detector) == pytest.approx(50)


@pytest.mark.parametrize("written", [{}, {"box": None}, {"box": "auto"}])
def test_a_box_that_is_not_given_is_chosen_and_written_down(written):
    settings = recipe.validate({"microscope": {"semiangle_cutoff": 1}, "specimen": written}, "x")
    assert settings.specimen.box == 100
    assert recipe.read(recipe.part(settings, "microscope", "specimen", "detector")).specimen.box == 100


def test_wave_is_sampled_finely_enough_for_the_detector():
    wide = recipe.validate({"detector": {"shape": [256, 256], "sampling": 0.02}}, "x")
    assert 2 / 3 / (2 * wave_sampling(wide.specimen, wide.detector)) >= 2.56


def test_a_part_of_the_settings_changes_only_with_its_own_sections():
    base = recipe.validate({}, "x")
    other = recipe.validate({"labels": {"width": 2.0}}, "x")
    assert recipe.part(base, "seed", "microscope") == recipe.part(other, "seed", "microscope")
    assert recipe.part(base, "labels") != recipe.part(other, "labels")
    assert recipe.read(recipe.part(other, "labels")).labels.width == 2.0


BAD = [
    ({"microscop": {}}, "microscop", "did you mean 'microscope'"),
    ({"microscope": {"enrgy": 2e5}}, "microscope.enrgy", "did you mean 'energy'"),
    ({"microscope": {"energy": -200e3}}, "microscope.energy", "greater than or equal to 20000"),
    ({"microscope": {"energy": "fast"}}, "microscope.energy", "valid number"),
    ({"microscope": {"energy": []}}, "microscope.energy", "at least 1"),
    ({"microscope": {"semiangle_cutoff": [3, 2]}}, "microscope.semiangle_cutoff", "ascending"),
    ({"microscope": {"semiangle_cutoff": 45}}, "microscope.semiangle_cutoff", "larger than the detector"),
    ({"microscope": {"semiangle_cutoff": 0.2}, "specimen": {"box": 50}}, "specimen.box", "so a box of 150 Å"),
    ({"microscope": {"energy": 20e3, "semiangle_cutoff": 0.05}}, "specimen.box", "no box up to 1000 Å"),
    ({"specimen": {"box": "large"}}, "specimen.box", "valid number"),
    ({"detector": {"q_max": 12}}, "q_max 12.00 1/Å", "anti-aliased limit"),
    ({"detector": {"q_max": 1, "sampling": 0.02}}, "detector", "both sampling and q_max"),
    ({"detector": {"shape": [128]}}, "detector.shape", "at least 2 items"),
    ({"detector": {"shape": [128, 4]}}, "detector.shape[1]", "greater than or equal to 16"),
    ({"specimen": {"thickness": 101, "slice_thickness": 2}}, "thickness", "not a multiple of slice_thickness"),
    ({"specimen": {"box": -3}}, "specimen.box", "greater than"),
    ({"specimen": {"seam_margin": 1e-3}}, "seam_margin", "is 0 or at least 0.5"),
    ({"orientations": {"mistilt": 0}}, "orientations.mistilt", "greater than 0"),
    ({"orientations": {"unrotated": False, "zone_axes": 0, "random": 0}}, "orientations", "no orientation at all"),
    ({"crystals": {"source": "cod"}}, "crystals.source", "'aflow', 'mp'"),
    ({"scans": {"mine": {}}}, "scans.mine", "needs either scan"),
    ({"scans": {"mine": {"scan": "a.dm4"}}}, "scans.mine", "needs probe"),
    ({"scans": {"mine": {"scan": "a.h5", "probe": "b.npy", "semiangle": 1}}}, "scans.mine", "both probe and semiangle"),
    ({"scans": {"mine": {"scan": "a.h5", "energy": 200}}}, "scans.mine.energy", "greater than or equal to 1000"),
    ({"scans": {"../up": {"scan": "a.npz"}}}, 'scans: the name of one is "../up", but string', "pattern"),
    ({"seed": -1}, "seed", "greater than or equal to 0"),
]


@pytest.mark.parametrize("name", ["a.npz", "a.zarr", "a.h5", "A.HDF5", "a.emd"])
def test_a_scan_whose_file_may_hold_the_probe_needs_no_other(name):
    assert recipe.validate({"scans": {"mine": {"scan": name}}}, "x").scans["mine"].probe is None


@pytest.mark.parametrize(("content", "names", "says"), BAD, ids=[json.dumps(c)[:60] for c, _, _ in BAD])
def test_a_wrong_setting_is_refused_in_one_sentence(content, names, says):
    with pytest.raises(InputError) as error:
        recipe.validate(content, "config.yaml")
    message = str(error.value)
    assert message.startswith("config.yaml: ")
    assert names in message
    assert says in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "no such settings file"),
        ("a: [1", "not valid YAML near line"),
        ("just words", "must hold settings"),
        (b"\xff\xfe\x00", "can't be read"),
        ("a: !!python/object/apply:os.system ['true']", "not valid YAML"),
    ],
)
def test_an_unreadable_settings_file_is_named(tmp_path, text, says):
    path = tmp_path / "mine.yaml"
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError, match=re.escape(says)) as error:
        recipe.read(path)
    assert "mine.yaml" in str(error.value)


def test_random_numbers_depend_on_their_purpose_and_on_nothing_else():
    first = generator(0, "mp-149", "orientations").random(4)
    assert np.array_equal(first, generator(0, "mp-149", "orientations").random(4))
    for other in [(1, "mp-149", "orientations"), (0, "mp-150", "orientations"), (0, "mp-149orientations")]:
        assert not np.allclose(first, generator(*other).random(4))
