"""A real OPTIMADE server, filled with real crystals."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from pymatgen.core import Composition, Lattice, Structure
from services import environments

from fourdcrystal import downloads, polite, source_aflow, source_optimade, sources
from fourdcrystal.crystal_settings import Crystals
from fourdcrystal.errors import InputError


def document(id: str, structure: Structure) -> dict:
    """A crystal as an OPTIMADE entry."""
    composition = structure.composition
    elements = sorted(e.symbol for e in composition)
    reduced = composition.get_reduced_composition_and_factor()[0]
    kinds = {site.species_string: site.species for site in structure}
    return {
        "id": id,
        "type": "structures",
        "attributes": {
            "immutable_id": id,
            "last_modified": "2026-01-01T00:00:00Z",
            "elements": elements,
            "nelements": len(elements),
            "elements_ratios": [composition.get_atomic_fraction(e) for e in elements],
            "chemical_formula_descriptive": composition.formula.replace(" ", ""),
            "chemical_formula_reduced": "".join(f"{e}{int(reduced[e]) if reduced[e] != 1 else ''}" for e in elements),
            "chemical_formula_hill": None,
            "chemical_formula_anonymous": "A",
            "dimension_types": [1, 1, 1],
            "nperiodic_dimensions": 3,
            "lattice_vectors": structure.lattice.matrix.tolist(),
            "cartesian_site_positions": structure.cart_coords.tolist(),
            "nsites": len(structure),
            "species": [
                {
                    "name": name,
                    "chemical_symbols": [e.symbol for e in species]
                    + (["vacancy"] if species.num_atoms < 0.999 else []),
                    "concentration": [*species.values()]
                    + ([1 - species.num_atoms] if species.num_atoms < 0.999 else []),
                }
                for name, species in kinds.items()
            ],
            "species_at_sites": [site.species_string for site in structure],
            "structure_features": [] if structure.is_ordered else ["disorder"],
        },
    }


CRYSTALS = {e.id: e.structure for e in source_aflow.entries() if len(e.structure) <= 6}
PAGE = 20  # entries that the server sends at a time, unless it is asked for fewer
PARTIAL = Structure(Lattice.cubic(3), [Composition("Fe0.5Ni0.3")], [[0, 0, 0]])


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    interpreter = environments.python("optimade", environments.OPTIMADE)
    lines = tmp_path_factory.mktemp("optimade") / "crystals.jsonl"
    offered = [document(id, structure) for id, structure in CRYSTALS.items()] + [document("partial", PARTIAL)]
    header = {"x-optimade": {"meta": {"api_version": "1.1.0"}}}
    lines.write_text("\n".join(json.dumps(line) for line in [header, *offered]) + "\n")
    port = environments.free_port()
    command = [interpreter, "-m", "uvicorn", "optimade.server.main:app", "--port", port, "--log-level", "error"]
    store = {
        "OPTIMADE_DATABASE_BACKEND": "mongomock",
        "OPTIMADE_INSERT_TEST_DATA": "false",
        "OPTIMADE_INSERT_FROM_JSONL": str(lines),
        "OPTIMADE_PAGE_LIMIT_MAX": str(PAGE),
        "OPTIMADE_BASE_URL": f"http://127.0.0.1:{port}",
        "OPTIMADE_CONFIG_FILE": "none",
    }
    with environments.serving(command, port, "/v1/info", **store) as made:
        yield made


@pytest.fixture(autouse=True)
def short_waits_and_an_own_cache(monkeypatch, tmp_path):
    monkeypatch.setattr(polite, "FIRST_WAIT", 0.01)
    monkeypatch.chdir(tmp_path)


def found(address, only=None, **options) -> list[sources.Entry]:
    return list(sources.entries(Crystals(source="optimade", optimade={"provider": address, **options}), only))


@pytest.fixture
def pages(monkeypatch) -> list[list[str]]:
    """Ids that come from the server while the test runs, page by page."""
    fetched = []
    original = source_optimade.Provider.page

    def noted(self, *arguments):
        documents, following = original(self, *arguments)
        fetched.append([document["id"] for document in documents])
        return documents, following

    monkeypatch.setattr(source_optimade.Provider, "page", noted)
    return fetched


def test_all_pages_are_fetched_and_the_crystals_are_the_same(address):
    entries = found(address)
    crystals = {e.source["id"]: e.structure for e in entries if e.structure is not None}
    assert crystals.keys() == CRYSTALS.keys() and len(crystals) > 60
    for id, structure in crystals.items():
        assert structure.lattice.matrix == pytest.approx(CRYSTALS[id].lattice.matrix)
        assert structure.species == CRYSTALS[id].species
        assert structure.get_distance(0, -1) == pytest.approx(CRYSTALS[id].get_distance(0, -1), abs=1e-9)


def test_shared_or_empty_sites_are_counted_as_partial_occupancy(address):
    assert [e.source["id"] for e in found(address) if e.problem == sources.PARTIAL_OCCUPANCY] == ["partial"]


def test_a_filter_and_a_largest_number_hold(address):
    zinc = found(address, filter='elements HAS ALL "Zn","S"')
    assert zinc and all({"Zn", "S"} <= {e.symbol for e in z.structure.composition} for z in zinc)
    assert len(found(address, max_structures=33)) == 33


def test_the_crystals_of_a_sheet_are_asked_for_by_their_ids(address):
    wanted = {"mine": next(iter(CRYSTALS)), "gone": "no-such-id"}
    entries = {e.id: e for e in found(address, wanted)}
    assert entries["mine"].structure.composition == next(iter(CRYSTALS.values())).composition
    assert (entries["gone"].structure, entries["gone"].problem) == (None, sources.MISSING)


def test_a_filter_that_the_server_does_not_understand_is_refused_with_its_words(address):
    with pytest.raises(InputError, match=r"crystals\.optimade\.filter: .* can't answer \(.+\)") as caught:
        found(address, filter="elements HAS ((")
    assert "\n" not in str(caught.value)


DOWNLOAD = """
import sys, time
from fourdcrystal import source_optimade, sources
from fourdcrystal.crystal_settings import Crystals
page = source_optimade.Provider.page
source_optimade.Provider.page = lambda self, *arguments: (time.sleep(0.3), page(self, *arguments))[1]
list(sources.entries(Crystals(source="optimade", optimade={"provider": sys.argv[1]})))
"""


def kept(folder) -> downloads.Listing:
    """What a download without filter has kept, whether or not it ended well."""
    files = list((folder / ".cache").rglob("*.sqlite"))
    return downloads.Downloads(files[0], "cache").listing("") if files else downloads.Listing([], 0, "")


def test_a_killed_download_goes_on_at_the_next_page(address, tmp_path, pages):
    process = subprocess.Popen([sys.executable, "-c", DOWNLOAD, address], cwd=tmp_path, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 120
    while kept(tmp_path).pages < 2:
        assert process.poll() is None and time.monotonic() < until
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    before = kept(tmp_path)
    assert not before.complete and len(before.ids) == PAGE * before.pages
    entries = found(address)
    again = [id for page in pages for id in page]
    assert {e.source["id"] for e in entries} == {*CRYSTALS, "partial"}
    assert sorted(before.ids + again) == sorted([*CRYSTALS, "partial"])  # nothing twice, nothing missing


def test_what_is_in_the_cache_is_not_fetched_again_and_more_of_it_continues(address, pages):
    few = found(address, max_structures=2 * PAGE)
    assert [len(page) for page in pages] == [PAGE, PAGE]
    more = found(address, max_structures=3 * PAGE)
    assert len(pages) == 3 and [e.id for e in more][: 2 * PAGE] == [e.id for e in few]
    found(address, max_structures=3 * PAGE)
    found(address, {"mine": few[0].source["id"]})
    assert len(pages) == 3


def test_a_database_without_versions_is_known_by_its_day_and_days_never_mix(address, pages, monkeypatch):
    first = found(address, max_structures=PAGE)
    assert first[0].source["database_version"].startswith("as of 20")
    monkeypatch.setattr(source_optimade.datetime, "datetime", _Tomorrow)
    second = found(address, max_structures=PAGE)
    assert second[0].source["database_version"] == "as of 2999-01-01"
    assert len(pages) == 2


class _Tomorrow:
    @staticmethod
    def now(zone):
        return _Tomorrow

    @staticmethod
    def date():
        return "2999-01-01"


def test_a_cache_is_closed_at_the_end_of_its_block(tmp_path):
    with downloads.Downloads(tmp_path / "cache.sqlite", "cache") as cache:
        cache.add({"1": {"id": "1"}})
        assert cache.document("1") == {"id": "1"}
    with pytest.raises(InputError, match="closed"):
        cache.document("1")


def test_on_a_full_disk_the_cache_keeps_whole_pages(address, tmp_path, small_disk_for_caches):
    said = r"crystals\.optimade\.cache: .* \(database or disk is full\)"
    with small_disk_for_caches(pages=12), pytest.raises(InputError, match=said) as caught:
        found(address)
    assert "\n" not in str(caught.value)
    before = kept(tmp_path)
    assert before.pages > 0 and len(before.ids) == PAGE * before.pages
    assert len(found(address)) == len(CRYSTALS) + 1
