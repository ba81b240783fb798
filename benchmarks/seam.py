"""What the lateral seam of a box does to a convergent-beam pattern: the table that the default seam_limit comes from.

A crystal on a zone axis, rolled so that it doesn't fit its box, is compared with plane waves through one cell, which
has no seam (fourdcrystal/fourier_series.py): each Fourier pixel inside a disk with the plane wave of its own direction,
the intensity of a whole disk with an average over the disk. R = Σ|I - I'| / Σ I' over the brightest disks.

    python benchmarks/seam.py
"""

import os

os.environ |= {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}

import argparse
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from pymatgen.core import Lattice, Structure
from scipy.spatial.transform import Rotation

from fourdcrystal import fourier_series, orientation, reflections, scattering, simulation, supercell
from fourdcrystal.electrons import wavelength
from fourdcrystal.instrument_settings import DetectorSettings, Microscope, Specimen, Thermal

ROLL = 0.3  # rad
REACH = 0.9  # 1/Å; disks up to here
PIXELS = 16  # compared in each disk, and directions that a disk's intensity is averaged over: three times as many
SAMPLING = 0.11  # Å


@dataclass(frozen=True, eq=False)
class Crystal:
    """A crystal on a zone axis, and the edges of the orthogonal cell it has there."""

    structure: Structure
    axis: tuple[int, int, int]
    edges: tuple[float, float, float]
    layer: float

    @cached_property
    def b(self) -> dict[str, float]:
        """B of every element [Å²]."""
        return scattering.b_factors(self.structure, Thermal())

    @cached_property
    def rotation(self) -> np.ndarray:
        """Brings the zone axis along the beam, (3, 3)."""
        return orientation.along_beam(self.structure, self.axis)

    @cached_property
    def layered(self) -> Structure:
        """The crystal with its layers in the middle of slices."""
        moved = self.structure.copy()
        return moved.translate_sites(
            range(len(moved)), self.rotation.T @ [0, 0, self.layer / 2], frac_coords=False, to_unit_cell=False
        )

    @cached_property
    def cell(self) -> Structure:
        """The orthogonal cell, rolled back."""
        piece = supercell.cut(self.layered, self.rotation, self.edges[:2], self.edges[2])
        return Structure(np.diag(self.edges), piece.numbers, piece.positions, coords_are_cartesian=True)

    @cached_property
    def brightest(self) -> np.ndarray:
        """Indices in the orthogonal cell of the direct beam and the six strongest others of the zero layer, (7, 2)."""
        table = reflections.reflections(self.cell, np.eye(3), REACH, [200e3], 0.2, self.b)
        zero = np.flatnonzero(table.hkl[:, 2] == 0)
        return table.hkl[zero[np.argsort(-np.abs(table.vg[zero]), kind="stable")[:7]], :2]


SILICON = Structure.from_spacegroup("Fd-3m", Lattice.cubic(5.431), ["Si"], [[0] * 3])
TITANATE = Structure.from_spacegroup(
    "Pm-3m", Lattice.cubic(3.905), ["Sr", "Ti", "O"], [[0] * 3, [0.5] * 3, [0.5, 0.5, 0]]
)
CRYSTALS = {
    "Si [110]": Crystal(SILICON, (1, 1, 0), (5.431 / 2**0.5, 5.431, 5.431 / 2**0.5), 5.431 / 8**0.5),
    "SrTiO3 [001]": Crystal(TITANATE, (0, 0, 1), (3.905, 3.905, 3.905), 3.905 / 2),
}
BEAMS = [(300e3, 0.2), (300e3, 0.5), (300e3, 1.0), (300e3, 2.0), (200e3, 2.0), (200e3, 3.0), (80e3, 2.0), (30e3, 5.0)]


def exact(crystal: Crystal, energy: float, thickness: list[float], k: np.ndarray, beams: np.ndarray) -> np.ndarray:
    """Intensities of beams (N, 2) that plane waves of directions k (N, M, 2) give, (thickness, N, M)."""
    found = fourier_series.intensities(crystal.cell, crystal.b, energy, thickness, k, SAMPLING, 0.4)
    return np.stack([found[:, i, :, h, j] for i, (h, j) in enumerate(beams)], axis=1)


def compare(crystal: Crystal, energy: float, semiangle: float, edge: float) -> list[tuple[float, float, float, float]]:
    """For each thickness: fraction near the seam, R of pixels (nan where no pixel is inside a disk), R of disks."""
    step = crystal.layer
    thickness = [step * round(t / step) for t in (100.0, 300.0)]
    radius, half = semiangle * 1e-3 / wavelength(energy), int((REACH + 0.2) * edge)
    made = simulation.Instrument(
        Microscope(energy=[energy], semiangle_cutoff=[semiangle]),
        Specimen(thickness=thickness, slice_thickness=step, box=edge, sampling=SAMPLING, seam_limit=1),
        DetectorSettings(shape=[2 * half, 2 * half], sampling=1 / edge),
    )
    roll = Rotation.from_rotvec([0, 0, ROLL]).as_matrix()
    cell = supercell.cut(crystal.layered, roll @ crystal.rotation, (edge, edge), made.thickness)
    result = made.simulate(cell, crystal.b)
    pattern, probe = result.cbed[0, 0], made.probe[0, 0]
    q = (np.stack(np.meshgrid(*[np.arange(2 * half) - half] * 2, indexing="ij"), -1) / edge) @ roll[
        :2, :2
    ]  # rolled back
    beams = crystal.brightest
    offset = q[:, :, None] - beams / np.array(crystal.edges[:2])
    distance = np.linalg.norm(offset, axis=-1)
    spiral = np.arange(3 * PIXELS)
    inside = radius * np.sqrt((spiral + 0.5) / len(spiral))
    k = np.stack([inside * np.cos(2.4 * spiral), inside * np.sin(2.4 * spiral)], -1)
    whole = exact(crystal, energy, thickness, np.broadcast_to(k, (len(beams), *k.shape)), beams).mean(-1)
    sums = (
        np.stack([pattern[:, distance[..., i] < radius + 1.5 / edge].sum(1) for i in range(len(beams))], 1)
        / probe.sum()
    )
    disks = np.abs(sums - whole).sum(1) / whole.sum(1)
    rng = np.random.default_rng(0)
    within = [np.argwhere(distance[..., i] < radius - 1 / edge) for i in range(len(beams))]
    if min(len(w) for w in within) == 0:
        pixels = np.full(len(thickness), np.nan)
    else:
        places = np.array([rng.choice(w, PIXELS) for w in within])
        x, y = places[..., 0], places[..., 1]
        directions = np.stack([offset[x[i], y[i], i] for i in range(len(beams))])
        theirs = exact(crystal, energy, thickness, directions, beams)
        pixels = np.abs(pattern[:, x, y] - theirs).sum((1, 2)) / theirs.sum((1, 2))
    return list(zip(thickness, result.seam_fraction[0, 0], pixels, disks, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--boxes", nargs="+", type=float, default=[50.0, 100.0, 200.0], help="edges [Å]")
    args = parser.parse_args()
    print("| crystal, beam | box [Å] | f at 100, 300 Å [%] | √f [%] | R of pixels [%] | R of whole disks [%] |")
    print("|---|---|---|---|---|---|")
    for name, crystal in CRYSTALS.items():
        apart = np.linalg.norm(crystal.brightest[1:] / np.array(crystal.edges[:2]), axis=1).min()
        for energy, semiangle in BEAMS:
            if 2 * semiangle * 1e-3 / wavelength(energy) > apart:
                continue  # disks would overlap
            for edge in args.boxes:
                _, f, pixels, disks = (
                    np.array(column) for column in zip(*compare(crystal, energy, semiangle, edge), strict=True)
                )
                cells = [
                    ", ".join(f"{100 * v:.2g}" if np.isfinite(v) else "-" for v in c)
                    for c in (f, f**0.5, pixels, disks)
                ]
                print(
                    f"| {name}, {energy / 1e3:g} keV, {semiangle:g} mrad | {edge:g} | {' | '.join(cells)} |", flush=True
                )


if __name__ == "__main__":
    main()
