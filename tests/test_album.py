"""Quartets can be browsed in a page that needs nothing else."""

import re
import subprocess
import sys
from pathlib import Path

import browser
import numpy as np
import pytest
from made_up import row, write
from matplotlib import image

from fourdcrystal import album, catalogue, files

SCRIPT = Path(__file__).parents[1] / "scripts" / "preview.py"


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    made = tmp_path_factory.mktemp("dataset")
    splits = {"Si-1": "train", "Si-2": "test"}
    for seed, name in enumerate(splits):
        write(made / "patterns" / f"{name}.zarr", seed=seed)
    listed = [row(name, split) for name, split in splits.items()]
    catalogue.write(made / "catalogue.parquet", catalogue.build(made / "patterns", listed))
    return made


@pytest.fixture(scope="module")
def page(dataset):
    path = dataset / "quartets.html"
    files.write_text(path, album.page(catalogue.read(dataset / "catalogue.parquet"), dataset / "patterns", 12))
    return path


def test_the_page_holds_four_images_of_every_quartet_and_loads_nothing_from_elsewhere(page):
    text = page.read_text()
    shown = text.count('"row":')
    assert 6 <= shown <= 12
    assert text.count("data:image/png;base64,") == 4 * shown
    assert not re.findall(r"(?:src|href)=[\"']?https?:", text)


def test_heights_are_coloured_where_there_are_reflections_and_rounding_is_not_blown_up(monkeypatch):
    shares = []
    monkeypatch.setattr(album, "png", lambda share, _: shares.append(share))
    vg = np.array([[3.0, 0.0], [3.0, 0.0]])
    for qz in ([[0.02, 0.5], [-0.02, 0.5]], [[1e-4, 0.5], [-1e-4, 0.5]]):
        album.pictures((vg, vg, vg, np.array(qz)))
    np.testing.assert_allclose(shares[3], [[1, 0.5], [0, 0.5]])
    np.testing.assert_allclose(shares[7], 0.5, atol=0.01)


@browser.needed
def test_the_page_shows_quartets_and_filters_them_in_a_browser(page, tmp_path):
    everything = browser.dom(page.as_uri(), tmp_path / "one")
    shown = everything.count("<figure")
    assert f"{shown} shown" in everything and shown >= 6
    tested = browser.dom(page.as_uri() + "#split=test&thickness=200", tmp_path / "two")
    assert 0 < tested.count("<figure") < shown
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", tested)
    assert captions and all(" 200 Å" in c and ", test, row" in c for c in captions)


HANDS = """<script>
const figures = [...document.querySelectorAll("figure")], press = key =>
  document.activeElement.dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true}));
const large = () => figures.map((f, i) => f.classList.contains("large") ? i : "").join("");
const said = [];
figures[1].click(); said.push(large());
figures[1].click(); figures[0].focus(); press("ArrowRight"); press("ArrowRight"); press("Enter"); said.push(large());
press("ArrowLeft"); press("Enter"); said.push(large());
press("Escape"); said.push(large());
form.elements.thickness.value = "200"; form.dispatchEvent(new Event("change")); said.push(grid.childElementCount);
document.body.dataset.said = said.join(" ");
</script></body>"""


@browser.needed
def test_mouse_and_keyboard_move_through_the_page(page, tmp_path):
    used = tmp_path / "used.html"
    text = page.read_text()
    used.write_text(text.replace("</body>", HANDS))
    at_200 = text.count('"thickness": 200.0')
    assert f'data-said="1 2 12 2 {at_200}"' in browser.dom(used.as_uri(), tmp_path / "profile")


@pytest.mark.parametrize("name", ["x.html", "x.png"])
def test_the_command_line_makes_page_and_picture(dataset, tmp_path, name):
    command = [sys.executable, SCRIPT, "--catalogue", dataset / "catalogue.parquet", "--patterns", dataset / "patterns"]
    done = subprocess.run([*command, "-n", "3", "-o", tmp_path / name], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    if name == "x.html":
        assert (tmp_path / name).read_text().count("data:image/png;base64,") == 4 * 3
    else:
        picture = image.imread(tmp_path / name)[..., :3]
        assert (picture.max(-1) - picture.min(-1) > 0.2).mean() > 0.05  # colours, not a frame alone
