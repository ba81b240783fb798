"""Diffraction patterns by multislice: one potential for all energies, semi-angles and thicknesses."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any, NoReturn

import numpy as np
from ase.data import chemical_symbols

from fourdcrystal import box, devices, finite, potential, probe, scattering, waves
from fourdcrystal.camera import Camera
from fourdcrystal.errors import InputError
from fourdcrystal.instrument_settings import DetectorSettings, Microscope, Specimen
from fourdcrystal.supercell import Supercell
from fourdcrystal.transmission import Transmission
from fourdcrystal.waves import DeviceWave, Wave

BLOCK = 8  # slices whose transmission functions are kept at a time


@dataclass(frozen=True)
class Patterns:
    """Patterns of one supercell.

    Attributes:
        cbed: Intensities over the vacuum probe's maximum, (energy, semiangle, thickness, qx, qy), float32.
        seam_fraction: Fraction of the intensity near the box's lateral seam, (energy, semiangle, thickness), float32.
    """

    cbed: np.ndarray
    seam_fraction: np.ndarray


class Instrument:
    """Probes, grid and camera, prepared once and used for every supercell.

    Attributes:
        grid: The wave's grid.
        camera: The detector.
        probe: Vacuum probes, each with maximum 1, (energy, semiangle, qx, qy), float32.
        edge: Lateral edge of the supercells [Å].
        thickness: Thickness of the supercells [Å].
    """

    def __init__(
        self,
        microscope: Microscope,
        specimen: Specimen,
        detector: DetectorSettings,
        xp: ModuleType = np,
        placement: potential.Placement = "exact",
        direction: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        """Prepare an instrument.

        Args:
            microscope: Energies, semi-angles, aberrations, aperture.
            specimen: Thicknesses, box, slices.
            detector: The camera.
            xp: NumPy, or CuPy to compute on a GPU.
            placement: How atoms are put on the grid; ``bilinear`` gives abTEM's numbers.
            direction: Lateral frequency of the beam [1/Å] where it is tilted from the axis of lens and camera.

        Raises:
            InputError: if the box can't hold a probe, or the aperture or the aberrations can't be used.
        """
        self.microscope, self.specimen, self.xp, self.placement = microscope, specimen, xp, placement
        self.grid = box.grid(specimen, detector)
        self.edge, self.thickness = self.grid.edge, specimen.thickness[-1]
        binning = round(self.edge * detector.dq)
        self.camera = Camera(self.grid, (detector.shape[0], detector.shape[1]), binning)
        energies, angles = microscope.energy, microscope.semiangle_cutoff
        self._work = waves.wave(self.grid, xp, full=placement == "bilinear")  # of potentials
        scratch = waves.wave(self.grid, xp)

        def spectrum(energy: float, angle: float) -> np.ndarray:
            """A probe's kept columns in Fourier space."""
            centred = probe.spectrum(self.grid, energy, angle, microscope, direction)
            return self.grid.columns(np.fft.ifftshift(centred), scratch.full)

        spectra = np.array([[spectrum(e, a) for a in angles] for e in energies])  # (energy, semiangle, n, C)
        vacuum = self.camera.record(spectra.real**2 + spectra.imag**2)
        brightest = vacuum.max((-2, -1), keepdims=True)
        self.probe = vacuum / brightest
        self._spectra = scratch.sorted(spectra / np.sqrt(brightest))
        self._transmissions = [Transmission(self.grid, scattering.interaction(e), scratch) for e in energies]
        thickness, points = specimen.slice_thickness, self.grid.n**2
        self._kernels = [scratch.kernel(self.grid.propagator(e, thickness, scratch.full) / points) for e in energies]
        self._batch = 1 if xp is np else self._fitting(devices.free(xp))
        self._waves = self._bundles()
        self._block = scratch.samples(len(energies), BLOCK)
        self._frame = scratch.ordered(self._near_faces())
        self._planes = {round(t / specimen.slice_thickness): i for i, t in enumerate(specimen.thickness)}
        self._check_vacuum()

    def _bundles(self) -> list[tuple[int, Any, slice]]:
        """Waves that are propagated in one go: (energy's index, waves, their semi-angles).

        On a CPU each wave by itself, so that it stays in the cache; elsewhere as many of an energy's semi-angles at
        once as there is memory for.
        """
        energies, angles = self._spectra.shape[:2]
        parts = [slice(a, min(a + self._batch, angles)) for a in range(0, angles, self._batch)]
        if self.xp is np:
            first = Wave(self.grid)
            return [(e, Wave(self.grid, scratch=first), part) for e in range(energies) for part in parts]
        return [
            (e, DeviceWave(self.grid, self.xp, shape=(part.stop - part.start,)), part)
            for e in range(energies)
            for part in parts
        ]

    def _fitting(self, free: int) -> int:
        """How many waves to transform at a time on a device with so many bytes free."""
        energies, angles = self._spectra.shape[:2]
        array = 8 * self.grid.n**2  # one wave
        images = 8 * energies * angles * len(self.specimen.thickness) * math.prod(self.camera.shape)
        resident = (energies * (BLOCK + 2) + 6) * array + images  # functions, kernels; potentials in the making
        return min(angles, devices.batch(free, array, energies * angles, resident))

    def simulate(self, cell: Supercell, b: Mapping[str, float], rng: np.random.Generator | None = None) -> Patterns:
        """Patterns of a supercell at every energy, semi-angle and thickness.

        Args:
            cell: Atoms in a box of the instrument's edge and thickness.
            b: B of every element [Å²], which damps scattering factors; or displaces atoms where the specimen's thermal
                model is frozen_phonon.
            rng: Source of the displacements, needed by frozen_phonon only.

        Raises:
            InputError: if more of the intensity than ``specimen.seam_limit`` reaches the lateral seam.
            ValueError: if the cell's box isn't the instrument's.
        """
        if not np.allclose(cell.box, [self.edge, self.edge, self.thickness]):
            raise ValueError(f"a supercell of {cell.box} Å doesn't fit an instrument for {self.edge} Å")
        thermal = self.specimen.thermal
        if thermal.model != "frozen_phonon":
            result = self._propagate(cell, b)
        else:
            if rng is None:
                raise ValueError("frozen phonons need a source of random displacements")
            at_rest = dict.fromkeys(b, 0.0)
            runs = [self._propagate(displaced(cell, b, rng), at_rest) for _ in range(thermal.configurations)]
            result = Patterns(np.mean([r.cbed for r in runs], axis=0), np.mean([r.seam_fraction for r in runs], axis=0))
        self._check_seam(result.seam_fraction)
        return result

    def _propagate(self, cell: Supercell, b: Mapping[str, float]) -> Patterns:
        """One pass through a supercell; where memory runs out, again with half as many waves at a time."""
        while True:
            try:
                return self._through(cell, b)
            except MemoryError:  # CuPy's is one, too
                if self._batch == 1:
                    raise
            self._waves = []
            devices.release(self.xp)
            self._batch = -(-self._batch // 2)
            self._waves = self._bundles()

    def _through(self, cell: Supercell, b: Mapping[str, float]) -> Patterns:
        xp, specimen = self.xp, self.specimen
        shape = (*self._spectra.shape[:2], len(self._planes))
        cbed = xp.empty((*shape, *self.camera.shape), dtype=xp.float32)
        near, total = (xp.empty(shape, dtype=xp.float32) for _ in range(2))
        for energy, wave, angles in self._waves:
            self._illuminate(wave, energy, angles)
        if specimen.projection == "infinite":
            potentials = potential.slices(cell, self.grid, specimen.slice_thickness, b, self.placement, self._work)
        else:
            potentials = finite.finite_slices(cell, self.grid, specimen.slice_thickness, b, self._work)
        number, last = 0, round(self.thickness / specimen.slice_thickness)
        while number < last:
            # some slices at a time: a wave that goes through all of them stays in the cache
            block = range(number, min(number + BLOCK, last))
            for place in range(len(block)):
                projected = next(potentials)
                for energy, transmission in enumerate(self._transmissions):
                    transmission(projected, out=self._block[energy, place])
            for energy, wave, angles in self._waves:
                for place, before in enumerate(block):
                    # what is seen of a plane in real space is looked at when the next slice brings the wave there
                    above, below = self._planes.get(before), self._planes.get(before + 1)
                    wave.multiply(self._block[energy, place], keep=above is not None)
                    if above is not None:
                        near[energy, angles, above] = wave.within(self._frame)
                    wave.filter(self._kernels[energy], keep=below is not None)
                    if below is not None:
                        cbed[energy, angles, below] = self.camera.record(wave.diffracted, xp)
                        total[energy, angles, below] = wave.diffracted.sum((-2, -1)) * self.grid.n**2  # Parseval
            number = block.stop
        for energy, wave, angles in self._waves:
            wave.look()
            near[energy, angles, -1] = wave.within(self._frame)
        seam = near / total
        if xp is not np:
            cbed, seam = xp.asnumpy(cbed), xp.asnumpy(seam)
        return Patterns(cbed, seam)

    def _illuminate(self, wave: Wave | DeviceWave, energy: int, angles: slice) -> None:
        wave.spectrum[...] = self.xp.asarray(self._spectra[energy, angles]).reshape(wave.spectrum.shape)
        wave.backward()

    def _near_faces(self) -> np.ndarray:
        """1 within ``seam_margin`` of the box's lateral faces, 0 elsewhere, (n, n)."""
        n = self.grid.n
        margin = min(round(self.specimen.seam_margin / self.grid.sampling), n // 2)
        frame = np.ones((n, n), np.float32)
        frame[margin : n - margin, margin : n - margin] = 0
        return frame

    def _check_vacuum(self) -> None:
        for energy, wave, angles in self._waves:
            self._illuminate(wave, energy, angles)
            wave.look()
            everywhere = wave.intensity.sum() if self.xp is np else wave.intensity.sum((-2, -1))
            fractions = self.xp.atleast_1d(wave.within(self._frame) / everywhere)
            worst = int(fractions.argmax())
            if (fraction := float(fractions[worst])) > self.specimen.seam_limit:
                self._too_small(fraction, energy, self.microscope.semiangle_cutoff[angles][worst], "0 (vacuum)")

    def _check_seam(self, fractions: np.ndarray) -> None:
        e, a, t = np.unravel_index(int(fractions.argmax()), fractions.shape)
        if fractions[e, a, t] > self.specimen.seam_limit:
            semiangle, thickness = self.microscope.semiangle_cutoff[a], self.specimen.thickness[t]
            self._too_small(float(fractions[e, a, t]), int(e), semiangle, f"{thickness:g} Å")

    def _too_small(self, fraction: float, energy: int, semiangle: float, thickness: str) -> NoReturn:
        limit = self.specimen.seam_limit
        raise InputError(
            f"specimen.box: at {self.microscope.energy[energy] / 1e3:g} keV, {semiangle:g} mrad and a thickness of "
            f"{thickness}, {100 * fraction:.1f} % of the intensity is within {self.specimen.seam_margin:g} Å of the "
            f"lateral faces of the box of {self.edge:g} Å; allowed are {100 * limit:g} % (specimen.seam_limit), so a "
            "larger box, another semi-angle, smaller aberrations or less thickness"
        )


def displaced(cell: Supercell, b: Mapping[str, float], rng: np.random.Generator) -> Supercell:
    """A copy with every atom moved at random: one snapshot of independent thermal vibrations.

    Each coordinate is normally distributed with ⟨u²⟩ = B / 8π².

    Args:
        cell: Atoms at rest.
        b: B of every element [Å²].
        rng: Source of the displacements.
    """
    spread = np.sqrt(np.array([b.get(symbol, 0.0) for symbol in chemical_symbols]) / (8 * np.pi**2))
    moved = cell.positions + spread[cell.numbers][:, None] * rng.normal(size=cell.positions.shape)
    moved[:, :2] %= cell.box[:2]
    return Supercell(moved, cell.numbers, cell.box, cell.seam_contacts)
