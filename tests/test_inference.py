"""A detector takes patterns of any size; what can't be searched has no peaks."""

import numpy as np
import pytest
import torch
from disk_patterns import disk

from fourdcrystal import experiment, inference, labels, modelfile, network, refinements
from fourdcrystal.errors import InputError
from fourdcrystal.inference import NetworkDetector
from fourdcrystal.pixels import Pixel

SEEN = {
    "labels": {"width": 1.5, "sigma": 1e3},  # no weight of heights but where a test asks for it
    "radius_px": [2.0, 6.0],
    "pixel_invA": [0.01, 0.04],
    "shape": [64, 64],
    "catalogue": "",
    "learned": [],
    "learned_before": [],
}
PIXEL = Pixel.of(0.02, 200e3)
CURVATURE = PIXEL.curvature  # 1/Å


class Known(torch.nn.Module):
    """Stands in for a trained network: draws the same labels, whatever it sees; remembers the shape it saw."""

    def __init__(self, at):
        super().__init__()
        self.at, self.model = (
            np.array(at, float),
            experiment.Model(name="ccunet", width=4, depth=3, patch=1, blocks=1, powers=[1.0]),
        )

    def forward(self, cbed, probe, pixel):
        assert cbed.shape[1:] == probe.shape[1:] and len(probe) == len(pixel) == 1  # one for all patterns
        self.seen, self.told = tuple(cbed.shape[-2:]), pixel[0].tolist()
        strength, qz = np.array([[9.0, 4.0]]), np.array([[0.0, 2000.0]])
        maps = labels.draw(self.at[None], strength, qz, self.seen, 1.5)
        return {
            name: torch.as_tensor(m)[None].expand(len(cbed), -1, -1, -1)
            for name, m in zip(("ug", "qz"), maps, strict=True)
        }


class Bright(Known):
    """As Known, with peaks as strong as the pattern is bright: patterns can't be taken for one another."""

    def forward(self, cbed, probe, *known):
        maps = super().forward(cbed, probe, *known)
        return maps | {"ug": maps["ug"] * cbed.mean((-2, -1), keepdim=True)}


class Noisy(Known):
    """As Known, with noise that is the same every time."""

    def forward(self, cbed, probe, *known):
        maps = super().forward(cbed, probe, *known)
        noise = torch.randn(self.seen, generator=torch.Generator().manual_seed(0))
        return maps | {"ug": maps["ug"] + 0.05 * noise}


def detector_of(kind):
    return NetworkDetector(modelfile.TrainedModel(kind([[30.2, 25.6], [15.5, 44.1]]), {}, SEEN, "test"))


@pytest.fixture
def detector():
    return detector_of(Known)


def test_any_size_is_padded_for_the_network_and_positions_stay(detector):
    found = detector.detect(np.ones((2, 50, 61), np.float32), disk((50, 61), (25, 30), 3), PIXEL)
    assert detector.network.seen == (64, 64)
    assert len(found) == 4
    # the probe lies in the frame's middle along one axis, 1 px off along the other, where there is room for 3 px only
    first = np.array([7, 2])
    at = np.array([[30.2, 25.6], [15.5, 44.1]]) - first
    np.testing.assert_allclose(found.of_pattern(1).positions, at, atol=1e-3)
    np.testing.assert_allclose(found.of_pattern(0).qz, [0, 2000 * CURVATURE], rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(found.of_pattern(0).intensity, np.array([9, 4]) * PIXEL.volts, rtol=2e-2)


def test_heights_are_measured_from_the_vacuum_probe_wherever_it_is(detector):
    """A beam that is off the middle of a full frame by d changes heights by q·d + |d|² / 2."""
    d = np.array([5.0, -8.0])
    found = detector.detect(np.ones((1, 64, 64), np.float32), disk((64, 64), 32 + d, 3), PIXEL)
    plane = (found.positions - 32 - d) @ d + d @ d / 2
    np.testing.assert_allclose(found.qz, (np.array([0, 2000]) + plane) * CURVATURE, rtol=1e-2, atol=1 * CURVATURE)


def test_small_patterns_take_as_much_memory_as_the_network_s_frame(detector):
    assert detector.batch_size((16, 16)) == detector.batch_size((64, 64)) > detector.batch_size((128, 64))


def test_patterns_that_are_too_large_and_can_not_be_binned_are_said(detector):
    assert detector.doubts((64, 64), 3.0, 0.02) is None
    assert "patterns of 80 x 64 px are larger than the 64 x 64 px" in detector.doubts((80, 64), 3.0, 0.02)
    assert "larger" not in (detector.doubts((128, 64), 6.0, 0.02) or "")


def test_empty_and_spoiled_patterns_have_no_peaks(detector):
    patterns = np.ones((4, 64, 64), np.float32)
    patterns[1], patterns[2, 3, 3] = 0, np.nan
    found = detector.detect(patterns, disk((64, 64), (32, 32), 3), PIXEL)
    assert np.bincount(found.pattern, minlength=4).tolist() == [2, 0, 0, 2]
    assert len(detector.detect(np.zeros((2, 64, 64)), disk((64, 64), (32, 32), 3), PIXEL)) == 0


@pytest.mark.parametrize("at_once", [1, 2, 5])
def test_every_pattern_of_a_batch_keeps_its_own_peaks(monkeypatch, at_once):
    brightness = np.array([3.0, 1.0, 0.0, 7.0, 5.0, 2.0], np.float32)  # one is empty
    monkeypatch.setitem(inference.MOST, "cpu", 4 * 64 * 64)
    monkeypatch.setitem(inference.AT_ONCE, "cpu", at_once * 64 * 64)
    patterns = np.ones((6, 64, 64), np.float32) * brightness[:, None, None]
    found = detector_of(Bright).detect(patterns, disk((64, 64), (32, 32), 3), PIXEL)
    strongest = [found.of_pattern(i).intensity.max(initial=0) for i in range(6)]
    np.testing.assert_allclose(strongest, 9 * brightness * PIXEL.volts, rtol=2e-2)


def test_threshold_is_a_fraction_of_the_strongest(detector):
    assert len(detector.detect(np.ones((1, 64, 64)), disk((64, 64), (32, 32), 3), PIXEL, threshold=0.6)) == 1


def test_a_model_file_makes_a_detector_and_its_results_are_the_same_each_time(tmp_path):
    torch.manual_seed(0)
    model = experiment.Model(name="ccunet", width=4, depth=2, patch=1, blocks=1, powers=[1.0])
    modelfile.save(tmp_path / "m.safetensors", network.build(model), {"model": model.model_dump()}, SEEN)
    detector = NetworkDetector.load(tmp_path / "m.safetensors")
    patterns = np.random.default_rng(0).poisson(5.0, (3, 40, 44)).astype(np.float32)
    one, other = (detector.maps(patterns, disk((40, 44), (20, 22), 3), PIXEL) for _ in range(2))
    assert torch.equal(one[0], other[0]) and torch.equal(one[1], other[1])
    assert one[0].shape == (3, 40, 44)


@pytest.mark.parametrize(
    "known",
    [{"labels": {}}, {"labels": None}, {"labels": {"width": "wide", "sigma": 0.03}}, {"shape": None, "learned": 3}],
)
def test_a_model_file_that_does_not_say_what_was_learned_from_is_refused(tmp_path, known):
    model = experiment.Model(name="ccunet", width=4, depth=2, patch=1, blocks=1, powers=[1.0])
    modelfile.save(tmp_path / "m.safetensors", network.build(model), {"model": model.model_dump()}, SEEN | known)
    with pytest.raises(InputError, match=r"doesn't say all .* so train it again"):
        NetworkDetector.load(tmp_path / "m.safetensors")


def test_large_patterns_are_binned_for_the_network_and_peaks_are_where_they_were(detector):
    """Pixels are twice as large for the network, so heights and potentials are four times its numbers times dq²."""
    patterns = np.ones((2, 128, 128), np.float32)
    found = detector.detect(patterns, disk((128, 128), (64.5, 64.5), 6), PIXEL)  # the middle of 64 binned pixels
    assert detector.network.seen == (64, 64)
    assert detector.network.told == pytest.approx([4 * PIXEL.curvature, 4 * PIXEL.volts])
    np.testing.assert_allclose(found.of_pattern(0).positions, [[60.9, 51.7], [31.5, 88.7]], atol=2e-3)
    np.testing.assert_allclose(found.of_pattern(0).qz, [0, 4 * 2000 * CURVATURE], rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(found.of_pattern(0).intensity, 4 * np.array([9, 4]) * PIXEL.volts, rtol=2e-2)


def test_uncertainties_of_binned_patterns_are_those_of_their_own_pixels():
    noisy = detector_of(Noisy)
    small, large = (
        noisy.detect(np.ones((1, n, n), np.float32), disk((n, n), (n // 2, n // 2), n / 21), PIXEL, threshold=0.2)
        for n in (64, 128)
    )
    assert len(small) == len(large) == 2 and (small.sigma_px > 1e-3).all()
    np.testing.assert_allclose(large.sigma_px, 2 * small.sigma_px, rtol=1e-5)


def test_patterns_are_not_binned_to_disks_smaller_than_the_network_knows(detector):
    detector.detect(np.ones((1, 128, 128), np.float32), disk((128, 128), (64, 64), 3), PIXEL)
    assert detector.network.seen == (128, 128)


def test_without_an_energy_heights_are_unknown(detector):
    found = detector.detect(np.ones((1, 64, 64), np.float32), disk((64, 64), (32, 32), 3), Pixel.unknown())
    assert len(found) == 2 and np.isnan(found.qz).all()
    np.testing.assert_allclose(found.intensity, [9, 4], rtol=2e-2)  # in squares of pixels


def test_how_much_of_nothing_a_camera_sees_changes_nothing():
    images = torch.rand(2, 1, 40, 30)
    padded = torch.nn.functional.pad(images, (7, 5, 0, 24))
    torch.testing.assert_close(network.normalised(padded)[..., :40, 7:37], network.normalised(images))


def test_refinements_are_named():
    assert refinements.named("none") is None
    assert refinements.named("edge").name == "edge fit"
    with pytest.raises(InputError, match="allowed are none"):
        refinements.named("guess")
