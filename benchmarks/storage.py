"""Bytes, time and error of ways to store patterns, and what reading one random quartet touches.

Real patterns: GaAs, SrTiO3 and Al2O3, each on two zone axes and at random, simulated with the recipes of the demo and
of the 2021 data set (300 keV, here with semi-angles of 0.8 to 2 mrad). Bound on the error: 1e-6 of the vacuum probe's
maximum or 0.2 %. Prints Markdown; docs/decisions/0030-storage.md holds a run.
"""

import argparse
import platform
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np
from numcodecs import Blosc
from pymatgen.core import Lattice, Structure

from fourdcrystal import production
from fourdcrystal.crystals import Crystal
from fourdcrystal.precision import PATTERN_STEP, rounded
from fourdcrystal.reader import StoreReader
from fourdcrystal.settings import Settings
from fourdcrystal.simulation import Patterns

RECIPES = {
    "demo, 128 x 128": {
        "microscope": {"energy": 200e3, "semiangle_cutoff": [2, 3]},
        "specimen": {"thickness": [100, 200, 400]},
        "detector": {"shape": [128, 128], "sampling": 0.02},
        "orientations": {"unrotated": False, "zone_axes": 2, "random": 1},
    },
    "2021, 128 x 128": {
        "microscope": {"energy": 300e3, "semiangle_cutoff": [0.8, 1.2, 1.6, 2.0]},
        "specimen": {"thickness": [100, 300, 500], "seam_limit": 1.0},
        "detector": {"shape": [128, 128], "sampling": 0.02},
        "orientations": {"unrotated": False, "zone_axes": 2, "random": 1},
    },
    "2021, 256 x 256": {
        "microscope": {"energy": 300e3, "semiangle_cutoff": [0.8, 1.2, 1.6, 2.0]},
        "specimen": {"thickness": [100, 300, 500], "seam_limit": 1.0},
        "detector": {"shape": [256, 256], "sampling": 0.02},
        "orientations": {"unrotated": False, "zone_axes": 2, "random": 1},
    },
}


def crystals() -> list[Crystal]:
    """Three crystals of different complexity."""
    zinc_blende = Structure.from_spacegroup("F-43m", Lattice.cubic(5.653), ["Ga", "As"], [[0, 0, 0], [0.25] * 3])
    sites = [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0]]
    perovskite = Structure.from_spacegroup("Pm-3m", Lattice.cubic(3.905), ["Sr", "Ti", "O"], sites)
    corundum = Structure.from_spacegroup(
        "R-3c", Lattice.hexagonal(4.76, 12.99), ["Al", "O"], [[0, 0, 0.352], [0.306, 0, 0.25]]
    )
    made = {
        "GaAs": (zinc_blende, 216, "cubic"),
        "SrTiO3": (perovskite, 221, "cubic"),
        "Al2O3": (corundum, 167, "trigonal"),
    }
    return [Crystal(name, s, name, number, system, {}) for name, (s, number, system) in made.items()]


class Way(NamedTuple):
    """A way to store a pattern."""

    name: str
    prepare: Callable[[np.ndarray], np.ndarray]
    restore: Callable[[np.ndarray], np.ndarray]
    codec: Blosc


def _steps_of_roots(x: np.ndarray) -> np.ndarray:
    return np.rint(np.sqrt(x) * 32767).astype(np.uint16)


ABSOLUTE, RELATIVE = 1e-6, 0.002  # the bound: of the vacuum probe's maximum, or of the value
EVEN = round(ABSOLUTE / RELATIVE / (2 * ABSOLUTE))  # codes of even steps; above them each step is one of a percentage
GROWTH = 2 * np.log1p(RELATIVE)


def _codes(x: np.ndarray) -> np.ndarray:
    """The coarsest code of single values that the bound allows: even steps below, then those of a logarithm."""
    x = x.astype(float)
    coarse = EVEN + np.log(np.maximum(x, EVEN * 2 * ABSOLUTE) / (EVEN * 2 * ABSOLUTE)) / GROWTH
    return np.rint(np.where(x < EVEN * 2 * ABSOLUTE, x / (2 * ABSOLUTE), coarse)).astype(np.uint16)


def _decoded(code: np.ndarray) -> np.ndarray:
    code = code.astype(float)
    return 2 * ABSOLUTE * np.where(code < EVEN, code, EVEN * np.exp(np.maximum(code - EVEN, 0) * GROWTH))


def _differences(x: np.ndarray) -> np.ndarray:
    """Codes less those of the pixels before, modulo 2^16; of both signs in turn, so that small ones have few bits."""
    steps = np.diff(_codes(x).ravel(), prepend=np.uint16(0)).view(np.int16).astype(np.int32)
    return np.where(steps < 0, -2 * steps - 1, 2 * steps).astype(np.uint16).reshape(x.shape)


def _summed(steps: np.ndarray) -> np.ndarray:
    steps = steps.astype(np.int32)
    code = np.cumsum(np.where(steps % 2, -(steps + 1) // 2, steps // 2))
    return _decoded(code.reshape(steps.shape))


def ways() -> list[Way]:
    """Candidates; precision first, then codec."""

    def half(x: np.ndarray) -> np.ndarray:
        return rounded(x, PATTERN_STEP)

    def single(x: np.ndarray) -> np.ndarray:
        return half(x).astype(np.float32)

    same = np.asarray
    roots = lambda u: (u.astype(np.float32) / 32767) ** 2  # noqa: E731
    byte, bit = Blosc.SHUFFLE, Blosc.BITSHUFFLE
    return [
        Way("exact, zstd 5, bytes", same, same, Blosc("zstd", 5, byte)),
        Way("float32 rounded, zstd 1, bytes", single, same, Blosc("zstd", 1, byte)),
        Way("float32 rounded, zstd 5, bytes", single, same, Blosc("zstd", 5, byte)),
        Way("float32 rounded, zstd 1, bits", single, same, Blosc("zstd", 1, bit)),
        Way("half rounded, lz4 5, bits", half, same, Blosc("lz4", 5, bit)),
        Way("half rounded, zstd 1, bytes", half, same, Blosc("zstd", 1, byte)),
        Way("**half rounded, zstd 1, bits**", half, same, Blosc("zstd", 1, bit)),
        Way("half rounded, zstd 5, bits", half, same, Blosc("zstd", 5, bit)),
        Way("half rounded, zstd 9, bits", half, same, Blosc("zstd", 9, bit)),
        Way("half, not rounded, zstd 1, bits", lambda x: x.astype(np.float16), same, Blosc("zstd", 1, bit)),
        Way("16-bit square roots, zstd 1, bits", _steps_of_roots, roots, Blosc("zstd", 1, bit)),
        Way("coarsest codes, zstd 1, bits", _codes, _decoded, Blosc("zstd", 1, bit)),
        Way("coarsest codes, zstd 9, bits", _codes, _decoded, Blosc("zstd", 9, bit)),
        Way("differences of those, zstd 1, bits", _differences, _summed, Blosc("zstd", 1, bit)),
        Way("differences of those, zstd 9, bits", _differences, _summed, Blosc("zstd", 9, bit)),
    ]


def _timed(function: Callable[[np.ndarray], object], items: list) -> tuple[list, float]:
    start = time.perf_counter()
    results = [function(item) for item in items]
    return results, 1e3 * (time.perf_counter() - start) / len(items)


def compare(patterns: np.ndarray) -> None:
    """Table of all ways for one set of patterns, (N, qx, qy)."""
    exact = list(patterns)
    print("| stored as | kB per pattern | round, ms | encode, ms | decode, ms | worst error over bound |")
    print("|---|---|---|---|---|---|")
    for way in ways():
        prepared, rounding = _timed(way.prepare, exact)
        encoded, encoding = _timed(way.codec.encode, [np.ascontiguousarray(p) for p in prepared])
        _, decoding = _timed(way.codec.decode, encoded)
        error = max(
            float((np.abs(way.restore(p) - x) / np.maximum(ABSOLUTE, RELATIVE * x)).max())
            for p, x in zip(prepared, exact, strict=True)
        )
        size = np.mean([len(e) for e in encoded]) / 1e3
        print(f"| {way.name} | {size:.1f} | {rounding:.2f} | {encoding:.2f} | {decoding:.3f} | {error:.2f} |")
    of = {
        "rounded values": lambda x: rounded(x, PATTERN_STEP),
        "the coarsest codes": _codes,
        "their differences": _differences,
    }
    entropies = (f"{name} {_entropy(np.stack([make(x) for x in exact])):.1f} kB" for name, make in of.items())
    print(f"\nEntropy per pattern, pixels independent: {', '.join(entropies)}.")


def _entropy(patterns: np.ndarray) -> float:
    """Of a pattern's values, pixels independent [kB]."""
    counts = np.unique(patterns, return_counts=True)[1]
    share = counts / counts.sum()
    return float(-(share * np.log2(share)).sum()) * patterns[0].size / 8e3


def compare_chunks(crystals: list[np.ndarray]) -> None:
    """Table of chunk shapes for patterns of crystals, each (orientation, energy, semiangle, thickness, qx, qy)."""
    print(
        "\n| a chunk has | kB per pattern | kB touched by one pattern | decode one pattern, ms | index of a shard, kB |"
    )
    print("|---|---|---|---|---|")
    _, energies, angles, thicknesses = crystals[0].shape[:4]
    shapes = {
        "**one pattern**": 1,
        "all thicknesses": thicknesses,
        "all semi-angles and thicknesses": angles * thicknesses,
    }
    codec = Blosc("zstd", 1, Blosc.BITSHUFFLE)
    for name, images in shapes.items():
        chunks = [c for p in crystals for c in rounded(p, PATTERN_STEP).reshape(-1, images, *p.shape[-2:])]
        encoded = [codec.encode(np.ascontiguousarray(chunk)) for chunk in chunks]
        _, decoding = _timed(codec.decode, encoded)
        sizes = np.array([len(e) for e in encoded]) / 1e3
        index = 16 * energies * angles * thicknesses // images + 4
        print(f"| {name} | {sizes.mean() / images:.1f} | {sizes.max():.0f} | {decoding:.3f} | {index / 1e3:.2f} |")


def whole_stores(stores: list[Path]) -> None:
    """Bytes of whole stores, by array, and those that one random quartet touches."""
    files = [f for store in stores for f in store.rglob("*") if f.is_file()]
    sizes: dict[str, int] = {}
    for file in files:
        store = next(s for s in stores if s in file.parents)
        name = file.relative_to(store).parts[0]
        group = name if name in ("cbed", "vg", "qz", "probe") else "reflections, axes, metadata"
        sizes[group] = sizes.get(group, 0) + file.stat().st_size
    counts = [StoreReader(store).array("intensity").size for store in stores]
    total, quartets = sum(sizes.values()), sum(counts)
    parts = ", ".join(f"{name} {size / quartets / 1e3:.2f}" for name, size in sorted(sizes.items()))
    print(f"\nWhole stores of {counts[0]} quartets: {total / quartets / 1e3:.1f} kB per quartet ({parts}).")
    touched = [(store / "zarr.json").stat().st_size + sum(sizes_of_images(store).values()) for store in stores]
    print(f"One random quartet touches at most {max(touched) / 1e3:.0f} kB: images, indices of shards, metadata.")


def sizes_of_images(store: Path) -> dict[str, int]:
    """Largest encoded image of each image array, with its shard's index."""
    largest = {}
    for name in ("cbed", "probe", "vg", "qz"):
        for file in (f for f in (store / name / "c").rglob("*") if f.is_file()):
            shape = StoreReader(store).array(name).shape
            count = int(np.prod(shape[1:-2] if name == "cbed" else shape[:-2]))
            with file.open("rb") as shard:
                shard.seek(-16 * count - 4, 2)
                lengths = np.frombuffer(shard.read(16 * count), "<u8")[1::2]
            largest[name] = max(largest.get(name, 0), int(lengths.max()) + 16 * count + 4)
    return largest


def written(store: Path, crystal: Crystal, settings: Settings) -> np.ndarray:
    """Write a crystal's store; its exact patterns, (orientation, energy, semiangle, thickness, qx, qy)."""
    exact = []

    class Copying(production.Instrument):
        """An instrument that keeps a copy of its patterns before they are rounded."""

        def simulate(self, *args: Any) -> Patterns:
            found = super().simulate(*args)
            exact.append(found.cbed)
            return found

    with patch.object(production, "Instrument", Copying):
        production.write_patterns(store, crystal, *production.supercells(crystal, settings), settings)
    return np.array(exact)


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    print(f"Measured {date.today()}, {platform.processor() or platform.machine()}, one thread.")
    with tempfile.TemporaryDirectory() as folder:
        for title, changes in RECIPES.items():
            settings = Settings.model_validate(changes)
            stores, simulated = [], []
            for crystal in crystals():
                stores.append(Path(folder) / title.replace(" ", "") / f"{crystal.id}.zarr")
                simulated.append(written(stores[-1], crystal, settings))
            print(f"\n### {title}\n")
            compare(np.concatenate([p.reshape(-1, *p.shape[-2:]) for p in simulated]))
            compare_chunks(simulated)
            whole_stores(stores)


if __name__ == "__main__":
    main()
