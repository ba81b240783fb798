"""A trained network in use: patterns and their vacuum probe go in, Bragg peaks come out."""

import copy
import hashlib
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fourdcrystal import bfloat16, correlation, friedel, laue, memory, modelfile, peaks, significance
from fourdcrystal.errors import InputError
from fourdcrystal.frame import Frame
from fourdcrystal.peaks import Peaks
from fourdcrystal.pixels import Pixel
from fourdcrystal.refinements import Refinement

THRESHOLD = 0.01  # weakest peak over the strongest of its pattern: that of labels; see docs/decisions/0050
FLOOR = 0.4  # px² of U_g / dq²; below this a map holds no reflection, whatever its strongest point
PAIRED = 0.5  # of the threshold, from which a peak is kept until its mate has been looked at
SHARE = 0.25  # of the free memory that a batch may take
BYTES = 1500  # that a pixel of a batch needs at most while it is worked on
MARGIN = 0.15  # of a probe's radius, by which one may be beyond what the network has seen
MOST = {"cpu": 2**20, "cuda": 2**27}  # pixels of a batch, beyond which nothing gets faster
AT_ONCE = {"cpu": 2**17, "cuda": 2**27}  # pixels that the network sees at a time: what stays in a core's cache


def batch_size(shape: tuple[int, int], device: torch.device) -> int:
    """Patterns of a shape that are treated at once: what fits into a quarter of the free memory."""
    pixels = min(MOST.get(device.type, MOST["cpu"]), int(SHARE * memory.free(device) / BYTES))
    return max(1, pixels // (shape[0] * shape[1]))


class NetworkDetector:
    """Finds Bragg peaks with a trained network; intensities are in volts where pixel and energy are known.

    Args:
        trained: Network with its recipe, as :func:`fourdcrystal.modelfile.load` gives it.
        device: Where to compute, such as ``cpu``, ``cuda`` or ``cuda:1``.
        threshold: Weakest peak that is kept, as a fraction of the strongest of its pattern.
        refine: What refines positions, of :func:`fourdcrystal.refinements.named`; only peaks that counts stand behind
            are kept then. None: the network's peaks as they are.
    """

    in_volts = True

    def __init__(
        self,
        trained: modelfile.TrainedModel,
        device: str | torch.device = "cpu",
        threshold: float = THRESHOLD,
        refine: Refinement | None = None,
    ) -> None:
        self.device, self.threshold = torch.device(device), threshold
        self.network, self._weights = trained.network.to(self.device), _hashed(trained.network)
        self.rounded = bfloat16.fast_on(self.device)
        if self.rounded:
            self.network = copy.deepcopy(self.network)  # the one that was given stays as it is
            for part in self.network.children():
                if part is not self.network.head:  # its numbers are potentials and heights
                    bfloat16.ready(part)
        self.refine, self.method = refine, "network" if refine is None else f"network, {refine.name}"
        self.width, self.sigma = (float(trained.data["labels"][name]) for name in ("width", "sigma"))
        self.step = trained.network.model.step
        self.trained_radii, self.trained_shape = trained.data["radius_px"], tuple(trained.data["shape"])
        self.trained_pixels = trained.data["pixel_invA"]
        self.catalogue = trained.data["catalogue"]
        sizes = [self.width, self.sigma, *self.trained_radii, *self.trained_pixels, *self.trained_shape]
        if not all(math.isfinite(size) and size > 0 for size in sizes):
            raise ValueError("widths, radii and pixels must be positive numbers")
        self.learned, self.learned_before = (frozenset(trained.data[key]) for key in ("learned", "learned_before"))

    @classmethod
    def load(
        cls,
        path: str | Path,
        device: str | torch.device = "cpu",
        threshold: float = THRESHOLD,
        refine: Refinement | None = None,
    ) -> "NetworkDetector":
        """A detector from a model file; arguments as above.

        Raises:
            InputError: if the file is missing, isn't a model of this package, or doesn't say what was learned from.
        """
        trained = modelfile.load(Path(path), device)
        try:
            return cls(trained, device, threshold, refine)
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"{path}: doesn't say all that this version wants to know of what its network learned from "
                f"({type(error).__name__}: {error}), so train it again"
            ) from error

    def batch_size(self, shape: tuple[int, int]) -> int:
        """Patterns of a shape that are treated at once; small ones take the network's frame."""
        x, y = (max(sides) for sides in zip(shape, self.trained_shape, strict=True))
        return batch_size((x, y), self.device)

    @property
    def identity(self) -> str:
        """What peaks depend on besides the scan: the weights, to the bit, and the options."""
        return f"{self.method} {self.threshold} {self._weights} {self.refine.identity if self.refine else ''}"

    def doubts(self, shape: tuple[int, int], radius: float, dq: float) -> str | None:
        """What speaks against using the network on patterns of a shape; nothing if it has seen such ones.

        Args:
            shape: Pixels along q_x and q_y.
            radius: Of the probe's disk [px].
            dq: Size of a pixel [1/Å].
        """
        binning = self.binning(shape, radius)
        binned = f" of {binning} x {binning}" if binning > 1 else ""
        said: list[str | None] = []
        low, high = self.trained_radii
        if not (1 - MARGIN) * low <= radius / binning <= (1 + MARGIN) * high:
            mend = f"; --bin {math.ceil(radius / high)} would help" if radius > high else ""
            said.append(
                f"the probe's disk has a radius of {radius / binning:.1f} px{binned}, the network knows {low:.1f} to "
                f"{high:.1f} px, so its peaks may be wrong{mend}"
            )
        low, high = self.trained_pixels
        if not (1 - MARGIN) * low <= dq * binning <= (1 + MARGIN) * high:
            said.append(
                f"pixels{binned} are {dq * binning:.3g} 1/Å wide, the network knows {low:.2g} to {high:.2g} 1/Å, so "
                "intensities and heights may be wrong"
            )
        if any(side > binning * known for side, known in zip(shape, self.trained_shape, strict=True)):
            most = " x ".join(map(str, self.trained_shape))
            said.append(
                f"patterns of {shape[0]} x {shape[1]} px are larger than the {most} px that the network knows, and "
                "can't be binned to disks that it knows, so intensities and heights may be wrong"
            )
        if self.refine is not None:
            said.append(self.refine.doubts(radius))
        return "; ".join(doubt for doubt in said if doubt) or None

    def binning(self, shape: tuple[int, int], radius: float) -> int:
        """By how much patterns are binned for the network, so that they are no larger than what it learned from.

        Args:
            shape: Of the patterns [px].
            radius: Of the vacuum probe's disk [px]; it stays at least as large as the smallest that was learned from.
        """
        fits = max(math.ceil(side / known) for side, known in zip(shape, self.trained_shape, strict=True))
        return max(1, min(fits, int(radius / self.trained_radii[0])))

    @torch.inference_mode()
    def maps(self, patterns: np.ndarray, probe: np.ndarray, pixel: Pixel, binning: int = 1) -> tuple[Tensor, Tensor]:
        """Maps of U_g [dq²] and q_z [λ dq²] of binned patterns, each (N, ⌈X / binning⌉, ⌈Y / binning⌉).

        The network sees them in the frame that it knows (:mod:`fourdcrystal.frame`). dq is that of binned pixels.

        Args:
            patterns: Counts, (N, X, Y).
            probe: Vacuum probe, (X, Y).
            pixel: Of the patterns, before they are binned.
            binning: Pixels that are added up along each side.
        """
        x, y = patterns.shape[-2:]
        frame = Frame.around((x, y), correlation.centre(probe), binning, self.trained_shape, self.step)

        def prepared(images: np.ndarray) -> Tensor:
            """Images (N, X, Y) as the network sees them, (N, 1, X', Y')."""
            stack = torch.as_tensor(np.ascontiguousarray(images, dtype=np.float32)).to(self.device)[:, None]
            return frame.put(stack.clamp(min=0))

        stack, vacuum_probe = prepared(patterns), prepared(probe[None])
        at_once = max(1, AT_ONCE.get(self.device.type, AT_ONCE["cpu"]) // (stack.shape[-2] * stack.shape[-1]))
        known = torch.tensor([[*vars(pixel.binned(binning)).values()]], dtype=torch.float32, device=self.device)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.rounded):
            made = [self.network(some, vacuum_probe, known) for some in stack.split(at_once)]
        ug, qz = (frame.cut(torch.cat([part[name][:, 0] for part in made])) for name in ("ug", "qz"))
        return ug, qz + frame.tilt(self.device)

    def detect(
        self,
        patterns: np.ndarray,
        probe: np.ndarray,
        pixel: Pixel,
        threshold: float | None = None,
        faint: bool = False,
    ) -> Peaks:
        """Peaks of patterns; a pattern that is empty or not finite has none.

        Args:
            patterns: Counts, (N, X, Y).
            probe: Vacuum probe, (X, Y).
            pixel: Of the patterns, which gives potentials and heights their units; where it isn't known, heights aren't
                either, and intensities are U_g / dq² [px²].
            threshold: Weakest peak over the strongest; none: the detector's.
            faint: With a refinement, keep peaks that only a scan can tell from noise, too
                (:mod:`fourdcrystal.occupancy`).
        """
        threshold = self.threshold if threshold is None else threshold
        usable = np.isfinite(patterns).all((1, 2)) & (patterns.max((1, 2), initial=0) > 0)
        if not usable.any():
            return Peaks.none()
        size, kept = self.batch_size(patterns.shape[1:]), np.flatnonzero(usable)
        radius = correlation.radius(probe)
        parts, binning = [], self.binning(patterns.shape[1:], radius)
        for start in range(0, len(kept), size):
            ug, qz = self.maps(patterns[kept[start : start + size]], probe, pixel, binning)
            parts.append(peaks.extract(ug, qz, self.width, PAIRED * threshold, FLOOR))
        found = Peaks.joined(parts, [min(size, len(kept) - s) for s in range(0, len(kept), size)])
        # pixel i of a binned pattern has its centre at binning · i + (binning - 1) / 2
        at, middle, seen = found.positions * binning, (binning - 1) / 2, pixel.binned(binning)
        found = replace(
            found,
            pattern=kept[found.pattern],
            qx_px=at[:, 0] + middle,
            qy_px=at[:, 1] + middle,
            intensity=found.intensity * (seen.volts if np.isfinite(seen.volts) else binning**2),
            qz=found.qz * seen.curvature,
            sigma_px=found.sigma_px * binning,
        )
        apart = self.width * binning  # maps are read that well
        found = friedel.shared(found, correlation.centre(probe), radius, apart, pixel.curvature, self.sigma)
        found = found.above(threshold)
        if self.refine is None:
            return found
        return placed(patterns, probe, found, self.refine, pixel, faint)


def placed(
    patterns: np.ndarray,
    probe: np.ndarray,
    found: Peaks,
    refine: Refinement,
    pixel: Pixel,
    faint: bool = False,
) -> Peaks:
    """Peaks that counts stand behind, with refined positions, and with heights that agree with the counts.

    Args:
        patterns: Counts, (N, X, Y); finite where there are peaks.
        probe: Vacuum probe, (X, Y).
        found: Peaks of a network, or of another method without heights.
        refine: What refines positions.
        pixel: Of the patterns; where it isn't known, heights stay as they are.
        faint: Keep peaks that only a scan can tell from noise, too (:mod:`fourdcrystal.occupancy`).
    """
    better = significance.refined(patterns, probe, found, refine.apply, faint)
    return laue.settled(better, correlation.centre(probe), correlation.radius(probe), pixel)


def device_named(name: str) -> torch.device:
    """A device by its name, such as cpu or cuda:1; ``auto`` is a GPU where there is one.

    Raises:
        InputError: if it isn't there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise InputError(f"--device is '{name}'; allowed are auto, cpu, cuda, cuda:1 and the like") from None
    if device.type not in ("cpu", "cuda"):
        raise InputError(f"--device is '{name}'; allowed are auto, cpu, cuda, cuda:1 and the like")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InputError(
            f"--device is '{name}', but torch finds {torch.cuda.device_count()} CUDA devices here; use cpu"
        )
    return device


def _hashed(network: torch.nn.Module) -> str:
    """Checksum of a network's weights, to the bit."""
    weights = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        weights.update(name.encode() + tensor.cpu().numpy().tobytes())
    return weights.hexdigest()
