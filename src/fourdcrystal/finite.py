"""Finite projection: each atom's potential integrated between the faces of every slice that it reaches into.

An atom's projected potential, as a function of lateral frequency k and of the height z up to which it is integrated, is
a sum of a few products u(k) v(z), found by singular value decomposition. Each product needs one transform, so the
integrals of all atoms of a slice cost a few transforms, and every Fourier coefficient within the band is exact.
"""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from ase.data import chemical_symbols
from scipy.sparse import csr_array

from fourdcrystal import scattering, waves
from fourdcrystal.potential import factors, spread
from fourdcrystal.propagation import Grid
from fourdcrystal.supercell import Supercell
from fourdcrystal.waves import DeviceWave, Wave

REACH = 6.0  # Å; an atom's potential is integrated this far on either side
STEP = 0.01  # Å, of the table of heights
TOLERANCE = 5e-3  # of the whole; products weaker than that change no beam by 0.2 % (docs/physics.md)


@lru_cache(maxsize=64)
def products(symbol: str, b: float, k_max: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The integral of an atom's potential from far above it to a height z, at lateral frequency k, as Σ u(k) v(z).

    G(k, z) = ∫_{-∞}^{z} dz' ∫ dk_z f(√(k² + k_z²)) exp(-B (k² + k_z²)/4) cos(2π k_z z'), over f(k) exp(-B k²/4), so
    that G goes from 0 to 1.

    Args:
        symbol: Element.
        b: Its B [Å²].
        k_max: Largest lateral frequency [1/Å].

    Returns:
        Frequencies k (K,), u (K, products), heights z (Z,) and v (Z, products); v is 0 far above the atom.
    """
    k = np.linspace(0, k_max, 160)
    z = np.arange(-REACH, REACH + STEP / 2, STEP)
    k_z = np.linspace(0, 16.0, 1601)
    k2 = k[:, None] ** 2 + k_z**2
    weights = np.full(len(k_z), 2 * (k_z[1] - k_z[0]))
    weights[0] /= 2
    density = (scattering.factor(symbol, k2) * np.exp(-b * k2 / 4) * weights) @ np.cos(2 * np.pi * np.outer(k_z, z))
    middle = (density[:, 1:] + density[:, :-1]) / 2 * STEP
    integral = np.concatenate([np.zeros((len(k), 1)), np.cumsum(middle, axis=1)], axis=1)
    integral /= integral[:, -1:]
    u, strength, v = np.linalg.svd(integral, full_matrices=False)
    count = int((strength * np.abs(u).max(0) * np.abs(v).max(1) > TOLERANCE).sum())
    u, v = u[:, :count] * strength[:count], v[:count].T
    return k, u / (u @ (v[-1] - v[0]))[:, None], z, v  # all slices together have the whole atom, exactly


def finite_slices(
    cell: Supercell,
    grid: Grid,
    slice_thickness: float,
    b: Mapping[str, float],
    work: Wave | DeviceWave | None = None,
) -> Iterator[Any]:
    """Projected potential of one slice after the other, each atom's integrated between the slice's faces.

    What reaches beyond the specimen's faces is counted to the first or the last slice.

    Args:
        cell: Atoms; periodic along x and y.
        grid: The wave's grid, over the cell's lateral edges.
        slice_thickness: Thickness of a slice [Å]; the cell's is a multiple.
        b: B of every element [Å²].
        work: A wave to compute in, from ``waves.wave(grid, xp)``; none: a new one on the CPU.

    Yields:
        Potential [V Å], one part of the wave's samples, float32; valid until the next is asked for.
    """
    count = round(cell.box[2] / slice_thickness)
    wave = waves.wave(grid) if work is None else work
    sums, made, (along_x, along_y, _) = wave.samples(), wave.samples(), wave.places()
    flat = sums.view(np.float32).reshape(-1)
    k_max = grid.limit
    r = np.hypot(grid.k_x[:, None], grid.k_y(wave.full))
    elements = []
    for number in np.unique(cell.numbers):
        symbol = chemical_symbols[number]
        k, u, heights, v = products(symbol, b[symbol], k_max)
        whole = factors(grid, symbol, b[symbol], "exact", wave.full)
        tables = [wave.kernel(whole * np.interp(r, k, column)) for column in u.T]
        atoms = cell.positions[cell.numbers == number]
        atoms = atoms[np.argsort(atoms[:, 2], kind="stable")]
        place, weight = spread(atoms[:, :2] / grid.sampling, grid.n)
        points = (along_x.take(place[0])[:, None] + along_y.take(place[1])).reshape(-1, len(atoms)).T
        shares = (weight[0, :, None] * weight[1]).reshape(-1, len(atoms)).T
        rows = np.arange(0, points.size + 1, points.shape[1])
        placed = csr_array((shares.ravel(), points.ravel(), rows), shape=(len(atoms), flat.size))
        elements.append((atoms[:, 2], placed, heights, v, tables))
    for index in range(count):
        faces = np.array([index, index + 1]) * slice_thickness
        wave.spectrum[...] = 0
        for z, placed, heights, v, tables in elements:
            start, stop = np.searchsorted(z, [faces[0] - REACH, faces[1] + REACH])
            below, above = (_interpolated(face - z[start:stop], heights, v) for face in faces)
            if index == 0:
                below = np.zeros_like(below)
            if index == count - 1:
                above = np.broadcast_to(v[-1], below.shape)
            part = placed[start:stop].T @ (above - below)  # (2 n², products)
            for table, values in zip(tables, part.T, strict=True):
                flat[...] = wave.xp.asarray(values)
                wave.put(sums)
                wave.forward(table, add=True)
        wave.backward()
        wave.get(made)
        yield wave.parts(made)[0]


def _interpolated(height: np.ndarray, heights: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Rows of ``v`` at given heights, linearly between the table's, (N, products)."""
    place = np.clip((height - heights[0]) / STEP, 0, len(heights) - 1.000001)
    low = place.astype(int)
    return v[low] + (place - low)[:, None] * (v[low + 1] - v[low])
