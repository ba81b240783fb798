"""Settings of what is simulated: microscope, specimen and camera, and the box and sampling that follow from them."""

import math
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from fourdcrystal.sections import Ascending, Depth, Energy, Quantity, Section, Semiangle, automatic

ANTIALIAS = 2 / 3  # of Nyquist's frequency; what waves keep (propagation.CUTOFF, abTEM's number) is a trifle less
COARSEST_SAMPLING, FINEST_SAMPLING = 0.1, 0.05  # Å; what the wave's sampling is chosen from (decision 0022)
LEAST_MARGIN = 0.5  # Å; what comes near the seam is counted on pixels of a quarter of the margin


class Aberrations(Section):
    """Of the probe-forming lens; abTEM's names and signs."""

    defocus: float = Quantity(0.0, "Å", "positive: underfocus", ge=-1e6, le=1e6)
    Cs: float = Quantity(0.0, "Å", "spherical aberration (1 mm = 1e7 Å)", ge=-1e9, le=1e9)
    astigmatism: float = Quantity(0.0, "Å", "two-fold astigmatism C12", ge=-1e6, le=1e6)
    astigmatism_angle: float = Quantity(0.0, "degree", "direction of the two-fold astigmatism", ge=-360, le=360)


class Aperture(Section):
    """Shape of the probe-forming aperture."""

    shape: Literal["disk", "bullseye", "image"] = Field("disk", description="plain, patterned, or a picture of yours")
    rings: int = Quantity(4, "", "rings of a bullseye", ge=1, le=20)
    spokes: int = Quantity(4, "", "spokes of a bullseye", ge=0, le=20)
    bar_width: float = Quantity(0.4, "", "width of a spoke over the aperture's radius", gt=0, le=1)
    image: Path | None = Field(None, description="square picture (.npy or .png) over the aperture's diameter, 0 to 1")


class Microscope(Section):
    """The instrument."""

    energy: Ascending[Energy] = Quantity([200e3], "eV", "beam energies", min_length=1)
    semiangle_cutoff: Ascending[Semiangle] = Quantity([2.0], "mrad", "convergence semi-angles", min_length=1)
    aberrations: Aberrations = Aberrations()
    aperture: Aperture = Aperture()


BFactor = Annotated[float, Field(ge=0, le=20)]


class Thermal(Section):
    """Thermal vibration of the atoms."""

    model: Literal["none", "debye_waller", "frozen_phonon"] = Field(
        "debye_waller", description="damped scattering factors, or an average over displaced atoms"
    )
    B: float | None = Quantity(None, "Å²", "isotropic B = 8π²u² of every element; none: per element", ge=0, le=20)
    elements: dict[str, BFactor] = Quantity({}, "Å²", "B of single elements, such as {Si: 0.5}, instead of the above")
    configurations: int = Quantity(8, "", "displaced copies that frozen_phonon averages over", ge=1, le=1000)


class Specimen(Section):
    """The crystal under the beam."""

    thickness: Ascending[Depth] = Quantity(
        [100.0, 200.0], "Å", "exit planes, each a multiple of slice_thickness", min_length=1
    )
    box: Annotated[float | None, BeforeValidator(automatic)] = Quantity(
        None,
        "Å",
        "least lateral edge, the real one is a multiple of 1/detector.sampling; none or auto: the smallest that keeps "
        "every probe off the lateral seam",
        ge=5,
        le=2000,
    )
    slice_thickness: float = Quantity(2.0, "Å", "multislice step", gt=0.1, le=10)
    sampling: float | None = Quantity(
        None,
        "Å",
        "real-space sampling of the wave; none: 0.1 Å, or finer where the detector needs it",
        gt=0.01,
        le=0.5,
    )
    projection: Literal["infinite", "finite"] = Field(
        "infinite", description="project each atom into one slice, or integrate its potential within each slice"
    )
    thermal: Thermal = Thermal()
    seam_margin: float = Quantity(3.0, "Å", "the lateral seam's surroundings that the probe must not see", ge=0, le=50)
    seam_limit: float = Quantity(
        0.01,
        "",
        "largest fraction f of the intensity within that margin at any exit plane; pixels err by up to √f",
        gt=0,
        le=1,
    )

    @model_validator(mode="after")
    def _margin(self) -> Self:
        if 0 < self.seam_margin < LEAST_MARGIN:
            raise ValueError(
                f"seam_margin {self.seam_margin:g} Å is too narrow; it is 0 or at least {LEAST_MARGIN:g} Å"
            )
        return self

    @model_validator(mode="after")
    def _planes(self) -> Self:
        for t in self.thickness:
            if abs(t / self.slice_thickness - round(t / self.slice_thickness)) > 1e-6:
                raise ValueError(
                    f"thickness {t:g} Å is not a multiple of slice_thickness {self.slice_thickness:g} Å; "
                    "exit planes lie between slices"
                )
        return self


class DetectorSettings(Section):
    """The camera. Give sampling or q_max, not both."""

    shape: Annotated[list[Annotated[int, Field(ge=16, le=4096)]], Field(min_length=2, max_length=2)] = Quantity(
        [128, 128], "px", "pixels along qx, qy"
    )
    sampling: float | None = Quantity(None, "1/Å", "size of a pixel (q = 1/d); none, and no q_max: 0.02", gt=1e-4, le=1)
    q_max: float | None = Quantity(
        None, "1/Å", "half width of the shorter side, sampling · shape / 2; none: from sampling", gt=0.01, le=20
    )

    @model_validator(mode="after")
    def _one_scale(self) -> Self:
        if self.sampling is not None and self.q_max is not None:
            raise ValueError("gives both sampling and q_max; one follows from the other")
        return self

    @property
    def dq(self) -> float:
        """Size of a pixel [1/Å]; 0.02 (a 50 Å box, the 2021 recipe) where neither sampling nor q_max is given."""
        if self.q_max is not None:
            return 2 * self.q_max / min(self.shape)
        return 0.02 if self.sampling is None else self.sampling

    @property
    def half_width(self) -> float:
        """Largest |q| of a pixel along the longer side [1/Å]."""
        return max(self.shape) / 2 * self.dq

    @property
    def corner(self) -> float:
        """Largest |q| that the frame holds, in its corner [1/Å]."""
        return math.hypot(*self.shape) / 2 * self.dq


def box_edge(specimen: Specimen, detector: DetectorSettings) -> float:
    """Lateral edge of the supercell [Å]: the least multiple of 1/dq that is not below ``specimen.box``.

    Only then do the wave's Fourier pixels subdivide the detector's pixels evenly.

    Raises:
        ValueError: if the box is still to be chosen, which ``Settings`` does (:func:`fourdcrystal.box.smallest`).
    """
    if specimen.box is None:
        raise ValueError("the specimen's box has not been chosen")
    return math.ceil(specimen.box * detector.dq - 1e-9) / detector.dq


def wave_sampling(specimen: Specimen, detector: DetectorSettings) -> float:
    """Coarsest allowed real-space sampling of the wave [Å]: as set, or fine enough for the detector's longer side.

    What lies farther out than that side, in the corners, is dark (:func:`fourdcrystal.box.reach`).
    """
    if specimen.sampling is not None:
        return specimen.sampling
    return min(COARSEST_SAMPLING, ANTIALIAS / (2 * detector.half_width))
