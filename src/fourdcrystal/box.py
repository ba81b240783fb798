"""How large a box has to be, and what a camera can see of a wave.

The probe's tails must not see the box's lateral faces, where a turned crystal doesn't fit. An aperture's edge gives the
probe tails that fall off slowly, as r^-3/2, so no box holds all of a probe. What matters is the fraction f of the
intensity near the faces: the error of a pixel inside a disk stays below √f, that of a whole disk's intensity far below
(tables in docs/physics.md).
"""

import math

import numpy as np

from fourdcrystal import probe
from fourdcrystal.electrons import wavelength
from fourdcrystal.errors import InputError
from fourdcrystal.instrument_settings import (
    ANTIALIAS,
    FINEST_SAMPLING,
    DetectorSettings,
    Microscope,
    Specimen,
    box_edge,
    wave_sampling,
)
from fourdcrystal.propagation import Grid, fast_length

LEAST, LARGEST = 40.0, 1000.0  # Å; edges that are chosen from
VACUUM_SHARE = 0.5  # of the limit: a crystal spreads the beam, so a probe may not use up the limit before it enters
FINENESS = 4  # points across the margin


def grid(specimen: Specimen, detector: DetectorSettings) -> Grid:
    """The grid of the waves in a box."""
    edge = box_edge(specimen, detector)
    return Grid(fast_length(edge / wave_sampling(specimen, detector)), edge)


def reach(specimen: Specimen, detector: DetectorSettings) -> float:
    """Largest |q| at which there can be an electron on the detector [1/Å].

    The wave ends at a circle, which may leave out corners of the frame; labels must not ask for peaks in that darkness.
    """
    return min(detector.corner, grid(specimen, detector).limit)


def vacuum_fraction(edge: float, energy: float, semiangle: float, microscope: Microscope, margin: float) -> float:
    """Fraction of a probe's intensity in vacuum that lies near the lateral faces of a box with the probe at its middle.

    Args:
        edge: Lateral edge of the box [Å].
        energy: Beam energy [eV].
        semiangle: Convergence semi-angle [mrad].
        microscope: Aberrations and shape of the aperture.
        margin: What counts as near [Å].
    """
    if margin == 0:
        return 0.0
    radius = semiangle * 1e-3 / wavelength(energy)
    points = max(FINENESS * edge / margin, 2 * (radius * edge + 2))
    fine = Grid(8 * math.ceil(points / 8), edge)
    wave = np.fft.fft2(probe.pupil(fine, energy, semiangle, microscope))  # its middle is at 0: the faces are at n / 2
    intensity = np.abs(wave) ** 2
    near = round(margin / fine.sampling)
    inner = np.r_[0 : fine.n // 2 - near, fine.n - fine.n // 2 + near : fine.n]
    return float(1 - intensity[np.ix_(inner, inner)].sum() / intensity.sum())


def smallest(microscope: Microscope, specimen: Specimen, detector: DetectorSettings) -> float:
    """Smallest edge [Å] that keeps every probe off the seam: in vacuum, half of ``specimen.seam_limit`` is near it.

    Raises:
        InputError: if no edge of up to 1000 Å does.
    """
    beams = [(e, a) for a in microscope.semiangle_cutoff for e in microscope.energy]  # the widest probes first
    for pixels in range(math.ceil(LEAST * detector.dq - 1e-9), math.floor(LARGEST * detector.dq) + 1):
        edge = pixels / detector.dq
        if all(_fits(edge, e, a, microscope, specimen, VACUUM_SHARE) for e, a in beams):
            return edge
    energy, semiangle = beams[0]
    raise InputError(
        f"specimen.box: no box up to {LARGEST:g} Å holds the probe of {semiangle:g} mrad at {energy / 1e3:g} keV with "
        f"less than {100 * VACUUM_SHARE * specimen.seam_limit:g} % of it at the faces (half of specimen.seam_limit); "
        "allowed are larger semi-angles, smaller aberrations or a larger seam_limit"
    )


def check_camera(microscope: Microscope, specimen: Specimen, detector: DetectorSettings) -> None:
    """Refuse a microscope, a wave's sampling and a camera that can't go together.

    Raises:
        InputError: if a convergence disk doesn't fit on the detector, or the detector sees beyond the anti-aliased part
            of the wave at the finest sampling allowed.
    """
    sampling = FINEST_SAMPLING if specimen.sampling is None else specimen.sampling
    limit = ANTIALIAS / (2 * sampling)
    if detector.half_width > limit:
        given = "the finest allowed sampling" if specimen.sampling is None else "specimen.sampling"
        raise InputError(
            f"detector: q_max {detector.half_width:.2f} 1/Å (sampling · shape / 2) exceeds the anti-aliased limit "
            f"{limit:.2f} 1/Å of {given}, {sampling:g} Å; allowed are fewer or smaller pixels"
        )
    half = min(detector.shape) / 2 * detector.dq
    for energy in microscope.energy:
        for semiangle in microscope.semiangle_cutoff:
            radius = semiangle * 1e-3 / wavelength(energy)
            if radius > half:
                raise InputError(
                    f"microscope.semiangle_cutoff: {semiangle:g} mrad at {energy / 1e3:g} keV is a disk of radius "
                    f"{radius:.3f} 1/Å, larger than the detector's half width {half:.3f} 1/Å (detector.shape, sampling)"
                )


def check(microscope: Microscope, specimen: Specimen, detector: DetectorSettings) -> None:
    """Refuse a box that can't hold a probe.

    Raises:
        InputError: if in vacuum more of a probe than ``specimen.seam_limit`` is near the faces; it names an edge that
            would do.
    """
    edge = box_edge(specimen, detector)
    for semiangle in microscope.semiangle_cutoff:
        for energy in microscope.energy:
            if _fits(edge, energy, semiangle, microscope, specimen, 1.0):
                continue
            fraction = vacuum_fraction(edge, energy, semiangle, microscope, specimen.seam_margin)
            raise InputError(
                f"specimen.box: {edge:g} Å is too small for the probe of {semiangle:g} mrad at {energy / 1e3:g} keV: "
                f"{100 * fraction:.2g} % of it is within {specimen.seam_margin:g} Å of the lateral faces, and allowed "
                f"are {100 * specimen.seam_limit:g} % (specimen.seam_limit), so a box of "
                f"{smallest(microscope, specimen, detector):g} Å, which is what 'auto' takes"
            )


def _fits(
    edge: float, energy: float, semiangle: float, microscope: Microscope, specimen: Specimen, share: float
) -> bool:
    if edge * semiangle * 1e-3 < 0.5 * wavelength(energy):  # the aperture would be smaller than a Fourier pixel
        return False
    fraction = vacuum_fraction(edge, energy, semiangle, microscope, specimen.seam_margin)
    return fraction <= share * specimen.seam_limit
