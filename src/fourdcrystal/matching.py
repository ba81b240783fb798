"""Anonymous matching of two reduced cells, with the result of pymatgen's ``StructureMatcher.fit_anonymous``.

pymatgen tries one lattice, translation and renaming of elements after the other, with new objects for each. Here all of
them are tried at once on arrays, and only what passes goes through pymatgen's own last step, which pairs
the atoms and measures their distances. Both cells are compared at unit volume: pymatgen scales them to a common one.
"""

from dataclasses import dataclass
from functools import cached_property
from itertools import permutations

import numpy as np
from pymatgen.core import Lattice, Structure
from pymatgen.core.structure_matcher import StructureMatcher

_BLOCK = 2_000_000  # pairs of atoms that are compared at a time


@dataclass(frozen=True)
class Tolerances:
    """StructureMatcher's: relative length, site displacement over the free length per atom, angle [degree]."""

    length: float = 0.2
    site: float = 0.3
    angle: float = 5.0

    def tightened(self, factor: float) -> "Tolerances":
        """All of them multiplied by a factor."""
        return Tolerances(self.length * factor, self.site * factor, self.angle * factor)


class Cell:
    """A reduced primitive cell, prepared for matching.

    Attributes:
        matrix: Lattice rows, scaled to unit volume (3, 3).
        lengths: Of these rows (3,).
        angles: Between them [degree] (3,).
        frac: Fractional coordinates (N, 3).
        element: Index of each site's element (N,).
        counts: Sites of each element (E,).
    """

    def __init__(self, structure: Structure) -> None:
        matrix = structure.lattice.matrix
        self.matrix = matrix / abs(float(np.linalg.det(matrix))) ** (1 / 3)
        self.frac = np.array(structure.frac_coords)
        symbols = [site.specie.symbol for site in structure]
        _, self.element = np.unique(symbols, return_inverse=True)
        self.counts = np.bincount(self.element)
        self.lengths = np.linalg.norm(self.matrix, axis=1)
        self.angles = _angles(self.matrix)
        self._points: tuple[float, np.ndarray, np.ndarray, np.ndarray] | None = None

    @property
    def key(self) -> tuple[int, ...]:
        """Numbers of sites of the elements in ascending order; cells with other keys can't match."""
        return tuple(sorted(self.counts.tolist()))

    @cached_property
    def cart(self) -> np.ndarray:
        """Cartesian coordinates at unit volume (N, 3)."""
        return self.frac @ self.matrix

    @cached_property
    def first_of_rarest(self) -> int:
        """The first site of the rarest elements: pymatgen puts it onto each possible partner."""
        return int(np.argmax(self.frac.shape[0] - self.counts[self.element]))

    def points(self, radius: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Lattice points up to a distance: indices (P, 3), positions (P, 3), distances (P,), ascending."""
        if self._points is None or self._points[0] < radius:
            reach = 1.3 * radius  # asked again with other radii
            most = np.floor(reach * np.linalg.norm(np.linalg.inv(self.matrix), axis=0)).astype(int)
            index = np.stack(np.meshgrid(*(np.arange(-m, m + 1) for m in most), indexing="ij"), -1).reshape(-1, 3)
            position = index @ self.matrix
            distance = np.linalg.norm(position, axis=1)
            order = np.argsort(distance, kind="stable")
            order = order[1 : np.searchsorted(distance[order], reach, side="right")]  # without the origin
            self._points = (reach, index[order], position[order], distance[order])
        return self._points[1:]


def _angles(matrices: np.ndarray) -> np.ndarray:
    """α, β, γ [degree] of lattices (..., 3, 3)."""
    unit = matrices / np.linalg.norm(matrices, axis=-1, keepdims=True)
    cosines = np.sum(unit[..., [1, 2, 0], :] * unit[..., [2, 0, 1], :], axis=-1)
    return np.degrees(np.arccos(np.clip(cosines, -1, 1)))


def lattice_mappings(first: Cell, second: Cell, tolerances: Tolerances) -> np.ndarray:
    """Bases of the first cell's lattice that are like the second's cell.

    ``Lattice.find_all_mappings`` and StructureMatcher's choice of those whose determinant is 1.

    Returns:
        (K, 3, 3), at unit volume, rows are vectors.
    """
    wanted = second.lengths
    index, position, distance = first.points(float(wanted.max()) * (1 + tolerances.length))
    low = np.searchsorted(distance, wanted / (1 + tolerances.length), side="right")
    high = np.searchsorted(distance, wanted * (1 + tolerances.length), side="left")
    if (low >= high).any():
        return np.empty((0, 3, 3))
    a, b, c = (slice(i, j) for i, j in zip(low, high, strict=True))
    unit = position / distance[:, None]

    def like(one: slice, other: slice, angle: float) -> np.ndarray:
        """Whether vectors of two groups enclose an angle [degree], (N, M)."""
        between = np.degrees(np.arccos(np.clip(unit[one] @ unit[other].T, -1, 1)))
        return np.abs(between - angle) <= tolerances.angle

    alpha, beta, gamma = second.angles
    gamma_fits = like(a, b, gamma)
    if not gamma_fits.any():
        return np.empty((0, 3, 3))
    i, j = np.nonzero(gamma_fits)
    beta_fits, alpha_fits = like(a, c, beta), like(b, c, alpha)
    pair, k = np.nonzero(beta_fits[i] & alpha_fits[j])
    chosen = np.stack([index[a][i[pair]], index[b][j[pair]], index[c][k]], axis=1)
    determinant = np.einsum("ki,ki->k", chosen[:, 0], np.cross(chosen[:, 1], chosen[:, 2]))
    return chosen[np.abs(determinant) == 1] @ first.matrix


def _mean_lattices(bases: np.ndarray, second: Cell) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lengths and angles (K, 3) of the means of bases and the second cell, and reciprocal lengths times V^(1/3)."""
    lengths = (np.linalg.norm(bases, axis=-1) + second.lengths) / 2
    angles = (_angles(bases) + second.angles) / 2
    cosine, sine = np.cos(np.radians(angles)), np.sin(np.radians(angles))
    sine_product = np.sqrt(1 - np.sum(cosine**2, axis=-1) + 2 * np.prod(cosine, axis=-1))
    volume = np.prod(lengths, axis=-1) * sine_product
    reciprocal = sine / (lengths * sine_product[:, None])
    return lengths, angles, reciprocal * volume[:, None] ** (1 / 3)


def fits(first: Cell, second: Cell, tolerances: Tolerances) -> bool:
    """Whether some renaming of elements maps the first cell onto the second within the tolerances."""
    if first.key != second.key:
        return False
    bases = lattice_mappings(first, second, tolerances)
    if not len(bases):
        return False
    n, elements = len(first.frac), len(first.counts)
    lengths, angles, reciprocal = _mean_lattices(bases, second)
    limit = 2 * reciprocal * tolerances.site / n ** (1 / 3)  # in fractional coordinates of the mean lattice
    pivot = second.first_of_rarest
    partners = np.flatnonzero(first.counts[first.element] == second.counts[second.element[pivot]])
    renamings = [np.array(p) for p in permutations(range(elements)) if (first.counts[list(p)] == second.counts).all()]
    one = first.cart @ np.linalg.inv(bases)  # (K, N, 3)
    one -= np.floor(one)
    block = max(1, _BLOCK // (len(partners) * n * n))
    means: dict[bytes, _Mean] = {}  # bases that symmetry relates share their mean lattice
    for start in range(0, len(bases), block):
        here = slice(start, start + block)
        shift = one[here][:, partners] - second.frac[pivot]  # (K, P, 3)
        difference = (second.frac + shift[:, :, None])[:, :, :, None] - one[here][:, None, None]  # (K, P, N, N, 3)
        near = (np.abs(difference - np.round(difference)) <= limit[here][:, None, None, None]).all(-1)
        # has each atom of an element of the second cell an atom of an element of the first one nearby?
        reached = np.stack([near[..., first.element == e].any(-1) for e in range(elements)], -1)  # (K, P, N, E)
        covered = np.stack([reached[:, :, second.element == e].all(2) for e in range(elements)], 2)  # (K, P, E, E)
        for renaming in renamings:
            good = covered[:, :, np.arange(elements), renaming].all(-1)
            good &= first.element[partners] == renaming[second.element[pivot]]
            mask = (first.element[None, :] != renaming[second.element][:, None]).astype(np.int64)
            for k, p in np.argwhere(good):
                parameters = np.concatenate([lengths[start + k], angles[start + k]])
                same = np.round(parameters, 12).tobytes()
                if same not in means:
                    means[same] = _Mean(parameters, n, tolerances.site)
                if means[same].displacement(one[start + k], second.frac + shift[k, p], mask) < tolerances.site:
                    return True
    return False


class _Mean:
    """The lattice half-way between two, on which pymatgen pairs the atoms and measures their distances."""

    def __init__(self, parameters: np.ndarray, sites: int, tolerance: float) -> None:
        self.lattice = Lattice.from_parameters(*parameters)
        self.normalization = (sites / self.lattice.volume) ** (1 / 3)
        reciprocal = np.array(self.lattice.get_lll_reduced_lattice().reciprocal_lattice.abc)
        self.near = reciprocal * tolerance / (np.pi * self.normalization)

    def displacement(self, one: np.ndarray, other: np.ndarray, mask: np.ndarray) -> float:
        """Largest displacement of an atom from its partner over the free length per atom."""
        distances, _, _ = StructureMatcher._cart_dists(one, other, self.lattice, mask, self.normalization, self.near)
        return float(distances.max())
