"""Reflections: where the reciprocal lattice says, as strong as independent tables say."""

import numpy as np
import pytest
from known_crystals import GALLIUM_ARSENIDE, GOLD, SAPPHIRE, SILICON, STRONTIUM_TITANATE
from pymatgen.analysis.diffraction.tem import ATOMIC_SCATTERING_PARAMS
from pymatgen.core import Element, Structure
from scipy.spatial.transform import Rotation

from fourdcrystal import orientation, reflections, scattering
from fourdcrystal.electrons import wavelength
from fourdcrystal.errors import InputError
from fourdcrystal.instrument_settings import Thermal

ENERGY = 200e3


def doyle_turner(crystal, hkl):
    """V_g [V] from the X-ray factors of Doyle & Turner (1968) by the Mott-Bethe formula, as pymatgen tabulates them."""
    s2 = (1 / (2 * crystal.lattice.d_hkl(hkl))) ** 2
    total = 0
    for site in crystal:
        symbol = site.specie.symbol
        f = sum(a * np.exp(-b * s2) for a, b in ATOMIC_SCATTERING_PARAMS[symbol])  # Å, for electrons
        total += f * np.exp(-2j * np.pi * np.dot(hkl, site.frac_coords))
    return 47.878 / crystal.volume * total


@pytest.mark.parametrize(
    ("crystal", "hkl"),
    [
        (SILICON, (1, 1, 1)),
        (SILICON, (2, 2, 0)),
        (SILICON, (4, 0, 0)),
        (GOLD, (1, 1, 1)),
        (GOLD, (2, 0, 0)),
        (GOLD, (2, 2, 0)),
        (STRONTIUM_TITANATE, (1, 1, 0)),
        (STRONTIUM_TITANATE, (1, 1, 1)),
        (STRONTIUM_TITANATE, (2, 0, 0)),
    ],
)
def test_structure_factors_agree_with_doyle_and_turners_table(crystal, hkl):
    ours = reflections.structure_factors(crystal, np.array([hkl]))[0]
    assert abs(ours - doyle_turner(crystal, hkl)) < 0.03 * abs(ours)


@pytest.mark.parametrize(
    ("crystal", "hkl", "published"),
    [(SILICON, (1, 1, 1), 602), (SILICON, (2, 2, 0), 757), (SILICON, (4, 0, 0), 1268), (GOLD, (1, 1, 1), 159)],
)
def test_extinction_distances_agree_with_those_of_hirsch(crystal, hkl, published):
    # Hirsch et al., Electron Microscopy of Thin Crystals (1977), appendix 5: ξ_g at 100 kV in Å = π / (σ |V_g|)
    vg = abs(reflections.structure_factors(crystal, np.array([hkl]))[0])
    assert np.pi / (scattering.interaction(100e3) * vg) == pytest.approx(published, rel=0.15)


def test_forbidden_reflections_vanish():
    vg = reflections.structure_factors(SILICON, np.array([[2, 0, 0], [2, 2, 2], [1, 0, 0], [1, 1, 1]]))
    np.testing.assert_allclose(np.abs(vg[:3]), 0, atol=1e-12)
    assert abs(vg[3]) > 5


def test_friedel_pairs_are_complex_conjugates():
    hkl = np.array([[1, 1, 1], [2, 0, 0], [3, 1, 1]])
    plus, minus = (reflections.structure_factors(GALLIUM_ARSENIDE, sign * hkl) for sign in (1, -1))
    np.testing.assert_allclose(plus, minus.conj(), atol=1e-12)
    assert np.abs(plus.imag).max() > 0.1  # no centre of symmetry


def test_thermal_vibration_damps_by_debye_and_waller():
    hkl = np.array([[2, 2, 0]])
    still, moving = (reflections.structure_factors(SILICON, hkl, {"Si": b})[0] for b in (0.0, 0.5))
    g = 1 / SILICON.lattice.d_hkl((2, 2, 0))
    assert moving / still == pytest.approx(np.exp(-0.5 * g**2 / 4))


def test_b_is_the_tables_or_given_for_all_or_for_single_elements():
    table = scattering.b_factors(STRONTIUM_TITANATE, Thermal())
    assert scattering.b_factors(STRONTIUM_TITANATE, Thermal(elements={"Ti": 0.44})) == table | {"Ti": 0.44}
    given = Thermal(B=0.6, elements={"O": 0.72, "Au": 3})
    assert scattering.b_factors(STRONTIUM_TITANATE, given) == {"Sr": 0.6, "Ti": 0.6, "O": 0.72}
    assert set(scattering.b_factors(STRONTIUM_TITANATE, Thermal(model="none", elements={"O": 1})).values()) == {0.0}
    with pytest.raises(InputError, match=r"specimen.thermal.elements: Xx is no element"):
        scattering.b_factors(SILICON, Thermal(elements={"Xx": 1}))


def test_every_reflection_on_the_ewald_sphere_is_found_and_no_other():
    turn = Rotation.random(rng=np.random.default_rng(2)).as_matrix()
    found = reflections.reflections(SAPPHIRE, turn, 0.9, [ENERGY], 0.08)
    n = np.stack(np.meshgrid(*[np.arange(-25, 26)] * 3, indexing="ij"), -1).reshape(-1, 3)
    g = n @ SAPPHIRE.lattice.reciprocal_lattice_crystallographic.matrix @ turn.T
    s = reflections.excitation_errors(g, wavelength(ENERGY))
    wanted = n[(np.hypot(g[:, 0], g[:, 1]) <= 0.9) & (np.abs(s) <= 0.08)]
    assert {tuple(h) for h in found.hkl} == {tuple(h) for h in wanted}
    np.testing.assert_allclose(
        found.g, found.hkl @ SAPPHIRE.lattice.reciprocal_lattice_crystallographic.matrix @ turn.T
    )
    assert tuple(found.hkl[0]) == (0, 0, 0)


def test_reflections_are_those_near_the_sphere_of_any_of_the_energies():
    energies, turn = (30e3, 300e3), orientation.tilted(0.01, 0.02) @ orientation.along_beam(SAPPHIRE, (0, 0, 1))
    found = reflections.reflections(SAPPHIRE, turn, 1.2, energies, 0.02)
    n = np.stack(np.meshgrid(*[np.arange(-20, 21)] * 3, indexing="ij"), -1).reshape(-1, 3)
    g = n @ SAPPHIRE.lattice.reciprocal_lattice_crystallographic.matrix @ turn.T
    near = [np.abs(reflections.excitation_errors(g, wavelength(e))) <= 0.02 for e in energies]
    seen = np.hypot(g[:, 0], g[:, 1]) <= 1.2
    assert min((near[i] & ~near[1 - i] & seen).sum() for i in (0, 1)) > 5  # each energy has some of its own
    assert {tuple(h) for h in found.hkl} == {tuple(h) for h in n[(near[0] | near[1]) & seen]}


def test_the_excitation_error_vanishes_on_the_sphere_and_is_positive_inside():
    k = 1 / wavelength(ENERGY)
    angles = np.linspace(0, 0.05, 6)
    on_sphere = k * np.stack([np.sin(angles), 0 * angles, np.cos(angles) - 1], axis=-1)
    np.testing.assert_allclose(reflections.excitation_errors(on_sphere, 1 / k), 0, atol=1e-9)
    inside = on_sphere * 1.0
    inside[:, 2] -= 0.01
    assert (reflections.excitation_errors(inside, 1 / k) > 0.009).all()


def test_g_z_follows_from_the_orientation_matrix():
    turn = orientation.along_beam(SILICON, (1, 1, 0))
    found = reflections.reflections(SILICON, turn, 1.5, [ENERGY], 0.05)
    zero_layer = found.hkl @ [1, 1, 0] == 0
    np.testing.assert_allclose(found.g[zero_layer, 2], 0, atol=1e-12)


def test_soft_metals_are_bound_more_tightly_in_compounds():
    salt = Structure.from_spacegroup("Fm-3m", SILICON.lattice, ["K", "Cl"], [[0, 0, 0], [0.5] * 3])
    assert scattering.b_factors(salt, Thermal()) == {"K": 2.0, "Cl": 0.6}
    assert scattering.b_factors(SILICON, Thermal()) == {"Si": 0.463}
    assert scattering.b_factors(SILICON, Thermal(B=0.3)) == {"Si": 0.3}
    assert scattering.b_factors(SILICON, Thermal(model="none")) == {"Si": 0.0}


def test_an_element_without_scattering_factor_is_named():
    assert Element("Rf").Z == 104
    with pytest.raises(InputError, match=r"element Rf .* allowed are H to Lr"):
        scattering.factor("Rf", np.array([0.0]))


def test_scattering_factors_are_abtems():
    from abtem.parametrizations import LobatoParametrization

    k2 = np.linspace(0, 9, 20)
    for symbol in ("H", "Si", "Au", "U"):
        expected = LobatoParametrization().scattering_factor(symbol)(k2)
        np.testing.assert_allclose(scattering.factor(symbol, k2), expected, rtol=1e-5)
