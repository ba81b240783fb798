"""The illumination: apertures and aberrations of the probe-forming lens, in Fourier space."""

import math

import numpy as np

from fourdcrystal.electrons import wavelength
from fourdcrystal.errors import InputError
from fourdcrystal.instrument_settings import Aberrations, Aperture, Microscope
from fourdcrystal.propagation import Grid

SUBPIXELS = 8  # per axis, over which the edges inside a patterned aperture are averaged


def spectrum(
    grid: Grid,
    energy: float,
    semiangle_cutoff: float,
    microscope: Microscope,
    direction: tuple[float, float] = (0.0, 0.0),
) -> np.ndarray:
    """Fourier transform of the probe, centred on the middle of the box, (n, n), complex64, zero frequency at n // 2.

    Amplitude of the aperture times exp(-iχ); the largest amplitude is 1.

    Args:
        grid: The wave's grid.
        energy: Beam energy [eV].
        semiangle_cutoff: Convergence semi-angle [mrad].
        microscope: Aberrations and shape of the aperture.
        direction: Lateral frequency of the beam [1/Å] where it is tilted from the axis of lens and camera.

    Raises:
        InputError: if the aperture's picture can't be used, or the grid can't resolve the aberrations' phase.
    """
    amplitude = _amplitude(grid, energy, semiangle_cutoff, microscope.aperture, direction)
    lit = np.abs(grid.frequencies[np.concatenate(np.nonzero(amplitude))]).max(initial=0.0)
    seen = np.flatnonzero(np.abs(grid.frequencies) <= lit)  # the aperture is small: phases are needed only there
    amplitude = amplitude[np.ix_(seen, seen)]
    phase = aberration_phase(grid.frequencies[seen], energy, microscope.aberrations)
    inside = amplitude > 0
    if any(np.abs(np.diff(phase, axis=a))[np.minimum(*_pair(inside, a))].max(initial=0.0) > np.pi for a in (0, 1)):
        raise InputError(
            f"microscope.aberrations: at {semiangle_cutoff:g} mrad their phase changes by more than π from one Fourier "
            f"pixel of a {grid.edge:g} Å box to the next, so the probe is larger than the box; allowed are a larger "
            "specimen.box or smaller aberrations"
        )
    to_middle = (-1.0) ** (seen - grid.n // 2)  # exp(-2πi k·r) at half the box
    centred = np.zeros((grid.n, grid.n), np.complex64)
    centred[np.ix_(seen, seen)] = amplitude * np.exp(-1j * phase) * to_middle[:, None] * to_middle
    return centred


def pupil(grid: Grid, energy: float, semiangle_cutoff: float, microscope: Microscope) -> np.ndarray:
    """Amplitude of the aperture times exp(-iχ), (n, n), complex128, zero frequency at n // 2.

    Args:
        grid: The wave's grid.
        energy: Beam energy [eV].
        semiangle_cutoff: Convergence semi-angle [mrad].
        microscope: Aberrations and shape of the aperture.

    Raises:
        InputError: if the aperture's picture can't be used.
    """
    phase = aberration_phase(grid.frequencies, energy, microscope.aberrations)
    return _amplitude(grid, energy, semiangle_cutoff, microscope.aperture) * np.exp(-1j * phase)


def _amplitude(
    grid: Grid, energy: float, semiangle_cutoff: float, aperture: Aperture, direction: tuple[float, float] = (0.0, 0.0)
) -> np.ndarray:
    x, y = (grid.frequencies - k for k in direction)
    radius = semiangle_cutoff * 1e-3 / wavelength(energy)
    return disk(x, y, radius) if aperture.shape == "disk" else patterned(x, y, radius, aperture)


def _pair(inside: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Whether both of two neighbours along an axis are lit."""
    return (inside[1:], inside[:-1]) if axis == 0 else (inside[:, 1:], inside[:, :-1])


def disk(x: np.ndarray, y: np.ndarray, radius: float) -> np.ndarray:
    """Round aperture whose edge is softened over one pixel, as abTEM does it, (n, n).

    Args:
        x: Spatial frequencies along x from the aperture's middle [1/Å], (n,).
        y: The same along y, (n,).
        radius: Radius of the aperture [1/Å].
    """
    return np.clip((radius - np.hypot(x[:, None], y)) / (x[1] - x[0]) + 0.5, 0.0, 1.0)


def patterned(x: np.ndarray, y: np.ndarray, radius: float, aperture: Aperture) -> np.ndarray:
    """Bullseye, or a picture over the aperture's diameter: mean transmission of each pixel, (n, n).

    Args:
        x: Spatial frequencies along x from the aperture's middle [1/Å], (n,).
        y: The same along y, (n,).
        radius: Radius of the aperture [1/Å].
        aperture: Shape.
    """
    step = x[1] - x[0]
    parts = step * ((np.arange(SUBPIXELS) + 0.5) / SUBPIXELS - 0.5)
    lit = [np.flatnonzero(np.abs(k) <= radius + step) for k in (x, y)]
    fine = [((k[i, None] + parts) / radius).ravel() for k, i in zip((x, y), lit, strict=True)]
    u, v = np.meshgrid(*fine, indexing="ij")
    if aperture.shape == "bullseye":
        open_ = bullseye(u, v, aperture)
    else:
        picture = _picture(aperture)
        pixel = [np.clip(((w + 1) / 2 * len(picture)).astype(int), 0, len(picture) - 1) for w in (u, v)]
        open_ = np.where(np.hypot(u, v) <= 1, picture[pixel[0], pixel[1]], 0.0)
    means = open_.reshape(len(lit[0]), SUBPIXELS, len(lit[1]), SUBPIXELS).mean((1, 3))
    out = np.zeros((len(x), len(y)))
    out[np.ix_(*lit)] = means
    return out


def bullseye(x: np.ndarray, y: np.ndarray, aperture: Aperture) -> np.ndarray:
    """Rings of equal width, alternately open and closed, open at the centre, crossed by closed spokes.

    After Zeltmann et al., Ultramicroscopy 209 (2020) 112890.

    Args:
        x: First coordinate over the aperture's radius.
        y: Second coordinate over the aperture's radius.
        aperture: Numbers of rings and spokes, width of a spoke over the aperture's radius.
    """
    r, angle = np.hypot(x, y), np.arctan2(y, x)
    ring = np.floor(r * (2 * aperture.rings - 1)).astype(int)  # open rings are the even ones; the outermost is open
    opened = (r <= 1) & (ring % 2 == 0)
    for spoke in range(aperture.spokes):
        turned = angle - 2 * math.pi * spoke / aperture.spokes
        bar = (np.abs(r * np.sin(turned)) < aperture.bar_width / 2) & (np.cos(turned) > 0)
        opened &= ~(bar & (ring > 0))
    return opened.astype(float)


def _picture(aperture: Aperture) -> np.ndarray:
    """Transmission from a square picture, 0 to 1, (n, n).

    Raises:
        InputError: if there is none, or it isn't a square picture of values between 0 and 1.
    """
    path = aperture.image
    if path is None:
        raise InputError("microscope.aperture: shape is image, but image, the file of the picture, is not given")
    try:
        if path.suffix == ".npy":
            stored: np.ndarray = np.lib.format.open_memmap(path, mode="r")  # no pickle, no more than the file holds
        else:
            from matplotlib.image import imread

            stored = imread(path)
        picture = np.asarray(stored, dtype=float)
    except Exception as error:  # NumPy and Pillow have many for damaged files, and for pictures of gigabytes
        raise InputError(f"microscope.aperture.image: {path} can't be read as a picture ({error})") from error
    if picture.ndim == 3:
        picture = picture[..., :3].mean(-1)
    if picture.ndim != 2 or picture.shape[0] != picture.shape[1] or not 0 <= picture.min() < picture.max() <= 1:
        raise InputError(
            f"microscope.aperture.image: {path} has shape {picture.shape} and values from {picture.min():g} to "
            f"{picture.max():g}; allowed is a square picture with values from 0 to 1, not all the same"
        )
    return picture


def aberration_phase(k: np.ndarray, energy: float, aberrations: Aberrations) -> np.ndarray:
    """Phase χ of the probe-forming lens [rad], (n, n); abTEM's definition, defocus = -C10.

    χ = 2π/λ [α²/2 (C10 + C12 cos 2(φ - φ12)) + α⁴/4 C_s].

    Args:
        k: Spatial frequencies of the axis [1/Å], (n,).
        energy: Beam energy [eV].
        aberrations: Coefficients.
    """
    wave = wavelength(energy)
    alpha2 = wave**2 * (k[:, None] ** 2 + k**2)
    twice = 2 * (np.arctan2(k, k[:, None]) - math.radians(aberrations.astigmatism_angle))
    second = -aberrations.defocus + aberrations.astigmatism * np.cos(twice)
    return 2 * np.pi / wave * (alpha2 / 2 * second + alpha2**2 / 4 * aberrations.Cs)
