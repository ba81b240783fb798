"""Multislice against Bloch waves and against the wave equation itself: tables and figure of docs/physics.md.

Plane waves go through crystals whose cells fit the box, so there is no seam; every beam is compared at 100 to 500 Å.
The measure is R = Σ|I - I'| / Σ I' over all beams and thicknesses. Bloch waves are abTEM's; beams that leave in one
direction are added up coherently. The wave equation is integrated with the crystal's Fourier series in steps of
0.25 Å (fourdcrystal/fourier_series.py): what Bloch waves converge to as more beams are taken.

    python benchmarks/physics.py -o docs/pictures                    # ways of multislice; minutes
    python benchmarks/physics.py -o docs/pictures --bloch            # Bloch waves beside both; half an hour
    python benchmarks/physics.py -o docs/pictures --convergence      # of Bloch waves of gold, with the set of beams
"""

import os

os.environ |= {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}

import argparse
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from pymatgen.core import Lattice, Structure

from fourdcrystal import bloch, fourier_series, scattering, simulation, supercell
from fourdcrystal.instrument_settings import DetectorSettings, Microscope, Specimen, Thermal
from fourdcrystal.propagation import CUTOFF, fast_length

Beam = tuple[float, float]
OFF_AXIS = {"on axis": (0.0, 0.0), "3 mrad off": (0.12, -0.06), "17 mrad off": (0.6, -0.35)}  # 1/Å, 200 keV
BEAMS = [("on axis", 80e3), ("on axis", 200e3), ("on axis", 300e3), ("3 mrad off", 200e3), ("17 mrad off", 200e3)]


@dataclass(frozen=True, eq=False)
class Case:
    """A crystal on [001]: an orthogonal cell that fits a square box, with layers of atoms every ``layer`` [Å].

    Attributes:
        crystal: The cell, with the entrance plane halfway between two layers.
        primitive: The same crystal in a smaller cell, for Bloch waves.
        repeats: Cells along x and y of the box.
        layer: Distance of layers along the beam [Å].
        sets: g_max and s_max [1/Å] of the largest set of Bloch waves that is affordable.
    """

    crystal: Structure
    primitive: Structure
    repeats: tuple[int, int]
    layer: float
    sets: tuple[float, float]

    @cached_property
    def edge(self) -> float:
        """Lateral edge of the box [Å]."""
        return self.crystal.lattice.a * self.repeats[0]

    @cached_property
    def b(self) -> dict[str, float]:
        """B of every element [Å²]."""
        return scattering.b_factors(self.crystal, Thermal())

    @cached_property
    def thickness(self) -> list[float]:
        """About 100 to 500 Å: multiples of two layers, and of each other."""
        first = 2 * self.layer * round(50 / self.layer)
        return [first * i for i in (1, 2, 3, 4, 5)]

    def direction(self, wanted: Beam) -> Beam:
        """The nearest beam that fits the box."""
        return round(wanted[0] * self.edge) / self.edge, round(wanted[1] * self.edge) / self.edge


def cubic(group: str, a: float, species: list[str], sites: list[list[float]], layers: int, sets: Beam) -> Case:
    """A cubic crystal whose layers lie between the slices."""
    made = Structure.from_spacegroup(group, Lattice.cubic(a), species, sites)
    made.translate_sites(range(len(made)), [0, 0, 0.5 / layers])
    return Case(made, made, (4, 4), a / layers, sets)


def sapphire() -> Case:
    """A square box for 7 a and 4 a √3, both strained by 0.5 %; layers of Al and O by turns every c/12."""
    a, c = 4.7589, 12.991
    edge = a * (7 + 4 * 3**0.5) / 2
    lattice = Lattice.hexagonal(a, c).matrix * [edge / (7 * a), edge / (4 * 3**0.5 * a), 1]
    sites = [[0, 0, 0.35219], [0.30633, 0, 0.25]]
    ideal = Structure.from_spacegroup("R-3c", Lattice.hexagonal(a, c), ["Al", "O"], sites)
    made = Structure(Lattice(lattice), ideal.species, ideal.frac_coords)
    made.translate_sites(range(len(made)), [0, 0, 1 / 24])
    obverse = np.array([[2, 1, 1], [-1, 1, 1], [-1, -2, 1]]) / 3 @ lattice
    small = Structure(Lattice(obverse), made.species, made.cart_coords, True, coords_are_cartesian=True)
    small.merge_sites(0.01, mode="delete")
    whole = made.copy().make_supercell([[1, 0, 0], [1, 2, 0], [0, 0, 1]])
    return Case(whole, small, (7, 4), c / 12, (2.2, 0.6))


@cache
def cases() -> dict[str, Case]:
    """The crystals, by name."""
    return {
        "Si": cubic("Fd-3m", 5.431, ["Si"], [[0] * 3], 4, (3.0, 0.8)),
        "GaAs": cubic("F-43m", 5.6533, ["Ga", "As"], [[0] * 3, [0.25] * 3], 4, (3.0, 1.2)),
        "SrTiO3": cubic("Pm-3m", 3.905, ["Sr", "Ti", "O"], [[0] * 3, [0.5] * 3, [0.5, 0.5, 0]], 2, (3.0, 0.8)),
        "Al2O3": sapphire(),
        "Au": cubic("Fm-3m", 4.0782, ["Au"], [[0] * 3], 2, (4.5, 1.6)),
    }


@dataclass(frozen=True)
class Way:
    """How multislice is done: projection, coarsest sampling [Å], layers of atoms a slice; none: slices of 2 Å."""

    projection: Literal["infinite", "finite"]
    sampling: float
    layers: float | None = 1.0

    def __str__(self) -> str:
        slices = "2 Å slices" if self.layers is None else f"{self.layers:g} layer{'s' * (self.layers > 1)}"
        return f"{self.projection} {self.sampling:g} Å, {slices}"


WAYS = [
    Way("infinite", 0.20),
    Way("infinite", 0.135),
    Way("infinite", 0.10),
    Way("infinite", 0.07),
    Way("infinite", 0.10, 2),
    Way("infinite", 0.20, None),
    Way("infinite", 0.135, None),
    Way("infinite", 0.10, None),
    Way("finite", 0.10),
    Way("finite", 0.10, None),
    Way("finite", 0.10, 0.5),
]
BEST = Way("infinite", 0.07)


def multislice(case: Case, way: Way, energies: list[float], k: Beam) -> np.ndarray:
    """Intensities over the incident one, (energy, thickness, qx, qy), the incident beam at the middle."""
    step = case.thickness[0] / round(case.thickness[0] / 2.0) if way.layers is None else case.layer * way.layers
    points = fast_length(case.edge / way.sampling)
    half = int(CUTOFF / 2 * points) - 2
    made = simulation.Instrument(
        Microscope(energy=energies, semiangle_cutoff=[0.05]),
        Specimen(
            thickness=case.thickness,
            slice_thickness=step,
            box=case.edge,
            sampling=case.edge / points,
            projection=way.projection,
            seam_limit=1,
        ),
        DetectorSettings(shape=[2 * half, 2 * half], sampling=1 / case.edge),
        direction=k,
    )
    cell = supercell.cut(case.crystal, np.eye(3), (made.edge, made.edge), made.thickness)
    patterns = made.simulate(cell, case.b).cbed[:, 0]
    # relative to the incident beam, whose place in the pattern is k
    return np.roll(patterns, [-round(x * case.edge) for x in k], axis=(-2, -1))


@cache
def integrated(case: Case, energy: float, k: Beam) -> np.ndarray:
    """Beams of the wave equation itself, (thickness, h, k), [0 0] first."""
    return fourier_series.intensities(case.crystal, case.b, energy, case.thickness, k)


def bloch_waves(case: Case, energy: float, k: Beam, g_max: float, s_max: float) -> tuple[np.ndarray, int]:
    """Beams by Bloch waves, (thickness, h, k), laid out like those of the wave equation, and the size of the set."""
    rotation = bloch.towards(k, energy)
    hkl, found = bloch.amplitudes(case.primitive, rotation, case.b, energy, case.thickness, g_max, s_max)
    g = hkl @ np.linalg.inv(case.primitive.lattice.matrix).T
    wave = np.zeros(integrated(case, energy, k).shape, dtype=complex)
    h, j = np.round(g[:, :2] * np.diag(case.crystal.lattice.matrix)[:2]).astype(int).T
    for plane, beams, t in zip(wave, found, case.thickness, strict=True):
        np.add.at(plane, (h, j), beams * np.exp(2j * np.pi * g[:, 2] * t))
    return np.abs(wave) ** 2, len(hkl)


def on_lattice(case: Case, patterns: np.ndarray, like: np.ndarray) -> np.ndarray:
    """The beams of a multislice pattern, (thickness, h, k), laid out like those of the wave equation."""
    indices = [np.fft.fftfreq(n, 1 / n).astype(int) for n in like.shape[-2:]]
    middle = np.array(patterns.shape[-2:]) // 2
    places = [i * r + m for i, r, m in zip(indices, case.repeats, middle, strict=True)]
    inside = [(p >= 0) & (p < n) for p, n in zip(places, patterns.shape[-2:], strict=True)]
    out = np.zeros(like.shape)
    where = np.ix_(np.arange(len(like)), *(np.flatnonzero(i) for i in inside))
    out[where] = patterns[np.ix_(np.arange(len(like)), *(p[i] for p, i in zip(places, inside, strict=True)))]
    return out


def residual(found: np.ndarray, exact: np.ndarray) -> str:
    """R in percent, and in brackets the largest relative error of a beam above a tenth of the incident one."""
    strong = exact > 0.1
    worst = (np.abs(found - exact)[strong] / exact[strong]).max(initial=0)
    return f"{100 * np.abs(found - exact).sum() / exact.sum():.1f} ({100 * worst:.0f})"


def beams(case: Case) -> Iterator[tuple[str, float, Beam]]:
    """Direction, energy and lateral frequencies [1/Å] of the beams that a crystal is seen with."""
    for where, energy in BEAMS:
        yield where, energy, case.direction(OFF_AXIS[where])


def ways_table(names: list[str]) -> None:
    """Print how far ways of multislice are from the wave equation."""
    print(f"| crystal, beam | {' | '.join(map(str, WAYS))} |\n|---|{'---|' * len(WAYS)}")
    for name in names:
        case = cases()[name]
        for where, energy, k in beams(case):
            exact = integrated(case, energy, k)
            row = [residual(on_lattice(case, multislice(case, w, [energy], k)[0], exact), exact) for w in WAYS]
            print(f"| {name}, {where}, {energy / 1e3:g} keV | {' | '.join(row)} |", flush=True)


def bloch_table(names: list[str], folder: Path) -> None:
    """Print how far the three engines are from each other, and draw their curves."""
    print("| crystal, beam | Bloch waves | multislice, Bloch waves | multislice, wave equation | the latter two |")
    print("|---|---|---|---|---|")
    curves = {}
    for name in names:
        case = cases()[name]
        for where, energy, k in beams(case):
            exact = integrated(case, energy, k)
            waves, size = bloch_waves(case, energy, k, *case.sets)
            ours = on_lattice(case, multislice(case, BEST, [energy], k)[0], exact)
            row = [f"{size} beams", residual(ours, waves), residual(ours, exact), residual(waves, exact)]
            print(f"| {name}, {where}, {energy / 1e3:g} keV | {' | '.join(row)} |", flush=True)
            if energy == 200e3 and where == "on axis":
                curves[f"{name}, 200 keV"] = case, waves, ours
    picture(curves, folder / "bloch.png")


def convergence_table(name: str) -> None:
    """Print how Bloch waves converge with the number of beams."""
    case = cases()[name]
    exact = integrated(case, 200e3, (0.0, 0.0))
    ours = on_lattice(case, multislice(case, BEST, [200e3], (0.0, 0.0))[0], exact)
    print("| g_max, s_max [1/Å] | beams | R from the wave equation | multislice's R from these Bloch waves |")
    print("|---|---|---|---|")
    for g_max, s_max in ((3, 0.1), (3, 0.3), (3, 0.5), (3, 0.8), (3, 1.2), (3, 1.6), (4, 1.6), (4.5, 2.0)):
        waves, size = bloch_waves(case, 200e3, (0.0, 0.0), g_max, s_max)
        print(f"| {g_max:g}, {s_max:g} | {size} | {residual(waves, exact)} | {residual(ours, waves)} |", flush=True)


def picture(curves: dict, path: Path) -> None:
    """Draw intensities over thickness, one panel for each case."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(curves), figsize=(2.7 * len(curves), 3.2), layout="constrained", sharey=True)
    for axis, (name, (case, waves, ours)) in zip(np.atleast_1d(axes), curves.items(), strict=True):
        depths = np.arange(5.0, case.thickness[-1], 5.0)
        exact = fourier_series.intensities(case.crystal, case.b, 200e3, depths)
        brightest = np.argsort(-exact.mean(0), axis=None)
        chosen = [np.unravel_index(i, exact.shape[1:]) for i in brightest[[0, 1, 5]]]  # [00] and one of each kind
        for colour, (h, k) in enumerate(chosen):
            axis.plot(depths, exact[:, h, k], "-", color=f"C{colour}")
            axis.plot(case.thickness, waves[:, h, k], "x", color=f"C{colour}", ms=8)
            axis.plot(case.thickness, ours[:, h, k], "o", color=f"C{colour}", mfc="none")
        axis.set(title=name, xlabel="thickness [Å]", ylim=(0, None))
    first = np.atleast_1d(axes)[0]
    first.set_ylabel("intensity over the incident beam's")
    for style, label in (("k-", "wave equation"), ("kx", "Bloch waves"), ("ko", "multislice")):
        first.plot([], [], style, mfc="none", label=label)
    for colour, label in enumerate(("direct beam", "brightest diffracted beam", "sixth brightest beam")):
        first.plot([], [], color=f"C{colour}", label=label)
    figure.legend(loc="outside upper center", ncols=6)
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder of figures")
    parser.add_argument("--crystals", nargs="+", default=list(cases()), choices=list(cases()))
    parser.add_argument("--bloch", action="store_true", help="Bloch waves, and the figure")
    parser.add_argument("--convergence", action="store_true", help="Bloch waves of the last crystal, set by set")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    args.output.mkdir(parents=True, exist_ok=True)
    if args.bloch:
        bloch_table(args.crystals, args.output)
    elif args.convergence:
        convergence_table(args.crystals[-1])
    else:
        ways_table(args.crystals)


if __name__ == "__main__":
    main()
