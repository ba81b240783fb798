"""Patterns of crystals that no refiner learned from, with their exact truth, as a camera may see them.

Multislice patterns of the AFLOW library's crystals on the validation side of :func:`fourdcrystal.rocking.divided` and
of prototypes left out of learning altogether, at several thicknesses and semi-angles and at random mistilts. Conditions
(background, ellipticity, a displaced probe image) are laid over them one at a time.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from pymatgen.core import Structure

from fourdcrystal import (
    artefacts,
    correlation,
    orientation,
    production,
    recipe,
    rocking,
    scattering,
    seeds,
    source_aflow,
)
from fourdcrystal.metrics import Truth
from fourdcrystal.reflections import Reflections
from fourdcrystal.samples import Sample, reflections_seen
from fourdcrystal.settings import Settings
from fourdcrystal.simulation import Instrument

CRYSTALS, PROTOTYPES = "held-out crystals", "held-out prototypes"
PROTOTYPE_IDS = ("ZnS-AB_cF8_216_c_a", "C-A_cF8_227_a")  # of rocking.HELD_OUT
SITES = 16  # atoms in a cell, at most: lattices that a 7 px disk can resolve
SPACING = 0.16  # 1/Å, between reflections of the zone at least: disks of 7 px at 0.0125 1/Å then hardly overlap
MISTILT = 15.0  # mrad; standard deviation of each component
AXES = 6  # most important zone axes, of which one is drawn


@dataclass(frozen=True)
class Specimens:
    """What is simulated.

    Attributes:
        crystals: Number of validation crystals, beside the left-out prototypes.
        thickness: [Å].
        semiangle: [mrad].
        seed: Of crystals, zone axes and mistilts.
    """

    crystals: int
    thickness: Sequence[float]
    semiangle: Sequence[float]
    seed: int = 0


def settings(specimens: Specimens) -> Settings:
    """200 kV, 256 x 256 px of 0.0125 1/Å: disks of 7 px at 2.2 mrad."""
    return recipe.validate(
        {
            "specimen": {"box": 80, "thickness": sorted(specimens.thickness), "slice_thickness": 2, "sampling": 0.2},
            "detector": {"shape": [256, 256], "sampling": 0.0125},
            "microscope": {"energy": 200e3, "semiangle_cutoff": sorted(specimens.semiangle)},
        },
        "held-out crystals",
    )


def structures(count: int, seed: int) -> dict[str, tuple[str, Structure]]:
    """Crystals by id, each with its split: validation crystals of the refiner, drawn at random, and the prototypes."""
    names = {
        path.stem.rpartition("_")[0] for path in rocking.divided(Path(f"{n}_0.npz") for n in rocking.crystals())[1]
    }
    entries = {e.id: e.structure for e in source_aflow.entries() if e.structure is not None}
    small = sorted(name for name in names if len(entries[name]) <= SITES)
    drawn = seeds.generator(seed, "held out", "crystals").permutation(len(small))[:count]
    chosen = {small[i]: (CRYSTALS, entries[small[i]]) for i in sorted(drawn)}
    return chosen | {name: (PROTOTYPES, entries[name]) for name in PROTOTYPE_IDS}


def simulated(name: str, split: str, structure: Structure, made: Settings, seed: int) -> Sample | None:
    """Patterns of one crystal at a mistilted zone axis, every semi-angle and thickness; none if disks always overlap.

    Args:
        name: Crystal's id.
        split: As the tables name it.
        structure: Crystal.
        made: Settings, of :func:`settings`.
        seed: Of the zone axis and mistilt.
    """
    rng = seeds.generator(seed, name, "held out")
    b, energy = scattering.b_factors(structure, made.specimen.thermal), made.microscope.energy[0]
    dq, shape = made.detector.dq, (made.detector.shape[0], made.detector.shape[1])
    tilt = rng.normal(0.0, 1e-3 * MISTILT, 2)
    axes = orientation.zone_axes(structure, 2)[:AXES]
    for axis in (axes[i] for i in rng.permutation(len(axes))):
        rotation = orientation.tilted(*tilt) @ orientation.along_beam(structure, axis)
        found = production.table(structure, rotation, made)
        if _resolved(found):
            break
    else:
        return None
    instrument = Instrument(made.microscope, made.specimen, made.detector)
    cbed = instrument.simulate(production.supercell_of(structure, rotation, made), b, rng).cbed[0]
    images, probes, parts = [], [], []
    rows: list[dict[str, Any]] = []
    for i, angle in enumerate(made.microscope.semiangle_cutoff):
        probe = instrument.probe[0, i]
        radius = correlation.radius(probe)
        for j, thickness in enumerate(made.specimen.thickness):
            parts.append(reflections_seen(len(rows), found.g, found.vg, energy, made.labels, dq, shape, radius))
            images.append(cbed[i, j])
            probes.append(probe)
            about = {"crystal": name, "split": split, "energy_eV": energy, "semiangle": angle, "thickness_A": thickness}
            rows.append(about | {"mistilt_mrad": 1e3 * float(np.hypot(*tilt)), "zone_axis": str(axis)})
    true = Truth(*(np.concatenate(column) for column in zip(*parts, strict=True)))
    return Sample(np.array(images), np.array(probes), np.full(len(rows), dq), pd.DataFrame(rows), true)


def _resolved(found: Reflections) -> bool:
    """Whether the strong reflections are SPACING apart."""
    strong = found.g[np.abs(found.vg) > 0.02 * np.abs(found.vg[1:]).max(), :2]
    apart = np.linalg.norm(strong[:, None] - strong, axis=2)
    return bool(apart[apart > 1e-6].min(initial=np.inf) > SPACING)


def joined(samples: Sequence[Sample]) -> Sample:
    """Samples as one."""
    starts = np.cumsum([0] + [len(s.dq) for s in samples])
    truths = [replace(s.true, pattern=s.true.pattern + start) for s, start in zip(samples, starts, strict=False)]
    columns = (np.concatenate([getattr(t, name) for t in truths]) for name in Truth.__dataclass_fields__)
    table = pd.concat([s.table for s in samples], ignore_index=True)
    cbed, probe, dq = (np.concatenate([getattr(s, name) for s in samples]) for name in ("cbed", "probe", "dq"))
    return Sample(cbed, probe, dq, table, Truth(*columns))


def subset(given: Sample, keep: np.ndarray) -> Sample:
    """Some of a sample's patterns, by a mask."""
    number = np.cumsum(keep) - 1
    true = given.true.where(keep[given.true.pattern])
    table = given.table[keep].reset_index(drop=True)
    return Sample(
        given.cbed[keep], given.probe[keep], given.dq[keep], table, replace(true, pattern=number[true.pattern])
    )


def with_background(given: Sample, fraction: float, width: float = 0.1) -> Sample:
    """With a fraction of the electrons in an inelastic background of half width ``width`` [1/Å]."""
    probe = torch.as_tensor(given.probe, dtype=torch.float32)
    halo = artefacts.inelastic(probe, torch.as_tensor(width / given.dq, dtype=torch.float32)).numpy()
    total = given.probe.sum((1, 2), keepdims=True)
    return replace(given, cbed=(1 - fraction) * given.cbed + fraction * halo * total)


def with_ellipse(given: Sample, ratio: float, angle: float = 0.5) -> Sample:
    """Seen by a camera that stretches everything by √(1 + ratio) along ``angle`` [rad] and shrinks it across."""
    n = np.array([np.cos(angle), np.sin(angle)])
    stretch = np.sqrt(1 + ratio)
    affine = np.eye(2) / stretch + (stretch - 1 / stretch) * np.outer(n, n)
    linear = torch.as_tensor(affine, dtype=torch.float32).expand(len(given.dq), 2, 2)
    still = torch.zeros(len(given.dq), 2)
    cbed, probe = (
        artefacts.warp(torch.as_tensor(images, dtype=torch.float32), linear, still).numpy()
        for images in (given.cbed, given.probe)
    )
    middle = np.array(given.cbed.shape[1:]) // 2
    true = replace(given.true, positions=(given.true.positions - middle) @ affine.T + middle)
    return replace(given, cbed=cbed, probe=probe, true=true)


def with_displaced_probe(given: Sample, pixels: float, angle: float = 0.5) -> Sample:
    """With the vacuum probe's image displaced against the patterns: a beam that wasn't centred when it was recorded."""
    shift = torch.tensor([np.cos(angle), np.sin(angle)], dtype=torch.float32).expand(len(given.dq), 2) * pixels
    probe = torch.as_tensor(given.probe, dtype=torch.float32)
    return replace(given, probe=artefacts.warp(probe, torch.eye(2).expand(len(probe), 2, 2), shift).numpy())
