"""Rocking maps: the intensity of every reflection against the direction of the beam, by Bloch waves.

A disk of a convergent-beam pattern is a piece of its reflection's rocking map: at g + k lies what a plane wave with the
lateral frequency k scatters to g. From one map disks of any semi-angle and of any tilt within it can be cut, and after
one diagonalisation per direction every thickness costs next to nothing. This is where disks with real dynamical
contrast come from that sub-pixel refinement learns from.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pymatgen.core import Structure

from fourdcrystal import files, orientation, reflections, scattering, seeds, source_aflow
from fourdcrystal.electrons import wavelength
from fourdcrystal.instrument_settings import Thermal
from fourdcrystal.orientation import Orientation
from fourdcrystal.progress import Progress

SIDE = 72  # directions along either axis of a map
BEAMS = 80  # of the many-beam calculation
REFLECTIONS = 24  # that are kept, the strongest ones
THICKNESSES = 6
ENERGY = (80e3, 300e3)  # eV
THICKNESS = (20.0, 2500.0)  # Å
SPACING = (0.1e-3, 0.3e-3)  # rad, of directions
MISTILT = 1.0  # degree; standard deviation of each component
AXES = 8  # most important zone axes, of which one is drawn
ABSORPTION = (0.0, 0.12)  # imaginary over real potential; Humphreys & Hirsch, Phil. Mag. 18, 115 (1968)
S_MAX = 0.15  # 1/Å; largest excitation error of a coupled beam, for the best of the directions
LARGEST = 40  # atoms in the cell of a crystal of the library
HELD_OUT = ("AB_cF8_216", "A_cF8_227")  # zincblende and diamond: measured contrast to test with is of these
VALIDATION = 0.2  # of the crystals
BATCH = 576  # directions diagonalised at a time; bounds memory


@dataclass(frozen=True)
class Map:
    """Rocking maps of one crystal and orientation.

    Attributes:
        g: Scattering vectors [1/Å], (R, 3).
        intensity: Over the incident one, (thickness, R, SIDE, SIDE); the last axes are the beam's direction.
        thickness: [Å], (thickness,).
        spacing: Of directions along both axes [rad].
        energy: [eV].
    """

    g: np.ndarray
    intensity: np.ndarray
    thickness: np.ndarray
    spacing: float
    energy: float


def draw(structure: Structure, rng: np.random.Generator) -> Map:
    """Rocking maps of a crystal for a random orientation, energy, absorption and a few random thicknesses."""
    energy, spacing = (float(np.exp(rng.uniform(*np.log(limits)))) for limits in (ENERGY, SPACING))
    # fringes of a reflection at 1 1/Å, 1 / (|g| t) apart, need at least 2.5 directions each
    thickest = min(THICKNESS[1], 1 / (2.5 * spacing))
    thickness = np.sort(np.exp(rng.uniform(np.log(THICKNESS[0]), np.log(thickest), THICKNESSES)))
    turned = _orientation(structure, rng)
    b = scattering.b_factors(structure, Thermal())
    g, intensity = intensities(
        structure, turned.rotation, b, energy, thickness, directions(SIDE, spacing, energy), rng.uniform(*ABSORPTION)
    )
    strongest = np.argsort(-intensity.mean((0, 2)), kind="stable")[:REFLECTIONS]
    shape = (THICKNESSES, len(strongest), SIDE, SIDE)
    return Map(g[strongest], intensity[:, strongest].reshape(shape), thickness, spacing, energy)


def _orientation(structure: Structure, rng: np.random.Generator) -> Orientation:
    axes = orientation.zone_axes(structure, 2)[:AXES]
    axis = axes[int(rng.integers(len(axes)))]
    tilt = orientation.tilted(*np.radians(rng.normal(0.0, MISTILT, 2)))
    return Orientation(tilt @ orientation.along_beam(structure, axis), "mistilted", axis)


def directions(side: int, spacing: float, energy: float) -> np.ndarray:
    """Lateral frequencies of the beam on a square grid around +z [1/Å], (side², 2).

    Args:
        side: Directions along either axis.
        spacing: Between them [rad].
        energy: Beam energy [eV].
    """
    axis = (np.arange(side) - (side - 1) / 2) * spacing / wavelength(energy)
    return np.stack(np.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 2)


def intensities(
    structure: Structure,
    rotation: np.ndarray,
    b: Mapping[str, float],
    energy: float,
    thickness: np.ndarray,
    k: np.ndarray,
    absorption: float = 0.0,
    beams: int = BEAMS,
) -> tuple[np.ndarray, np.ndarray]:
    """Intensities of beams that plane waves of several directions excite.

    The many-beam equations of high-energy diffraction, (s_g(k) + λ/2 U) C = γ C; De Graef (2003), section 5.4, for the
    symmetrical Laue case. Absorption is a perturbation: it adds imaginary parts to eigenvalues, not to waves.

    Args:
        structure: Crystal.
        rotation: Active rotation of the crystal, (3, 3).
        b: B of every element [Å²].
        energy: Beam energy [eV].
        thickness: [Å], (T,).
        k: Lateral frequencies of the incident waves [1/Å], (M, 2).
        absorption: Imaginary over real part of the potential.
        beams: Most beams that are coupled.

    Returns:
        Scattering vectors [1/Å], (N, 3), the incident beam's first, and intensities, (T, N, M).
    """
    hkl, g = _beams(structure, rotation, b, energy, float(np.abs(k).max()), beams)
    between = (hkl[:, None] - hkl[None]).reshape(-1, 3)
    unique, place = np.unique(between, axis=0, return_inverse=True)
    coupling = reflections.structure_factors(structure, unique, b)[place.ravel()].reshape(len(hkl), len(hkl))
    # λ/2 U = σ V / 2π with U = 2 m e V / h²
    coupling = coupling * scattering.interaction(energy) / (2 * np.pi)
    error = reflections.excitation_errors(g, wavelength(energy)) - wavelength(energy) * k @ g[:, :2].T  # (M, N)
    off_diagonal = coupling - np.diag(np.diag(coupling))
    found = np.empty((len(thickness), len(hkl), len(k)), dtype=np.float32)
    for start in range(0, len(k), BATCH):
        part = slice(start, start + BATCH)
        matrix = off_diagonal + error[part, None] * np.eye(len(hkl))
        gamma, waves = np.linalg.eigh(matrix)
        damping = absorption * np.einsum("mgj,gh,mhj->mj", waves.conj(), coupling, waves, optimize=True).real
        for t, depth in enumerate(thickness):
            excited = waves[:, 0].conj() * np.exp(2 * np.pi * depth * (1j * gamma - damping))
            amplitude = np.einsum("mgj,mj->gm", waves, excited, optimize=True)
            found[t, :, part] = amplitude.real**2 + amplitude.imag**2
    return g, found


def _beams(
    structure: Structure, rotation: np.ndarray, b: Mapping[str, float], energy: float, k_max: float, most: int
) -> tuple[np.ndarray, np.ndarray]:
    """Indices, (N, 3), and vectors, (N, 3), of the beams that matter most: strong ones near the Ewald sphere."""
    q_max = 2.5
    found = reflections.reflections(structure, rotation, q_max, [energy], S_MAX + wavelength(energy) * q_max * k_max, b)
    error = np.abs(reflections.excitation_errors(found.g, wavelength(energy)))
    strength = np.abs(found.vg)
    merit = (error + 1e-3) / (strength / strength[1:].max() + 0.02)
    merit[0] = -1.0
    chosen = np.argsort(merit, kind="stable")[:most]
    return found.hkl[chosen], found.g[chosen]


def write(path: Path, made: Map) -> None:
    """Write rocking maps as .npz: in half precision over their maxima, and the maxima."""
    strength = made.intensity.max((2, 3))
    relative = made.intensity / np.maximum(strength, 1e-30)[:, :, None, None]
    with files.replaced(path) as temporary:
        np.savez(
            temporary,
            relative=relative.astype(np.float16),
            strength=strength,
            g=made.g,
            thickness=made.thickness,
            spacing=made.spacing,
            energy=made.energy,
        )


def crystals() -> dict[str, Structure]:
    """Crystals of the AFLOW library whose maps refiners learn from, by id; not the prototypes of measured contrast."""
    return {
        entry.id: entry.structure
        for entry in source_aflow.entries()
        if entry.structure is not None
        and len(entry.structure) <= LARGEST
        and not any(prototype in entry.id for prototype in HELD_OUT)
    }


def written(folder: Path, structures: Mapping[str, Structure], per_crystal: int, seed: int) -> list[Path]:
    """Write rocking maps of many crystals, NAME_0.npz to NAME_N.npz; those that are there are kept.

    Args:
        folder: For the files.
        structures: Crystals by name.
        per_crystal: Maps of each.
        seed: Of orientations, energies and thicknesses.

    Returns:
        The files of these crystals, whichever else the folder holds.
    """
    folder.mkdir(parents=True, exist_ok=True)
    wanted = {folder / f"{name}_{number}.npz": (name, number) for number in range(per_crystal) for name in structures}
    missing = {path: which for path, which in wanted.items() if not path.exists()}
    with Progress(len(missing), "rocking maps", "maps") as progress:
        for path, (name, number) in missing.items():
            write(path, draw(structures[name], seeds.generator(seed, name, "rocking", number)))
            progress.add(1)
    return sorted(wanted)


def divided(paths: Iterable[Path]) -> tuple[list[Path], list[Path]]:
    """Rocking maps to train on and to validate with; all maps of a crystal are on the same side.

    Which side depends on nothing but the crystal's name, so that it stays there when others are added.

    Args:
        paths: Files as :func:`library` names them.
    """
    sides: tuple[list[Path], list[Path]] = ([], [])
    for path in sorted(paths):
        first_map = f"{path.stem.rpartition('_')[0]}_0.npz"  # what stands for the crystal in the shipped division
        sides[seeds.generator(0, first_map, "rocking split").random() < VALIDATION].append(path)
    return sides
