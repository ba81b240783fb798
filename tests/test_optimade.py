"""A real OPTIMADE server, filled with real crystals."""

import json

import pytest
from pymatgen.core import Composition, Lattice, Structure
from services import environments

from fourdcrystal import polite, source_aflow, sources
from fourdcrystal.errors import InputError
from fourdcrystal.settings import Crystals


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


CRYSTALS = {e.id: e.structure for e in source_aflow.entries() if len(e.structure) <= 5}
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
        "OPTIMADE_PAGE_LIMIT": "20",
        "OPTIMADE_PAGE_LIMIT_MAX": "20",
        "OPTIMADE_BASE_URL": f"http://127.0.0.1:{port}",
        "OPTIMADE_CONFIG_FILE": "none",
    }
    with environments.serving(command, port, "/v1/info", **store) as made:
        yield made


@pytest.fixture(autouse=True)
def short_waits(monkeypatch):
    monkeypatch.setattr(polite, "FIRST_WAIT", 0.01)


def found(address, only=None, **options) -> list[sources.Entry]:
    return list(sources.entries(Crystals(source="optimade", optimade={"provider": address, **options}), only))


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
