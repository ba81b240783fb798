"""Patterns of any size in the frame that a network knows: binned, dark around them, the direct beam in the middle.

A network that has learned from images of one size takes their border for a ruler: for potentials, and for where the
beam comes through the crystal (docs/decisions/0064). So every pattern is shown to it in a frame of that size, with the
vacuum probe in the middle as far as there is room. Where there is none, heights are as if the beam came through the
middle: reflections on the Ewald sphere, of height -|q|² / 2 in units of λ dq², seem to have -|q + d|² / 2 for a beam
that is off by d, so q·d + |d|² / 2 is added.
"""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor


@dataclass(frozen=True)
class Frame:
    """Where binned patterns lie in the images that a network sees; everything along axes 0 and 1, in binned pixels.

    Attributes:
        binning: Pixels of a side that become one.
        shape: Of the patterns.
        first: Where they begin in the frame.
        size: Of the frame.
        beam: Centre of the vacuum probe in the patterns.
    """

    binning: int
    shape: tuple[int, int]
    first: tuple[int, int]
    size: tuple[int, int]
    beam: tuple[float, float]

    @classmethod
    def around(
        cls, shape: tuple[int, int], beam: tuple[float, float], binning: int, known: tuple[int, int], step: int
    ) -> Self:
        """The frame of a network for patterns.

        Args:
            shape: Of the patterns [px].
            beam: Centre of the vacuum probe in them [px].
            binning: Pixels of a side that become one.
            known: Of the images that the network learned from; patterns that are larger get a larger frame.
            step: Sides must be multiples of this.
        """
        binned = [-(-side // binning) for side in shape]
        size = [max(side, -(-n // step) * step) for side, n in zip(known, binned, strict=True)]
        at = [(centre + 0.5) / binning - 0.5 for centre in beam]
        first = [
            min(max(side // 2 - round(centre), 0), side - n) for side, centre, n in zip(size, at, binned, strict=True)
        ]
        return cls(binning, (binned[0], binned[1]), (first[0], first[1]), (size[0], size[1]), (at[0], at[1]))

    def put(self, images: Tensor) -> Tensor:
        """Images (N, 1, X, Y) as the network sees them, means of binned pixels, (N, 1, *size)."""
        before = [n * self.binning for n in self.first]
        after = [
            n * self.binning - first - side for n, first, side in zip(self.size, before, images.shape[-2:], strict=True)
        ]
        padded = torch.nn.functional.pad(images, (before[1], after[1], before[0], after[0]))
        return torch.nn.functional.avg_pool2d(padded, self.binning)

    def cut(self, maps: Tensor) -> Tensor:
        """What belongs to the patterns of maps (..., *size), (..., *shape)."""
        (x, y), (n, m) = self.first, self.shape
        return maps[..., x : x + n, y : y + m]

    def tilt(self, device: torch.device | str = "cpu") -> Tensor:
        """The plane q·d + |d|² / 2 [λ dq²] that is added to heights, for a beam off the middle by d, (*shape)."""
        d = [beam + first - side // 2 for beam, first, side in zip(self.beam, self.first, self.size, strict=True)]
        x, y = (
            torch.arange(n, dtype=torch.float32, device=device) - beam
            for n, beam in zip(self.shape, self.beam, strict=True)
        )
        return x[:, None] * d[0] + y * d[1] + (d[0] ** 2 + d[1] ** 2) / 2
