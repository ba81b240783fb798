"""The crystal's potential, projected slice by slice onto the wave's grid.

Atoms are spread over a few grid points, transformed, and multiplied by their scattering factors (Van den Broek et al.,
Ultramicroscopy 158 (2015) 89). Two slices, both real, share each complex transform.
"""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import pairwise
from types import ModuleType
from typing import Any, Literal

import numpy as np
from ase.data import chemical_symbols

from fourdcrystal import scattering, waves
from fourdcrystal.propagation import CUTOFF, Grid
from fourdcrystal.supercell import Supercell
from fourdcrystal.waves import DeviceWave, Wave

Placement = Literal["exact", "bilinear"]

# 'exponential of semicircle' of Barnett, Magland & af Klinteberg, SIAM J. Sci. Comput. 41 (2019) C479, for a band of
# two thirds of the grid: a Fourier coefficient's error is 2e-5 of it at the band's centre and 4e-4 at its edge
WIDTH = 6
SHAPE = 0.976 * np.pi * WIDTH * (1 - CUTOFF / 2)


def _semicircle(distance: np.ndarray) -> np.ndarray:
    inside = np.maximum(1 - (distance * (2 / WIDTH)) ** 2, 0)
    return np.exp(float(SHAPE) * (np.sqrt(inside) - 1))


def _semicircle_transform(cycles: np.ndarray) -> np.ndarray:
    """Fourier transform of the spreading function, at frequencies in cycles per grid point."""
    nodes, weights = np.polynomial.legendre.leggauss(64)
    x = nodes * WIDTH / 2
    return (np.cos(2 * np.pi * cycles[:, None] * x) * _semicircle(x) * weights).sum(1) * WIDTH / 2


@lru_cache(maxsize=64)
def factors(grid: Grid, symbol: str, b: float, placement: Placement, full: bool) -> np.ndarray:
    """What turns the transform of one element's spread atoms into Fourier coefficients [V Å], (n, C), zero first.

    47.878 V Å² f(k) exp(-B k²/4) / area, over the transform of the spreading function.

    Args:
        grid: The wave's grid.
        symbol: Element.
        b: Its B [Å²]; 0 for atoms at rest.
        placement: How atoms are spread.
        full: All columns, not only those within the band limit.
    """
    k_x, k_y = grid.k_x, grid.k_y(full)
    k2 = k_x[:, None] ** 2 + k_y**2
    coefficients = scattering.VOLTS / grid.edge**2 * scattering.factor(symbol, k2) * np.exp(-b * k2 / 4)
    if placement == "bilinear":
        # abTEM's own correction, sin(k)/k with k in cycles per grid point and radial, for its numbers
        return coefficients / np.sinc(np.sqrt(k2) * grid.sampling / np.pi)
    along_x, along_y = (_semicircle_transform(k * grid.sampling) for k in (k_x, k_y))
    kept = np.sqrt(k2) <= grid.limit
    return np.where(kept, coefficients / (along_x[:, None] * along_y), 0.0)


def slices(
    cell: Supercell,
    grid: Grid,
    slice_thickness: float,
    b: Mapping[str, float],
    placement: Placement = "exact",
    work: Wave | DeviceWave | None = None,
) -> Iterator[Any]:
    """Projected potential of one slice after the other, each atom wholly in the slice of its centre.

    Args:
        cell: Atoms; periodic along x and y.
        grid: The wave's grid, over the cell's lateral edges.
        slice_thickness: Thickness of a slice [Å]; the cell's is a multiple.
        b: B of every element [Å²].
        placement: ``exact`` gives each atom its exact place; ``bilinear`` shares it among four grid points as abTEM
            does, which weakens reflections far out (docs/physics.md).
        work: A wave to compute in, from ``waves.wave(grid, xp, full=placement == "bilinear")``; none: a new one on the
            CPU.

    Yields:
        Potential [V Å], one part of the wave's samples, float32; valid until the next is asked for.
    """
    wave = waves.wave(grid, full=placement == "bilinear") if work is None else work
    xp = wave.xp
    count = round(cell.box[2] / slice_thickness)
    index = np.clip(np.floor(cell.positions[:, 2] / slice_thickness + 1e-9).astype(np.int64), 0, count - 1)
    elements = np.unique(cell.numbers).astype(np.int64)
    # by pairs of slices, which are the real and the imaginary part of a complex array, and by elements
    key = index // 2 * len(elements) + np.searchsorted(elements, cell.numbers)
    order = np.argsort(key, kind="stable")
    odd, pixels = index[order] % 2, cell.positions[order, :2] / grid.sampling
    pairs = (count + 1) // 2
    bounds = np.searchsorted(key[order], np.arange(pairs * len(elements) + 1)).tolist()
    symbols = [chemical_symbols[e] for e in elements]
    tables = [wave.kernel(factors(grid, symbol, b[symbol], placement, wave.full)) for symbol in symbols]
    sums, made, places = wave.samples(), wave.samples(), wave.places()
    for pair in range(pairs):
        # few atoms at a time: what they are spread over stays in the cache
        ends = bounds[pair * len(elements) : (pair + 1) * len(elements) + 1]
        place, weight = spread(pixels[ends[0] : ends[-1]], grid.n, placement)
        empty = True
        for table, (start, stop) in zip(tables, pairwise(ends), strict=True):
            if start < stop:
                here = slice(start - ends[0], stop - ends[0])
                _add_up(place[..., here], weight[..., here], odd[start:stop], sums, places, xp)
                wave.put(sums)
                wave.forward(table, add=not empty)
                empty = False
        if empty:
            wave.spectrum[...] = 0
        wave.backward()
        wave.get(made)
        yield from wave.parts(made)[: count - 2 * pair]


def _add_up(
    place: np.ndarray,
    weight: np.ndarray,
    odd: np.ndarray,
    sums: Any,
    places: tuple[np.ndarray, np.ndarray, int],
    xp: ModuleType,
) -> None:
    """What atoms give to each point, into ``sums``, samples of a wave.

    Args:
        place: Lines of each atom, (2, width, N).
        weight: Its shares of them, (2, width, N).
        odd: 1 where an atom belongs to the imaginary part, 0 elsewhere, (N,).
        sums: Where the result goes.
        places: Where points are in samples (``Wave.places``).
        xp: Array module of the result.
    """
    along_x, along_y, imaginary = places
    points = (along_x.take(place[0])[:, None] + (along_y.take(place[1]) + imaginary * odd)).ravel()
    shares = (weight[0, :, None] * weight[1]).ravel()
    sums[...] = 0
    xp.add.at(sums.view(xp.float32).reshape(-1), xp.asarray(points), xp.asarray(shares))


def spread(pixels: np.ndarray, n: int, placement: Placement = "exact") -> tuple[np.ndarray, np.ndarray]:
    """Grid lines that each atom is spread over, and its share on each.

    An atom's share of a point is the product of those of its two lines.

    Args:
        pixels: Positions in grid points, (N, 2).
        n: Points along each axis; positions are periodic.
        placement: How.

    Returns:
        Indices of lines, int64, and shares, both (2, lines of an atom, N).
    """
    exact = placement == "exact"
    width = WIDTH if exact else 2
    at = np.ascontiguousarray(pixels.T)[:, None]
    first, steps = np.ceil(at - width / 2) if exact else np.floor(at), np.arange(width)[:, None]
    distance = (first + steps - at).astype(np.float32)
    share = _semicircle(distance) if exact else 1 - np.abs(distance)
    wrapped = np.arange(n + width) % n
    return wrapped.take(first.astype(np.int64) % n + steps), share
