"""What is between the pixels stays where it is."""

import numpy as np
import pytest
import torch

from fourdcrystal import interpolation


@pytest.mark.parametrize("shift", [(0.0, 0.0), (0.25, -0.25), (0.3, 0.8), (-1.45, 2.6)])
def test_a_smooth_disk_sampled_beside_its_pixels_is_where_it_was(shift):
    axis = torch.arange(41, dtype=torch.float64) - 20
    radius = torch.hypot(axis[:, None], axis)
    image = torch.sigmoid((6 - radius) / 0.7)
    places = torch.stack(torch.meshgrid(axis, axis, indexing="ij"), -1) + torch.tensor(shift, dtype=torch.float64)
    seen = interpolation.bicubic(image, places)
    centre = np.array([float((seen * axis[:, None]).sum()), float((seen * axis).sum())]) / float(seen.sum())
    np.testing.assert_allclose(centre, -np.array(shift), atol=1e-4)


def test_at_its_pixels_an_image_is_itself_and_there_is_nothing_beyond():
    image = torch.rand(9, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    rows, columns = torch.meshgrid(torch.arange(9.0) - 4, torch.arange(12.0) - 6, indexing="ij")
    torch.testing.assert_close(interpolation.bicubic(image, torch.stack([rows, columns], -1).double()), image)
    assert float(interpolation.bicubic(image, torch.tensor([[20.0, 0.0]], dtype=torch.float64))) == 0
