"""Servers that answer what no honest one does are refused, or left, in one sentence."""

from types import SimpleNamespace

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from fourdcrystal import source_optimade, sources
from fourdcrystal.downloads import Downloads
from fourdcrystal.errors import InputError


class Answers:
    """A session with a server that answers every question in the same way."""

    def __init__(self, content):
        self.content = content

    def get(self, url, params=None):
        return SimpleNamespace(status_code=200, json=lambda: self.content)


@pytest.mark.parametrize("data", ["text", [1], [{"no": "id"}], {"id": "a"}])
def test_a_server_that_sends_no_list_of_structures_is_refused(data):
    provider = object.__new__(source_optimade.Provider)
    provider.url, provider._session = "http://here", Answers({"data": data})
    with pytest.raises(InputError, match="http://here sends what is no list of structures"):
        provider.page("", "")


def test_a_server_whose_pages_never_end_is_left_after_one_page_for_each_structure(tmp_path):
    provider = object.__new__(source_optimade.Provider)
    endless = {"data": [{"id": "x", "attributes": {}}], "links": {"next": "http://here/again"}}
    provider.url, provider.name, provider._session = "http://here", "here", Answers(endless)
    with Downloads(tmp_path / "a.sqlite", "cache") as cache:
        source_optimade._fetch(provider, cache, ["a", "b"])
        assert cache.document("a") is None and cache.absent(["a", "b", "x"]) == ["x"]


@pytest.mark.parametrize("where", ["lattice", "coords"])
@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_structure_with_numbers_that_are_none_is_refused_before_symmetry_is_looked_for(where, number):
    lattice, coords = np.diag([4.0, 4.0, 4.0]), np.zeros((1, 3))
    (lattice if where == "lattice" else coords)[0, 0] = number
    structure, problem = sources.ordered(Structure(Lattice(lattice), ["Po"], coords))
    assert structure is None and problem == (sources.NO_VOLUME if where == "lattice" else sources.UNREADABLE)
