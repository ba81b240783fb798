"""The section ``scans`` of the settings: scans to be detected, files of a microscope or made here."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from fourdcrystal.electrons import ENERGIES
from fourdcrystal.sections import Depth, Energy, Quantity, Section, Semiangle

OWN_PROBE = {".npz", ".zarr", ".h5", ".hdf5", ".emd"}  # suffixes of files in which scan_files finds a probe, too


class Simulated(Section):
    """A 4D-STEM scan made here, with exactly known truth."""

    crystal: str = Field("", description="id in the sample sheet; must not be a training crystal")
    zone_axis: Annotated[list[int], Field(min_length=3, max_length=3)] = Field([0, 0, 1], description="[uvw] along z")
    energy: Energy = Quantity(200e3, "eV", "beam energy")
    semiangle_cutoff: Semiangle = Quantity(2.0, "mrad", "convergence semi-angle")
    thickness: Depth = Quantity(400.0, "Å", "thickness")
    grid: Annotated[list[Annotated[int, Field(ge=1, le=1000)]], Field(min_length=2, max_length=2)] = Quantity(
        [10, 10], "positions", "scan positions"
    )
    strain: float = Quantity(0.02, "", "full range of the largest strain component", ge=0, le=0.2)
    tilt: float = Quantity(5.0, "mrad", "largest tilt of the crystal, bending over the scan", ge=0, le=100)
    dose: float = Quantity(1e6, "electrons", "electrons per pattern", gt=0, le=1e12)


class Scan(Section):
    """A scan to be detected: a file with its vacuum probe, or one simulated here."""

    scan: Path | None = Field(None, description="4D-STEM file")
    probe: Path | None = Field(None, description="vacuum probe: an image, or a vacuum scan to be averaged")
    simulate: Simulated | None = Field(None, description="make the scan here instead of reading one")
    find: Literal["shipped", "trained", "correlation"] = Field(
        "shipped",
        description="what finds peaks: the network that is shipped, one trained here, or correlation with the probe",
    )
    experiment: str | None = Field(None, description="which trained one; none: the first of training.experiments")
    refine: str = Field("learned", description="what refines positions: none, learned, disk, edge, or a refiner's file")
    sampling: float | None = Quantity(None, "1/Å", "size of a detector pixel, where the file has none", gt=0, le=1)
    energy: float | None = Quantity(None, "eV", "beam energy, where the file has none", ge=ENERGIES[0], le=ENERGIES[1])
    semiangle: Semiangle | None = Quantity(None, "mrad", "semi-angle of a round probe, where there is no image of one")
    bin: int = Quantity(1, "px", "sum so many pixels along both axes of the detector", ge=1, le=64)
    crystal: Path | None = Field(None, description="what the specimen is: CIF, POSCAR or JSON; gives 3-D orientations")
    zone_axis: Annotated[list[int], Field(min_length=3, max_length=3)] | None = Field(
        None, description="[uvw] of the crystal along the beam; none: the one that fits best"
    )
    reference: str = Field("median", description="what is unstrained: median, crystal, or a region X0:X1,Y0:Y1")
    chunks: int = Quantity(1, "jobs", "jobs that share the search; one more puts them together", ge=1, le=10000)

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if (self.scan is None) == (self.simulate is None):
            raise ValueError("needs either scan (a file, with probe) or simulate")
        if self.probe is not None and self.semiangle is not None:
            raise ValueError("has both probe and semiangle; leave semiangle out, since an image says more")
        nothing = self.probe is None and self.semiangle is None
        if self.scan is not None and nothing and self.scan.suffix.lower() not in OWN_PROBE:
            raise ValueError("needs probe, the file of the vacuum probe, or semiangle, of a round one")
        if self.crystal is None and (self.zone_axis is not None or self.reference == "crystal"):
            raise ValueError("zone_axis and reference: crystal need crystal, a structure file")
        if self.find != "trained" and self.experiment is not None:
            raise ValueError(f"names an experiment, whose network find: {self.find} doesn't use; say find: trained")
        return self
