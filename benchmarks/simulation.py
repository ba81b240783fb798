"""How fast patterns are made, side by side in one run: the FFTs alone, abTEM as its manual uses it, and this package.

The floor is what multislice can't do without: two transforms of the grid per slice and wave, with the best plan that
FFTW finds. 'whole rule' is all that the rules supercells and simulate do but for starting Python: orientations, cutting
and checking boxes, potential, propagation, labels, compression, writing; per orientation, for crystals of one and of as
many as the 2021 recipe has. Everything on one core, in CPU seconds, best of several rounds in turn (fewer for what
takes long, one for abTEM), so that other load on the machine harms all alike.

    python benchmarks/simulation.py            # 256 x 256, 100 slices, 10 semi-angles, 10 thicknesses
    python benchmarks/simulation.py --points 512 --slices 250
"""

import os

os.environ |= {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}

import argparse
import itertools
import platform
import tempfile
import time
import warnings
from collections.abc import Callable
from datetime import date
from pathlib import Path

import abtem
import ase
import numpy as np
import pyfftw
from abtem.parametrizations import LobatoParametrization
from pymatgen.core import Lattice, Structure

from fourdcrystal import production, scattering, simulation, supercell
from fourdcrystal.crystals import Crystal
from fourdcrystal.settings import Settings

SAPPHIRE = Structure.from_spacegroup(
    "R-3c", Lattice.hexagonal(4.7589, 12.991), ["Al", "O"], [[0, 0, 0.35219], [0.30633, 0, 0.25]]
)


def settings(points: int, slices: int, waves: int, thicknesses: int, orientations: int = 1) -> Settings:
    """Random orientations of sapphire in a 50 Å box, slices of 2 Å, a detector of half the grid's width."""
    planes = np.round(np.linspace(slices / thicknesses, slices, thicknesses)) * 2.0
    side = points // 2
    return Settings.model_validate(
        {
            "orientations": {"unrotated": False, "zone_axes": 0, "random": orientations},
            "microscope": {"semiangle_cutoff": np.linspace(2.0, 3.8, waves).round(3).tolist()},
            "specimen": {"box": 50.0, "sampling": 50.0 / points, "thickness": planes.tolist()},
            "detector": {"shape": [side, side], "sampling": 0.02},
        }
    )


def floor(points: int, slices: int, waves: int) -> Callable[[], None]:
    """The transforms that no multislice can do without, by FFTW at its best."""
    wave = pyfftw.zeros_aligned((points, points), dtype="complex64")
    there, back = (
        pyfftw.FFTW(wave, wave, axes=(0, 1), direction=d, flags=("FFTW_PATIENT",))
        for d in ("FFTW_FORWARD", "FFTW_BACKWARD")
    )

    def run() -> None:
        for _ in range(slices * waves):
            there.execute()
            back.execute()

    return run


def idiomatic(
    chosen: Settings, cell: supercell.Supercell, b: dict[str, float], points: int
) -> Callable[[], np.ndarray]:
    """abTEM as its manual has it: a potential with exit planes, a probe for each semi-angle, pixelated detectors."""
    abtem.config.set({"diagnostics.progress_bar": False, "dask.lazy": False})
    sigmas = {symbol: float(np.sqrt(value / (8 * np.pi**2))) for symbol, value in b.items()}
    specimen, edge = chosen.specimen, cell.box[0]

    def run() -> np.ndarray:
        patterns = []
        for semiangle in chosen.microscope.semiangle_cutoff:
            potential = abtem.Potential(
                ase.Atoms(cell.numbers, cell.positions, cell=cell.box, pbc=True),
                gpts=points,
                slice_thickness=specimen.slice_thickness,
                exit_planes=tuple(round(t / specimen.slice_thickness) - 1 for t in specimen.thickness),
                parametrization=LobatoParametrization(sigmas=sigmas),
                projection="infinite",
            )
            probe = abtem.Probe(
                energy=chosen.microscope.energy[0], semiangle_cutoff=semiangle, extent=edge, gpts=points
            )
            middle = (edge / 2, edge / 2)
            measured = probe.multislice(potential, scan=middle, detectors=abtem.PixelatedDetector(max_angle=None)).array
            vacuum = probe.build(scan=middle).diffraction_patterns(max_angle=None).array
            patterns.append(measured / vacuum.max())
        return np.array(patterns)

    return run


def whole_rule(chosen: Settings, crystal: Crystal, folder: Path) -> Callable[[], None]:
    """What the rules supercells and simulate do for a crystal, files included."""
    folder.mkdir()
    stores = (folder / f"{turn}.zarr" for turn in itertools.count())  # an older one would be taken over, not made again

    def run() -> None:
        orientations, cells = production.supercells(crystal, chosen)
        supercell.write(folder / "supercells.npz", orientations, cells)
        orientations, cells = supercell.read(folder / "supercells.npz")
        production.write_patterns(next(stores), crystal, orientations, cells, chosen)

    return run


def cpu_seconds(run: Callable[[], object]) -> float:
    """CPU time that a function takes [s]."""
    start = time.process_time()
    run()
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=256, help="points of the grid along x and y")
    parser.add_argument("--slices", type=int, default=100)
    parser.add_argument("--waves", type=int, default=10, help="semi-angles")
    parser.add_argument("--thicknesses", type=int, default=10, help="exit planes")
    parser.add_argument("--orientations", type=int, default=21, help="of a whole crystal, as the 2021 recipe has them")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--long-rounds", type=int, default=3, help="of the crystal of many orientations")
    args = parser.parse_args()
    warnings.simplefilter("ignore")

    chosen = settings(args.points, args.slices, args.waves, args.thicknesses)
    crystal = Crystal("sapphire", SAPPHIRE, "corundum", 167, "trigonal", {"name": "benchmark", "licence": "CC0-1.0"})
    _, (cell,) = production.supercells(crystal, chosen)
    b = scattering.b_factors(SAPPHIRE, chosen.specimen.thermal)
    instrument = simulation.Instrument(chosen.microscope, chosen.specimen, chosen.detector)
    assert instrument.grid.n == args.points
    abtems = idiomatic(chosen, cell, b, args.points)
    many = settings(args.points, args.slices, args.waves, args.thicknesses, args.orientations)
    with tempfile.TemporaryDirectory() as folder:
        runs = {
            "FFTs alone (floor)": (1, floor(args.points, args.slices, args.waves)),
            "idiomatic abTEM": (1, abtems),
            "multislice alone": (1, lambda: instrument.simulate(cell, b)),
            "whole rule, crystal of 1 orientation": (1, whole_rule(chosen, crystal, Path(folder) / "one")),
            f"whole rule, crystal of {args.orientations} orientations": (
                args.orientations,
                whole_rule(many, crystal, Path(folder) / "many"),
            ),
        }
        best = dict.fromkeys(runs, np.inf)
        for turn in range(args.rounds):
            for name, (orientations, run) in runs.items():
                most = 1 if run is abtems else args.rounds if orientations == 1 else args.long_rounds
                if turn < most:
                    best[name] = min(best[name], cpu_seconds(run) / orientations)

    half = chosen.detector.shape[0] // 2
    seen = slice(args.points // 2 - half, args.points // 2 + half)
    theirs = abtems()[..., seen, seen]
    alike = simulation.Instrument(chosen.microscope, chosen.specimen, chosen.detector, placement="bilinear")
    ours = alike.simulate(cell, b).cbed[0]
    exact = instrument.simulate(cell, b).cbed[0]

    def difference(a: np.ndarray) -> float:
        return float((np.abs(a - theirs).max((-2, -1)) / theirs.max((-2, -1))).max())

    quartets = args.waves * args.thicknesses
    print(f"{date.today()}, {platform.processor() or platform.machine()}, {os.cpu_count()} cores, one used")
    print(f"{args.points} x {args.points}, {args.slices} slices, {args.waves} semi-angles, {quartets} quartets\n")
    print("| per orientation | CPU s | over the floor | over abTEM | per 100 quartets [CPU s] |\n|---|---|---|---|---|")
    for name, seconds in best.items():
        floor_, theirs_ = best["FFTs alone (floor)"], best["idiomatic abTEM"]
        print(
            f"| {name} | {seconds:.3f} | {seconds / floor_:.2f} | {theirs_ / seconds:.1f} x faster "
            f"| {100 * seconds / quartets:.3f} |"
        )
    print(f"\nlargest difference from abTEM, over the pattern's maximum: {difference(ours):.1e} with abTEM's placement")
    print(f"of atoms on four grid points, {difference(exact):.1e} with exact placement (docs/physics.md)")


if __name__ == "__main__":
    main()
