"""What a slice of a crystal does to an electron wave: its transmission function, band-limited."""

from typing import Any

import numpy as np

from fourdcrystal.propagation import Grid
from fourdcrystal.waves import DeviceWave, Wave


class Transmission:
    """Turns potential slices into band-limited transmission functions for one energy."""

    def __init__(self, grid: Grid, interaction: float, work: Wave | DeviceWave) -> None:
        """Prepare the transmission functions of an energy.

        Args:
            grid: The wave's grid.
            interaction: Interaction constant [1/(V Å)].
            work: A wave to compute in; may be shared with others.
        """
        self._work, self._interaction = work, np.float32(interaction)
        self._aperture = work.kernel(grid.aperture(work.full) / grid.n**2)
        self._exponential = work.samples()
        self._phase = work.xp.empty(work.parts(self._exponential)[0].shape, dtype=np.float32)

    def __call__(self, potential: Any, out: Any) -> None:
        """exp(iσV), band-limited, into ``out``, samples of the wave.

        Args:
            potential: Projected potential of the slice [V Å], in the order of one part of samples.
            out: Where the result goes.
        """
        xp = self._work.xp
        xp.multiply(potential, self._interaction, out=self._phase)
        real, imaginary = self._work.parts(self._exponential)
        xp.cos(self._phase, out=real)
        xp.sin(self._phase, out=imaginary)
        self._work.put(self._exponential)
        self._work.filter(self._aperture)
        self._work.get(out)
