"""Patterns that detectors are scored on: quartets of a split, with all reflections that must be found in them."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from fourdcrystal import catalogue, correlation, labels, quartets
from fourdcrystal.metrics import Truth
from fourdcrystal.pixels import Pixel
from fourdcrystal.reader import StoreReader
from fourdcrystal.settings import Labels


@dataclass(frozen=True)
class Sample:
    """Patterns to be scored, with all that is known about them.

    Attributes:
        cbed: Intensities over the vacuum probe's maximum, (N, X, Y).
        probe: Vacuum probes, (N, X, Y).
        dq: Pixel size [1/Å], (N,).
        table: Their rows of the catalogue.
        true: Their reflections.
    """

    cbed: np.ndarray
    probe: np.ndarray
    dq: np.ndarray
    table: pd.DataFrame
    true: Truth

    def pixel(self, index: int) -> Pixel:
        """A pixel of one of the patterns."""
        return Pixel.of(float(self.dq[index]), float(self.table["energy_eV"].iloc[index]))

    def counts(self, dose: float, rng: np.random.Generator) -> np.ndarray:
        """Poisson counts at a mean of ``dose`` electrons on each vacuum pattern, (N, X, Y) float32."""
        scale = dose / self.probe.sum((1, 2), dtype=np.float64)
        return rng.poisson(self.cbed * scale[:, None, None]).astype(np.float32)

    def groups(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Patterns that share a vacuum probe, energy and pixel size: their indices and the probe."""
        energies = self.table["energy_eV"].tolist()
        same = [(p.tobytes(), dq, e) for p, dq, e in zip(self.probe, self.dq.tolist(), energies, strict=True)]
        keys, _ = pd.factorize(pd.Series(same))
        for key in np.unique(keys):
            index = np.flatnonzero(keys == key)
            yield index, self.probe[index[0]]


def of_split(path: Path, patterns: Path, split: str, most: int, without: Collection[str] = ()) -> Sample:
    """Quartets of a split, at most ``most``, evenly spread, with their true reflections; not those of some prototypes.

    Raises:
        InputError: if the catalogue or a store can't be used, or the split is empty.
    """
    chosen = quartets.select(path, patterns, split, most, without)
    batch = chosen[list(range(len(chosen)))]
    table = catalogue.read(path, splits=[split]).loc[batch["row"].numpy()]
    dq, cbed, probe = batch["dq"].numpy().astype(float), batch["cbed"].numpy(), batch["probe"].numpy()
    radius = np.array([correlation.radius(p) for p in probe])
    return Sample(cbed, probe, dq, table, _truth(table, patterns, dq, (cbed.shape[1], cbed.shape[2]), radius))


def _truth(table: pd.DataFrame, patterns: Path, dq: np.ndarray, shape: tuple[int, int], radius: np.ndarray) -> Truth:
    opened: dict[str, tuple[StoreReader, Labels]] = {}
    parts = []
    for i, row in enumerate(table.itertuples()):
        if row.crystal not in opened:
            reader = StoreReader(patterns / f"{row.crystal}.zarr")
            opened[row.crystal] = reader, Labels.model_validate(reader.attributes["recipe"]["labels"])
        reader, settings = opened[row.crystal]
        g, vg = reader.reflections(row.orientation)
        parts.append(reflections_seen(i, g, vg, float(row.energy_eV), settings, dq[i], shape, radius[i]))
    columns = zip(*parts, strict=True)
    return Truth(*(np.concatenate(column) for column in columns))


def reflections_seen(
    pattern: int,
    g: np.ndarray,
    vg: np.ndarray,
    energy: float,
    settings: Labels,
    dq: float,
    shape: tuple[int, int],
    radius: float,
) -> tuple[np.ndarray, ...]:
    """Columns of :class:`Truth` for one pattern; reflections that no image can tell apart are one.

    Weaker ones than labels.weakest, the direct beam, and disks cut by the detector's edge are there but not counted.

    Args:
        pattern: Number of the pattern.
        g: Scattering vectors [1/Å], (N, 3).
        vg: Structure factors [V], (N,).
        energy: Beam energy [eV].
        settings: Which reflections are labelled, and how wide their peaks are.
        dq: Size of a pixel [1/Å].
        shape: Pixels along q_x and q_y.
        radius: Of a disk [px].
    """
    everything = settings.model_copy(update={"weakest": 1e-4})
    weight = labels.weights(g, vg, energy, everything)
    g, weight = g[weight > 0], weight[weight > 0]
    g, weight = _merged(g, weight, 2 * settings.width * dq)
    at = labels.positions(g, dq, shape)
    off_centre = np.hypot(g[:, 0], g[:, 1]) > settings.width * dq
    inside = (at > radius).all(1) & (at < np.array(shape) - 1 - radius).all(1)
    counted = off_centre & inside & (weight >= settings.weakest * weight.max())
    return np.full(len(g), pattern), at, weight, g, counted


def _merged(g: np.ndarray, weight: np.ndarray, distance: float) -> tuple[np.ndarray, np.ndarray]:
    """Reflections with those nearer than ``distance`` [1/Å] to a stronger one on the detector joined to it."""
    order = np.argsort(-weight, kind="stable")
    g, weight = g[order], weight[order]
    owner = np.arange(len(g))
    for i, j in sorted(cKDTree(g[:, :2]).query_pairs(distance)):  # i < j: i is the stronger
        if owner[j] == j and owner[i] == i:
            owner[j] = i
    total = np.bincount(owner, weight, len(g))
    mean = np.stack([np.bincount(owner, weight * component, len(g)) for component in g.T], axis=1)
    kept = total > 0
    return mean[kept] / total[kept, None], total[kept]
