"""What finds Bragg peaks in a scan: a trained network, or correlation with the vacuum probe.

Both have the same face: ``method`` for tables and pictures, ``in_volts``, ``threshold``, ``identity``, ``batch_size``,
``detect``, and ``doubts`` about a probe that they were not made for.
"""

from typing import Protocol

import numpy as np
import torch

from fourdcrystal import correlation, inference, modelfile, refinements, significance
from fourdcrystal.inference import batch_size, device_named
from fourdcrystal.peaks import Peaks
from fourdcrystal.pixels import Pixel
from fourdcrystal.refinements import Refinement

CANDIDATES = 4  # points per pixel of the correlation where a refinement follows


def named(model: str = "shipped", device: str = "auto", refine: str = "learned") -> "Detector":
    """What finds peaks, as the command ``detect`` names it.

    Args:
        model: ``shipped`` (the network of this package, src/fourdcrystal/data/network.md), ``correlation``, or the file
            of a trained network.
        device: Where to compute: cpu, cuda, cuda:1; auto: a GPU if there is one.
        refine: What refines positions, see :func:`fourdcrystal.refinements.named`.

    Raises:
        InputError: if there is no such device or file, or it isn't a network's or refiner's.
    """
    chosen = device_named(device)
    refinement = refinements.named(refine, chosen)
    if model == "correlation":
        return Correlator(chosen, refine=refinement)
    return inference.NetworkDetector.load(modelfile.named(model), chosen, refine=refinement)


def default(device: str = "auto") -> "Detector":
    """What the command ``detect`` uses where nothing else is named: the network and the refiner that are shipped."""
    return named(device=device)


class Detector(Protocol):
    """Finds peaks; see the module's docstring."""

    method: str
    in_volts: bool
    threshold: float

    @property
    def identity(self) -> str:
        """What peaks depend on besides the scan."""

    def batch_size(self, shape: tuple[int, int]) -> int:
        """Patterns of a shape that are treated at once."""

    def detect(
        self,
        patterns: np.ndarray,
        probe: np.ndarray,
        pixel: Pixel,
        *,
        faint: bool = False,
    ) -> Peaks:
        """Peaks of patterns (N, X, Y) with the vacuum probe (X, Y); one that is empty or not finite has none.

        The pixel gives potentials and heights q_z their units; where it isn't known, heights aren't. With ``faint``
        there are peaks among them that only a scan can tell from noise (:mod:`fourdcrystal.occupancy`).
        """

    def doubts(self, shape: tuple[int, int], radius: float, dq: float) -> str | None:
        """What speaks against its use, in words; none if nothing does.

        Args:
            shape: Pixels of the patterns along q_x and q_y.
            radius: Of the probe's disk [px].
            dq: Size of a pixel [1/Å].
        """


class Correlator:
    """Finds disks by correlation with the vacuum probe on square-rooted counts (:mod:`fourdcrystal.correlation`).

    Args:
        device: Where to compute.
        threshold: Weakest disk that is kept, as a fraction of the strongest of its pattern.
        refine: What refines positions; only disks that counts stand behind are kept then.
    """

    in_volts = False

    def __init__(
        self,
        device: str | torch.device = "cpu",
        threshold: float = correlation.THRESHOLD,
        refine: Refinement | None = None,
    ) -> None:
        self.device, self.threshold, self.refine = torch.device(device), threshold, refine
        self.method = "correlation" if refine is None else f"correlation, {refine.name}"

    @property
    def identity(self) -> str:
        """What peaks depend on besides the scan."""
        return f"{self.method} {self.threshold} {self.refine.identity if self.refine else ''}"

    def batch_size(self, shape: tuple[int, int]) -> int:
        """Patterns of a shape that are treated at once."""
        return batch_size(shape, self.device)

    def detect(
        self,
        patterns: np.ndarray,
        probe: np.ndarray,
        pixel: Pixel | None = None,
        *,
        faint: bool = False,
    ) -> Peaks:
        """Peaks of patterns (N, X, Y); one that is empty or not finite has none. Correlation tells no heights."""
        fine = correlation.UPSAMPLING if self.refine is None else CANDIDATES
        found = correlation.detect(
            patterns, probe, square_root=True, threshold=self.threshold, upsampling=fine, device=str(self.device)
        )
        if self.refine is None:
            return found
        return significance.refined(patterns, probe, found, self.refine.apply, faint)

    def doubts(self, shape: tuple[int, int], radius: float, dq: float) -> str | None:
        """Correlation works with every probe, a refinement that was learned doesn't."""
        return None if self.refine is None else self.refine.doubts(radius)
