"""The key figures: what a person reads at the end of a run."""

import html
import json
import re

from fourdcrystal import overview


def test_key_figures_name_what_was_made_and_where_it_is(production):
    figures = overview.gather(production.results)
    text = overview.text(figures)
    assert figures["crystals"]["selected"] == 6
    assert sum(figures["quartets"].values()) == 6 * 3 * 2 * 2, "crystals x orientations x semi-angles x thicknesses"
    for words in ("report.html", "model.safetensors", "bragg_vectors.h5", "held-out prototypes", "100,000 electrons"):
        assert words in text
    paths = re.findall(r"(\S+/(?:model\.safetensors|scores\.csv|catalogue\.parquet|bragg_vectors\.h5))", text)
    assert len(paths) >= 5
    for path in paths:
        assert (production.folder / path).exists()


def test_the_page_shows_the_same_figures_as_the_terminal(production):
    figures = json.loads((production.results / "overview.json").read_text())
    page = (production.results / "overview.html").read_text()
    for rows in overview.sections(figures).values():
        for name, value in rows:
            assert f"{html.escape(name)}</th><td>{html.escape(value)}" in page


def test_a_figure_that_is_not_known_is_said_to_be_none():
    entry = {"network": None, "classical": 0.25, "classical_method": "parabolic"}
    figures = {
        "results": "results",
        "crystals": {"selected": 1, "prototypes": 1, "crystal_systems": {"cubic": 1}},
        "quartets": {"train": 1},
        "models": {},
        "evaluation": {"small": {"test": {"1000": {"strain_rmse": entry}}}},
        "detection": {},
    }
    assert "none / 25.00 (parabolic) %" in overview.text(figures)
