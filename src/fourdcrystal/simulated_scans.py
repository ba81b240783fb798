"""4D-STEM scans made by multislice: a crystal that is strained and bent over the scan, with its exact truth.

Each position has a crystal of its own, r' = T A R r: turned by R so that a zone axis lies along the beam, deformed in
the plane by A = (1 + e) Rot(θ), and tilted by T so that the zone axis points along (t_x, t_y, 1). Its reflections are
then at T A⁻ᵀ R g exactly, and those of the zeroth Laue zone at F g_xy with F the upper left 2 x 2 of T A⁻ᵀ.
"""

import math
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from pymatgen.core import Lattice, Structure

from fourdcrystal import files, labels, orientation, production, recipe, scattering, seeds
from fourdcrystal.crystals import Crystal
from fourdcrystal.electrons import wavelength
from fourdcrystal.errors import InputError
from fourdcrystal.instrument_settings import Microscope
from fourdcrystal.progress import Progress
from fourdcrystal.reflections import Reflections
from fourdcrystal.scan_settings import Simulated
from fourdcrystal.settings import Settings
from fourdcrystal.simulation import Instrument

PROBE_ELECTRONS = 1e8  # of the vacuum probe's image: a long exposure
SHEAR, ROTATION, SECOND = 0.3, 0.3, 0.6  # of the largest strain component; of the largest tilt


@dataclass(frozen=True)
class Field:
    """What the crystal is like at every position.

    Attributes:
        deformation: A, in-plane deformation of the crystal in real space, (rx, ry, 2, 2).
        tilt: t_x and t_y [rad], (rx, ry, 2).
    """

    deformation: np.ndarray
    tilt: np.ndarray


def field(settings: Simulated) -> Field:
    """Smooth strain and tilt: e_xx rises along the first axis of the scan, e_yy has a hump along the second."""
    u, v = np.meshgrid(*(np.linspace(-1, 1, n) if n > 1 else np.zeros(1) for n in settings.grid), indexing="ij")
    half = settings.strain / 2
    strain = np.empty((*u.shape, 2, 2))
    strain[..., 0, 0] = half * np.sin(math.pi / 2 * u)
    strain[..., 1, 1] = SECOND * half * np.cos(math.pi * v)
    strain[..., 0, 1] = strain[..., 1, 0] = SHEAR * half * u * v
    theta = ROTATION * half * (v**2 - u)
    c, s = np.cos(theta), np.sin(theta)
    turned = np.stack([np.stack([c, -s], -1), np.stack([s, c], -1)], -2)
    tilt = 1e-3 * settings.tilt * np.stack([u * (1 + v**2) / 2, SECOND * np.sin(math.pi * v)], axis=-1)
    return Field((np.eye(2) + strain) @ turned, tilt)


def deformed(structure: Structure, rotation: np.ndarray, deformation: np.ndarray) -> Structure:
    """The crystal turned by ``rotation`` and then deformed in the plane; fractional coordinates stay.

    Args:
        structure: Crystal as its file has it.
        rotation: Brings the zone axis along the beam, (3, 3).
        deformation: A, (2, 2).
    """
    whole = np.eye(3)
    whole[:2, :2] = deformation
    rows = structure.lattice.matrix @ rotation.T @ whole.T
    return Structure(Lattice(rows), structure.species, structure.frac_coords)


def narrowed(settings: Settings, made: Simulated) -> Settings:
    """Settings with the scan's own energy, semi-angle and thickness.

    Raises:
        InputError: if the box is too small for the probe, or a thickness doesn't end between slices.
    """
    specimen = settings.specimen.model_dump() | {"thickness": [made.thickness]}
    microscope = Microscope(
        energy=[made.energy],
        semiangle_cutoff=[made.semiangle_cutoff],
        aberrations=settings.microscope.aberrations,
        aperture=settings.microscope.aperture,
    )
    content = settings.model_dump() | {"specimen": specimen, "microscope": microscope.model_dump()}
    return recipe.validate(content, "scan")


def make(path: Path, crystal: Crystal, name: str, settings: Settings, jobs: int = 1) -> None:
    """Simulate a scan and write it with its probe and truth.

    Keys: scan (rx, ry, qx, qy) counts, probe (qx, qy) counts, dq [1/Å], energy [eV], centres (rx, ry, R, 2) [px],
    weight (rx, ry, R) |V_g| w [V], g (rx, ry, R, 3) [1/Å], hkl (R, 3), distortion F (rx, ry, 2, 2), and tilt
    (rx, ry, 2) [rad].

    Args:
        path: File to write (.npz).
        crystal: What is scanned.
        name: Of the scan in the settings.
        settings: All settings of the scan, specimen and detector.
        jobs: Processes.

    Raises:
        InputError: if the settings have no such scan to simulate, or it can't be simulated with them.
    """
    scan = settings.scans.get(name)
    if scan is None or scan.simulate is None:
        raise InputError(f"scans.{name}: is not a scan to be simulated")
    made = scan.simulate
    settings = narrowed(settings, made)
    truth = field(made)
    positions = [(i, j) for i in range(made.grid[0]) for j in range(made.grid[1])]
    tasks = [(number, truth.deformation[p], truth.tilt[p]) for number, p in enumerate(positions)]
    # spawned, since threads of numerical libraries don't survive a fork
    workers = ProcessPoolExecutor(
        jobs, get_context("spawn"), initializer=_prepare, initargs=(crystal.structure, made, settings)
    )
    with workers as pool, Progress(len(tasks), f"scan {name}", "positions") as progress:
        results = []
        for result in pool.map(_position, *zip(*tasks, strict=True)):
            results.append(result)
            progress.add(1)
    _write(path, made, name, settings, truth, results)


_worker: dict[str, Any] = {}  # what every position shares, made once in each process


def _prepare(structure: Structure, made: Simulated, settings: Settings) -> None:
    instrument = Instrument(settings.microscope, settings.specimen, settings.detector)
    u, v, w = made.zone_axis
    rotation = orientation.along_beam(structure, (u, v, w))
    _worker.update(structure=structure, made=made, settings=settings, instrument=instrument, rotation=rotation)


def _position(number: int, deformation: np.ndarray, tilt: np.ndarray) -> tuple[np.ndarray, Reflections]:
    """Intensity over the vacuum probe's maximum, (qx, qy), and the reflections at one position."""
    settings, made, instrument = _worker["settings"], _worker["made"], _worker["instrument"]
    strained = deformed(_worker["structure"], _worker["rotation"], deformation)
    turned = orientation.leaning(tilt)
    cell = production.supercell_of(strained, turned, settings)
    b = scattering.b_factors(strained, settings.specimen.thermal)
    rng = seeds.generator(settings.seed, made.crystal, "scan phonons", number)
    image = instrument.simulate(cell, b, rng).cbed[0, 0, 0]
    return image, production.table(strained, turned, settings)


def _write(
    path: Path,
    made: Simulated,
    name: str,
    settings: Settings,
    truth: Field,
    results: list[tuple[np.ndarray, Reflections]],
) -> None:
    detector, grid = settings.detector, tuple(made.grid)
    shape = (detector.shape[0], detector.shape[1])
    vacuum = Instrument(settings.microscope, settings.specimen, detector).probe[0, 0]
    electrons = made.dose / vacuum.sum(dtype=float)
    images = np.array([image for image, _ in results])
    rng = seeds.generator(settings.seed, "scan", name)
    counts = rng.poisson(images * electrons).reshape(*grid, *shape)
    # one list of reflections for all positions; where one is too far from the Ewald sphere its weight is 0
    hkl = np.unique(np.concatenate([found.hkl for _, found in results]), axis=0)
    place = {tuple(index): i for i, index in enumerate(hkl.tolist())}
    g, weight = np.zeros((len(results), len(hkl), 3)), np.zeros((len(results), len(hkl)))
    for p, (_, found) in enumerate(results):
        at = [place[tuple(index)] for index in found.hkl.tolist()]
        g[p, at] = found.g
        weight[p, at] = labels.weights(found.g, found.vg, made.energy, settings.labels)
    seen = (weight > 0).any(0)
    g, weight, hkl = g[:, seen], weight[:, seen], hkl[seen]
    inverse = np.linalg.inv(truth.deformation.reshape(-1, 2, 2)).swapaxes(-1, -2)
    distortion = orientation.leaning(truth.tilt.reshape(-1, 2))[:, :2, :2] @ inverse
    with files.replaced(path) as temporary:
        np.savez_compressed(
            temporary,
            scan=counts.astype(np.uint32 if counts.max() > 65535 else np.uint16),
            probe=rng.poisson(vacuum * (PROBE_ELECTRONS / vacuum.sum(dtype=float))).astype(np.uint32),
            dq=detector.dq,
            energy=made.energy,
            centres=labels.positions(g, detector.dq, shape).reshape(*grid, -1, 2),
            weight=weight.reshape(*grid, -1),
            g=g.reshape(*grid, -1, 3),
            hkl=hkl,
            distortion=distortion.reshape(*grid, 2, 2),
            tilt=truth.tilt,
        )
    radius = made.semiangle_cutoff * 1e-3 / wavelength(made.energy) / detector.dq
    print(
        f"{path}: {grid[0]} x {grid[1]} positions, {made.thickness:g} Å, disks of {radius:.1f} px, "
        f"{made.dose:,.0f} electrons a pattern"
    )
