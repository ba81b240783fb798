"""Bragg peaks: a columnar table, and their sub-pixel extraction from V_g and q_z maps."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from torch import Tensor

COLUMNS = ("qx_px", "qy_px", "intensity", "qz", "sigma_px", "significance", "electrons")


@dataclass(frozen=True)
class Peaks:
    """Peaks of many patterns, one entry of every array each.

    Attributes:
        pattern: Index of the pattern that a peak belongs to, ascending, (N,) int64.
        qx_px: Position along detector axis 0 [px], pixel centres at integers, (N,).
        qy_px: Position along detector axis 1 [px], (N,).
        intensity: |V_g| w [V] from a network; the height of the correlation from a classical method, (N,).
        qz: Out-of-plane component of the scattering vector [1/Å]; NaN where a method can't tell, (N,).
        sigma_px: Standard uncertainty of the position along each axis [px]; NaN where unknown, (N,).
        significance: Of the counts in the peak's disk above their background, in standard deviations
            (:mod:`fourdcrystal.significance`); NaN where nobody looked, (N,).
        electrons: These counts, in electrons (:mod:`fourdcrystal.gain`); NaN likewise, (N,).
    """

    pattern: np.ndarray
    qx_px: np.ndarray
    qy_px: np.ndarray
    intensity: np.ndarray
    qz: np.ndarray
    sigma_px: np.ndarray
    significance: np.ndarray
    electrons: np.ndarray

    @classmethod
    def of(
        cls,
        pattern: np.ndarray,
        positions: np.ndarray,
        intensity: np.ndarray,
        qz: np.ndarray | None = None,
        sigma_px: np.ndarray | None = None,
        significance: np.ndarray | None = None,
        electrons: np.ndarray | None = None,
    ) -> "Peaks":
        """Peaks from positions [px], (N, 2); sorted by pattern, then from strong to weak."""
        unknown = np.full(len(pattern), np.nan)
        order = np.lexsort((-np.asarray(intensity), np.asarray(pattern)))
        known = (unknown if column is None else column for column in (qz, sigma_px, significance, electrons))
        columns = (positions[:, 0], positions[:, 1], intensity, *known)
        return cls(np.asarray(pattern, np.int64)[order], *(np.asarray(c, np.float64)[order] for c in columns))

    @classmethod
    def none(cls) -> "Peaks":
        """No peaks at all."""
        return cls(np.zeros(0, np.int64), *(np.zeros(0) for _ in COLUMNS))

    @classmethod
    def joined(cls, parts: Sequence["Peaks"], sizes: Sequence[int]) -> "Peaks":
        """Peaks of consecutive batches of ``sizes`` patterns as one table; pattern indices are shifted."""
        if not parts:
            return cls.none()
        starts = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)
        pattern = np.concatenate([part.pattern + start for part, start in zip(parts, starts, strict=True)])
        return cls(pattern, *(np.concatenate([getattr(part, name) for part in parts]) for name in COLUMNS))

    def __len__(self) -> int:
        return len(self.pattern)

    @property
    def positions(self) -> np.ndarray:
        """Positions [px], (N, 2)."""
        return np.stack([self.qx_px, self.qy_px], axis=1)

    def inside(self, shape: tuple[int, int], margin: float) -> np.ndarray:
        """Which lie at least a margin [px] within the frame of patterns of a shape, (N,) bool."""
        at = self.positions
        return np.all((at >= margin - 0.5) & (at <= np.array(shape) - 0.5 - margin), axis=1)

    def where(self, keep: np.ndarray | slice) -> "Peaks":
        """Peaks selected by a mask, indices or a slice."""
        return Peaks(*(getattr(self, field.name)[keep] for field in fields(self)))

    def of_pattern(self, index: int) -> "Peaks":
        """Peaks of one pattern."""
        first, last = np.searchsorted(self.pattern, [index, index + 1])
        return self.where(np.arange(first, last))

    def of_patterns(self, start: int, stop: int) -> "Peaks":
        """Peaks of some consecutive patterns, the first of which becomes pattern 0."""
        first, last = np.searchsorted(self.pattern, [start, stop])
        some = self.where(slice(int(first), int(last)))
        return replace(some, pattern=some.pattern - start)

    def side_by_side(self, n_patterns: int, *columns: np.ndarray) -> tuple[np.ndarray, ...]:
        """Where patterns have a peak, (P, K), and values of the peaks there, each (P, K, ...); zeros elsewhere.

        Args:
            n_patterns: P.
            columns: Values of the peaks, (N, ...) each.
        """
        counts = np.bincount(self.pattern, minlength=n_patterns)
        rank = np.arange(len(self)) - (np.cumsum(counts) - counts)[self.pattern]
        tables = []
        for column in (np.ones(len(self), bool), *columns):
            table = np.zeros((n_patterns, max(1, int(counts.max(initial=0))), *column.shape[1:]), column.dtype)
            table[self.pattern, rank] = column
            tables.append(table)
        return tuple(tables)

    def above(self, fraction: float) -> "Peaks":
        """Peaks at least ``fraction`` as strong as the strongest of their pattern."""
        return self.where(self.relative >= fraction)

    @property
    def relative(self) -> np.ndarray:
        """Intensities over the strongest of each pattern, (N,)."""
        if not len(self):
            return self.intensity
        strongest = np.full(self.pattern[-1] + 1, -np.inf)
        np.maximum.at(strongest, self.pattern, self.intensity)
        return self.intensity / strongest[self.pattern]


def maxima(maps: Tensor, floor: Tensor | float, spacing: float, border: int = 1) -> tuple[Tensor, Tensor, Tensor]:
    """Local maxima, the weaker of two that are closer than ``spacing`` left out.

    Args:
        maps: Images, (B, X, Y).
        floor: Least value of a maximum, a number or one for each image, (B,).
        spacing: Least distance of two maxima [px].
        border: Width of the frame without maxima [px].

    Returns:
        Image, row and column of each maximum, (N,) int64, sorted by image and from strong to weak.
    """
    # a neighbourhood's largest value, axis by axis: several times faster than pooling on a CPU
    pooled = maps.clone()
    for axis in (1, 2):
        before, length = pooled.clone(), maps.shape[axis] - 1
        lower, upper = pooled.narrow(axis, 0, length), pooled.narrow(axis, 1, length)
        torch.maximum(lower, before.narrow(axis, 1, length), out=lower)
        torch.maximum(upper, before.narrow(axis, 0, length), out=upper)
    above = maps > torch.as_tensor(floor, device=maps.device, dtype=maps.dtype).reshape(-1, 1, 1)
    peak = (maps == pooled) & above
    inside = torch.zeros_like(peak[0])
    border = max(border, 1)
    inside[border:-border, border:-border] = True
    b, x, y = torch.nonzero(peak & inside, as_tuple=True)
    value = maps[b, x, y]
    order = torch.argsort(value, descending=True)
    order = order[torch.argsort(b[order], stable=True)]
    b, x, y = b[order], x[order], y[order]
    keep = spaced(b, torch.stack([x, y], dim=1).to(maps.dtype), spacing, len(maps))
    return b[keep], x[keep], y[keep]


def spaced(pattern: Tensor, positions: Tensor, spacing: float, n_patterns: int) -> Tensor:
    """Mask of the points left when each one, from the first to the last of a pattern, removes later neighbours.

    Args:
        pattern: Pattern of each point, ascending, (N,).
        positions: Positions [px], (N, 2), within a pattern in the order of their precedence.
        spacing: Least distance [px].
        n_patterns: Number of patterns.
    """
    if not len(pattern):
        return torch.zeros(0, dtype=torch.bool, device=pattern.device)
    counts = torch.bincount(pattern, minlength=n_patterns)
    rank = torch.arange(len(pattern), device=pattern.device) - (torch.cumsum(counts, 0) - counts)[pattern]
    most = int(counts.max())
    # points of all patterns side by side in a padded table, so that the loop runs over ranks, not over patterns
    table = torch.full((n_patterns, most, 2), float("inf"), dtype=positions.dtype, device=positions.device)
    table[pattern, rank] = positions
    kept = torch.zeros((n_patterns, most), dtype=torch.bool, device=positions.device)
    kept[pattern, rank] = True
    for i in range(most - 1):
        near = ((table[:, i + 1 :] - table[:, i : i + 1]) ** 2).sum(-1) < spacing**2
        kept[:, i + 1 :] &= ~(near & kept[:, i : i + 1])
    return kept[pattern, rank]


def extract(
    vg: Tensor,
    qz: Tensor,
    width: float,
    threshold: float,
    floor: float = 0.0,
    spacing: float | None = None,
    iterations: int = 6,
) -> Peaks:
    """Peaks of V_g maps: each local maximum fitted by the Gaussian that labels are drawn with.

    Height and position (A, x, y) of A exp(-((i - x)² + (j - y)²) / 2 width²) by Gauss-Newton on the (2r+1)² pixels
    around the maximum, all peaks of all maps at once.

    Args:
        vg: V_g maps [V], (B, X, Y).
        qz: q_z maps, (B, X, Y).
        width: Standard deviation of a label's peak [px].
        threshold: Weakest peak that is kept, as a fraction of the strongest of its pattern.
        floor: Weakest peak that is kept [V].
        spacing: Least distance of two peaks [px]; none: 2 width.

    Returns:
        Peaks with intensity A, q_z averaged with weights V_g K, and sigma_px from the fit's residual.
    """
    spacing = 2 * width if spacing is None else spacing
    strongest = vg.amax(dim=(1, 2))
    b, x, y = maxima(vg, torch.clamp(threshold * strongest, min=floor), spacing)
    if not len(b):
        return Peaks.none()
    reach = max(2, round(1.5 * width))
    offsets = torch.arange(-reach, reach + 1, device=vg.device)
    di, dj = (o.reshape(-1) for o in torch.meshgrid(offsets, offsets, indexing="ij"))
    rows, columns = x[:, None] + di, y[:, None] + dj
    inside = (rows >= 0) & (rows < vg.shape[1]) & (columns >= 0) & (columns < vg.shape[2])
    rows, columns = rows.clamp(0, vg.shape[1] - 1), columns.clamp(0, vg.shape[2] - 1)
    crop = vg[b[:, None], rows, columns].double()
    di, dj, inside = di.double(), dj.double(), inside.double()

    height, dx, dy = vg[b, x, y].double(), torch.zeros_like(b).double(), torch.zeros_like(b).double()
    for _ in range(iterations):
        u, v = di - dx[:, None], dj - dy[:, None]
        shape = torch.exp((u**2 + v**2) / (-2 * width**2)) * inside
        model = height[:, None] * shape
        slope = model / width**2
        jacobian = torch.stack([shape, slope * u, slope * v], dim=1)
        residual = (crop - model) * inside
        normal = jacobian @ jacobian.mT
        # a touch of Levenberg's damping keeps flat, non-Gaussian maxima from running away
        normal = (
            normal + 1e-3 * torch.diag_embed(torch.diagonal(normal, dim1=1, dim2=2)) + 1e-12 * torch.eye(3).to(normal)
        )
        step = torch.linalg.solve(normal, jacobian @ residual[..., None])[..., 0]
        height = height + step[:, 0]
        dx = (dx + step[:, 1]).clamp(-1.0, 1.0)
        dy = (dy + step[:, 2]).clamp(-1.0, 1.0)

    weight = (crop.clamp(min=0) * shape).clamp(min=1e-12) * inside
    mean_qz = (weight * qz[b[:, None], rows, columns]).sum(1) / weight.sum(1)
    noise = (residual**2).sum(1) / (inside.sum(1) - 3).clamp(min=1)
    covariance = torch.linalg.inv(normal) * noise[:, None, None]
    sigma = torch.sqrt((covariance[:, 1, 1] + covariance[:, 2, 2]) / 2)
    positions = torch.stack([x + dx, y + dy], dim=1)
    found = [t.cpu().numpy() for t in (b, positions, height, mean_qz, sigma)]
    peaks = Peaks.of(*found)
    return peaks.where(peaks.intensity > floor)
