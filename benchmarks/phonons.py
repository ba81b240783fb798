"""How an average over frozen phonons converges, and how it differs from damped scattering factors.

The measure of n configurations is Σ|I_n - I_all| / Σ I_all over a pattern, averaged over all disjoint groups of n.

    python benchmarks/phonons.py -o docs/pictures        # a table on the terminal, and phonons.png; a few minutes
"""

import os

os.environ |= {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}

import argparse
from pathlib import Path

import numpy as np
from pymatgen.core import Lattice, Structure

from fourdcrystal import orientation, scattering, simulation, supercell
from fourdcrystal.instrument_settings import DetectorSettings, Microscope, Specimen, Thermal

THICKNESS = [100.0, 200.0]
SAMPLING = 0.14  # Å; the statistics of displacements hardly depend on it
CRYSTALS = {
    "Si [110]": (Structure.from_spacegroup("Fd-3m", Lattice.cubic(5.431), ["Si"], [[0] * 3]), (1, 1, 0)),
    "SrTiO3 [001]": (
        Structure.from_spacegroup(
            "Pm-3m", Lattice.cubic(3.905), ["Sr", "Ti", "O"], [[0] * 3, [0.5] * 3, [0.5, 0.5, 0]]
        ),
        (0, 0, 1),
    ),
}


def patterns(crystal: Structure, axis: tuple[int, int, int], count: int) -> tuple[np.ndarray, np.ndarray]:
    """Patterns of single configurations, (count, thickness, qx, qy), and the damped one, (thickness, qx, qy)."""
    b = scattering.b_factors(crystal, Thermal())
    microscope, detector = Microscope(energy=[200e3], semiangle_cutoff=[4.0]), DetectorSettings(shape=[128, 128])
    still, moving = (
        simulation.Instrument(
            microscope, Specimen(thickness=THICKNESS, box=50.0, sampling=SAMPLING, thermal=thermal), detector
        )
        for thermal in (Thermal(), Thermal(model="frozen_phonon", configurations=1))
    )
    cell = supercell.cut(crystal, orientation.along_beam(crystal, axis), (still.edge, still.edge), still.thickness)
    rng = np.random.default_rng(0)
    return np.array([moving.simulate(cell, b, rng).cbed[0, 0] for _ in range(count)]), still.simulate(cell, b).cbed[
        0, 0
    ]


def difference(found: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """Σ|I - I'| / Σ I' of each pattern, (...)."""
    return np.abs(found - exact).sum((-2, -1)) / exact.sum((-2, -1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder of the figure")
    parser.add_argument("--configurations", type=int, default=64, help="a power of two")
    args = parser.parse_args()
    numbers = [2**i for i in range(args.configurations.bit_length() - 1)]
    print(f"| crystal, thickness | {' | '.join(map(str, numbers))} | damped |\n|---|{'---|' * (len(numbers) + 1)}")
    curves, shown = {}, None
    for name, (crystal, axis) in CRYSTALS.items():
        single, damped = patterns(crystal, axis, args.configurations)
        whole = single.mean(0)
        errors = np.array(
            [difference(single.reshape(-1, n, *single.shape[1:]).mean(1, dtype=float), whole).mean(0) for n in numbers]
        )
        for t, thickness in enumerate(THICKNESS):
            curves[f"{name}, {thickness:g} Å"] = errors[:, t]
            row = [f"{100 * e:.1f} %" for e in [*errors[:, t], difference(damped, whole)[t]]]
            print(f"| {name}, {thickness:g} Å | {' | '.join(row)} |", flush=True)
        shown = shown or (name, damped[1], single[0, 1], single[:8, 1].mean(0), whole[1])
    args.output.mkdir(parents=True, exist_ok=True)
    picture(numbers, curves, shown, args.output / "phonons.png")


def picture(numbers: list[int], curves: dict[str, np.ndarray], shown: tuple, path: Path) -> None:
    """Draw how the mean settles with the number of configurations, and patterns of some."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 5, figsize=(14, 3.2), layout="constrained", width_ratios=[1.5, 1, 1, 1, 1])
    for name, errors in curves.items():
        axes[0].loglog(numbers, 100 * errors, "o-", label=name)
    axes[0].loglog(numbers, 100 * curves[next(iter(curves))][0] / np.sqrt(numbers), "k:", label="1/√n")
    axes[0].set(xlabel="configurations n", ylabel="difference from the mean of all [%]", xticks=numbers)
    axes[0].set_xticklabels(numbers)
    axes[0].minorticks_off()
    axes[0].legend(fontsize="x-small")
    name, *images = shown
    titles = ["damped", "1 configuration", "8 configurations", "all configurations"]
    for axis, image, title in zip(axes[1:], images, titles, strict=True):
        axis.imshow(np.log10(image + 1e-6), cmap="magma", vmin=-5, vmax=0)
        axis.set(title=title, xticks=[], yticks=[])
    axes[1].set_ylabel(f"{name}, 200 Å, log scale")
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
