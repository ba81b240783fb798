"""Artefacts change pattern, probe and labels together, and the same seed gives the same artefacts."""

import pytest
import torch
from synthetic_quartets import disk, quartets

from fourdcrystal import artefacts
from fourdcrystal.electrons import scattering, wavelength
from fourdcrystal.errors import InputError
from fourdcrystal.experiment import Artefacts
from fourdcrystal.recipe import validate

QUIET = {"dose": [1e12, 1e12], "probe_dose": [1e12, 1e12]}
STRONG = Artefacts(
    dose=[1e5, 1e6],
    probe_dose=[1e6, 1e7],
    background=[0.0, 0.3],
    background_width=[0.05, 0.2],
    ellipticity=0.1,
    camera_length=[0.9, 1.1],
    rotation=180,
    shift=3,
    centring=0.5,
    blur=[0.0, 0.7],
    hot=1e-3,
    dead=1e-3,
)


def applied(batch, settings, purpose="test", width=1.5):
    rows = batch["row"].tolist()
    return artefacts.apply(batch, settings, artefacts.generators(rows, 0, purpose), width)


def summit(image, near):
    """Sub-pixel maximum next to a pixel: a paraboloid through the logarithm of a Gaussian is exact."""
    i, j = (round(float(v)) for v in near)
    patch = image[i - 1 : i + 2, j - 1 : j + 2].double().log()
    along = [patch[:, 1], patch[1, :]]
    offset = [float((p[0] - p[2]) / (2 * (p[0] - 2 * p[1] + p[2]))) for p in along]
    return torch.tensor([i + offset[0], j + offset[1]], dtype=torch.float64)


def profile(image):
    """Mean and variance of counts along the first axis [px, px²]."""
    x, along = torch.arange(len(image)).double(), image.double().sum(1) / image.double().sum()
    mean = (along * x).sum()
    return float(mean), float((along * (x - mean) ** 2).sum())


def test_label_peaks_are_the_transformed_reflections_within_a_fiftieth_of_a_pixel():
    out = applied(quartets(4, (128, 128), spacing=22.0), STRONG)
    compared = 0
    for b in range(4):
        for centre, weight in zip(out["centres_px"][b], out["weights"][b], strict=True):
            if weight > 0 and bool(((centre > 3) & (centre < 124)).all()):
                assert (summit(out["vg"][b], centre) - centre).norm() < 0.02
                compared += 1
    assert compared > 40


@pytest.mark.parametrize("rotation", [0, 180])
def test_disks_move_with_their_labels(rotation):
    """The centroid of an isolated flat disk is where the transformed table says, at any affine distortion."""
    batch = quartets(6, (96, 96), radius=4.0, spacing=24.0, contrast=0.0)
    settings = Artefacts(**QUIET, ellipticity=0.1, camera_length=[0.9, 1.1], rotation=rotation, shift=3)
    out = applied(batch, settings)
    grid = torch.stack(torch.meshgrid(torch.arange(96.0), torch.arange(96.0), indexing="ij"), -1)
    compared = 0
    for b in range(6):
        for centre, weight in zip(out["centres_px"][b], out["weights"][b], strict=True):
            if weight > 0 and bool(((centre > 10) & (centre < 86)).all()):
                near = out["cbed"][b].double() * ((grid - centre).norm(dim=-1) < 8)
                centroid = (near[..., None] * grid).sum((0, 1)) / near.sum()
                assert (centroid - centre).norm() < 0.02
                compared += 1
    assert compared > 20


@pytest.mark.parametrize("shift", [0.1, 0.21, 0.5, 0.79])
@pytest.mark.parametrize("edge", [0.5, 0.2])
def test_a_fraction_of_a_pixel_moves_a_disk_by_that_fraction(shift, edge):
    image = disk((96, 96), torch.tensor([48.0, 48.0]), 6.0, edge)[None].double()
    moved = artefacts.warp(image, torch.eye(2)[None].double(), torch.tensor([[shift, 0.0]]).double())
    # interpolation overshoots at a sharp edge, and what is below zero is cut off
    assert profile(moved[0])[0] - 48 == pytest.approx(shift, abs=0.001 if edge == 0.5 else 0.015)
    assert float(moved.sum()) == pytest.approx(float(image.sum()), rel=0.01)


def test_the_probe_is_distorted_like_the_pattern():
    batch = quartets(1, (96, 96), radius=9.0, spacing=200.0, contrast=0.0)
    out = applied(batch, Artefacts(**QUIET, ellipticity=0.2, camera_length=[0.9, 1.1]))
    pattern, probe = (out[k][0] / out[k][0].max() for k in ("cbed", "probe"))
    assert (pattern - probe).abs().max() < 1e-3
    assert (probe - disk((96, 96), torch.tensor([48.0, 48.0]), 9.0)).abs().max() > 0.2


def test_camera_length_changes_the_pixel_and_the_positions_alike():
    batch = quartets(3)
    out = applied(batch, Artefacts(**QUIET, camera_length=[0.9, 1.1]))
    assert not torch.allclose(out["dq"], batch["dq"])
    q = (out["centres_px"] - 32) * out["dq"][:, None, None]
    torch.testing.assert_close(q, batch["g"][..., :2], atol=1e-5, rtol=1e-5)


def test_a_camera_length_changes_the_units_of_potentials_and_heights_as_its_pixels():
    batch = quartets(3)
    out = applied(batch, Artefacts(**QUIET, camera_length=[0.8, 1.25]))
    assert float((out["dq"] / batch["dq"] - 1).abs().max()) > 0.1
    torch.testing.assert_close(out["curvature"], wavelength(200e3) * out["dq"] ** 2, rtol=1e-5, atol=0)
    torch.testing.assert_close(out["volts"], out["dq"] ** 2 / scattering(200e3), rtol=1e-5, atol=0)


def test_the_ellipse_has_at_most_the_ratio_that_was_asked_for_and_the_area_of_a_circle():
    settings = Artefacts(**QUIET, ellipticity=0.2, camera_length=[0.9, 1.1])
    drawn = artefacts.draw(settings, artefacts.generators(range(400), 0))
    axes = torch.linalg.svdvals(drawn.affine)
    ratio = axes[:, 0] / axes[:, 1]
    assert 1 <= float(ratio.min()) < 1.005 and 1.195 < float(ratio.max()) <= 1.2
    torch.testing.assert_close(torch.linalg.det(drawn.affine), drawn.scale**2)
    assert 0.9 <= float(drawn.scale.min()) < 0.905 and 1.095 < float(drawn.scale.max()) <= 1.1


def test_artefacts_are_as_strong_as_asked():
    settings = Artefacts(**QUIET, blur=[0.2, 0.7], hot=1e-3, dead=2e-3, shift=3, centring=0.5, rotation=30)
    drawn = artefacts.draw(settings, artefacts.generators(range(2000), 0))
    for name, low, high in (("blur", 0.2, 0.7), ("hot", 0, 1e-3), ("dead", 0, 2e-3)):
        values = getattr(drawn, name)
        assert float(values.mean()) == pytest.approx((low + high) / 2, rel=0.05), name
        assert low <= float(values.min()) and float(values.max()) <= high, name
    assert drawn.shift.abs().max() <= 3 and float(drawn.shift.std()) == pytest.approx(3 / 3**0.5, rel=0.05)
    assert float(drawn.centring.std()) == pytest.approx(0.5, rel=0.05)
    angle = torch.rad2deg(torch.atan2(drawn.affine[:, 1, 0], drawn.affine[:, 0, 0]))
    assert float(angle.abs().max()) == pytest.approx(30, abs=0.2) and abs(float(angle.mean())) < 2


def test_so_many_pixels_are_hot_and_dead_as_said_and_the_same_in_pattern_and_probe():
    batch = quartets(1, (256, 256))
    batch |= {"cbed": torch.ones(1, 256, 256), "probe": torch.ones(1, 256, 256)}
    counts = 1e4 * 256**2
    settings = Artefacts(dose=[counts, counts], probe_dose=[2 * counts, 2 * counts], hot=0.02, dead=0.04)
    drawn = artefacts.draw(settings, artefacts.generators([0], 0, "test"))
    out = applied(batch, settings)
    hot, dead = out["cbed"] > 1.15e4, out["cbed"] == 0
    assert float(hot.float().mean()) == pytest.approx(float(drawn.hot), rel=0.15)
    assert float(dead.float().mean()) == pytest.approx(float(drawn.dead), rel=0.15)
    assert torch.equal(hot, out["probe"] > 2.3e4) and torch.equal(dead, out["probe"] == 0)


def test_blur_and_residual_centring_are_those_of_the_camera():
    batch = quartets(1, (96, 96), radius=9.0, spacing=500.0, contrast=0.0)
    batch["cbed"] = batch["probe"].clone()  # the direct beam alone
    sharp, blurred, moved = (
        applied(batch, Artefacts(**QUIET, **more)) for more in ({}, {"blur": [1.5, 1.5]}, {"centring": 0.5})
    )
    for name in ("cbed", "probe"):
        before, after = (profile(out[name][0])[1] for out in (sharp, blurred))
        assert after - before == pytest.approx(1.5**2, abs=0.05)
    by = artefacts.draw(Artefacts(**QUIET, centring=0.5), artefacts.generators([0], 0, "test")).centring[0, 0]
    assert abs(float(by)) > 0.05
    probe, pattern = (profile(moved[name][0])[0] - profile(sharp[name][0])[0] for name in ("probe", "cbed"))
    assert probe == pytest.approx(float(by), abs=0.01)
    assert pattern == pytest.approx(0, abs=1e-3)


def test_doses_are_as_asked():
    batch = quartets(8, (128, 128))
    batch["cbed"] = batch["cbed"] * (batch["probe"].sum((1, 2)) / batch["cbed"].sum((1, 2)))[:, None, None]
    out = applied(batch, Artefacts(dose=[1e5, 1e5], probe_dose=[1e6, 1e6], background=[0.3, 0.3]))
    torch.testing.assert_close(out["cbed"].sum((1, 2)), torch.full((8,), 1e5), rtol=0.02, atol=0)
    torch.testing.assert_close(out["probe"].sum((1, 2)), torch.full((8,), 1e6), rtol=0.01, atol=0)


def test_so_many_electrons_are_in_the_background_as_asked_and_as_wide():
    """One disk, the direct beam: what lies beyond it is background, a Lorentzian of the width that was asked for."""
    batch = quartets(2, (128, 128), radius=3.0, spacing=500.0, contrast=0.0)
    batch["cbed"] = batch["probe"].clone()
    out = applied(batch, Artefacts(**QUIET, background=[0.3, 0.3], background_width=[0.2, 0.2]))
    wanted = artefacts.inelastic(batch["probe"], torch.full((2,), 5.0))  # 0.2 1/Å of 0.04 1/Å per px
    outside = disk((128, 128), torch.tensor([64.0, 64.0]), 6.0) < 0.01
    for counts, probe, shape in zip(out["cbed"], out["probe"], wanted, strict=True):
        assert float(probe[outside].sum() / probe.sum()) < 1e-3
        torch.testing.assert_close(counts[outside] / counts.sum(), 0.3 * shape[outside], rtol=0.03, atol=1e-7)


def test_background_is_the_lorentzian_seen_through_the_probe():
    probe = disk((128, 128), torch.tensor([64.0, 64.0]), 0.6, 0.1)[None]
    image = artefacts.inelastic(probe, torch.tensor([6.0]))[0]
    half = image[64, 70] / image[64, 64]  # at one half width
    assert abs(float(half) - 0.5) < 0.03
    assert abs(float(image.sum()) - 1) < 1e-5


def test_point_spread_keeps_the_counts_and_widens_by_sigma():
    image = torch.zeros(1, 64, 64)
    image[0, 32, 32] = 1
    blurred = artefacts.point_spread(image, torch.tensor([1.2]))[0]
    x = torch.arange(64.0) - 32
    assert abs(float(blurred.sum()) - 1) < 1e-3
    assert abs(float((blurred.sum(1) * x**2).sum()) - 1.2**2) < 0.05


def test_a_sample_is_the_same_in_any_batch():
    batch = quartets(4)
    whole = applied(batch, STRONG)
    part = applied({k: v[2:3] for k, v in batch.items()}, STRONG)
    for name in ("vg", "qz", "centres_px"):
        torch.testing.assert_close(part[name][0], whole[name][2], atol=1e-4, rtol=1e-4)
    # rounding errors differ between batch sizes and tip the odd count over
    assert (part["cbed"][0] != whole["cbed"][2]).float().mean() < 0.03


def test_the_same_seed_gives_the_same_sample_and_another_purpose_another():
    batch = quartets(2)
    first, again, other = applied(batch, STRONG), applied(batch, STRONG), applied(batch, STRONG, "else")
    assert torch.equal(first["cbed"], again["cbed"])
    assert not torch.equal(first["cbed"], other["cbed"])


def test_nothing_beyond_the_simulated_frame_is_labelled():
    batch = quartets(2)
    batch["g"] = batch["g"].clone()
    batch["g"][:, 1, 0] = 10.0
    assert float(applied(batch, STRONG)["weights"][:, 1].max()) == 0


def test_reversed_range_is_refused_in_words():
    with pytest.raises(InputError, match=r"dose .*from <= to"):
        validate({"dose": [1e5, 1e3], "probe_dose": [1e6, 1e6]}, "artefacts", Artefacts)


def test_a_smaller_camera_sees_the_middle_alone_and_labels_end_with_it():
    batch = quartets(3, (64, 48), radius=3.0, spacing=9.0)
    whole, part = (applied(batch, Artefacts(**QUIET, frame=[f, f])) for f in (1.0, 0.5))
    x, y = slice(16, 48), slice(12, 36)
    assert torch.equal(part["cbed"][:, x, y], whole["cbed"][:, x, y])
    bright = [int((counts > 0).sum()) for counts in (part["cbed"], part["cbed"][:, x, y], whole["cbed"])]
    assert bright[0] == bright[1] < bright[2]
    assert torch.equal(part["probe"], whole["probe"])
    seen = part["weights"] > 0
    low, high = torch.tensor([15.5, 11.5]), torch.tensor([47.5, 35.5])
    assert torch.equal(
        seen, (whole["weights"] > 0) & ((part["centres_px"] >= low) & (part["centres_px"] < high)).all(-1)
    )
    assert 0 < int(seen.sum()) < int((whole["weights"] > 0).sum())
