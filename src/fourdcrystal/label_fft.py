"""Labels as the 2021 work defines them: from the three-dimensional Fourier transform of the sliced potential.

    P = |FFT3(V · window)| exp(-q_z² / 2σ²),    V_g(q) = Σ_qz P,    q_z(q) = Σ_qz P q_z / V_g

The window (Tukey's with a cosine over its whole length, also known as Hann's) hides that the crystal doesn't fit its
box. These labels are as sharp as the box allows and can't be redrawn; analytic ones (:mod:`fourdcrystal.labels`) agree
with them in place and strength, which tests/test_physics.py shows.
"""

from collections.abc import Mapping

import numpy as np

from fourdcrystal import finite, waves
from fourdcrystal.camera import Camera
from fourdcrystal.labels import NEGLIGIBLE
from fourdcrystal.supercell import Supercell

SIGMA = 0.1  # 1/Å; spread of heights q_z that are labelled
THICKEST = 0.5  # Å; with thicker slices, layers of reflections above fold back onto the zero layer (1 Å: by up to 19 %)


def maps(
    cell: Supercell, camera: Camera, slice_thickness: float, b: Mapping[str, float]
) -> tuple[np.ndarray, np.ndarray]:
    """Maps of V_g and q_z of a supercell, the same for every energy.

    V_g of an isolated reflection on the middle of a pixel is |V_g|. Where the box is binned, a pixel has the strongest
    of its Fourier pixels.

    Args:
        cell: Atoms.
        camera: The detector.
        slice_thickness: Thickness of a slice [Å]; the cell's is a multiple. Thick slices are divided.
        b: B of every element [Å²].

    Returns:
        V_g [V] and q_z [1/Å], both (X, Y), float32. q_z is 0 where V_g is negligible.
    """
    grid, step = camera.grid, slice_thickness / np.ceil(slice_thickness / THICKEST)
    count = round(cell.box[2] / step)
    lateral = np.hanning(grid.n + 1)[:-1]
    window = lateral[:, None] * lateral / lateral.sum() ** 2
    along_z = np.hanning(count + 1)[1:]
    x, y = (_seen(camera, axis) for axis in (0, 1))
    layers = np.empty((count, len(x), len(y)), dtype=np.complex64)
    wave = waves.wave(grid)
    for index, piece in enumerate(finite.finite_slices(cell, grid, step, b, wave)):
        layers[index] = np.fft.fft2(wave.image(piece) * window)[np.ix_(x, y)] * (along_z[index] / step)
    q_z = np.fft.fftfreq(count, step)
    spread = np.abs(np.fft.fft(along_z)).sum()  # what one reflection's heights sum up to
    power = np.abs(np.fft.fft(layers, axis=0)) * np.exp(-(q_z**2) / (2 * SIGMA**2))[:, None, None] / spread
    vg, moment = power.sum(0), (power * q_z[:, None, None]).sum(0)
    vg, moment = _strongest(vg, moment, camera)
    defined = vg > NEGLIGIBLE * vg.max()
    qz = np.divide(moment, vg, out=np.zeros_like(vg), where=defined)
    return vg.astype(np.float32), qz.astype(np.float32)


def _seen(camera: Camera, axis: int) -> np.ndarray:
    """Fourier pixels, zero first, that the detector sees along an axis: all those of one of its pixels side by side."""
    m = camera.binning
    centres = (np.arange(camera.shape[axis]) - camera.shape[axis] // 2) * m
    return (centres[:, None] + np.arange(-(m // 2), m // 2 + 1)).ravel() % camera.grid.n


def _strongest(vg: np.ndarray, moment: np.ndarray, camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    m, (nx, ny) = camera.binning // 2 * 2 + 1, camera.shape
    blocks = [a.reshape(nx, m, ny, m).swapaxes(1, 2).reshape(nx, ny, m * m) for a in (vg, moment)]
    place = blocks[0].argmax(-1)[..., None]
    strongest, its_moment = (np.take_along_axis(block, place, axis=-1)[..., 0] for block in blocks)
    return strongest, its_moment
