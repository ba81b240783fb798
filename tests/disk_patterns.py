"""Patterns of flat disks on a lattice with exactly known centres, for tests of detection."""

import numpy as np

from fourdcrystal.peaks import Peaks
from fourdcrystal.scans import Scan


def disk(shape: tuple[int, int], centre: tuple[float, float], radius: float, edge: float = 0.4) -> np.ndarray:
    """A disk with a soft edge, (X, Y)."""
    x, y = np.indices(shape)
    return 1 / (1 + np.exp((np.hypot(x - centre[0], y - centre[1]) - radius) / edge))


def lattice_points(shape: tuple[int, int], centre: np.ndarray, basis: np.ndarray, border: float) -> np.ndarray:
    """Lattice points within the frame, (N, 2); the direct beam first."""
    h, k = np.meshgrid(np.arange(-12, 13), np.arange(-12, 13), indexing="ij")
    index = np.stack([h.ravel(), k.ravel()], axis=1)
    index = index[np.argsort((index**2).sum(1), kind="stable")]
    points = centre + index @ basis
    inside = (points > border).all(1) & (points < np.array(shape) - 1 - border).all(1)
    return points[inside]


def pattern(
    shape: tuple[int, int], points: np.ndarray, radius: float, counts: float, rng: np.random.Generator | None = None
) -> np.ndarray:
    """Disks that fade with their distance from the first one, with Poisson noise if there is a generator."""
    image = np.zeros(shape)
    for point in points:
        strength = np.exp(-np.hypot(*(point - points[0])) / (0.35 * shape[0]))
        image += strength * disk(shape, point, radius)
    image *= counts / image.sum()
    return image if rng is None else rng.poisson(image).astype(float)


def scan(
    grid: tuple[int, int] = (3, 4),
    shape: tuple[int, int] = (96, 96),
    radius: float = 4.0,
    distortion: np.ndarray | None = None,
    seed: int = 1,
) -> Scan:
    """A noisy scan of one lattice, distorted by F at each position, with its truth."""
    rng = np.random.default_rng(seed)
    basis, centre = np.array([[15.2, 2.1], [-3.3, 16.4]]), np.array(shape) / 2 + [0.3, -0.2]
    distortion = np.broadcast_to(np.eye(2), (*grid, 2, 2)) if distortion is None else distortion
    images = [
        pattern(shape, lattice_points(shape, centre, basis @ f.T, radius + 1), radius, 3e5, rng)
        for f in distortion.reshape(-1, 2, 2)
    ]
    probe = rng.poisson(1e4 * disk(shape, (shape[0] // 2, shape[1] // 2), radius)).astype(float)
    return Scan(
        "made.npz", np.array(images).reshape(*grid, *shape), probe, 0.02, 200e3, {"distortion": np.array(distortion)}
    )


def peaks_on_lattices(
    distortion: np.ndarray, basis: np.ndarray, centre: np.ndarray, noise: float, rng: np.random.Generator
) -> Peaks:
    """Peaks of one pattern per distortion F (P, 2, 2), off their lattice points by Gaussian noise [px]."""
    parts, sizes = [], []
    for f in distortion:
        points = lattice_points((128, 128), centre, basis @ f.T, 2)
        found = points + rng.normal(0, noise, points.shape)
        intensity = np.exp(-np.hypot(*(points - centre).T) / 40)
        parts.append(Peaks.of(np.zeros(len(points), int), found, intensity, sigma_px=np.full(len(points), noise)))
        sizes.append(1)
    return Peaks.joined(parts, sizes)
