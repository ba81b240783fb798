"""Sub-pixel positions of disks whatever the contrast inside: a Gaussian process takes it up and is integrated out.

A disk is the vacuum probe times (1 + f), on a planar background. The contrast f is a Gaussian process: a random
function with Matérn-3/2 covariance over distances of a probe's radius, as large as the disk's mean. For a trial centre
all of that is linear with Gaussian priors, so the likelihood of the counts, with every possible contrast integrated
out, has a closed form (Rasmussen & Williams, Gaussian Processes for Machine Learning, 2006, eqs. 2.30 and 4.17). Its
maximum is the position, its curvature the uncertainty. Unlike in a fit of the contrast (edgefit), freedom that a trial
centre needs to explain the counts costs it likelihood.
"""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from fourdcrystal import correlation, edgefit, vacuum
from fourdcrystal.peaks import Peaks
from fourdcrystal.vacuum import Vacuum

LENGTH = 1.0  # over which contrast changes, in radii of the probe
CONTRAST = 1.0  # standard deviation of the contrast over a disk's mean
TERMS = 50  # leading eigenfunctions of the covariance that are kept
FEW = 20  # of them on the coarse grid, which only has to say where the fine one is
REACH = 1.5  # farthest a trial centre is from the candidate's pixel, along each axis [px]
COARSE, FINE = 0.5, 0.25  # spacing of trial centres [px]
WALK = 3  # steps on the fine grid towards its maximum
CANDIDATE = 1.0  # standard deviation of a candidate's error along each axis [px]


def refine(patterns: np.ndarray, probe: np.ndarray, peaks: Peaks, device: str = "cpu") -> Peaks:
    """Peaks with refined positions and their standard uncertainty.

    Args:
        patterns: Counts, (N, X, Y); they must be electrons, or in proportion, for the uncertainty to be right.
        probe: Vacuum probe, (X, Y), anywhere on the detector.
        peaks: Candidates within about 1.5 px of the disks' centres.
        device: Where to compute.
    """
    if not len(peaks):
        return peaks
    size = correlation.radius(probe)
    images = torch.as_tensor(np.ascontiguousarray(patterns, dtype=np.float32), device=device)
    pixels, disks = _round(size, images.device), edgefit.Candidates.of(peaks, size, device)
    middle, counts, weight, level = edgefit.crops(images, edgefit.variance(images), disks, pixels, size)
    candidate = torch.as_tensor(peaks.positions, dtype=torch.float64, device=device) - middle
    model = _Model(vacuum.of_probe(probe), size, pixels.float())
    offset, sigma = _posterior(model, counts.double(), weight.double(), level.double(), candidate)
    found = (middle + offset).cpu().numpy()
    return replace(peaks, qx_px=found[:, 0], qy_px=found[:, 1], sigma_px=sigma.cpu().numpy())


def _round(size: float, device: torch.device) -> Tensor:
    """Pixels of a round crop about a disk of a radius [px], from its middle, whole numbers, (n, 2)."""
    half = int(np.ceil(size + edgefit.MARGIN))
    steps = torch.arange(-half, half + 1, device=device)
    square = torch.cartesian_prod(steps, steps)
    return square[square.double().norm(dim=1) < half + 0.5]


class _Model:
    """Columns of the linear model at trial centres: disk, contrast's eigenfunctions, background plane.

    Args:
        probe: Vacuum probe.
        size: Its radius [px].
        pixels: Offsets from the crop's middle [px], (n, 2).
    """

    def __init__(self, probe: Vacuum, size: float, pixels: Tensor) -> None:
        self.probe, self.size, self.pixels = probe, size, pixels
        axis = torch.arange(-8, 9, dtype=torch.float64) * 0.15
        nodes = torch.cartesian_prod(axis, axis)
        self.nodes = nodes[nodes.norm(dim=1) < 1.25].to(pixels.device)  # in radii; the disk and its soft edge
        values, vectors = torch.linalg.eigh(_matern(self.nodes, self.nodes))
        # Nyström: eigenfunctions scaled so that each coefficient has the prior variance 1
        self.projection = (vectors[:, -TERMS:] / values[-TERMS:].sqrt()).flip(1)  # the largest first
        self.plane = torch.cat([torch.ones_like(pixels[:, :1]), pixels / size], 1)

    def columns(self, centre: Tensor, terms: int) -> Tensor:
        """(n, 1 + terms + 3) for a trial centre (2,) [px from the crop's middle]."""
        u = self.pixels - centre
        disk = self.probe.sample(u.double())[:, None]
        fields = _matern((u.double() / self.size), self.nodes) @ self.projection[:, :terms]
        return torch.cat([disk, disk * fields, self.plane.double()], 1)

    def log_likelihood(self, centre: Tensor, terms: int, counts: Tensor, weight: Tensor, level: Tensor) -> Tensor:
        """Logarithm of the marginal likelihood up to a constant of each disk, (D,), at one trial centre."""
        columns = self.columns(centre, terms)
        size = columns.shape[1]
        rows, others = torch.triu_indices(size, size, device=columns.device)
        # in double precision: strong disks have products that are 1e10 times the prior's precision
        halves = weight @ (columns[:, rows] * columns[:, others])
        gram = halves.new_empty(len(weight), size, size)
        gram[:, rows, others] = gram[:, others, rows] = halves
        moment = (weight * counts) @ columns
        # prior deviations of the coefficients: of the disk's mean, of its contrast, of the background's plane
        scales = torch.tensor([1e2] + [CONTRAST] * (size - 4) + [3.0, 1.0, 1.0], dtype=gram.dtype, device=gram.device)
        prior = scales * level[:, None]
        matrix = prior[:, :, None] * gram * prior[:, None] + torch.eye(size, dtype=gram.dtype, device=gram.device)
        factor = _factor(matrix)
        explained = torch.linalg.solve_triangular(factor, (prior * moment)[..., None], upper=False)[..., 0]
        return (explained**2).sum(1) / 2 - torch.diagonal(factor, dim1=1, dim2=2).log().sum(1)


def _factor(matrix: Tensor) -> Tensor:
    """Cholesky factors of 1 + positive semidefinite matrices, (D, n, n), also where rounding has made one indefinite.

    A Gram matrix of 1e12 is known to about 1e-4, so its smallest eigenvalues, exactly 1 or more, may come out negative.
    Those matrices alone get rounding's own size added to their diagonal, ten times more at each failure; an eigenvalue
    so changed belongs to a direction that the data say nothing about, next to others a million times stronger.
    """
    factor, failed = torch.linalg.cholesky_ex(matrix)
    jitter = torch.diagonal(matrix, dim1=1, dim2=2).amax(1) * torch.finfo(matrix.dtype).eps
    unit = torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
    while (failed > 0).any():  # ends, since at last the diagonal dominates
        jitter = 10 * jitter
        matrix = matrix + (jitter * (failed > 0))[:, None, None] * unit
        factor, failed = torch.linalg.cholesky_ex(matrix)
    return factor


def _matern(a: Tensor, b: Tensor) -> Tensor:
    """Matérn-3/2 covariance of points in units of the radius, (n, 2) and (m, 2), with variance 1."""
    r = 3**0.5 * torch.cdist(a, b) / LENGTH
    return (1 + r) * torch.exp(-r)


def _posterior(
    model: _Model, counts: Tensor, weight: Tensor, level: Tensor, candidate: Tensor
) -> tuple[Tensor, Tensor]:
    """Most likely offsets from the crops' middles [px], (D, 2), and standard uncertainties per axis [px], (D,).

    Trial centres are the same for all disks, so that disks share the model's columns. First a coarse grid for all with
    few terms, then the fine grid around each disk's best, then the paraboloid through 3 x 3 points.
    """
    side, stride, device = int(2 * REACH / FINE) + 1, int(COARSE / FINE), counts.device
    axis = torch.arange(side, device=device) * FINE - REACH
    trials = torch.cartesian_prod(axis, axis)
    row, column = torch.cartesian_prod(*[torch.arange(side, device=device)] * 2).T

    def evaluate(surface: Tensor, needed: Tensor, terms: int) -> None:
        """Fill in a surface, (D, trials), where it is needed."""
        for trial in torch.nonzero(needed.any(0))[:, 0].tolist():
            disks = torch.nonzero(needed[:, trial])[:, 0]
            value = model.log_likelihood(trials[trial], terms, counts[disks], weight[disks], level[disks])
            away = (trials[trial] - candidate[disks]).square().sum(1) / (2 * CANDIDATE**2)
            surface[disks, trial] = value - away

    def around(best: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The best trials' places on the grid, not on its border, and which trials are close to them."""
        x, y = row[best].clamp(1, side - 2), column[best].clamp(1, side - 2)
        return x, y, ((row - x[:, None]).abs() <= 1) & ((column - y[:, None]).abs() <= 1)

    coarse = torch.full((len(counts), side * side), -torch.inf, dtype=counts.dtype, device=device)
    surface = coarse.clone()
    evaluate(coarse, ((row % stride == 0) & (column % stride == 0)).expand_as(coarse), FEW)
    best = coarse.argmax(1)
    for _ in range(WALK):
        x, y, close = around(best)
        evaluate(surface, close & torch.isinf(surface), TERMS)
        best = surface.argmax(1)
    x, y, close = around(best)
    evaluate(surface, close & torch.isinf(surface), TERMS)
    return _summit(surface.reshape(-1, side, side), x, y, axis)


def _summit(surface: Tensor, x: Tensor, y: Tensor, axis: Tensor) -> tuple[Tensor, Tensor]:
    """Maximum of the paraboloid through 3 x 3 points, (D, 2), and the deviation that its curvature means, (D,)."""
    disks = torch.arange(len(surface), device=surface.device)

    def at(i: int, j: int) -> Tensor:
        """The surface beside its best point, (D,)."""
        return surface[disks, x + i, y + j]

    gradient = torch.stack([at(1, 0) - at(-1, 0), at(0, 1) - at(0, -1)], -1) / 2
    xx, yy = at(1, 0) + at(-1, 0) - 2 * at(0, 0), at(0, 1) + at(0, -1) - 2 * at(0, 0)
    xy = (at(1, 1) + at(-1, -1) - at(1, -1) - at(-1, 1)) / 4
    determinant = xx * yy - xy**2
    peaked = (xx < 0) & (determinant > 0)
    safe = torch.where(peaked, determinant, 1.0)
    step = (
        torch.stack([xy * gradient[:, 1] - yy * gradient[:, 0], xy * gradient[:, 0] - xx * gradient[:, 1]], -1)
        / safe[:, None]
    )
    # at the border of what was tried the likelihood still rises: the candidate was not a disk's, or far from it
    step = torch.where(peaked[:, None], step, 0.0).clamp(-1, 1)
    variance = torch.where(peaked, -(xx + yy) / (2 * safe), (REACH / FINE) ** 2)
    centre = torch.stack([axis[x], axis[y]], -1).double()
    return centre + FINE * step, FINE * variance.sqrt()
