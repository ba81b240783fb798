"""One crystal's way from its structure to its store of quartets."""

from pathlib import Path

import numpy as np
from pymatgen.core import Structure

from fourdcrystal import PATTERNS_VERSION, labels, orientation, reflections, scattering, seeds, stores, supercell
from fourdcrystal.crystals import Crystal
from fourdcrystal.layout import Axes
from fourdcrystal.orientation import Orientation
from fourdcrystal.settings import Settings, box_edge
from fourdcrystal.simulation import Instrument
from fourdcrystal.supercell import Supercell

# What the numbers in a store depend on; workflow/rules/patterns.smk passes just these to the scripts
SECTIONS = ("seed", "orientations", "microscope", "specimen", "detector", "labels")


def supercells(crystal: Crystal, settings: Settings) -> tuple[list[Orientation], list[Supercell]]:
    """Orientations of a crystal and a checked supercell for each.

    Raises:
        InputError: if the crystal hasn't as many zone axes as are asked for.
        RuntimeError: if a supercell fails a check.
    """
    rng = seeds.generator(settings.seed, crystal.id, "orientations")
    drawn = orientation.draw(crystal.structure, settings.orientations, rng)
    edge = box_edge(settings.specimen, settings.detector)
    cells = []
    for turned in drawn:
        cell = supercell.cut(crystal.structure, turned.rotation, (edge, edge), settings.specimen.thickness[-1])
        supercell.check(cell, crystal.structure, turned.rotation)
        cells.append(cell)
    return drawn, cells


def table(structure: Structure, turned: Orientation, settings: Settings) -> reflections.Reflections:
    """Reflections that labels of an orientation may be made from: on the detector, near any energy's Ewald sphere."""
    detector = settings.detector
    corner = float(np.hypot(*detector.shape)) / 2 * detector.dq
    b = scattering.b_factors(structure, settings.specimen.thermal)
    s_max = labels.CUTOFF * settings.labels.sigma
    return reflections.reflections(structure, turned.rotation, corner, settings.microscope.energy, s_max, b)


def write_patterns(
    path: str | Path,
    crystal: Crystal,
    orientations: list[Orientation],
    cells: list[Supercell],
    settings: Settings,
) -> None:
    """Simulate every supercell of a crystal and write its store, whole or not at all.

    Raises:
        InputError: if the box can't hold a probe, or too much intensity reaches its lateral seam.
    """
    microscope, detector = settings.microscope, settings.detector
    shape = (detector.shape[0], detector.shape[1])
    instrument = Instrument(microscope, settings.specimen, detector)
    b = scattering.b_factors(crystal.structure, settings.specimen.thermal)
    axes = Axes(
        orientations,
        microscope.energy,
        microscope.semiangle_cutoff,
        settings.specimen.thickness,
        shape,
        detector.dq,
    )
    recipe = settings.model_dump(mode="json", include=set(SECTIONS))
    with stores.new_store(path, crystal, axes, recipe, PATTERNS_VERSION) as store:
        store.put_probe(instrument.probe)
        for index, (turned, cell) in enumerate(zip(orientations, cells, strict=True)):
            simulated = instrument.simulate(cell, b, seeds.generator(settings.seed, crystal.id, "phonons", index))
            found = table(crystal.structure, turned, settings)
            maps = [
                labels.draw(
                    labels.positions(found.g, detector.dq, shape),
                    labels.weights(found, energy, settings.labels),
                    found.g[:, 2],
                    shape,
                    settings.labels.width,
                )
                for energy in microscope.energy
            ]
            vg, qz = (np.array(m, dtype=np.float32) for m in zip(*maps, strict=True))
            store.put(index, simulated.cbed, vg, qz, found, simulated.seam_fraction)
