"""Prototypes are those of pymatgen's own matcher, found without comparing everything with everything."""

import numpy as np
import pandas as pd
import pytest
from pymatgen.analysis.prototypes import AFLOW_PROTOTYPE_LIBRARY, PrototypeDatabaseMatcher
from pymatgen.core import Lattice, Structure

from fourdcrystal import classification, collection, limits, prototypes, source_aflow, sources, symmetry
from fourdcrystal.crystal_settings import Crystals, Limits


def crystal(group: int, a: float, species: list[str], sites: list[list[float]]) -> Structure:
    return Structure.from_spacegroup(group, Lattice.cubic(a), species, sites)


KNOWN = {
    "A_cF8_227_a": crystal(227, 5.431, ["Si"], [[0, 0, 0]]),
    "AB_cF8_216_c_a": crystal(216, 5.653, ["Ga", "As"], [[0, 0, 0], [1 / 4, 1 / 4, 1 / 4]]),
    "AB_cF8_225_a_b": crystal(225, 4.212, ["Mg", "O"], [[0, 0, 0], [1 / 2, 1 / 2, 1 / 2]]),
    "A_cF4_225_a": crystal(225, 4.078, ["Au"], [[0, 0, 0]]),
    "A_cI2_229_a": crystal(229, 2.866, ["Fe"], [[0, 0, 0]]),
    "AB3C_cP5_221_a_c_b": crystal(221, 3.905, ["Sr", "Ti", "O"], [[0.5, 0.5, 0.5], [0, 0, 0], [0.5, 0, 0]]),
    "other": crystal(225, 5.0, ["K", "Br", "I"], [[0, 0, 0], [0.5, 0.5, 0.5], [0.25, 0.1, 0.2]]),
}


@pytest.mark.parametrize("name", KNOWN)
def test_well_known_crystals_have_their_prototype(name):
    assert prototypes.class_of(prototypes.loaded().matches(KNOWN[name])) == name


def test_the_prototype_does_not_depend_on_cell_setting_or_origin():
    for name, structure in list(KNOWN.items())[:6]:
        other = structure * np.array([[1, 1, 0], [0, 1, 0], [0, 1, 2]])
        other.translate_sites(range(len(other)), [0.13, 0.07, 0.21])
        assert prototypes.loaded().matches(other) == [name]


@pytest.fixture(scope="module")
def reference() -> PrototypeDatabaseMatcher:
    return PrototypeDatabaseMatcher(pd.DataFrame(AFLOW_PROTOTYPE_LIBRARY))


def test_the_index_gives_what_comparing_with_the_whole_library_gives(reference):
    names = source_aflow.class_names()
    rng = np.random.default_rng(1)
    small = [e["snl"].structure for e in AFLOW_PROTOTYPE_LIBRARY if len(e["snl"].structure) <= 8]
    for i in rng.choice(len(small), 12, replace=False):
        strained = small[i].copy()
        strained.apply_strain(rng.uniform(-0.06, 0.06, 3))
        strained.perturb(0.15, seed=int(i))
        found = reference.get_prototypes(strained) or []
        wanted = [
            names[next(n for n, e in enumerate(AFLOW_PROTOTYPE_LIBRARY) if e["tags"] == f["tags"])] for f in found
        ]
        assert prototypes.loaded().matches(strained) == wanted


def test_every_prototype_of_the_library_has_a_name_of_its_own():
    names = source_aflow.class_names()
    assert len(set(names)) == 288
    assert "AB2_oP6_58_a_g-FeS2" in names and "AB2_oP6_58_a_g-CaCl2" in names


def test_the_second_tier_names_isopointal_crystals_alike_and_classifies_everything():
    gallium_arsenide, silicon = KNOWN["AB_cF8_216_c_a"], KNOWN["A_cF8_227_a"]
    swapped = crystal(216, 5.653, ["As", "Ga"], [[1 / 2, 0, 0], [1 / 4, 1 / 4, 1 / 4]])
    assert symmetry.protostructure(gallium_arsenide) == symmetry.protostructure(swapped) == "AB_cF8_216_a_c"
    assert symmetry.protostructure(silicon) == "A_cF8_227_a"
    assert symmetry.protostructure(KNOWN["other"]).startswith("A")


def test_measures_are_those_of_the_primitive_cell():
    found = limits.measure(KNOWN["A_cF8_227_a"] * (2, 1, 1))
    assert (found.sites, found.spacegroup, found.heaviest) == (2, 227, 14)
    assert found.edge == pytest.approx(5.431 / np.sqrt(2))
    assert found.distance == pytest.approx(5.431 * np.sqrt(3) / 4)


def test_the_shortest_distance_counts_images_of_one_atom_in_a_skewed_cell():
    skewed = Structure(Lattice([[2.0, 0, 0], [20.1, 3.0, 0], [0.3, 30.0, 4.0]]), ["Po"], [[0, 0, 0]])
    assert limits.shortest_distance(skewed) == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("structure", "setting", "reason"),
    [
        (KNOWN["A_cF8_227_a"], {"max_sites": 1}, limits.TOO_MANY_SITES),
        (KNOWN["A_cF8_227_a"], {"max_edge": 3.8}, limits.EDGE_TOO_LONG),
        (Structure(Lattice.cubic(4), ["H", "H"], [[0, 0, 0], [0.1, 0, 0]]), {}, limits.ATOMS_OVERLAP),
        (Structure(Lattice.cubic(4), ["H", "H"], [[0, 0, 0], [0, 0, 0]]), {}, limits.ATOMS_OVERLAP),
        (Structure(Lattice.cubic(4), ["Rf"], [[0, 0, 0]]), {}, limits.NO_SCATTERING_FACTOR),
        (KNOWN["A_cF8_227_a"], {}, ""),
    ],
)
def test_what_cannot_be_simulated_is_rejected_with_the_reason(structure, setting, reason):
    assert limits.rejection(limits.measure(structure), Limits(**setting)) == reason


def test_the_heaviest_element_is_the_last_that_abtem_has_scattering_factors_for():
    from abtem.parametrizations import LobatoParametrization
    from ase.data import atomic_numbers

    assert max(atomic_numbers[s] for s in LobatoParametrization().parameters) == limits.HEAVIEST


def test_an_interrupted_classification_goes_on_where_it_stopped(tmp_path, monkeypatch):
    offered = list(sources.entries(Crystals()))[:30]
    collection.write(tmp_path / "structures.parquet", offered)
    monkeypatch.setattr(classification, "_PART", 10)
    done = []
    original = classification.classify

    def stops_at_the_25th(id, structure):
        done.append(id)
        if len(done) == 25:
            raise KeyboardInterrupt
        return original(id, structure)

    monkeypatch.setattr(classification, "classify", stops_at_the_25th)
    with pytest.raises(KeyboardInterrupt):
        classification.run(tmp_path / "structures.parquet", tmp_path / "classes.parquet", workers=1)
    assert not (tmp_path / "classes.parquet").exists()
    classification.run(tmp_path / "structures.parquet", tmp_path / "classes.parquet", workers=1)
    assert len(done) == 25 + 10
    assert [c.id for c in classification.read(tmp_path / "classes.parquet")] == [e.id for e in offered]
    assert not (tmp_path / "classes.parts").exists()


def test_classes_do_not_depend_on_the_number_of_processes(tmp_path, monkeypatch):
    monkeypatch.setattr(classification, "_PART", 5)
    collection.write(tmp_path / "structures.parquet", list(sources.entries(Crystals()))[:20])
    for workers in (1, 2):
        classification.run(tmp_path / "structures.parquet", tmp_path / f"{workers}.parquet", workers)
    assert (tmp_path / "1.parquet").read_bytes() == (tmp_path / "2.parquet").read_bytes()
