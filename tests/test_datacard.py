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
    example = re.search(r"```python\n(.*?)```", card, re.DOTALL)[1]
    assert len([line for line in example.splitlines() if line]) == 5
    check = "\nassert images['cbed'].shape == (32, 48) and images['vg'].max() > 1"
    done = subprocess.run([sys.executable, "-c", example + check], cwd=dataset, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_card_of_a_stale_data_set_is_refused(dataset):
    write(dataset / "patterns" / "Si-2.zarr", seed=5)
    with pytest.raises(InputError, match="is stale"):
        datacard.make(dataset / "catalogue.parquet", dataset / "patterns")
