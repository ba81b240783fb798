"""The Fourier layers compute what their formulas say."""

import numpy as np
import torch
from scipy.signal import convolve2d
from synthetic_quartets import disk

from fourdcrystal import layers


def test_correlation_peaks_where_the_disk_is_however_the_probe_image_is_centred():
    for offset in ([0.0, 0.0], [0.3, -0.4], [5.2, 3.7]):
        probe = disk((64, 48), torch.tensor([32.0, 24.0]) + torch.tensor(offset), 4.0)
        pattern = disk((64, 48), torch.tensor([20.0, 31.0]), 4.0)
        spectrum = layers.ProbeCorrelation([1.0])(pattern[None, None], probe[None, None])
        image = torch.fft.irfft2(spectrum, s=(64, 48))[0, 0].double()
        top = torch.nonzero(image == image.max())[0]
        i, j = top.tolist()
        dx = float((image[i - 1, j] - image[i + 1, j]) / (2 * (image[i - 1, j] - 2 * image[i, j] + image[i + 1, j])))
        dy = float((image[i, j - 1] - image[i, j + 1]) / (2 * (image[i, j - 1] - 2 * image[i, j] + image[i, j + 1])))
        assert abs(i + dx - 20) < 0.05
        assert abs(j + dy - 31) < 0.05


def test_cross_correlation_equals_the_direct_sum():
    rng = np.random.default_rng(0)
    pattern = rng.random((16, 16)).astype("f4")
    probe = disk((16, 16), torch.tensor([8.0, 8.0]), 2.5)
    got = torch.fft.irfft2(
        layers.ProbeCorrelation([1.0])(torch.tensor(pattern)[None, None], probe[None, None]), s=(16, 16)
    )[0, 0]
    kernel = (probe / probe.sum()).numpy()
    direct = [[(pattern * np.roll(kernel, (i - 8, j - 8), (0, 1))).sum() for j in range(16)] for i in range(16)]
    np.testing.assert_allclose(got.numpy(), direct, atol=1e-5)


def test_centroid_of_a_noisy_disk_on_a_background():
    generator = torch.Generator().manual_seed(0)
    truth = torch.tensor([30.3, 33.8])
    image = torch.poisson(200 * disk((64, 64), truth, 6.0) + 5, generator=generator)
    assert (layers.centroid(image) - truth).norm() < 0.05


def test_complex_convolution_is_the_convolution_of_complex_numbers():
    torch.manual_seed(0)
    layer = layers.ComplexConv2d(1, 1, 3)
    z = torch.randn(1, 1, 8, 8, dtype=torch.complex64)
    kernel = (layer.real + 1j * layer.imag).detach()[0, 0].numpy()
    # torch's "convolution" does not flip its kernel
    expected = convolve2d(z[0, 0].numpy(), kernel[::-1, ::-1], mode="same")
    np.testing.assert_allclose(layer(z)[0, 0].detach().numpy(), expected, atol=1e-5)


def test_complex_convolution_is_linear_over_complex_numbers():
    torch.manual_seed(0)
    layer = layers.ComplexConv2d(2, 3, 3)
    z = torch.randn(1, 2, 8, 8, dtype=torch.complex64)
    torch.testing.assert_close(layer((2 - 1j) * z), (2 - 1j) * layer(z), atol=1e-5, rtol=1e-5)


def test_fourier_shift_by_whole_pixels_is_a_roll():
    image = torch.rand(2, 12, 10)
    shift = torch.tensor([[3.0, -2.0], [0.0, 5.0]])
    moved = torch.fft.irfft2(layers.fourier_shift(torch.fft.rfft2(image), shift), s=(12, 10))
    for b in range(2):
        rolled = torch.roll(image[b], tuple(int(s) for s in shift[b]), (0, 1))
        torch.testing.assert_close(moved[b], rolled, atol=1e-5, rtol=1e-5)
