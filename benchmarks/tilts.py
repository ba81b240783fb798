"""Measured diffracted intensities as a function of the beam's tilt, beside simulated ones: thickness is the only fit.

The measurements (Felix-python, CC0) are not part of this repository: large-angle rocking patterns of diamond and GeSn
on [1-10] at 200 kV, I_hkl(tilt). Simulated are convergent-beam patterns whose disks just don't overlap, for several
directions of the beam that together cover a quadrant of tilts; the other three follow by the two mirrors of the zone
axis. The box holds whole numbers of cells (strained by less than 0.2 %), so there is no seam.

    python benchmarks/tilts.py diamond -o docs/pictures        # some minutes
    python benchmarks/tilts.py GeSn -o docs/pictures
"""

import os

os.environ |= {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from pymatgen.core import Structure
from scipy.ndimage import gaussian_filter, map_coordinates

from fourdcrystal import scattering, simulation, supercell
from fourdcrystal.electrons import wavelength
from fourdcrystal.instrument_settings import DetectorSettings, Microscope, Specimen, Thermal

SHARED = Path(__file__).parents[2] / "shared" / "data" / "patterns"
ENERGY = 200e3
ROTATION = np.array([[0, 0, 1], [0.5**0.5, 0.5**0.5, 0], [-(0.5**0.5), 0.5**0.5, 0]])  # x [001], y [110]
REACH = 2.2  # 1/Å; within the band of a wave sampled at 0.135 Å
SMOOTHING = (0.0, 0.01, 0.02, 0.035)  # 1/Å; of both; the first is as measured


@dataclass(frozen=True)
class Measurement:
    """A file of measured intensities, and what is known of the crystal.

    Attributes:
        file: Name in the folder of measurements.
        element: Of the crystal.
        guest: Element that takes a share of the sites at random, and that share.
        a: Lattice constant [Å].
        cells: Along [001] and along [110], so that the box is nearly square.
        thickness: Range to look in [Å].
    """

    file: str
    element: str
    guest: tuple[str, float]
    a: float
    cells: tuple[int, int]
    thickness: tuple[float, float]

    @property
    def edges(self) -> np.ndarray:
        """Lateral edges of the box of whole cells [Å], (2,)."""
        return np.array([self.cells[0] * self.a, self.cells[1] * self.a / 2**0.5])

    @property
    def edge(self) -> float:
        """Their mean: the box is taken to be square [Å]."""
        return float(self.edges.mean())

    @property
    def structure(self) -> Structure:
        """Strained so that a square box fits."""
        stretch = ROTATION.T @ np.diag([*(self.edge / self.edges), 1.0]) @ ROTATION
        cubic = Structure.from_spacegroup("Fd-3m", self.a * np.eye(3), [self.element], [[0, 0, 0]])
        return Structure(cubic.lattice.matrix @ stretch, cubic.species, cubic.frac_coords)

    def box(self, thickness: float) -> supercell.Supercell:
        """The crystal under the beam, guest atoms drawn at random."""
        cell = supercell.cut(self.structure, ROTATION, (self.edge, self.edge), thickness)
        symbol, share = self.guest
        swapped = np.random.default_rng(0).random(len(cell.numbers)) < share
        numbers = np.where(swapped, Structure(np.eye(3), [symbol], [[0] * 3]).atomic_numbers[0], cell.numbers)
        return replace(cell, numbers=numbers.astype(np.uint8))


MEASUREMENTS = {
    "diamond": Measurement("C_diamond_1-10_200kV_exp_CC0.npz", "C", ("C", 0.0), 3.567, (29, 41), (1900.0, 2700.0)),
    # Vegard's law between Ge (5.658 Å) and Sn (6.489 Å): 12 % Sn
    "GeSn": Measurement(
        "GeSn_1-10_200kV_exp_CC0_perdisknorm.npz", "Ge", ("Sn", 0.12), 5.76, (17, 24), (1000.0, 1700.0)
    ),
}


def simulated(measured: Measurement, hkl: np.ndarray, reach: float) -> tuple[np.ndarray, np.ndarray]:
    """Thicknesses [Å] and intensities (thickness, reflection, tilt along [001], tilt along [110]), one Fourier pixel a
    step, from -reach to reach [1/Å]."""
    edge, layer = measured.edge, measured.a / 8**0.5  # of two layers of atoms
    step = layer * round(2.0 / layer)
    planes = np.unique(np.round(np.arange(*measured.thickness, 20.0) / step)) * step
    radius = 0.49 * np.sqrt(3) / measured.a  # of a disk [1/Å]: neighbours just don't touch
    half = int(radius / np.sqrt(2) * edge)  # of a tile [px]
    tiles = int(np.ceil(reach * edge / (2 * half)))
    side = 2 * int((REACH) * edge)
    specimen = Specimen(thickness=planes.tolist(), slice_thickness=step, box=edge, sampling=0.135, seam_limit=1)
    microscope = Microscope(energy=[ENERGY], semiangle_cutoff=[1e3 * radius * wavelength(ENERGY)])
    cell = measured.box(float(planes[-1]))
    b = {
        s: scattering.b_factors(Structure(np.eye(3), [s], [[0] * 3]), Thermal())[s]
        for s in (measured.element, measured.guest[0])
    }
    g = reflections_px(measured, hkl)
    width = 2 * half * tiles
    signs = [(1, 1), (1, -1), (-1, 1), (-1, -1)]
    quadrants = np.zeros((4, len(planes), len(hkl), width, width), np.float32)
    for i, j in np.ndindex(tiles, tiles):
        centre = np.array([(2 * i + 1) * half, (2 * j + 1) * half])
        detector = DetectorSettings(shape=[side, side], sampling=1 / edge)
        made = simulation.Instrument(microscope, specimen, detector, direction=tuple(centre / edge))
        pattern = made.simulate(cell, b).cbed[0, 0]
        for sign, out in zip(signs, quadrants, strict=True):
            for index, place in enumerate(g * sign):
                x, y = place + centre - half + side // 2
                tile = pattern[:, x : x + 2 * half, y : y + 2 * half]
                out[:, index, 2 * half * i : 2 * half * (i + 1), 2 * half * j : 2 * half * (j + 1)] = tile
    # mirrors: I_g at a tilt of which one sign is turned is I of the g of which that sign is turned
    right, left = (np.concatenate([b[..., :0:-1], a], -1) for a, b in (quadrants[:2], quadrants[2:]))
    return planes, np.concatenate([left[..., :0:-1, :], right], -2)


def reflections_px(measured: Measurement, hkl: np.ndarray) -> np.ndarray:
    """Places of reflections [Fourier pixels], (N, 2)."""
    return np.stack([hkl[:, 2] * measured.cells[0], (hkl[:, 0] + hkl[:, 1]) // 2 * measured.cells[1]], axis=1)


def correlations(theirs: np.ndarray, ours: np.ndarray) -> np.ndarray:
    """Of each reflection at each thickness, (thickness, reflection)."""
    return np.array([[np.corrcoef(o.ravel(), t.ravel())[0, 1] for o, t in zip(p, theirs, strict=True)] for p in ours])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("crystal", choices=list(MEASUREMENTS))
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder of the figure")
    args = parser.parse_args()
    measured = MEASUREMENTS[args.crystal]
    if not (SHARED / measured.file).exists():
        parser.exit(0, f"{SHARED / measured.file} is not here: nothing to compare with\n")
    data = np.load(SHARED / measured.file)
    reach = float(data["half_width_invA"])
    shown = np.abs(reflections_px(measured, data["hkl"])).max(1) / measured.edge + reach * 1.2 < REACH
    hkl, intensity = data["hkl"][shown], data["I"][shown].astype(float)
    planes, ours = simulated(measured, hkl, reach)
    n, wide = intensity.shape[-1], ours.shape[-1]
    tilts = (np.arange(wide) - wide // 2) / measured.edge
    inside = np.abs(tilts) < reach * (n - 1) / n
    ours, tilts = ours[..., inside, :][..., inside], tilts[inside]
    grid = np.stack(np.meshgrid(tilts, tilts, indexing="ij")) / (2 * reach / n) + (n - 1) / 2
    theirs = np.array([map_coordinates(panel, grid, order=1) for panel in intensity])
    smooth = [
        [gaussian_filter(x, s * measured.edge, axes=(-2, -1)) if s else x for x in (theirs, ours)] for s in SMOOTHING
    ]
    found = [correlations(*pair) for pair in smooth]
    best = [int(c.mean(1).argmax()) for c in found]
    print(
        f"{args.crystal}: tilts to {tilts[-1]:.2f} 1/Å along [001] and [110], pixels of {1 / measured.edge:.4f} 1/Å\n"
    )
    print("| smoothed by [1/Å] | thickness [Å] | mean correlation |\n|---|---|---|")
    for s, c, i in zip(SMOOTHING, found, best, strict=True):
        print(f"| {s:g} | {planes[i]:.0f} | {c[i].mean():.3f} |")
    print(f"\n| reflection | {' | '.join(f'{s:g}' for s in SMOOTHING)} |\n|---|{'---|' * len(SMOOTHING)}")
    for index, name in enumerate(hkl):
        row = [f"{c[i, index]:.3f}" for c, i in zip(found, best, strict=True)]
        print(f"| {' '.join(map(str, name))} | {' | '.join(row)} |")
    means = ", ".join(f"{planes[i]:.0f} Å {found[1][i].mean():.3f}" for i in range(0, len(planes), 4))
    print(f"\nmean correlation by thickness, smoothed by {SMOOTHING[1]:g} 1/Å: {means}")
    args.output.mkdir(parents=True, exist_ok=True)
    picture(hkl, smooth[1][0], smooth[1][1][best[1]], float(tilts[-1]), args.output / f"tilts_{args.crystal}.png")


def picture(hkl: np.ndarray, theirs: np.ndarray, ours: np.ndarray, reach: float, path: Path) -> None:
    """Draw measured and simulated intensities over tilts to ± reach [1/Å], reflection by reflection."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    one_side = hkl[:, 2] >= 0  # the others are mirror images
    hkl, theirs, ours = hkl[one_side], theirs[one_side], ours[one_side]
    count = min(8, len(hkl))
    figure, axes = plt.subplots(2, count, figsize=(1.7 * count, 3.8), layout="constrained", squeeze=False)
    for row, (images, name) in enumerate(((theirs, "measured"), (ours, "simulated"))):
        for axis, image, index in zip(axes[row], images, hkl, strict=False):
            ends = (-reach, reach, reach, -reach)  # the tilt along [001] downwards
            axis.imshow(image, cmap="gray", vmax=np.percentile(image, 99.7), extent=ends)
            axis.set(xticks=[], yticks=[], title=" ".join(map(str, index)) if row == 0 else "")
        axes[row, 0].set_ylabel(f"{name}\ntilt along [001] [1/Å]")
        axes[row, 0].set_yticks([-reach, 0, reach], [f"{-reach:.2f}", "0", f"{reach:.2f}"])
    axes[1, 0].set_xticks([-reach, 0, reach], [f"{-reach:.2f}", "0", f"{reach:.2f}"])
    axes[1, 0].set_xlabel("tilt along [110] [1/Å]")
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
