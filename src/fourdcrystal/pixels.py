"""What a camera's pixels mean: the units in which a picture tells heights and potentials."""

from dataclasses import dataclass

from fourdcrystal.electrons import scattering, wavelength


@dataclass(frozen=True)
class Pixel:
    """A square pixel of the diffraction plane at a beam energy (docs/decisions/0044, 0057).

    Attributes:
        curvature: λ dq² [1/Å]: twice the height of the Ewald sphere one pixel from the direct beam. NaN: not known.
        volts: The V_g whose U_g = 2 m e V_g / h² is dq² [V]. NaN: not known.
    """

    curvature: float
    volts: float

    @classmethod
    def of(cls, dq: float, energy: float | None) -> "Pixel":
        """A pixel of a size [1/Å] at a beam energy [eV]; without one nothing is known."""
        if energy is None:
            return cls.unknown()
        return cls(wavelength(energy) * dq**2, dq**2 / scattering(energy))

    @classmethod
    def unknown(cls) -> "Pixel":
        """A pixel of which nothing is known."""
        return cls(float("nan"), float("nan"))

    def binned(self, side: int) -> "Pixel":
        """``side`` x ``side`` of these pixels as one."""
        return Pixel(self.curvature * side**2, self.volts * side**2)
