"""Multislice against Bloch waves: the tables and figures of docs/physics.md.

For each crystal, energy and orientation, the middle pixels of the brightest disks of a convergent-beam pattern are
compared with abTEM's Bloch waves for exactly their direction, at 100 to 500 Å. The measure is
R = Σ|I - I_Bloch| / Σ I_Bloch over those beams and thicknesses.

    python benchmarks/physics.py -o docs/pictures        # a table on the terminal and bloch.png; some minutes
"""

import os

os.environ |= {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}

import argparse
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pymatgen.core import Lattice, Structure

from fourdcrystal import bloch, orientation, scattering, simulation, supercell
from fourdcrystal.settings import DetectorSettings, Microscope, Specimen, Thermal

EDGE, SEMIANGLE, SHAPE = 50.0, 3.0, 128
DQ = 1 / EDGE
THICKNESS = [100.0, 200.0, 300.0, 400.0, 500.0]
BEAMS = 5
MISTILT = (0.006, -0.009)  # rad

CRYSTALS = {
    "Si": (Structure.from_spacegroup("Fd-3m", Lattice.cubic(5.431), ["Si"], [[0, 0, 0]]), (1, 1, 0), 3.0),
    "GaAs": (
        Structure.from_spacegroup("F-43m", Lattice.cubic(5.6533), ["Ga", "As"], [[0, 0, 0], [0.25] * 3]),
        (1, 1, 0),
        3.5,
    ),
    "SrTiO3": (
        Structure.from_spacegroup(
            "Pm-3m", Lattice.cubic(3.905), ["Sr", "Ti", "O"], [[0, 0, 0], [0.5] * 3, [0.5, 0.5, 0]]
        ),
        (0, 0, 1),
        3.5,
    ),
    "Al2O3": (
        Structure.from_spacegroup(
            "R-3c", Lattice.hexagonal(4.7589, 12.991), ["Al", "O"], [[0, 0, 0.35219], [0.30633, 0, 0.25]]
        ),
        (1, 0, 0),
        3.0,
    ),
    "Au": (Structure.from_spacegroup("Fm-3m", Lattice.cubic(4.0782), ["Au"], [[0, 0, 0]]), (0, 0, 1), 5.0),
}


@dataclass(frozen=True)
class Way:
    """How multislice is done: projection, sampling [Å], slice thickness [Å]."""

    projection: str
    points: int
    slice_thickness: float = 2.0

    @property
    def sampling(self) -> float:
        return EDGE / self.points


WAYS = [
    Way("infinite", 256),
    Way("infinite", 320),
    Way("infinite", 384),
    Way("infinite", 512),
    Way("finite", 384),
    Way("finite", 512),
    Way("infinite", 384, 1.0),
    Way("infinite", 384, 4.0),
]


def expected(
    crystal: Structure, rotation: np.ndarray, b: dict[str, float], energy: float, g_max: float
) -> tuple[np.ndarray, np.ndarray]:
    """Pixels of the brightest disks from the middle, (beams, 2), and their Bloch intensities, (beams, thickness)."""
    hkl, strength = bloch.intensities(crystal, rotation, b, energy, THICKNESS, g_max)
    g = hkl @ np.linalg.inv(crystal.lattice.matrix).T @ rotation.T
    near = np.abs(g[:, :2]).max(1) < 0.45 * SHAPE * DQ
    brightest = [i for i in np.argsort(-strength.max(0)) if near[i]][:BEAMS]
    pixels = np.round(g[brightest, :2] / DQ).astype(int)
    found = []
    for beam, pixel in zip(brightest, pixels, strict=True):
        turn = bloch.towards(pixel * DQ - g[beam, :2], energy) @ rotation
        again, exact = bloch.intensities(crystal, turn, b, energy, THICKNESS, g_max)
        found.append(exact[:, (again == hkl[beam]).all(1)][:, 0])
    return pixels, np.array(found)


def simulated(
    crystal: Structure, rotation: np.ndarray, b: dict[str, float], energies: list[float], way: Way
) -> np.ndarray:
    """Patterns over the vacuum probe's intensity at its middle, (energy, thickness, qx, qy)."""
    specimen = Specimen(
        thickness=THICKNESS,
        box=EDGE,
        sampling=way.sampling,
        slice_thickness=way.slice_thickness,
        projection=way.projection,
        seam_limit=0.5,
    )
    made = simulation.Instrument(
        Microscope(energy=energies, semiangle_cutoff=[SEMIANGLE]),
        specimen,
        DetectorSettings(shape=[SHAPE, SHAPE], sampling=DQ),
    )
    cell = supercell.cut(crystal, rotation, (EDGE, EDGE), made.thickness)
    return made.simulate(cell, b).cbed[:, 0] / made.probe[:, 0, SHAPE // 2, SHAPE // 2][:, None, None, None]


def picture(curves: dict, path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(curves), figsize=(3.2 * len(curves), 3.2), layout="constrained", sharey=True)
    for axis, (name, (exact, found)) in zip(axes, curves.items(), strict=True):
        for beam, colour in zip(range(3), ("C0", "C1", "C2"), strict=True):
            axis.plot(THICKNESS, exact[beam], "-", color=colour)
            axis.plot(THICKNESS, found[beam], "o", color=colour)
        axis.set(title=name, xlabel="thickness [Å]")
    axes[0].set_ylabel("intensity over the incident beam's")
    axes[0].plot([], [], "k-", label="Bloch waves")
    axes[0].plot([], [], "ko", label="multislice")
    axes[0].legend(fontsize="small")
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder of figures")
    parser.add_argument("--crystals", nargs="+", default=list(CRYSTALS), choices=list(CRYSTALS))
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    curves = {}
    heads = [f"{w.projection} {w.sampling:.3f} Å, {w.slice_thickness:g} Å" for w in WAYS]
    print(f"| crystal, direction, energy | {' | '.join(heads)} |\n|---|{'---|' * len(WAYS)}")
    for name in args.crystals:
        crystal, axis, g_max = CRYSTALS[name]
        b = scattering.b_factors(crystal, Thermal())
        along = orientation.along_beam(crystal, axis)
        for where, rotation, energies in (
            (f"[{''.join(map(str, axis))}]", along, [80e3, 200e3, 300e3]),
            ("off axis", orientation.tilted(*MISTILT) @ along, [200e3]),
        ):
            exact = [expected(crystal, rotation, b, energy, g_max) for energy in energies]
            rows: list[list[str]] = [[] for _ in energies]
            for way in WAYS:
                patterns = simulated(crystal, rotation, b, energies, way)
                for row, energy, (pixels, strength), pattern in zip(rows, energies, exact, patterns, strict=True):
                    place = pixels + SHAPE // 2
                    found = pattern[:, place[:, 0], place[:, 1]].T
                    row.append(f"{100 * np.abs(found - strength).sum() / strength.sum():.1f}")
                    if way == Way("finite", 512) and where != "off axis" and energy == 200e3:
                        curves[f"{name} {where}, 200 keV"] = strength, found
            for row, energy in zip(rows, energies, strict=True):
                print(f"| {name} {where}, {energy / 1e3:g} keV | {' | '.join(row)} |", flush=True)
    args.output.mkdir(parents=True, exist_ok=True)
    picture(curves, args.output / "bloch.png")


if __name__ == "__main__":
    main()
