"""Patterns: abTEM's numbers where it is exact, the same bits every time, and refusal of what can't be simulated."""

import abtem
import ase
import numpy as np
import pytest
from abtem.parametrizations import LobatoParametrization
from array_module import like_cupy
from known_crystals import GOLD, SAPPHIRE, SILICON
from scipy.spatial.transform import Rotation

from fourdcrystal import (
    PATTERNS_VERSION,
    box,
    camera,
    devices,
    finite,
    potential,
    probe,
    recipe,
    scattering,
    simulation,
    supercell,
)
from fourdcrystal.errors import InputError
from fourdcrystal.instrument_settings import Aberrations, Aperture, DetectorSettings, Microscope, Specimen, Thermal
from fourdcrystal.propagation import Grid, fast_length
from fourdcrystal.reflections import structure_factors
from fourdcrystal.transmission import Transmission
from fourdcrystal.waves import DeviceWave, Wave

DETECTOR = DetectorSettings(shape=[48, 40], sampling=0.05)  # a box of 20 Å
TILTED = Rotation.from_rotvec([0.3, -0.5, 0.2]).as_matrix()


def instrument(
    energy=(200e3,), angles=(4.0,), detector=DETECTOR, microscope=None, xp=np, placement="exact", **specimen
):
    chosen = {"thickness": [10.0, 20.0], "box": 20.0, "sampling": 0.2, "seam_limit": 0.9} | specimen
    microscope = microscope or Microscope(energy=list(energy), semiangle_cutoff=list(angles))
    return simulation.Instrument(microscope, Specimen(**chosen), detector, xp, placement)


def box_of(crystal, made, rotation=TILTED):
    return supercell.cut(crystal, rotation, (made.edge, made.edge), made.thickness)


def centre(image, shape):
    start = [n // 2 - s // 2 for n, s in zip(image.shape[-2:], shape, strict=True)]
    return image[..., start[0] : start[0] + shape[0], start[1] : start[1] + shape[1]]


def abtems_patterns(cell, made, b, energy, angle):
    """What abTEM alone gives, over its vacuum probe's maximum, (thickness, qx, qy)."""
    sigmas = {symbol: float(np.sqrt(value / (8 * np.pi**2))) for symbol, value in b.items()}
    with abtem.config.set({"diagnostics.progress_bar": False, "dask.lazy": False}):
        built = abtem.Potential(
            ase.Atoms(cell.numbers, cell.positions, cell=cell.box, pbc=True),
            gpts=made.grid.n,
            slice_thickness=made.specimen.slice_thickness,
            exit_planes=tuple(round(t / made.specimen.slice_thickness) - 1 for t in made.specimen.thickness),
            parametrization=LobatoParametrization(sigmas=sigmas),
            projection="infinite",
        )
        wave = abtem.Probe(energy=energy, semiangle_cutoff=angle, extent=made.edge, gpts=made.grid.n)
        middle = (made.edge / 2, made.edge / 2)
        found = wave.multislice(built, scan=middle, detectors=abtem.PixelatedDetector(max_angle=None)).array
        vacuum = wave.build(scan=middle).diffraction_patterns(max_angle=None).array
    return centre(found / vacuum.max(), made.camera.shape)


@pytest.mark.parametrize("crystal", [SAPPHIRE, GOLD], ids=["sapphire", "gold"])
def test_patterns_are_abtems_within_1e_4_at_every_energy_angle_and_thickness(crystal):
    made = instrument(energy=(80e3, 300e3), angles=(5.0, 7.0), placement="bilinear")
    cell, b = box_of(crystal, made), scattering.b_factors(crystal, Thermal())
    ours = made.simulate(cell, b).cbed
    for e, energy in enumerate((80e3, 300e3)):
        for a, angle in enumerate((5.0, 7.0)):
            theirs = abtems_patterns(cell, made, b, energy, angle)
            assert np.abs(ours[e, a] - theirs).max() < 1e-4 * theirs.max()


def test_probes_with_aberrations_are_abtems():
    optics = Aberrations(defocus=80.0, Cs=2e6, astigmatism=40.0, astigmatism_angle=30.0)
    grid = Grid(128, 40.0)
    microscope = Microscope(semiangle_cutoff=[8.0], aberrations=optics)
    ours = probe.spectrum(grid, 200e3, 8.0, microscope)
    coefficients = {"C10": -80.0, "C30": 2e6, "C12": 40.0, "phi12": np.radians(30.0)}
    with abtem.config.set({"diagnostics.progress_bar": False, "dask.lazy": False}):
        wave = abtem.Probe(energy=200e3, semiangle_cutoff=8.0, extent=40.0, gpts=128, **coefficients)
        theirs = np.abs(wave.build(scan=(20.0, 20.0)).array)
    # real space: aberrations don't change intensities in Fourier space
    mine = np.abs(np.fft.ifft2(np.fft.ifftshift(ours)))
    np.testing.assert_allclose(mine / mine.max(), theirs / theirs.max(), atol=2e-5)


def test_exit_planes_are_what_thinner_specimens_give():
    both, thin = instrument(thickness=[10.0, 20.0]), instrument(thickness=[10.0])
    b = scattering.b_factors(SAPPHIRE, Thermal())
    first = both.simulate(box_of(SAPPHIRE, both), b).cbed[0, 0, 0]
    np.testing.assert_allclose(first, thin.simulate(box_of(SAPPHIRE, thin), b).cbed[0, 0, 0], atol=1e-6)


def test_the_vacuum_probe_has_maximum_one_and_patterns_its_scale():
    made = instrument(angles=(4.0, 6.0))
    np.testing.assert_allclose(made.probe.max((-2, -1)), 1)
    empty = supercell.Supercell(np.empty((0, 3)), np.empty(0, np.uint8), np.array([20.0, 20.0, 20.0]))
    through_nothing = made.simulate(empty, {}).cbed
    np.testing.assert_allclose(through_nothing, np.repeat(made.probe[:, :, None], 2, axis=2), atol=1e-5)


def test_the_same_input_gives_the_same_bits_whatever_was_computed_before():
    b = scattering.b_factors(SAPPHIRE, Thermal())
    fresh = instrument(angles=(4.0, 6.0))
    cell = box_of(SAPPHIRE, fresh)
    first = fresh.simulate(cell, b)
    used = instrument(angles=(4.0, 6.0))
    used.simulate(box_of(GOLD, used), scattering.b_factors(GOLD, Thermal()))
    again = used.simulate(cell, b)
    np.testing.assert_array_equal(first.cbed, again.cbed)
    np.testing.assert_array_equal(first.seam_fraction, again.seam_fraction)


def test_numbers_are_those_of_the_patterns_version():
    made = instrument()
    found = made.simulate(box_of(SAPPHIRE, made), {"Al": 0.3, "O": 0.4}).cbed[0, 0, 1]
    golden = GOLDEN[PATTERNS_VERSION]
    places = [(24, 20), (23, 21), (20, 20), (30, 12), (10, 35)]
    measured = np.array([found[p] for p in places] + [found.sum()])
    assert np.allclose(measured, golden, rtol=2e-4), (
        f"simulated numbers have changed to {measured.tolist()}: bump PATTERNS_VERSION?"
    )


GOLDEN: dict[int, list[float]] = {6: [0.9740073, 0.9773688, 8.367349e-06, 0.0006503912, 8.289068e-07, 28.11371]}


@pytest.mark.parametrize("projection", ["infinite", "finite"])
def test_another_array_module_gives_the_same_patterns(projection):
    b = scattering.b_factors(SAPPHIRE, Thermal())
    here, there = (instrument(angles=(4.0, 6.0), xp=xp, projection=projection) for xp in (np, like_cupy()))
    cell = box_of(SAPPHIRE, here)
    one, other = here.simulate(cell, b), there.simulate(cell, b)
    assert np.abs(one.cbed - other.cbed).max() < 1e-5 * one.cbed.max()
    np.testing.assert_allclose(one.seam_fraction, other.seam_fraction, atol=1e-5)


def test_a_device_transforms_as_many_waves_at_a_time_as_its_memory_holds():
    angles, b = (4.0, 5.0, 6.0, 7.0), scattering.b_factors(SAPPHIRE, Thermal())
    whole = instrument(angles=angles)
    cell, megabyte = box_of(SAPPHIRE, whole), 2**20
    expected = whole.simulate(cell, b).cbed
    seen = []
    for free in (3, 5, 100):
        device = like_cupy(free * megabyte)
        found = instrument(angles=angles, xp=device).simulate(cell, b).cbed
        assert np.abs(found - expected).max() < 1e-5 * expected.max()
        seen.append(max(device.batches))
    assert seen[0] == 1 < seen[1] < seen[2] == 4


def test_a_device_out_of_memory_goes_on_with_half_as_many_waves_at_a_time():
    angles, b = (4.0, 5.0, 6.0, 7.0), scattering.b_factors(SAPPHIRE, Thermal())
    whole, device = instrument(angles=angles), like_cupy(most=2)
    cell = box_of(SAPPHIRE, whole)
    found = instrument(angles=angles, xp=device).simulate(cell, b).cbed
    assert np.abs(found - whole.simulate(cell, b).cbed).max() < 1e-5 * found.max()
    assert device.batches.count(4) == 1 and device.batches[-1] == 2
    with pytest.raises(MemoryError):
        instrument(angles=angles, xp=like_cupy(most=0)).simulate(cell, b)


@pytest.mark.parametrize(("free", "at_a_time"), [(0, 1), (5_000, 1), (6_000, 3), (7_000, 6), (10**6, 10)])
def test_batches_leave_room_for_all_waves_between_the_steps(free, at_a_time):
    assert devices.batch(free, array=100, waves=10, resident=500 + 1000) == at_a_time


@pytest.mark.parametrize("n", [8, 56, 120, 256, 384])
@pytest.mark.parametrize("full", [False, True])
def test_waves_transform_there_and_back(n, full):
    rng = np.random.default_rng(0)
    grid = Grid(n, 20.0)
    for wave in (Wave(grid, full), DeviceWave(grid, np)):
        columns = np.ones((n, n)) if wave.full else grid.columns(np.ones((n, n)))
        start = rng.normal(size=columns.shape) + 1j * rng.normal(size=columns.shape)
        wave.spectrum[...] = wave.kernel(start)
        wave.backward()
        samples = wave.samples()
        wave.get(samples)
        whole = np.zeros((n, n), complex)
        whole[:, np.arange(n) if wave.full else grid.columns(np.arange(n))] = start
        real, imaginary = (wave.image(part) for part in wave.parts(samples))
        np.testing.assert_allclose(real + 1j * imaginary, np.fft.ifft2(whole, norm="forward"), atol=3e-6 * n)
        wave.put(samples)
        wave.forward(wave.kernel(columns))
        wave.forward(wave.kernel(columns), add=True)
        np.testing.assert_allclose(wave.spectrum / n**2, 2 * wave.kernel(start), atol=2e-5)


@pytest.mark.parametrize("n", [40, 64, 384])
def test_a_step_multiplies_in_real_space_and_then_in_fourier_space(n):
    rng = np.random.default_rng(0)
    grid = Grid(n, 20.0)
    function, kernel, start = (rng.normal(size=(n, n)) + 1j * rng.normal(size=(n, n)) for _ in range(3))
    for wave in (Wave(grid), DeviceWave(grid, np)):
        kept = slice(None) if wave.full else grid.columns(np.arange(n))
        wave.spectrum[...] = wave.kernel(start[:, kept])
        wave.backward()
        samples = wave.samples()
        for part, values in zip(wave.parts(samples), (function.real, function.imag), strict=True):
            part[...] = wave.ordered(values)
        wave.multiply(samples, keep=True)
        seen = wave.image(wave.intensity)
        wave.filter(wave.kernel(kernel[:, kept]), keep=True)
        whole = np.zeros((n, n), complex)
        whole[:, kept] = start[:, kept]
        real = np.fft.ifft2(whole, norm="forward")
        np.testing.assert_allclose(seen, np.abs(real) ** 2, atol=1e-5 * np.abs(real).max() ** 2)
        expected = np.abs(np.fft.fft2(real * function)[:, kept] * kernel[:, kept]) ** 2
        np.testing.assert_allclose(wave.diffracted, expected, atol=1e-5 * expected.max())


@pytest.mark.parametrize("margin", [0, 0.5, 5, 20])
def test_the_seam_is_a_frame_of_the_box(margin):
    made = instrument(seam_margin=margin, angles=(9.0,), seam_limit=1)
    n = made.grid.n
    points = round(margin / made.grid.sampling)
    inner = slice(points, n - points)
    nothing = supercell.Supercell(np.empty((0, 3)), np.empty(0, np.uint8), np.array([20.0, 20.0, 20.0]))
    spectrum = probe.spectrum(made.grid, 200e3, 9.0, made.microscope)
    real = np.abs(np.fft.ifft2(np.fft.ifftshift(spectrum))) ** 2
    outside = 1 - real[inner, inner].sum() / real.sum()
    for module in (np, like_cupy()):
        found = instrument(seam_margin=margin, angles=(9.0,), thickness=[2.0, 20.0], seam_limit=1, xp=module)
        assert found.simulate(nothing, {}).seam_fraction[0, 0, 0] == pytest.approx(outside, rel=0.1, abs=1e-6)


@pytest.mark.parametrize("binning", [1, 2, 3, 4])
def test_camera_pixels_are_centred_and_share_every_fourier_pixel_out(binning):
    grid = Grid(96, 20.0)
    seen = camera.Camera(grid, (12, 10), binning)
    spectrum = np.zeros((96, 96), np.complex64)
    spectrum[48, 48] = 2.0
    image = seen.record(grid.columns(np.fft.ifftshift(np.abs(spectrum) ** 2)))
    assert image.shape == (12, 10) and image[6, 5] == 4.0 and image.sum() == 4.0
    rng = np.random.default_rng(1)
    spectrum[38:59, 38:59] = rng.normal(size=(21, 21))
    image = seen.record(grid.columns(np.fft.ifftshift(np.abs(spectrum) ** 2)))
    assert binning < 3 or image.sum() == pytest.approx((np.abs(spectrum) ** 2).sum(), rel=1e-5)


def test_a_larger_box_is_binned_to_the_same_pixels():
    b = scattering.b_factors(SAPPHIRE, Thermal())
    patterns = []
    for edge in (20.0, 40.0, 60.0):
        made = instrument(angles=(9.0,), box=edge, thickness=[10.0])
        assert made.camera.binning == round(edge / 20)
        patterns.append(made.simulate(box_of(SAPPHIRE, made), b).cbed[0, 0, 0] / made.probe[0, 0].sum())
    # a box that is not binned samples the disk, binned ones average over a pixel
    assert np.abs(patterns[1] - patterns[2]).max() < 0.1 * patterns[2].max()
    assert patterns[1].sum() == pytest.approx(patterns[2].sum(), rel=0.01)


def test_a_box_too_small_for_the_vacuum_probe_is_refused_before_anything_is_computed():
    with pytest.raises(InputError, match=r"specimen.box: at 200 keV, 4 mrad and a thickness of 0 \(vacuum\), .* % of"):
        instrument(seam_limit=1e-4)


def test_on_a_device_too_the_probe_that_is_too_wide_is_named():
    spherical = Microscope(semiangle_cutoff=[6.0, 9.0], aberrations=Aberrations(Cs=1e7))
    narrow, wide = (box.vacuum_fraction(20.0, 200e3, angle, spherical, 3.0) for angle in (6.0, 9.0))
    assert wide > 1.3 * narrow  # aberrations spread the larger one
    for module in (np, like_cupy()):
        with pytest.raises(InputError, match=r"specimen.box: at 200 keV, 9 mrad .* smaller aberrations"):
            instrument(microscope=spherical, seam_limit=(narrow * wide) ** 0.5, xp=module)


def test_too_much_intensity_at_the_seam_is_refused_with_thickness_and_angle():
    made = instrument(angles=(7.0,), thickness=[20.0, 200.0])
    result = made.simulate(box_of(GOLD, made), scattering.b_factors(GOLD, Thermal()))
    assert result.seam_fraction.shape == (1, 1, 2)
    limit = float(result.seam_fraction.max()) * 0.99
    strict = instrument(angles=(7.0,), thickness=[20.0, 200.0], seam_limit=limit)
    with pytest.raises(InputError, match=r"specimen.box: at 200 keV, 7 mrad and a thickness of (20|200) Å"):
        strict.simulate(box_of(GOLD, strict), scattering.b_factors(GOLD, Thermal()))


def test_aberrations_that_spread_the_probe_beyond_the_box_are_refused():
    strong = Microscope(semiangle_cutoff=[10.0], aberrations=Aberrations(defocus=2e4))
    with pytest.raises(InputError, match=r"microscope.aberrations: at 10 mrad .* larger"):
        instrument(microscope=strong)


def test_a_bullseye_has_open_and_closed_rings_and_spokes():
    grid, chosen = Grid(256, 100.0), Aperture(shape="bullseye", rings=3, spokes=4, bar_width=0.1)
    amplitude = probe.patterned(grid.frequencies, grid.frequencies, 0.4, chosen)
    radius = np.hypot(grid.frequencies[:, None], grid.frequencies) / 0.4
    assert amplitude[radius < 0.15].min() == 1 and amplitude[radius > 1.1].max() == 0
    diagonal = amplitude[np.arange(256), np.arange(256)]
    assert (np.diff(diagonal[128:] > 0.5) != 0).sum() == 5  # three open rings, two closed ones
    assert amplitude[128, 128 + int(0.5 * 40)] == 0  # on a spoke


def test_a_picture_can_be_the_aperture(tmp_path):
    picture = np.ones((64, 64))
    picture[:, 32:] = 0.25
    np.save(tmp_path / "half.npy", picture)
    chosen = Aperture(shape="image", image=tmp_path / "half.npy")
    made = instrument(microscope=Microscope(semiangle_cutoff=[10.0], aperture=chosen), detector=DETECTOR)
    assert made.probe[0, 0, 24, 17] == pytest.approx(1) and made.probe[0, 0, 24, 23] == pytest.approx(1 / 16, rel=1e-3)


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "can't be read"), (np.ones((3, 4)), "square picture"), (np.full((4, 4), 7.0), "values from 7 to 7")],
)
def test_a_picture_that_is_no_aperture_is_refused(tmp_path, content, words):
    path = tmp_path / "aperture.npy"
    if content is not None:
        np.save(path, content)
    with pytest.raises(InputError, match=f"microscope.aperture.image: .*{words}"):
        probe.spectrum(Grid(64, 20.0), 2e5, 5.0, Microscope(aperture=Aperture(shape="image", image=path)))


def test_projected_potentials_add_up_to_the_structure_factors():
    made = instrument(box=27.155, detector=DetectorSettings(shape=[48, 48], sampling=1 / 27.155))
    cell = supercell.cut(SILICON, np.eye(3), (made.edge, made.edge), 4 * 5.431)
    b = {"Si": 0.4}
    for make in (potential.slices, finite.finite_slices):
        wave = Wave(made.grid)
        total = sum(np.array(piece) for piece in make(cell, made.grid, 5.431 / 4, b, work=wave))
        n = made.grid.n
        found = np.fft.fft2(wave.image(total)) / n**2 / cell.box[2]  # V
        for hkl in ((0, 0, 0), (2, 2, 0), (4, 0, 0), (4, 4, 0)):
            expected = abs(structure_factors(SILICON, np.array([hkl]), b)[0])
            assert abs(found[hkl[0] * 5, hkl[1] * 5]) == pytest.approx(expected, rel=1e-4)


def test_exact_placement_does_not_depend_on_where_an_atom_is_between_grid_points():
    grid = Grid(64, 12.8)
    spectra = []
    for shift in (0.0, 0.05, 0.1):
        atom = supercell.Supercell(np.array([[6.4 + shift, 6.4, 0.5]]), np.array([14]), np.array([12.8, 12.8, 1.0]))
        (piece,) = potential.slices(atom, grid, 1.0, {"Si": 0.3})
        spectra.append(np.abs(np.fft.fft2(Wave(grid).image(piece))))
    assert np.abs(spectra[1] - spectra[0]).max() < 1e-4 * spectra[0].max()
    assert np.abs(spectra[2] - spectra[0]).max() < 1e-4 * spectra[0].max()


def test_transmission_functions_only_shift_the_phase():
    grid = Grid(96, 15.0)
    smooth = 40 * np.cos(2 * np.pi * 3 * np.arange(96) / 96)[:, None] * np.ones(96)
    wave = Wave(grid)
    out = wave.samples()
    Transmission(grid, 7e-4, wave)(wave.ordered(smooth), out=out)
    real, imaginary = (wave.image(part) for part in wave.parts(out))
    np.testing.assert_allclose(real + 1j * imaginary, np.exp(1j * 7e-4 * smooth), atol=1e-5)


def test_frozen_phonons_average_displaced_crystals_reproducibly():
    thermal = Thermal(model="frozen_phonon", configurations=3)
    made = instrument(thermal=thermal)
    cell, b = box_of(SILICON, made), {"Si": 0.5}
    one, same, other = (made.simulate(cell, b, np.random.default_rng(seed)).cbed for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert np.abs(one - other).max() > 1e-5
    moved = simulation.displaced(cell, b, np.random.default_rng(0)).positions - cell.positions
    moved = moved[np.abs(moved).max(1) < 5]  # not across the seam
    assert moved.std() == pytest.approx(np.sqrt(0.5 / (8 * np.pi**2)), rel=0.05)


def test_frozen_phonons_damp_beams_as_debye_and_waller_have_it():
    """A layer of one cell scatters once: the elastic beams of an average over snapshots are those of damped factors."""
    a, damped = SILICON.lattice.a, []
    for thermal in (Thermal(), Thermal(model="frozen_phonon", configurations=24)):
        specimen = Specimen(
            thickness=[a], slice_thickness=a / 4, sampling=a / 32, box=4 * a, seam_limit=1, thermal=thermal
        )
        detector = DetectorSettings(shape=[64, 64], sampling=0.25 / a)
        made = simulation.Instrument(Microscope(energy=[200e3], semiangle_cutoff=[0.05]), specimen, detector)
        image = made.simulate(box_of(SILICON, made, np.eye(3)), {"Si": 1.0}, np.random.default_rng(0)).cbed[0, 0, 0]
        damped.append(np.mean([image[32 + 4 * h, 32 + 4 * k] for h, k in ((4, 0), (0, 4), (4, 4), (-4, 4))]))
    assert damped[1] == pytest.approx(damped[0], rel=0.05)


def test_grids_have_fast_lengths_of_a_multiple_of_eight():
    assert [fast_length(n) for n in (250, 257, 321, 400, 500)] == [256, 320, 384, 480, 512]
    assert all(fast_length(n) % 8 == 0 for n in range(60, 4000, 7))


@pytest.mark.parametrize("energy", [30e3, 300e3])
@pytest.mark.parametrize("angle", [0.2, 0.5, 1.0, 3.0, 10.0])
def test_every_probe_gets_the_smallest_box_that_keeps_it_off_the_seam(energy, angle):
    wanted = {
        "microscope": {"energy": energy, "semiangle_cutoff": angle},
        "specimen": {"thickness": 2},
        "detector": {"shape": [96, 96], "sampling": 0.02},
    }
    chosen = recipe.validate(wanted, "settings")
    limit = chosen.specimen.seam_limit
    fractions = {
        edge: box.vacuum_fraction(edge, energy, angle, chosen.microscope, 3.0) for edge in np.arange(50, 401, 50.0)
    }
    assert min(edge for edge, fraction in fractions.items() if fraction <= limit / 2) == chosen.specimen.box
    too_small = [edge for edge, fraction in fractions.items() if fraction > limit]
    for edge in too_small:
        with pytest.raises(InputError, match=rf"specimen.box: {edge:g} Å .* so a box of {chosen.specimen.box:g} Å"):
            recipe.validate(wanted | {"specimen": {"thickness": 2, "box": edge}}, "settings")


def test_the_box_is_chosen_for_the_fraction_that_the_simulation_records():
    wanted = {"microscope": {"semiangle_cutoff": [2, 3]}, "specimen": {"thickness": 2, "sampling": 0.2}}
    chosen = recipe.validate(wanted, "settings")
    made = simulation.Instrument(chosen.microscope, chosen.specimen, chosen.detector)
    nothing = supercell.Supercell(np.empty((0, 3)), np.empty(0, np.uint8), np.array([made.edge, made.edge, 2.0]))
    recorded = made.simulate(nothing, {}).seam_fraction[0, :, 0]
    predicted = [box.vacuum_fraction(made.edge, 200e3, a, chosen.microscope, 3.0) for a in (2, 3)]
    np.testing.assert_allclose(predicted, recorded, rtol=0.05)
    assert (recorded < chosen.specimen.seam_limit / 2).all()


def test_aberrations_and_patterned_apertures_take_larger_boxes():
    plain, blurred, ringed = (
        recipe.validate({"microscope": {"semiangle_cutoff": 10} | optics}, "settings").specimen.box
        for optics in ({}, {"aberrations": {"defocus": 5000}}, {"aperture": {"shape": "bullseye"}})
    )
    assert plain < blurred and plain < ringed
