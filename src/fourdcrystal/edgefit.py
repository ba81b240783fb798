"""Edge fit: the strongest classical refinement of disk positions, where contrast inside disks misleads correlation.

Each disk is modelled as the vacuum probe times a polynomial of degree four, which takes up the contrast inside it, on a
planar background. For a given centre the model is linear and solved with variance weights and a prior that keeps the
contrast small unless counts support more (ridge regression; Golub & Pereyra's variable projection, SIAM J. Numer. Anal.
10, 413 (1973)). The centre with the least χ² is sought on two nested grids and between their points by a paraboloid.
"""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from fourdcrystal import correlation
from fourdcrystal.peaks import Peaks

DEGREE = 4
CONTRAST = 0.15  # expected size of the polynomial's coefficients over the disk's mean intensity
GRIDS = ((7, 0.5), (5, 0.2))  # points along an axis, and their distance [px]
MARGIN = 4  # of a crop beyond the disk [px]
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
    images = torch.as_tensor(np.ascontiguousarray(patterns, dtype=np.float32), device=device)
    vacuum = torch.as_tensor(correlation.centred(probe), dtype=torch.float32, device=device)
    plateau = float(np.median(probe[probe > probe.max() / 2]))
    vacuum = (vacuum / plateau).clamp(min=0)
    size = correlation.radius(probe)
    near = _neighbours(peaks, 2 * (size + MARGIN))
    index = torch.as_tensor(peaks.pattern, device=device)
    start = torch.as_tensor(peaks.positions, dtype=torch.float32, device=device)
    others = torch.as_tensor(near, dtype=torch.float32, device=device)
    found, sigma = [], []
    for part in torch.arange(len(peaks), device=device).split(CHUNK):
        at, spread = _fit(images, index[part], start[part], others[part], vacuum, size)
        found.append(at)
        sigma.append(spread)
    positions = torch.cat(found).double().cpu().numpy()
    return replace(
        peaks, qx_px=positions[:, 0], qy_px=positions[:, 1], sigma_px=torch.cat(sigma).double().cpu().numpy()
    )


def _neighbours(peaks: Peaks, reach: float, most: int = 8) -> np.ndarray:
    """Positions of the nearest other peaks of the same pattern within reach [px], (N, most, 2); far away where none."""
    from scipy.spatial import cKDTree

    far = 100 * reach
    points = np.column_stack([peaks.positions, peaks.pattern * far])
    distance, which = cKDTree(points).query(points, k=most + 1, distance_upper_bound=reach)
    none = ~np.isfinite(distance[:, 1:])
    near = points[np.where(none, 0, which[:, 1:]), :2]
    near[none] = -1e6
    return near


def _fit(
    images: Tensor, index: Tensor, start: Tensor, others: Tensor, probe: Tensor, size: float
) -> tuple[Tensor, Tensor]:
    """Centres, (n, 2), and their standard uncertainties, (n,), of some disks."""
    half = int(np.ceil(size + MARGIN))
    steps = torch.arange(-half, half + 1, device=images.device)
    middle = start.round().long()
    rows, columns = middle[:, 0, None] + steps, middle[:, 1, None] + steps
    inside = ((rows >= 0) & (rows < images.shape[1]))[:, :, None] & ((columns >= 0) & (columns < images.shape[2]))[
        :, None
    ]
    rows, columns = rows.clamp(0, images.shape[1] - 1), columns.clamp(0, images.shape[2] - 1)
    crop = images[index[:, None, None], rows[:, :, None], columns[:, None, :]]
    grid = torch.stack(torch.meshgrid(steps, steps, indexing="ij"), dim=-1).to(crop.dtype)  # (S, S, 2)
    # variance: counts smoothed over 3 x 3, so that a pixel's own noise doesn't set its weight
    variance = torch.nn.functional.avg_pool2d(crop[:, None], 3, 1, 1, count_include_pad=False)[:, 0] + 0.3
    relative = grid[None, :, :, None] - (others - middle[:, None])[:, None, None]  # (n, S, S, most, 2)
    to_other = relative.norm(dim=-1).amin(-1)
    to_own = (grid[None] - (start - middle)[:, None, None]).norm(dim=-1)
    weight = (inside & ((to_other > size + 1.5) | (to_own < to_other))) / variance
    count = len(index)
    crop, weight, flat = crop.reshape(count, -1), weight.reshape(count, -1), grid.reshape(-1, 2)
    within = (to_own < size).reshape(count, -1).to(crop.dtype)
    level = ((crop * within).sum(1) / within.sum(1).clamp(min=1)).clamp(min=0.05)
    centre = start - middle
    for points, distance in GRIDS:
        offsets = (torch.arange(points, device=crop.device) - points // 2) * distance
        trial = torch.stack(torch.meshgrid(offsets, offsets, indexing="ij"), dim=-1).reshape(-1, 2)
        chi2 = torch.stack([_chi2(crop, weight, flat, centre + t, probe, size, level) for t in trial], dim=1)
        best = chi2.argmin(1)
        centre = centre + trial[best]
    return _vertex(chi2.double(), trial.double(), centre - trial[best], points, distance, middle)


def _chi2(
    crop: Tensor, weight: Tensor, grid: Tensor, centre: Tensor, probe: Tensor, size: float, level: Tensor
) -> Tensor:
    """Least χ² of the linear model for trial centres, prior included, (n,).

    Args:
        crop: Counts, (n, S²).
        weight: 1 / variance, 0 where masked, (n, S²).
        grid: Pixels of the crop from its middle, (S², 2).
        centre: Trial centres from the crop's middle, (n, 2).
        probe: Vacuum probe with plateau 1, centred on n // 2.
        size: Its radius [px].
        level: Mean counts per pixel inside each disk, (n,).
    """
    u = grid - centre[:, None]  # (n, S², 2)
    disk = _sampled(probe, u)
    x, y = (u / size).clamp(-1.5, 1.5).unbind(-1)
    powers = [(i, j) for i in range(DEGREE + 1) for j in range(DEGREE + 1 - i)]
    columns = [disk * x**i * y**j for i, j in powers]
    plane = [torch.ones_like(x), grid[:, 0].expand_as(x) / size, grid[:, 1].expand_as(x) / size]
    design = torch.stack([*columns, *plane], dim=2)
    weighted = design * weight[..., None]
    normal = (weighted.mT @ design).double()
    moment = (weighted.mT @ crop[..., None]).double()[..., 0]
    ridge = torch.zeros(design.shape[2], dtype=torch.float64, device=crop.device)
    ridge[1 : len(powers)] = 1.0
    prior = (
        ridge / (CONTRAST * level.double()[:, None]) ** 2
        + 1e-9 * torch.diagonal(normal, dim1=1, dim2=2).amax(1)[:, None]
    )
    solved = torch.linalg.solve(normal + torch.diag_embed(prior), moment)
    return ((weight * crop**2).sum(1).double() - (solved * moment).sum(1)).float()


def _sampled(probe: Tensor, offsets: Tensor) -> Tensor:
    """The probe at sub-pixel offsets from its centre, bicubic, (n, S²)."""
    x, y = probe.shape
    scale = torch.tensor([2 / (x - 1), 2 / (y - 1)], device=probe.device)
    middle = torch.tensor([x // 2, y // 2], device=probe.device)
    places = ((offsets + middle) * scale - 1).flip(-1)[None]  # grid_sample has the last axis first
    made = torch.nn.functional.grid_sample(probe[None, None], places, "bicubic", "zeros", align_corners=True)
    return made[0, 0].clamp(min=0)


def _vertex(
    chi2: Tensor, trial: Tensor, origin: Tensor, points: int, distance: float, middle: Tensor
) -> tuple[Tensor, Tensor]:
    """Minimum of the paraboloid through χ² around its least grid point, and the uncertainty from its curvature."""
    near = torch.argsort(((trial[None] - trial[chi2.argmin(1)][:, None]) ** 2).sum(-1), dim=1, stable=True)[:, :9]
    at, value = trial[near], torch.gather(chi2, 1, near)
    here = at[:, :1]
    x, y = (at - here).unbind(-1)
    design = torch.stack([torch.ones_like(x), x, y, x * x, x * y, y * y], dim=2)
    _, bx, by, cxx, cxy, cyy = torch.linalg.lstsq(design, value[..., None]).solution[..., 0].unbind(1)
    hessian = torch.stack([torch.stack([2 * cxx, cxy], -1), torch.stack([cxy, 2 * cyy], -1)], -2)
    fine = (torch.linalg.det(hessian) > 0) & (cxx > 0)
    safe = torch.where(fine[:, None, None], hessian, torch.eye(2).to(hessian))
    step = -torch.linalg.solve(safe, torch.stack([bx, by], -1))
    step = torch.where(fine[:, None], step.clamp(-distance, distance), 0.0)
    # χ² / 2 is the negative log-likelihood
    covariance = 2 * torch.linalg.inv(safe)
    spread = torch.sqrt(torch.diagonal(covariance, dim1=1, dim2=2).mean(1).clamp(min=1e-6))
    spread = torch.where(fine, spread, points * distance / 2)
    return (middle + origin + here[:, 0] + step).float(), spread.float()
