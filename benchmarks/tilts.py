"""Measured diffracted intensities as a function of the beam's tilt, beside simulated ones: thickness is the only fit.

The measurements (Felix-python, CC0) are not part of this repository: large-angle rocking patterns of diamond and GeSn
on [1-10] at 200 kV, I_hkl(tilt). Simulated are convergent-beam patterns whose disks just don't overlap, for several
directions of the beam that together cover a quadrant of tilts; the box holds whole numbers of cells (strained by
0.1 %), so there is no seam.

    python benchmarks/tilts.py diamond -o docs/pictures
"""

import os

os.environ |= {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pymatgen.core import Lattice, Structure
from scipy.ndimage import gaussian_filter, map_coordinates

from fourdcrystal import scattering, simulation, supercell
from fourdcrystal.settings import DetectorSettings, Microscope, Specimen, Thermal, wavelength

SHARED = Path(__file__).parents[2] / "shared" / "data" / "patterns"
ENERGY = 200e3
SMOOTHING = 0.035  # 1/Å; of both: thickness fringes are narrower than that, and washed out in the measurement
CELLS = (12, 17)  # along [001] and along [110]: 12 a = 16.97 a/√2, nearly 17


@dataclass(frozen=True)
class Measurement:
    """A file of measured intensities, and what is known of the crystal."""

    file: str
    element: str  # of an average atom
    a: float  # Å
    thickness: tuple[float, float]  # Å, range to look in


MEASUREMENTS = {
    "diamond": Measurement("C_diamond_1-10_200kV_exp_CC0.npz", "C", 3.567, (1900.0, 2700.0)),
    # an alloy of Ge and about a tenth Sn: germanium's scattering factor on the alloy's lattice
    "GeSn": Measurement("GeSn_1-10_200kV_exp_CC0_perdisknorm.npz", "Ge", 5.76, (1000.0, 1700.0)),
}


def fitted(measured: Measurement) -> tuple[Structure, np.ndarray, float]:
    """The crystal, strained so that a square box fits, its rotation (x [001], y [110]), and the box's edge [Å]."""
    edges = np.array([CELLS[0] * measured.a, CELLS[1] * measured.a / 2**0.5])
    edge = edges.mean()
    rotation = np.array([[0, 0, 1], [0.5**0.5, 0.5**0.5, 0], [-(0.5**0.5), 0.5**0.5, 0]])
    stretch = rotation.T @ np.diag([*(edge / edges), 1.0]) @ rotation
    cubic = Structure.from_spacegroup("Fd-3m", Lattice.cubic(measured.a), [measured.element], [[0, 0, 0]])
    return Structure(Lattice(cubic.lattice.matrix @ stretch), cubic.species, cubic.frac_coords), rotation, edge


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("crystal", choices=list(MEASUREMENTS))
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder of the figure")
    parser.add_argument("--tiles", type=int, default=2, help="beam directions along each axis of the quadrant")
    args = parser.parse_args()
    measured = MEASUREMENTS[args.crystal]
    if not (SHARED / measured.file).exists():
        parser.exit(0, f"{SHARED / measured.file} is not here: nothing to compare with\n")
    data = np.load(SHARED / measured.file)
    crystal, rotation, edge = fitted(measured)
    slice_thickness = measured.a / 2**0.5 / round(measured.a / 2**0.5 / 2.2)
    planes = np.unique(np.round(np.arange(*measured.thickness, 20.0) / slice_thickness)) * slice_thickness
    radius = 0.49 * np.sqrt(3) / measured.a  # of a disk [1/Å]: neighbours just don't touch
    half = int(radius / np.sqrt(2) * edge)  # a tile's half width [px]
    side = 2 * int(2.2 * edge)
    specimen = Specimen(
        thickness=planes.tolist(), slice_thickness=slice_thickness, box=edge, seam_limit=1, thermal=Thermal()
    )
    microscope = Microscope(energy=[ENERGY], semiangle_cutoff=[1e3 * radius * wavelength(ENERGY)])
    cell = supercell.cut(crystal, rotation, (edge, edge), float(planes[-1]))
    b = scattering.b_factors(crystal, specimen.thermal)
    hkl = data["hkl"]
    g = np.stack([hkl[:, 2] * CELLS[0], (hkl[:, 0] + hkl[:, 1]) // 2 * CELLS[1]], axis=1)  # px
    shown = (np.abs(hkl[:, 0] - hkl[:, 1]) == 0) & (np.abs(g).max(1) + (2 * args.tiles + 1) * half < side // 2)
    hkl, g, intensity = hkl[shown], g[shown], data["I"][shown].astype(float)
    width = 2 * half * args.tiles
    ours = np.zeros((len(planes), len(hkl), width, width))
    for i in range(args.tiles):
        for j in range(args.tiles):
            centre = np.array([(2 * i + 1) * half, (2 * j + 1) * half])
            made = simulation.Instrument(
                microscope,
                specimen,
                DetectorSettings(shape=[side, side], sampling=1 / edge),
                direction=tuple(centre / edge),
            )
            pattern = made.simulate(cell, b).cbed[0, 0]
            for index, place in enumerate(g):
                x, y = place + centre - half + side // 2
                tile = pattern[:, x : x + 2 * half, y : y + 2 * half]
                ours[:, index, 2 * half * i : 2 * half * (i + 1), 2 * half * j : 2 * half * (j + 1)] = tile
    n, reach = intensity.shape[-1], float(data["half_width_invA"])
    tilts = np.arange(width) / edge
    grid = np.stack(np.meshgrid(tilts, tilts, indexing="ij")) / (2 * reach / n) + (n - 1) / 2
    theirs = np.array([map_coordinates(panel, grid, order=1) for panel in intensity])
    theirs, ours = (gaussian_filter(x, SMOOTHING * edge, axes=(-2, -1)) for x in (theirs, ours))
    correlation = np.array(
        [[np.corrcoef(o.ravel(), t.ravel())[0, 1] for o, t in zip(plane, theirs, strict=True)] for plane in ours]
    )
    best = int(correlation.mean(1).argmax())
    print(f"{args.crystal}: thickness {planes[best]:.0f} Å, tilts to {tilts[-1]:.2f} 1/Å along [001] and [110]\n")
    means = correlation.mean(1)
    shown = ", ".join(f"{planes[i]:.0f} Å {means[i]:.3f}" for i in range(0, len(planes), max(1, len(planes) // 8)))
    print(f"mean correlation by thickness: {shown}\n")
    print("| reflection | correlation |\n|---|---|")
    for index, r in zip(hkl, correlation[best], strict=True):
        print(f"| {index[0]} {index[1]} {index[2]} | {r:.3f} |")
    print(f"| mean | {correlation[best].mean():.3f} |")
    args.output.mkdir(parents=True, exist_ok=True)
    picture(hkl, theirs, ours[best], args.output / f"tilts_{args.crystal}.png")


def picture(hkl: np.ndarray, theirs: np.ndarray, ours: np.ndarray, path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    count = min(6, len(hkl))
    figure, axes = plt.subplots(2, count, figsize=(1.7 * count, 3.8), layout="constrained", squeeze=False)
    for row, (images, name) in enumerate(((theirs, "measured"), (ours, "simulated"))):
        for axis, image, index in zip(axes[row], images, hkl, strict=False):
            axis.imshow(image, cmap="gray")
            axis.set(xticks=[], yticks=[], title=" ".join(map(str, index)) if row == 0 else "")
        axes[row, 0].set_ylabel(name)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
