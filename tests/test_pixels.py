"""Two cameras that show the same picture: what it says about potentials and heights is in squares of pixels."""

import numpy as np
import pytest
from abtem.core.energy import energy2sigma, energy2wavelength

from fourdcrystal.pixels import Pixel

N, SLICES = 64, 60


def picture(projected, energy, dq, thickness):
    """Intensities behind a slab of the projected potential [V], (N, N), by plain multislice with abTEM's constants."""
    k2 = sum(np.meshgrid(*[(np.fft.fftfreq(N) * N * dq) ** 2] * 2, indexing="ij"))
    dz, wavelength = thickness / SLICES, energy2wavelength(energy)
    through = np.exp(1j * energy2sigma(energy) * projected * dz)
    on = np.exp(-1j * np.pi * wavelength * dz * k2) * (k2 < (N / 3 * dq) ** 2)
    wave = np.fft.ifft2(np.fft.fft2(np.ones((N, N))) * np.exp(-k2 / dq**2 / 4))
    for _ in range(SLICES):
        wave = np.fft.ifft2(np.fft.fft2(through * wave) * on)
    return np.abs(np.fft.fft2(wave)) ** 2


@pytest.mark.parametrize("energy, dq", [(80e3, 0.016), (200e3, 0.025), (300e3, 0.008)])
def test_pictures_are_the_same_where_potentials_and_heights_are_the_same_in_pixels(energy, dq):
    rng, here, there = np.random.default_rng(0), Pixel.of(0.016, 200e3), Pixel.of(dq, energy)
    smooth = np.exp(-sum(np.meshgrid(*[(np.fft.fftfreq(N) * N) ** 2] * 2, indexing="ij")) / 50)
    projected = np.fft.ifft2(np.fft.fft2(rng.normal(size=(N, N))) * smooth).real
    projected *= 10 / projected.max()  # V
    one = picture(projected, 200e3, 0.016, 400.0)
    other = picture(projected * there.volts / here.volts, energy, dq, 400.0 * here.curvature / there.curvature)
    # abTEM's constants are older by 1e-7
    np.testing.assert_allclose(other / other.sum(), one / one.sum(), atol=1e-6)
    assert np.sort(one.ravel())[-20] > 1e-3 * one.sum()  # dynamical: many beams share the electrons


def test_a_binned_pixel_is_a_larger_one():
    binned, larger = Pixel.of(0.01, 200e3).binned(3), Pixel.of(0.03, 200e3)
    assert (binned.curvature, binned.volts) == pytest.approx((larger.curvature, larger.volts))


def test_without_an_energy_nothing_is_known():
    assert np.isnan([*vars(Pixel.of(0.01, None)).values()]).all()
