"""The crystal's potential, projected slice by slice onto the wave's grid.

Atoms are spread over a few grid points, transformed, and multiplied by their scattering factors (Van den Broek et al.,
Ultramicroscopy 158 (2015) 89). Two slices, both real, share each complex transform.
"""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from types import ModuleType
from typing import Any, Literal

import numpy as np
from ase.data import chemical_symbols

from fourdcrystal import scattering
from fourdcrystal.propagation import CUTOFF, Grid, stack
from fourdcrystal.supercell import Supercell

Placement = Literal["exact", "bilinear"]

# 'exponential of semicircle' of Barnett, Magland & af Klinteberg, SIAM J. Sci. Comput. 41 (2019) C479, for a band of
# two thirds of the grid: the error of every Fourier coefficient is below 3e-5 of a single atom's
WIDTH = 6
SHAPE = 0.976 * np.pi * WIDTH * (1 - CUTOFF / 2)


def _semicircle(distance: np.ndarray) -> np.ndarray:
    inside = np.maximum(1 - (2 * distance / WIDTH) ** 2, 0.0)
    return np.exp(SHAPE * (np.sqrt(inside) - 1))


def _semicircle_transform(cycles: np.ndarray) -> np.ndarray:
    """Fourier transform of the spreading function, at frequencies in cycles per grid point."""
    nodes, weights = np.polynomial.legendre.leggauss(64)
    x = nodes * WIDTH / 2
    return (np.cos(2 * np.pi * cycles[:, None] * x) * _semicircle(x) * weights).sum(1) * WIDTH / 2


@lru_cache(maxsize=64)
def factors(grid: Grid, symbol: str, b: float, placement: Placement) -> np.ndarray:
    """What turns the transform of one element's spread atoms into Fourier coefficients [V Å], (n, columns), float32.

    47.878 V Å² f(k) exp(-B k²/4) / area, over the transform of the spreading function.

    Args:
        grid: The wave's grid.
        symbol: Element.
        b: Its B [Å²]; 0 for atoms at rest.
        placement: How atoms are spread; ``exact`` keeps the band-limited columns, ``bilinear`` all.
    """
    k = grid.frequencies
    columns = grid.band if placement == "exact" else slice(None)
    k2 = k[:, None] ** 2 + k[columns] ** 2
    coefficients = scattering.VOLTS / grid.edge**2 * scattering.factor(symbol, k2) * np.exp(-b * k2 / 4)
    if placement == "bilinear":
        # abTEM's own correction, sin(k)/k with k in cycles per grid point and radial, for its numbers
        return (coefficients / np.sinc(np.sqrt(k2) * grid.sampling / np.pi)).astype(np.float32)
    spread = _semicircle_transform(k * grid.sampling)
    kept = np.sqrt(k2) <= CUTOFF / 2 / grid.sampling
    return np.where(kept, coefficients / (spread[:, None] * spread[columns]), 0.0).astype(np.float32)


def slices(
    cell: Supercell,
    grid: Grid,
    slice_thickness: float,
    b: Mapping[str, float],
    placement: Placement = "exact",
    xp: ModuleType = np,
) -> Iterator[Any]:
    """Projected potential of one slice after the other, each atom wholly in the slice of its centre.

    Args:
        cell: Atoms; periodic along x and y.
        grid: The wave's grid, over the cell's lateral edges.
        slice_thickness: Thickness of a slice [Å]; the cell's is a multiple.
        b: B of every element [Å²].
        placement: ``exact`` gives each atom its exact place; ``bilinear`` shares it among four grid points as abTEM
            does, which weakens reflections far out (docs/physics.md).
        xp: NumPy, or CuPy for potentials on a GPU.

    Yields:
        Potential times the grid's checkerboard [V Å], (n, n), float32; valid until the next is asked for.
    """
    count = round(cell.box[2] / slice_thickness)
    index = np.clip(np.floor(cell.positions[:, 2] / slice_thickness + 1e-9).astype(int), 0, count - 1)
    elements = np.unique(cell.numbers)
    order = np.lexsort((index, cell.numbers))
    pixels = cell.positions[order, :2] / grid.sampling
    index = index[order]
    place = cell.numbers[order].astype(np.int64) * count + index
    tables = [xp.asarray(factors(grid, chemical_symbols[e], b[chemical_symbols[e]], placement)) for e in elements]
    wave = stack(grid, xp, full=placement == "bilinear")
    checkerboard = xp.asarray(grid.checkerboard)
    total = xp.empty_like(wave.spectrum)
    for first in range(0, count, 2):
        total[...] = 0
        for element, table in zip(elements, tables, strict=True):
            start, stop = np.searchsorted(place, int(element) * count + np.array([first, min(first + 2, count)]))
            if start == stop:
                continue
            atoms = slice(start, stop)
            xp.multiply(
                _spread(pixels[atoms], index[atoms] - first, grid.n, placement, xp), checkerboard, out=wave.real
            )
            wave.forward()
            total += wave.spectrum * table
        wave.spectrum[...] = total
        wave.backward()
        yield wave.real.real
        if first + 1 < count:
            yield wave.real.imag


def _spread(pixels: np.ndarray, second: np.ndarray, n: int, placement: Placement, xp: ModuleType) -> Any:
    """Atoms spread over the grid, (n, n), complex64: the first slice's in the real part, the second's in the imaginary.

    Args:
        pixels: Positions in grid points, (N, 2).
        second: 0 for atoms of the first slice, 1 for the second's, (N,).
        n: Points along each axis.
        placement: How.
        xp: Array module of the result.
    """
    width = WIDTH if placement == "exact" else 2
    corner = np.ceil(pixels - width / 2) if placement == "exact" else np.floor(pixels)
    steps = np.arange(width)
    distance = corner[:, :, None] + steps - pixels[:, :, None]  # (N, 2, width)
    weight = _semicircle(distance) if placement == "exact" else 1 - np.abs(distance)
    place = (corner[:, :, None].astype(np.int64) + steps) % n
    bins = ((place[:, 0, :, None] * n + place[:, 1, None, :]) * 2 + second[:, None, None]).ravel()
    values = (weight[:, 0, :, None] * weight[:, 1, None, :]).ravel()
    if xp is not np:
        bins, values = xp.asarray(bins), xp.asarray(values)
    return xp.bincount(bins, weights=values, minlength=2 * n * n).astype(xp.float32).view(xp.complex64).reshape(n, n)


def finite_slices(
    cell: Supercell, grid: Grid, slice_thickness: float, b: Mapping[str, float], xp: ModuleType = np
) -> Iterator[Any]:
    """Projected potential of one slice after the other, each atom's integrated between the slice's faces, by abTEM.

    Args:
        cell: Atoms; periodic along x and y.
        grid: The wave's grid, over the cell's lateral edges.
        slice_thickness: Thickness of a slice [Å]; the cell's is a multiple.
        b: B of every element [Å²].
        xp: NumPy, or CuPy for potentials on a GPU.

    Yields:
        Potential times the grid's checkerboard [V Å], (n, n), float32.
    """
    import abtem  # takes seconds, and only this projection needs it
    from abtem.parametrizations import LobatoParametrization
    from ase import Atoms

    sigmas = {symbol: float(np.sqrt(value / (8 * np.pi**2))) for symbol, value in b.items() if value > 0}
    built = abtem.Potential(
        Atoms(cell.numbers, cell.positions, cell=cell.box, pbc=True),
        gpts=grid.n,
        slice_thickness=slice_thickness,
        projection="finite",
        parametrization=LobatoParametrization(sigmas=sigmas),
        device="cpu" if xp is np else "gpu",
    )
    checkerboard = xp.asarray(grid.checkerboard)
    for piece in built.generate_slices():
        yield piece.array[0] * checkerboard
