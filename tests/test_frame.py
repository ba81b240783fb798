"""Patterns of any size are shown to a network in the frame that it knows."""

import pytest
import torch

from fourdcrystal.frame import Frame


@pytest.mark.parametrize(
    ("shape", "binning"),
    [((128, 128), 1), ((50, 61), 1), ((256, 250), 2), ((192, 130), 2), ((300, 96), 3), ((150, 9), 1)],
)
def test_what_is_cut_from_a_frame_is_what_was_put_there_binned(shape, binning):
    frame = Frame.around(shape, (shape[0] / 3, shape[1] / 2), binning, (128, 128), 16)
    images = torch.rand(2, 1, *shape)
    put = frame.put(images)
    assert put.shape == (2, 1, *frame.size) and all(side % 16 == 0 and side >= 128 for side in frame.size)
    more = [-side % binning for side in shape]
    padded = torch.nn.functional.pad(images, (0, more[1], 0, more[0]))
    torch.testing.assert_close(frame.cut(put), torch.nn.functional.avg_pool2d(padded, binning))
    torch.testing.assert_close(put.sum() * binning**2, images.sum())


def test_the_beam_is_in_the_middle_as_far_as_there_is_room():
    for beam, middle in (((48, 48), (64, 64)), ((40, 60), (64, 64)), ((10, 90), (42, 90))):
        frame = Frame.around((96, 96), beam, 1, (128, 128), 16)
        assert tuple(first + centre for first, centre in zip(frame.first, frame.beam, strict=True)) == middle
    whole = Frame.around((128, 128), (64, 64), 1, (128, 128), 16)
    assert whole.first == (0, 0) and bool((whole.tilt() == 0).all())


@pytest.mark.parametrize("binning", [1, 2])
def test_heights_on_the_ewald_sphere_around_the_middle_become_those_around_the_beam(binning):
    frame = Frame.around((128 * binning, 120 * binning), (50.3 * binning, 71.9 * binning), binning, (128, 128), 16)
    x, y = torch.meshgrid(torch.arange(128.0), torch.arange(120.0), indexing="ij")

    def sphere(centre):
        """Heights in units of λ dq²."""
        return -((x - centre[0]) ** 2 + (y - centre[1]) ** 2) / 2

    seen = sphere((64 - frame.first[0], 64 - frame.first[1]))
    torch.testing.assert_close(seen + frame.tilt(), sphere(frame.beam), rtol=1e-4, atol=0.01)


def test_patterns_larger_than_the_network_knows_get_a_larger_frame():
    assert Frame.around((130, 200), (65, 100), 1, (128, 128), 16).size == (144, 208)
