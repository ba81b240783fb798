"""Thick, strained, bent 4D-STEM scans by Bloch waves, with their exact truth.

At every position the many-beam equations are solved anew for the strained and tilted crystal and for as many directions
of the beam as a disk has pixels (:func:`fourdcrystal.rocking.intensities`); all thicknesses share that work. A disk is
its reflection's rocking map inside a round aperture around g / dq: where the aperture lies is exact, whatever the
contrast. No refiner learned from the prototypes of these crystals (:data:`fourdcrystal.rocking.HELD_OUT`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pymatgen.core import Lattice, Structure
from scipy.ndimage import map_coordinates

from fourdcrystal import correlation, files, labels, orientation, rocking, scattering, simulated_scans
from fourdcrystal.electrons import wavelength
from fourdcrystal.instrument_settings import Thermal
from fourdcrystal.progress import Progress
from fourdcrystal.scan_settings import Simulated

SHAPE, DQ, ENERGY, SEMIANGLE = (256, 256), 0.0125, 200e3, 2.2  # px, 1/Å, eV, mrad: disks of 7 px
EDGE = 0.35  # px; softness of the aperture's edge
DOSE, PROBE_DOSE, BACKGROUND = 1e5, 5e6, 0.02  # electrons; fraction of a pattern's in a halo
HALO = 0.35  # 1/Å; over which the halo falls to 1 / e
STRAIN, TILT = 0.02, 10.0  # full range of the largest component; largest tilt [mrad]
ABSORPTION = 0.05  # imaginary over real potential
RADIUS = SEMIANGLE * 1e-3 / wavelength(ENERGY) / DQ
SIDE = 2 * int(np.ceil(RADIUS + 2)) + 1  # directions along either axis, a pixel apart


@dataclass(frozen=True)
class Specimen:
    """A crystal and the zone axis along the beam."""

    structure: Structure
    axis: tuple[int, int, int]


SPECIMENS = {
    "GaAs [110]": Specimen(
        Structure.from_spacegroup("F-43m", Lattice.cubic(5.653), ["Ga", "As"], [[0, 0, 0], [0.25, 0.25, 0.25]]),
        (1, 1, 0),
    ),
    "Si [001]": Specimen(
        Structure.from_spacegroup("Fd-3m", Lattice.cubic(5.431), ["Si"], [[0, 0, 0]]),
        (0, 0, 1),
    ),
}


def make(folder: Path, name: str, thickness: Sequence[float], grid: int, seed: int = 0) -> dict[float, Path]:
    """Write a scan of a specimen for each thickness, with probe and truth as simulated scans have them.

    Args:
        folder: For the files.
        name: One of :data:`SPECIMENS`.
        thickness: [Å], all of the same strain and bending.
        grid: Positions along either axis.
        seed: Of the counting noise.

    Returns:
        Files (.npz) by thickness.
    """
    specimen, field = SPECIMENS[name], simulated_scans.field(Simulated(grid=[grid, grid], strain=STRAIN, tilt=TILT))
    along = orientation.along_beam(specimen.structure, specimen.axis)
    b = scattering.b_factors(specimen.structure, Thermal())
    directions = rocking.directions(SIDE, DQ * wavelength(ENERGY), ENERGY)
    crystals, found = [], []
    with Progress(grid**2, f"Bloch waves, {name}", "positions") as progress:
        for position in np.ndindex(grid, grid):
            strained = simulated_scans.deformed(specimen.structure, along, field.deformation[position])
            turned = orientation.leaning(field.tilt[position])
            crystals.append((strained, turned))
            found.append(rocking.intensities(strained, turned, b, ENERGY, np.array(thickness), directions, ABSORPTION))
            progress.add(1)
    # which beams are coupled differs from position to position: one list of reflections for all
    listed = [_indices(g, *crystal) for (g, _), crystal in zip(found, crystals, strict=True)]
    hkl = np.unique(np.concatenate(listed), axis=0)
    g = np.array([hkl @ np.linalg.inv(s.lattice.matrix).T @ turned.T for s, turned in crystals])
    centres = labels.positions(g, DQ, SHAPE)
    places = [[hkl.tolist().index(index) for index in some.tolist()] for some in listed]
    inverse = np.linalg.inv(field.deformation.reshape(-1, 2, 2)).swapaxes(1, 2)
    truth = {
        "centres": centres.reshape(grid, grid, -1, 2),
        "hkl": hkl,
        "g": g.reshape(grid, grid, -1, 3),
        "distortion": np.array([t[:2, :2] @ f for (_, t), f in zip(crystals, inverse, strict=True)]).reshape(
            grid, grid, 2, 2
        ),
        "tilt": field.tilt,
    }
    rng, paths = np.random.default_rng(seed), {}
    vacuum = correlation.round_probe(SHAPE, (SHAPE[0] // 2, SHAPE[1] // 2), RADIUS, EDGE)
    probe = rng.poisson(vacuum * (PROBE_DOSE / vacuum.sum())).astype(np.uint32)
    for t, depth in enumerate(thickness):
        images, weight = [], np.zeros(centres.shape[:2])
        for p, (_, intensity) in enumerate(found):
            image, weight[p, places[p]] = pattern(centres[p, places[p]], intensity[t].reshape(-1, SIDE, SIDE))
            images.append(rng.poisson(image))
        paths[depth] = place(folder, name, depth)
        scan = np.array(images, dtype=np.uint16).reshape(grid, grid, *SHAPE)
        shown = {"scan": scan, "probe": probe, "dq": DQ, "energy": ENERGY, "weight": weight.reshape(grid, grid, -1)}
        with files.replaced(paths[depth]) as temporary:
            np.savez_compressed(temporary, **shown, **truth)
    return paths


def place(folder: Path, name: str, thickness: float) -> Path:
    """File of a scan of a specimen of a thickness [Å]."""
    return folder / f"{name.replace(' ', '_')}_{thickness:g}.npz"


def _indices(g: np.ndarray, strained: Structure, turned: np.ndarray) -> np.ndarray:
    """Miller indices of scattering vectors of a tilted crystal, (N, 3)."""
    return np.rint(g @ turned @ strained.lattice.matrix.T).astype(int)


def pattern(centres: np.ndarray, maps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Expected counts of a pattern, and of each of its disks.

    Args:
        centres: Of the disks [px], (N, 2).
        maps: Intensity against the beam's direction, a pixel apart and centred, (N, SIDE, SIDE).

    Returns:
        (qx, qy) and (N,).
    """
    image, weights = np.zeros(SHAPE), np.zeros(len(centres))
    x, y = np.indices(SHAPE)
    for n, (centre, panel) in enumerate(zip(centres, maps, strict=True)):
        r = np.hypot(x - centre[0], y - centre[1])
        inside = r < SIDE / 2 - 0.5
        at = [axis[inside] - c + (SIDE - 1) / 2 for axis, c in zip((x, y), centre, strict=True)]
        disk = map_coordinates(panel.astype(float), at, order=3, mode="nearest").clip(min=0)
        disk /= 1 + np.exp((r[inside] - RADIUS) / EDGE)
        image[inside] += disk
        weights[n] = disk.sum()
    scale = (1 - BACKGROUND) * DOSE / image.sum()
    halo = np.exp(-np.hypot(x - SHAPE[0] // 2, y - SHAPE[1] // 2) * DQ / HALO)
    return scale * image + BACKGROUND * DOSE * halo / halo.sum(), scale * weights
