"""Every setting of the data factory, with its unit, its limits and its default.

One model per section of config.yaml. Unknown keys are refused everywhere. :mod:`fourdcrystal.recipe` reads files into
these models, words the errors and makes the table in config/README.md.
"""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from fourdcrystal import box
from fourdcrystal.crystal_settings import Crystals
from fourdcrystal.instrument_settings import DetectorSettings, Microscope, Specimen
from fourdcrystal.scan_settings import Scan
from fourdcrystal.sections import Quantity, Section, listed

# what the numbers in a store depend on
PATTERN_SECTIONS = ("seed", "orientations", "microscope", "specimen", "detector", "labels")


class Orientations(Section):
    """How each crystal is turned. Every orientation becomes one supercell."""

    unrotated: bool = Field(True, description="the crystal as its file has it (c* along the beam is not assumed)")
    zone_axes: int = Quantity(3, "orientations", "low-index zone axes, most important first", ge=0, le=100)
    max_index: int = Quantity(3, "", "largest index u, v, w of a zone axis", ge=1, le=10)
    mistilted: int = Quantity(0, "orientations", "further zone axes, each with a random mistilt", ge=0, le=1000)
    mistilt: float = Quantity(2.0, "degree", "standard deviation of each of the mistilt's two components", gt=0, le=20)
    random: int = Quantity(2, "orientations", "uniformly random rotations", ge=0, le=10000)
    roll: bool = Field(True, description="turn each zone axis about the beam by a random angle")

    @model_validator(mode="after")
    def _some(self) -> Self:
        if not (self.unrotated or self.zone_axes or self.mistilted or self.random):
            raise ValueError("asks for no orientation at all: set unrotated, zone_axes, mistilted or random")
        return self


class Labels(Section):
    """What the network is asked to find."""

    method: Literal["analytic", "potential_fft"] = Field(
        "analytic", description="from structure factors, or from the potential's 3-D Fourier transform as in 2021"
    )
    width: float = Quantity(1.5, "px", "standard deviation of a label peak", ge=0.5, le=10)
    sigma: float = Quantity(
        0.03, "1/Å", "spread σ of excitation errors that are labelled, w = exp(-s²/2σ²)", gt=0, le=1
    )
    weakest: float = Quantity(
        0.01, "", "leave out reflections below this fraction of the strongest |V_g| w", ge=0, lt=1
    )


class Training(Section):
    """Which networks; how each learns is Hydra's (config/train/experiment)."""

    experiments: list[str] = Field(["demo"], description="names of files in config/train/experiment", min_length=1)

    @field_validator("experiments")
    @classmethod
    def _trained_here(cls, names: list[str]) -> list[str]:
        """``shipped`` is the name of the package's network in results."""
        if "shipped" in names:
            raise ValueError("'shipped' isn't trained; evaluation.shipped: true scores that network")
        return names


class Evaluation(Section):
    """How detectors are scored on held-out quartets."""

    dose: Annotated[list[Annotated[float, Field(gt=0, le=1e12)]], BeforeValidator(listed)] = Quantity(
        [3e3, 1e4, 1e5, 1e6], "electrons", "electrons per pattern; each is scored", min_length=1
    )
    patterns: int = Quantity(200, "patterns", "most patterns scored per split, spread evenly over thickness", ge=1)
    edge_fit: bool = Field(False, description="also score positions refined by edge fits; slow")
    shipped: bool = Field(
        False, description="also score the network that is shipped, on held-out crystals of prototypes new to it"
    )
    match_distance: float = Quantity(
        0.05, "1/Å", "a found peak within this distance of a true one is a match", gt=0, le=1
    )


class Settings(Section):
    """All settings that own data; see config/README.md for the table."""

    results: Path = Field(Path("results"), description="folder of all outputs")
    seed: int = Field(0, description="seed of every random choice", ge=0)
    crystals: Crystals = Crystals()
    orientations: Orientations = Orientations()
    microscope: Microscope = Microscope()
    specimen: Specimen = Specimen()
    detector: DetectorSettings = DetectorSettings()
    labels: Labels = Labels()
    training: Training = Training()
    evaluation: Evaluation = Evaluation()
    scans: dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")], Scan] = Field(
        {}, description="scans to be detected, by name"
    )

    @model_validator(mode="after")
    def _geometry(self) -> Self:
        box.check_camera(self.microscope, self.specimen, self.detector)
        if self.specimen.box is None:
            # every file that the settings are written into says which box was taken
            edge = box.smallest(self.microscope, self.specimen, self.detector)
            self.__dict__["specimen"] = self.specimen.model_copy(update={"box": edge})
        else:
            box.check(self.microscope, self.specimen, self.detector)
        return self
