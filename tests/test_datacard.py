"""The data card says what there is, names every licence, and its example reads a quartet."""

import re
import subprocess
import sys

import pytest
from made_up import row, write

from fourdcrystal import catalogue, datacard
from fourdcrystal.errors import InputError


@pytest.fixture
def dataset(tmp_path):
    splits = {"Si-1": "train", "Si-2": "test"}
    for name in splits:
        write(tmp_path / "patterns" / f"{name}.zarr")
    listed = [row(name, split) for name, split in splits.items()]
    catalogue.write(tmp_path / "catalogue.parquet", catalogue.build(tmp_path / "patterns", listed))
    return tmp_path


def test_a_data_card_counts_names_licences_and_can_be_followed(dataset):
    card = datacard.make(dataset / "catalogue.parquet", dataset / "patterns")
    assert "24 image quartets" in card and "of 2 crystals in 1 structure prototypes" in card
    assert "| A_cF8_227_a | 2 | 24 | train, test |" in card
    assert "| made up | 0 | CC0-1.0 | 2 | nobody |" in card
    assert "thicknesses: 100, 200, 400 Å" in card and "beam energies: 200 keV" in card
    assert catalogue.identity(dataset / "catalogue.parquet") in card


CHECKS = (
    "assert float(pattern.sum()) > 1 and pattern.shape == (32, 48)",
    "assert images['cbed'].shape == (32, 48) and images['vg'].max() > 1 and images['qz'].dtype == torch.float32",
    "assert patterns.shape == (1, 2, 3, 32, 48) and patterns.max() > 0.05",
)


@pytest.mark.parametrize("number", range(3))
def test_a_quartet_is_read_in_five_lines_without_this_package(dataset, number):
    card = datacard.make(dataset / "catalogue.parquet", dataset / "patterns")
    example = re.findall(r"```python\n(.*?)```", card, re.DOTALL)[number]
    assert len([line for line in example.splitlines() if line]) <= 5
    program = f"import sys; sys.modules['fourdcrystal'] = None\n{example}\n{CHECKS[number]}"
    done = subprocess.run([sys.executable, "-c", program], cwd=dataset, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_example_names_energies_and_thicknesses_to_the_last_digit():
    values = {"crystal": "Si-1", "energy": 300001.5, "semiangle": 2.0, "thickness": 1234567.5}
    assert ".sel(energy=300001.5, semiangle=2.0, thickness=1234567.5)" in datacard.READING.format(**values)


def test_a_card_of_a_stale_data_set_is_refused(dataset):
    write(dataset / "patterns" / "Si-2.zarr", seed=5)
    with pytest.raises(InputError, match="is stale"):
        datacard.make(dataset / "catalogue.parquet", dataset / "patterns")
