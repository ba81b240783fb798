"""Multislice against Bloch waves: the tables and the figure of docs/physics.md.

Plane waves go through crystals whose cells fit the box, so there is no seam, and every beam is compared with abTEM's
Bloch waves at 100 to 500 Å. The measure is R = Σ|I - I_Bloch| / Σ I_Bloch over all beams of the zero layer and all
thicknesses. A second table shows what the seam of a box does to the disks of a convergent beam.

    python benchmarks/physics.py -o docs/pictures        # tables on the terminal and bloch.png; a minute or two
"""

import os

os.environ |= {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}

import argparse
import warnings
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
from pymatgen.core import Lattice, Structure

from fourdcrystal import bloch, orientation, scattering, simulation, supercell
from fourdcrystal.propagation import CUTOFF, fast_length
from fourdcrystal.settings import DetectorSettings, Microscope, Specimen, Thermal

THICKNESS = [100.0, 200.0, 300.0, 400.0, 500.0]
CELLS = 4  # along the box, so that a beam between the crystal's reflections can come in off axis


@dataclass(frozen=True, eq=False)
class Case:
    """A crystal with a square face of ``edge`` [Å] across the beam and layers of atoms every ``layer`` [Å] along it."""

    crystal: Structure
    axis: tuple[int, int, int]
    edge: float
    layer: float
    g_max: float
    s_max: float


def cubic(group: str, a: float, species: list[str], sites: list[list[float]]) -> Structure:
    return Structure.from_spacegroup(group, Lattice.cubic(a), species, sites)


# c of sapphire is longer by 0.7 %, so that 4 c = 11 a and a square box fits
SAPPHIRE = Structure.from_spacegroup(
    "R-3c", Lattice.hexagonal(4.7589, 11 / 4 * 4.7589), ["Al", "O"], [[0, 0, 0.35219], [0.30633, 0, 0.25]]
)
CASES = {
    "Si [001]": Case(cubic("Fd-3m", 5.431, ["Si"], [[0] * 3]), (0, 0, 1), 5.431, 5.431 / 4, 3.0, 0.5),
    "GaAs [001]": Case(
        cubic("F-43m", 5.6533, ["Ga", "As"], [[0] * 3, [0.25] * 3]), (0, 0, 1), 5.6533, 5.6533 / 4, 3.0, 0.5
    ),
    "SrTiO3 [001]": Case(
        cubic("Pm-3m", 3.905, ["Sr", "Ti", "O"], [[0] * 3, [0.5] * 3, [0.5, 0.5, 0]]),
        (0, 0, 1),
        3.905,
        3.905 / 2,
        3.0,
        0.4,
    ),
    "Al2O3 [120]": Case(SAPPHIRE, (1, 2, 0), 11 * 4.7589, 4.7589 * 3**0.5 / 4, 2.0, 0.12),
    "Au [001]": Case(cubic("Fm-3m", 4.0782, ["Au"], [[0] * 3]), (0, 0, 1), 4.0782, 4.0782 / 2, 4.0, 0.5),
}


@dataclass(frozen=True)
class Way:
    """How multislice is done: projection, coarsest sampling [Å], slices per layer of atoms."""

    projection: Literal["infinite", "finite"]
    sampling: float
    layers: float = 1.0


WAYS = [
    Way("infinite", 0.20),
    Way("infinite", 0.16),
    Way("infinite", 0.135),
    Way("infinite", 0.10),
    Way("finite", 0.20),
    Way("finite", 0.135),
    Way("finite", 0.10),
    Way("infinite", 0.135, 2.0),
]


def box(case: Case) -> float:
    return case.edge if case.edge > 40 else CELLS * case.edge


def thicknesses(case: Case, way: Way) -> list[float]:
    step = case.layer * way.layers
    return [step * round(t / step) for t in THICKNESS]


def simulated(
    case: Case, rotation: np.ndarray, b: dict[str, float], energies: list[float], way: Way, k: tuple[float, float]
) -> tuple[np.ndarray, float]:
    """Beams by multislice over the incident one, (energy, thickness, qx, qy), and the sampling [Å]."""
    edge = box(case)
    points = fast_length(edge / way.sampling)
    half = int(CUTOFF / 2 * points) - 2
    specimen = Specimen(
        thickness=thicknesses(case, way),
        slice_thickness=case.layer * way.layers,
        box=edge,
        sampling=edge / points,
        projection=way.projection,
        seam_limit=1,
    )
    made = simulation.Instrument(
        Microscope(energy=energies, semiangle_cutoff=[0.05]),
        specimen,
        DetectorSettings(shape=[2 * half, 2 * half], sampling=1 / edge),
        direction=k,
    )
    cell = supercell.cut(case.crystal, rotation, (edge, edge), made.thickness)
    return made.simulate(cell, b).cbed[:, 0], made.grid.sampling


def comparison(case: Case, way: Way, energies: list[float], k: tuple[float, float]) -> list[tuple]:
    """For each energy: R, the largest relative error of beams above a tenth, and the three brightest beams by both."""
    b = scattering.b_factors(case.crystal, Thermal())
    rotation = orientation.along_beam(case.crystal, case.axis)
    patterns, _ = simulated(case, rotation, b, energies, way, k)
    reciprocal = np.linalg.inv(case.crystal.lattice.matrix).T @ rotation.T
    found = []
    for energy, pattern in zip(energies, patterns, strict=True):
        hkl, exact = bloch_intensities(case, energy, k, tuple(thicknesses(case, way)))
        g = hkl @ reciprocal
        place = np.round((g[:, :2] + k) * box(case)).astype(int) + pattern.shape[-1] // 2
        zero_layer = (np.abs(g[:, 2]) < 1e-6) & (place >= 0).all(1) & (place < pattern.shape[-1]).all(1)
        exact, place = exact[:, zero_layer], place[zero_layer]
        ours = pattern[:, place[:, 0], place[:, 1]]
        strong = exact > 0.1
        worst = (np.abs(ours - exact)[strong] / exact[strong]).max()
        top = np.argsort(-exact.max(0))[:3]
        found.append((np.abs(ours - exact).sum() / exact.sum(), worst, exact[:, top], ours[:, top]))
    return found


@cache
def bloch_intensities(
    case: Case, energy: float, k: tuple[float, float], thickness: tuple[float, ...]
) -> tuple[np.ndarray, np.ndarray]:
    rotation = bloch.towards(k, energy) @ orientation.along_beam(case.crystal, case.axis)
    b = scattering.b_factors(case.crystal, Thermal())
    return bloch.intensities(case.crystal, rotation, b, energy, thickness, case.g_max, case.s_max)


def seam_table() -> None:
    """Silicon [110], 300 keV, 200 Å: what the box does to the middle of the brightest disks."""
    crystal = CASES["Si [001]"].crystal
    b, rotation = scattering.b_factors(crystal, Thermal()), orientation.along_beam(crystal, (1, 1, 0))
    print(
        "\n| box [Å] | semi-angle [mrad] | fraction near the seam | R, direct beam and four {111} |\n|---|---|---|---|"
    )
    for edge, semiangle in ((50.0, 2.0), (50.0, 3.0), (50.0, 4.0), (100.0, 2.0), (100.0, 3.0)):
        made = simulation.Instrument(
            Microscope(energy=[300e3], semiangle_cutoff=[semiangle]),
            Specimen(thickness=[100.0, 200.0], box=edge, seam_limit=1),
            DetectorSettings(shape=[64, 64], sampling=0.02),
        )
        cell = supercell.cut(crystal, rotation, (edge, edge), made.thickness)
        result = made.simulate(cell, b)
        error = total = 0.0
        for hkl in ((0, 0, 0), (1, -1, 1), (-1, 1, 1), (1, -1, -1), (-1, 1, -1)):
            g = np.array(hkl) @ np.linalg.inv(crystal.lattice.matrix).T @ rotation.T
            pixel = np.round(g[:2] / 0.02).astype(int)
            turn = bloch.towards(pixel * 0.02 - g[:2], 300e3) @ rotation
            beams, exact = bloch.intensities(crystal, turn, b, 300e3, [100.0, 200.0], 3.0, 0.1)
            (beam,) = np.flatnonzero((beams == hkl).all(1))
            ours = result.cbed[0, 0, :, 32 + pixel[0], 32 + pixel[1]] / made.probe[0, 0, 32, 32]
            error, total = error + np.abs(ours - exact[:, beam]).sum(), total + exact[:, beam].sum()
        print(
            f"| {edge:g} | {semiangle:g} | {result.seam_fraction.max():.4f} | {100 * error / total:.1f} % |", flush=True
        )


def picture(curves: dict, path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(curves), figsize=(3.0 * len(curves), 3.2), layout="constrained", sharey=True)
    for axis, (name, (exact, ours)) in zip(axes, curves.items(), strict=True):
        for beam in range(3):
            axis.plot(THICKNESS, exact[:, beam], "-", color=f"C{beam}")
            axis.plot(THICKNESS, ours[:, beam], "o", color=f"C{beam}")
        axis.set(title=name, xlabel="thickness [Å]")
    axes[0].set_ylabel("intensity over the incident beam's")
    axes[0].plot([], [], "k-", label="Bloch waves")
    axes[0].plot([], [], "ko", label="multislice")
    axes[0].legend(fontsize="small")
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder of figures")
    parser.add_argument("--crystals", nargs="+", default=list(CASES), choices=list(CASES))
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    curves = {}
    heads = [f"{w.projection} {w.sampling:g} Å{f', {w.layers:g} layers a slice' * (w.layers != 1)}" for w in WAYS]
    print(f"| crystal, beam | {' | '.join(heads)} |\n|---|{'---|' * len(WAYS)}")
    for name in args.crystals:
        case = CASES[name]
        step = 1 / box(case)
        off = (round(0.12 / step) * step, -round(0.06 / step) * step)  # 3.4 mrad at 200 keV
        for where, energies, k in (("on axis", [80e3, 200e3, 300e3], (0.0, 0.0)), ("off axis", [200e3], off)):
            rows: list[list[str]] = [[] for _ in energies]
            for way in WAYS:
                for row, energy, (r, worst, exact, ours) in zip(
                    rows, energies, comparison(case, way, energies, k), strict=True
                ):
                    row.append(f"{100 * r:.1f} ({100 * worst:.0f})")
                    if way == Way("finite", 0.10) and energy == 200e3 and where == "on axis":
                        curves[f"{name}, 200 keV"] = exact, ours
            for row, energy in zip(rows, energies, strict=True):
                print(f"| {name}, {where}, {energy / 1e3:g} keV | {' | '.join(row)} |", flush=True)
    args.output.mkdir(parents=True, exist_ok=True)
    picture(curves, args.output / "bloch.png")
    seam_table()


if __name__ == "__main__":
    main()
