"""What makes positions of peaks better: the refiner that was learned, or fits of the disks, by their names."""

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from fourdcrystal import bfloat16, diskfit, disks, edgefit, refiner, vacuum
from fourdcrystal.errors import InputError
from fourdcrystal.peaks import Peaks


@dataclass(frozen=True)
class Refinement:
    """What makes positions of peaks better.

    Attributes:
        name: For tables and pictures.
        identity: What its positions depend on besides patterns, probe and peaks: the name, and the checksum of what was
            learned.
        apply: Better peaks from patterns (N, X, Y), the vacuum probe (X, Y) and peaks.
        radii: Smallest and largest radius of disks that it has learned from [px]; none: it hasn't learned.
    """

    name: str
    identity: str
    apply: Callable[[np.ndarray, np.ndarray, Peaks], Peaks]
    radii: tuple[float, float] | None = None

    def doubts(self, radius: float) -> str | None:
        """What speaks against using it with a probe of this radius [px]; nothing if it knows such ones."""
        if self.radii is None or self.radii[0] <= radius <= self.radii[1]:
            return None
        low, high = self.radii
        mend = f"; --bin {math.ceil(radius / high)} would bring it there" if radius > high else ""
        return (
            f"the probe's disk has a radius of {radius:.1f} px, the refiner of positions knows {low:g} to {high:g} px, "
            f"so uncertainties may be wrong{mend}"
        )


def named(name: str, device: str | torch.device = "cpu") -> Refinement | None:
    """What refines positions of peaks.

    Args:
        name: ``none``, ``learned`` (the network that is shipped, src/fourdcrystal/data/refiner.md),
            ``disk`` (fits of disks with any contrast inside, :mod:`fourdcrystal.diskfit`),
            ``edge`` (fits of the disks' edges, :mod:`fourdcrystal.edgefit`), or the file of a learned refiner
            (:mod:`fourdcrystal.refiner`).
        device: Where to compute.

    Raises:
        InputError: if there is no such file, or it isn't a refiner's.
    """
    if name == "none":
        return None
    if name == "disk":
        return Refinement("disk fit", "disk fit", partial(diskfit.refine, device=str(device)))
    if name == "edge":
        return Refinement("edge fit", "edge fit", partial(edgefit.refine, device=str(device)))
    if name == "learned":
        return learned(device)
    if not Path(name).is_file():
        raise InputError(f"--refine is '{name}'; allowed are none, learned, disk, edge, or a learned refiner's file")
    return learned(device, Path(name))


def learned(device: str | torch.device = "cpu", path: Path = refiner.SHIPPED) -> Refinement:
    """The learned refiner that is shipped, or that of a file.

    Raises:
        InputError: if it isn't a refiner's.
    """
    network = refiner.load(path, device)
    if network.in_bfloat16:
        bfloat16.ready(network)
    identity = f"learned fit {hashlib.sha256(path.read_bytes()).hexdigest()}"
    return Refinement("learned fit", identity, Learned(network, torch.device(device)), disks.RADIUS)


class Learned:
    """The learned refiner, for many batches of one scan: what it has to know of the probe is made once.

    Args:
        network: Refiner.
        device: Where it is.
    """

    def __init__(self, network: refiner.Refiner, device: torch.device) -> None:
        self.network, self.device = network, device
        self._probe: np.ndarray | None = None

    def __call__(self, patterns: np.ndarray, probe: np.ndarray, found: Peaks) -> Peaks:
        """Better peaks from patterns (N, X, Y), the vacuum probe (X, Y) and peaks."""
        if self._probe is None or not np.array_equal(probe, self._probe):
            self._placed = refiner.placed(vacuum.of_probe(probe), self.device)
            self._probe = probe.copy()
        counts = torch.as_tensor(np.ascontiguousarray(patterns, dtype=np.float32), device=self.device)
        index = torch.as_tensor(found.pattern, device=self.device)
        start = torch.as_tensor(found.positions, device=self.device)
        at, sigma = refiner.refine(self.network, counts, self._placed, index, start)
        positions = at.double().cpu().numpy()
        return replace(found, qx_px=positions[:, 0], qy_px=positions[:, 1], sigma_px=sigma.double().cpu().numpy())
