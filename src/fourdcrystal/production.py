"""One crystal's way from its structure to its store of quartets."""

from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from pymatgen.core import Structure

from fourdcrystal import (
    PATTERNS_VERSION,
    box,
    devices,
    earlier,
    label_fft,
    labels,
    orientation,
    reflections,
    scattering,
    seeds,
    stores,
    supercell,
)
from fourdcrystal.crystals import Crystal
from fourdcrystal.instrument_settings import box_edge
from fourdcrystal.layout import Axes
from fourdcrystal.orientation import Orientation
from fourdcrystal.settings import PATTERN_SECTIONS, Settings
from fourdcrystal.simulation import Instrument
from fourdcrystal.supercell import Supercell


def supercells(crystal: Crystal, settings: Settings) -> tuple[list[Orientation], list[Supercell]]:
    """Orientations of a crystal and a checked supercell for each.

    Raises:
        InputError: if the crystal hasn't as many zone axes as are asked for.
        RuntimeError: if a supercell fails a check.
    """
    drawn = drawn_orientations(crystal, settings)
    return drawn, [supercell_of(crystal.structure, turned.rotation, settings) for turned in drawn]


def drawn_orientations(crystal: Crystal, settings: Settings) -> list[Orientation]:
    """Orientations of a crystal.

    Raises:
        InputError: if the crystal hasn't as many zone axes as are asked for.
    """
    rng = seeds.generator(settings.seed, crystal.id, "orientations")
    return orientation.draw(crystal.structure, settings.orientations, rng)


def supercell_of(structure: Structure, rotation: np.ndarray, settings: Settings) -> Supercell:
    """The checked supercell of one orientation.

    Args:
        structure: Crystal.
        rotation: Active rotation of it, (3, 3).
        settings: Specimen and detector are used.

    Raises:
        RuntimeError: if it fails a check.
    """
    edge = box_edge(settings.specimen, settings.detector)
    cell = supercell.cut(structure, rotation, (edge, edge), settings.specimen.thickness[-1])
    supercell.check(cell, structure, rotation)
    return cell


def table(structure: Structure, rotation: np.ndarray, settings: Settings) -> reflections.Reflections:
    """Reflections that labels of an orientation may be made from: seen by the camera, near any energy's Ewald sphere.

    Args:
        structure: Crystal.
        rotation: Active rotation of it, (3, 3).
        settings: Microscope, specimen, detector and labels are used.
    """
    reach = box.reach(settings.specimen, settings.detector)
    b = scattering.b_factors(structure, settings.specimen.thermal)
    s_max = labels.CUTOFF * settings.labels.sigma
    return reflections.reflections(structure, rotation, reach, settings.microscope.energy, s_max, b)


def write_patterns(
    path: str | Path,
    crystal: Crystal,
    orientations: list[Orientation],
    cells: list[Supercell],
    settings: Settings,
) -> None:
    """Simulate every supercell of a crystal and write its store, whole or not at all.

    Orientations that an earlier version of the store already has are taken over (:mod:`fourdcrystal.earlier`).

    Beside a GPU, labels are drawn and patterns compressed and written while the next orientation is simulated. A job on
    a CPU has one core, on which that would only take turns.

    Raises:
        InputError: if the box can't hold a probe, or too much intensity reaches its lateral seam.
    """
    microscope, detector = settings.microscope, settings.detector
    shape = (detector.shape[0], detector.shape[1])
    instrument = Instrument(microscope, settings.specimen, detector, devices.module())
    b = scattering.b_factors(crystal.structure, settings.specimen.thermal)
    axes = Axes(
        orientations,
        microscope.energy,
        microscope.semiangle_cutoff,
        settings.specimen.thickness,
        shape,
        detector.dq,
    )
    recipe = settings.model_dump(mode="json", include=set(PATTERN_SECTIONS))
    before = earlier.usable(path, crystal, recipe, PATTERNS_VERSION)
    with stores.new_store(path, crystal, axes, recipe, PATTERNS_VERSION) as store, ThreadPoolExecutor(1) as writer:
        store.put_probe(instrument.probe)

        def finish(index: int, turned: Orientation, cell: Supercell, cbed: np.ndarray, seam: np.ndarray) -> None:
            """Draw the labels of an orientation and write all about it."""
            found = table(crystal.structure, turned.rotation, settings)
            vg, qz = label_maps(crystal, found, cell, instrument, settings)
            store.put(index, cbed, vg, qz, found, seam)

        finished: Future[None] | None = None
        for index, (turned, cell) in enumerate(zip(orientations, cells, strict=True)):
            kept = before.patterns(turned.rotation) if before else None
            if kept is None:
                simulated = instrument.simulate(cell, b, _phonons(settings, crystal, turned))
                kept = simulated.cbed, simulated.seam_fraction
            if finished is not None:
                finished.result()  # patterns of two orientations at most are in memory
            rest = partial(finish, index, turned, cell, *kept)
            finished = rest() if instrument.xp is np else writer.submit(rest)
        if finished is not None:
            finished.result()


def _phonons(settings: Settings, crystal: Crystal, turned: Orientation) -> np.random.Generator:
    """Random displacements of the atoms of one orientation, whichever others there are."""
    return seeds.generator(settings.seed, crystal.id, "phonons", turned.rotation.tobytes().hex())


def label_maps(
    crystal: Crystal, found: reflections.Reflections, cell: Supercell, instrument: Instrument, settings: Settings
) -> tuple[np.ndarray, np.ndarray]:
    """Label maps V_g [V] and q_z [1/Å] of an orientation by the chosen method, each (energy, qx, qy), float32."""
    energies, shape = settings.microscope.energy, instrument.camera.shape
    if settings.labels.method == "potential_fft":
        b = scattering.b_factors(crystal.structure, settings.specimen.thermal)
        maps = [label_fft.maps(cell, instrument.camera, settings.specimen.slice_thickness, b)] * len(energies)
    else:
        places = labels.positions(found.g, settings.detector.dq, shape)
        strengths = [labels.weights(found.g, found.vg, energy, settings.labels) for energy in energies]
        maps = [labels.draw(places, s, found.g[:, 2], shape, settings.labels.width) for s in strengths]
    vg, qz = (np.array(m, dtype=np.float32) for m in zip(*maps, strict=True))
    return vg, qz


def quartets(
    crystal: Crystal, settings: Settings, orientation: int, energy: int, semiangle: int
) -> dict[str, np.ndarray]:
    """The quartets of one orientation, energy and semi-angle alone, the same numbers as in the crystal's store.

    Args:
        crystal: What they are of.
        settings: The whole recipe.
        orientation: Index of the orientation.
        energy: Index of the beam energy.
        semiangle: Index of the convergence semi-angle.

    Returns:
        ``cbed`` (thickness, qx, qy) and ``probe``, ``vg`` [V], ``qz`` [1/Å], each (qx, qy).
    """
    turned = drawn_orientations(crystal, settings)[orientation]
    cell = supercell_of(crystal.structure, turned.rotation, settings)
    beam = {
        "energy": [settings.microscope.energy[energy]],
        "semiangle_cutoff": [settings.microscope.semiangle_cutoff[semiangle]],
    }
    microscope = settings.microscope.model_copy(update=beam)
    instrument = Instrument(microscope, settings.specimen, settings.detector, devices.module())
    b = scattering.b_factors(crystal.structure, settings.specimen.thermal)
    simulated = instrument.simulate(cell, b, _phonons(settings, crystal, turned))
    found = table(crystal.structure, turned.rotation, settings)
    vg, qz = label_maps(crystal, found, cell, instrument, settings)
    return {"cbed": simulated.cbed[0, 0], "probe": instrument.probe[0, 0], "vg": vg[energy], "qz": qz[energy]}
