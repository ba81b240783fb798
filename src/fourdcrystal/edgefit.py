"""Edge fit: the strongest classical refinement of disk positions, where contrast inside disks misleads correlation.

Each disk is modelled as the vacuum probe times a polynomial of degree four, which takes up the contrast inside it, on a
planar background. For a given centre the model is linear and solved with variance weights and a prior that keeps the
contrast small unless counts support more (ridge regression; Golub & Pereyra's variable projection, SIAM J. Numer. Anal.
10, 413 (1973)). The centre follows from a coarse grid of trials and a few steps of Gauss and Newton.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from fourdcrystal import correlation
from fourdcrystal.interpolation import bicubic
from fourdcrystal.peaks import Peaks

DEGREE = 4
POWERS = [(i, j) for i in range(DEGREE + 1) for j in range(DEGREE + 1 - i)]  # of x and y, the constant first
CONTRAST = 0.1  # expected size of the polynomial's coefficients over the disk's mean intensity
COARSE = torch.tensor([-0.8, 0.0, 0.8])  # px; trial offsets along each axis
STEPS = 4  # of Gauss and Newton
DIFFERENCE = 0.1  # px; half of the distance over which slopes are taken
FARTHEST = 2.5  # px; from the candidate
MARGIN = 4  # of a crop beyond the disk [px]
FLOOR = 0.3  # counts² added to the variance, so that empty pixels don't weigh without limit
CHUNK = 64  # disks treated at a time; bounds memory


def refine(patterns: np.ndarray, probe: np.ndarray, peaks: Peaks, device: str = "cpu") -> Peaks:
    """Peaks with refined positions and their uncertainty.

    Args:
        patterns: Counts, (N, X, Y); they must be electrons, or in proportion, for the weights to be right.
        probe: Vacuum probe, (X, Y).
        peaks: Candidates within about 1.5 px of the disks' centres.
        device: Where to compute.
    """
    if not len(peaks):
        return peaks
    images = torch.as_tensor(np.ascontiguousarray(patterns, dtype=np.float32), device=device).clamp(min=0)
    vacuum = torch.as_tensor(correlation.centred(probe), dtype=torch.float32, device=device)
    vacuum = (vacuum / correlation.plateau(probe)).clamp(min=0)
    size = correlation.radius(probe)
    candidates, noise = Candidates.of(peaks, size, device), variance(images)
    found, sigma = [], []
    for part in torch.arange(len(peaks), device=device).split(CHUNK):
        at, spread = _fit(images, noise, candidates.where(part), vacuum, size)
        found.append(at)
        sigma.append(spread)
    positions = torch.cat(found).double().cpu().numpy()
    return replace(
        peaks, qx_px=positions[:, 0], qy_px=positions[:, 1], sigma_px=torch.cat(sigma).double().cpu().numpy()
    )


def neighbours(peaks: Peaks, reach: float, most: int = 8) -> np.ndarray:
    """Positions of the nearest other peaks of the same pattern within reach [px], (N, most, 2); far away where none."""
    far = 100 * reach
    points = np.column_stack([peaks.positions, peaks.pattern * far])
    distance, which = cKDTree(points).query(points, k=most + 1, distance_upper_bound=reach)
    none = ~np.isfinite(distance[:, 1:])
    near = points[np.where(none, 0, which[:, 1:]), :2]
    near[none] = -1e6
    return near


@dataclass(frozen=True)
class Candidates:
    """Disks whose surroundings are looked at.

    Attributes:
        pattern: Of each disk, (D,).
        start: About where it is [px], (D, 2).
        others: Where the nearest other disks of its pattern are [px], (D, most, 2).
    """

    pattern: Tensor
    start: Tensor
    others: Tensor

    @classmethod
    def of(cls, peaks: Peaks, size: float, device: str | torch.device) -> "Candidates":
        """Those of peaks, for disks of a radius ``size`` [px]."""
        near = neighbours(peaks, 2 * (size + MARGIN))
        start, others = (torch.as_tensor(at, dtype=torch.float32, device=device) for at in (peaks.positions, near))
        return cls(torch.as_tensor(peaks.pattern, device=device), start, others)

    def where(self, keep: Tensor) -> "Candidates":
        """Those of some indices."""
        return Candidates(self.pattern[keep], self.start[keep], self.others[keep])


def variance(images: Tensor) -> Tensor:
    """Of images' counts, (N, X, Y): these, smoothed over 3 x 3, so that a pixel's own noise doesn't set its weight."""
    return torch.nn.functional.avg_pool2d(images[:, None], 3, 1, 1, count_include_pad=False)[:, 0] + FLOOR


def crops(
    images: Tensor, noise: Tensor, disks: Candidates, pixels: Tensor, size: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Counts around disks, and how much each of them says about its disk.

    Args:
        images: Counts, (N, X, Y).
        noise: Their :func:`variance`, (N, X, Y).
        disks: D candidates.
        pixels: Of a crop, from the middle pixel, whole numbers, (n, 2).
        size: Radius of a disk [px].

    Returns:
        Middle pixels (D, 2); counts (D, n); weights 1 / variance, 0 for neighbours and outside the frame, (D, n); and
        each disk's mean counts per pixel (D,).
    """
    middle = disks.start.round().long()
    where = middle[:, None] + pixels
    frame = torch.tensor(images.shape[-2:], device=images.device)
    inside = ((where >= 0) & (where < frame)).all(-1)
    where = torch.minimum(where.clamp(min=0), frame - 1)
    counts, spread = (image[disks.pattern[:, None], where[..., 0], where[..., 1]] for image in (images, noise))
    to_other = (pixels[None, :, None] - (disks.others - middle[:, None])[:, None]).norm(dim=-1).amin(-1)
    to_own = (pixels[None] - (disks.start - middle)[:, None]).norm(dim=-1)
    weight = (inside & ((to_other > size + 1.5) | (to_own < to_other))) / spread
    within = (to_own < size).to(counts.dtype)
    level = ((counts * within).sum(1) / within.sum(1).clamp(min=1)).clamp(min=0.05)
    return middle, counts, weight, level


def _fit(images: Tensor, noise: Tensor, disks: Candidates, probe: Tensor, size: float) -> tuple[Tensor, Tensor]:
    """Centres, (n, 2), and their standard uncertainties, (n,), of some disks."""
    half = int(np.ceil(size + MARGIN))
    steps = torch.arange(-half, half + 1, device=images.device)
    pixels = torch.cartesian_prod(steps, steps)
    middle, counts, weight, level = crops(images, noise, disks, pixels, size)
    data, start = _Data(counts, weight, pixels.to(counts.dtype), probe, size, level), disks.start - middle
    # Gauss-Newton converges from about as far as the disk's edge is wide: the best point of a grid is near enough
    trials = start[:, None] + torch.cartesian_prod(COARSE, COARSE).to(counts)[None]
    chi2 = torch.stack([data.solve(trial)[1] for trial in trials.unbind(1)], dim=1)
    centre = trials[torch.arange(len(trials)), chi2.argmin(1)]
    spread = torch.full((len(trials),), float("inf"), device=counts.device)
    for _ in range(STEPS):
        step, spread = data.step(centre)
        centre = centre + step.clamp(-0.5, 0.5)
    # a fit that ran away from its candidate is no improvement on it
    strayed = ((centre - start).norm(dim=1) > FARTHEST) | ~torch.isfinite(centre).all(1)
    centre = torch.where(strayed[:, None], start, centre)
    return middle + centre, torch.where(strayed, FARTHEST, spread)


@dataclass(frozen=True)
class _Data:
    """Crops around some disks and what their model needs.

    Attributes:
        counts: (n, S²).
        weight: 1 / variance, 0 where masked, (n, S²).
        grid: Pixels from the crop's middle, (S², 2).
        probe: Vacuum probe with plateau 1, centred on n // 2.
        size: Its radius [px].
        level: Mean counts per pixel inside each disk, (n,).
    """

    counts: Tensor
    weight: Tensor
    grid: Tensor
    probe: Tensor
    size: float
    level: Tensor

    def shapes(self, centre: Tensor) -> Tensor:
        """Probe times each monomial, for disks at ``centre`` (n, 2), (n, S², terms)."""
        u = self.grid - centre[:, None]
        x, y = (u / self.size).clamp(-1.5, 1.5).unbind(-1)
        disk = bicubic(self.probe, u).clamp(min=0)
        along_x, along_y = [torch.ones_like(x)], [disk]
        for _ in range(DEGREE):  # products, since powers are slow
            along_x.append(along_x[-1] * x)
            along_y.append(along_y[-1] * y)
        return torch.stack([along_x[i] * along_y[j] for i, j in POWERS], dim=2)

    def design(self, centre: Tensor) -> Tensor:
        """The same with the columns of the background's plane, (n, S², terms + 3)."""
        plane = torch.cat([torch.ones_like(self.grid[:, :1]), self.grid / self.size], dim=1)
        return torch.cat([self.shapes(centre), plane.expand(len(centre), -1, -1)], dim=2)

    def prior(self, columns: int) -> Tensor:
        """Precision of the columns' coefficients [1/counts²], (n, columns): only the contrast's are held small."""
        held = torch.zeros(columns, dtype=torch.float64, device=self.counts.device)
        held[1 : len(POWERS)] = 1.0
        return held / (CONTRAST * self.level.double()[:, None]) ** 2

    def normal(self, design: Tensor) -> tuple[Tensor, Tensor]:
        """Normal matrix with the prior, and right-hand side, float64."""
        weighted = design * self.weight[..., None]
        matrix = (weighted.mT @ design).double()
        moment = (weighted.mT @ self.counts[..., None]).double()[..., 0]
        tiny = 1e-9 * torch.diagonal(matrix, dim1=1, dim2=2).amax(1)[:, None]
        return matrix + torch.diag_embed(self.prior(design.shape[2]) + tiny), moment

    def solve(self, centre: Tensor) -> tuple[Tensor, Tensor]:
        """Best coefficients for given centres, (n, columns), and their χ² up to a constant, prior included, (n,)."""
        matrix, moment = self.normal(self.design(centre))
        solved = torch.linalg.solve(matrix, moment)
        return solved, -(solved * moment).sum(1)

    def step(self, centre: Tensor) -> tuple[Tensor, Tensor]:
        """Gauss-Newton step of the centres [px], (n, 2), all coefficients fitted along; uncertainty per axis, (n,)."""
        solved, _ = self.solve(centre)
        amplitudes = solved[:, : len(POWERS), None].float()
        ahead = torch.eye(2, device=centre.device) * DIFFERENCE
        slopes = [(self.shapes(centre + d) - self.shapes(centre - d)) @ amplitudes / (2 * DIFFERENCE) for d in ahead]
        matrix, moment = self.normal(torch.cat([self.design(centre), *slopes], dim=2))
        found = torch.linalg.solve(matrix, moment)
        covariance = torch.linalg.inv(matrix)[:, -2:, -2:]
        spread = torch.sqrt(torch.diagonal(covariance, dim1=1, dim2=2).mean(1).clamp(min=1e-6))
        return found[:, -2:].float(), spread.float()
