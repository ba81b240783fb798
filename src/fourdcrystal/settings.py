"""Every setting of the data factory, with its unit, its limits and its default.

One model per section of config.yaml. Unknown keys are refused everywhere. :mod:`fourdcrystal.recipe` reads files into
these models, words the errors and makes the table in config/README.md.
"""

import math
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

ANTIALIAS = 2 / 3  # abTEM keeps this fraction of the Nyquist frequency
COARSEST_SAMPLING, FINEST_SAMPLING = 0.1, 0.05  # Å; what the wave's sampling is chosen from (decision 0022)


def wavelength(energy: float) -> float:
    """Relativistic electron wavelength [Å] at a beam energy [eV].

    λ = h c / sqrt(E (E + 2 m c²)); De Graef, Introduction to Conventional TEM (2003), eq. 2.34. CODATA 2018 constants.
    """
    return 12398.419843320026 / math.sqrt(energy * (energy + 2 * 510998.95))


def _listed(value: Any) -> Any:
    return value if isinstance(value, list | tuple) else [value]


def _automatic(value: Any) -> Any:
    return None if value == "auto" else value


def Quantity(default: Any, unit: str, description: str, **limits: Any) -> Any:
    """A field with a unit; the unit goes into the table of settings and into error messages."""
    return Field(default, description=description, json_schema_extra={"unit": unit}, **limits)


class Section(BaseModel):
    """A group of settings: unknown keys refused, values fixed after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


def _ascending(values: list[float]) -> list[float]:
    if sorted(set(values)) != list(values):
        raise ValueError("must be listed in ascending order without repeats")
    return values


T = TypeVar("T")
Ascending = Annotated[list[T], BeforeValidator(_listed), AfterValidator(_ascending)]  # one value may stand for a list
Energy = Annotated[float, Field(ge=20e3, le=1e6)]
Semiangle = Annotated[float, Field(ge=0.05, le=50)]
Depth = Annotated[float, Field(gt=0, le=20000)]
Fraction = Annotated[float, Field(ge=0, le=0.9)]


# ------------------------------------------------------------------------------------------------------------ crystals
class Limits(Section):
    """What can be simulated; a structure beyond a limit is counted as rejected, with the reason."""

    max_sites: int = Quantity(120, "sites", "most sites in the primitive cell", ge=1, le=2000)
    max_edge: float = Quantity(40.0, "Å", "longest edge of the primitive cell", gt=1, le=200)
    min_distance: float = Quantity(0.65, "Å", "shortest distance between two atoms (H-H is 0.74 Å)", ge=0.1, le=3)


class MaterialsProject(Section):
    """Options of ``source: mp``. The key comes from MP_API_KEY or pymatgen's settings, never from here."""

    endpoint: str | None = Field(None, description="address of the API; the Materials Project's own if empty")
    database_version: str | None = Field(None, description="refuse any other version of the database; none: the newest")
    batch: int = Quantity(300, "ids", "ids asked for in one request", ge=1, le=1000)
    cache: Path = Field(Path(".cache/mp"), description="folder of downloaded structures, one subfolder a version")
    offline: bool = Field(False, description="read the cache only")
    gnome: bool = Field(False, description="also GNoME's structures, which may not be used commercially")
    elements: list[str] = Field([], description="only crystals that contain all of these elements")


class Optimade(Section):
    """Options of ``source: optimade``."""

    provider: str = Field("", description="alias (cod, mp, oqmd, ...) or base URL of an OPTIMADE provider")
    filter: str = Field("", description='OPTIMADE filter, such as \'elements HAS ALL "Si","O" AND nsites<20\'')
    max_structures: int = Quantity(1000, "structures", "stop after this many", ge=1)
    cache: Path = Field(
        Path(".cache/optimade"), description="folder of downloaded structures, one subfolder a version (or a day)"
    )


class Files(Section):
    """Options of ``source: files``."""

    paths: list[Path] = Field([], description="CIF, POSCAR or pymatgen JSON files, folders of them, or a parquet table")
    licence: str = Field("unspecified", description="licence of the structures, kept in every store")
    citation: str = Field("", description="how to cite the structures, kept in every store")


class Split(Section):
    """Which crystals the network never sees. Prototypes are held out whole."""

    validation: Fraction = Field(0.1, description="fraction of crystals for early stopping")
    test: Fraction = Field(0.1, description="fraction of crystals for evaluation, of prototypes that are trained on")
    test_prototypes: Fraction = Field(0.1, description="fraction of prototypes held out whole, with kindred ones")
    hold_out: list[str] = Field([], description="prototypes that are selected and held out whole in any case")


class Crystals(Section):
    """Which crystals."""

    source: Literal["aflow", "mp", "optimade", "files"] = Field("aflow", description="where structures come from")
    sheet: Path | None = Field(None, description="sample sheet (crystals.csv) that freezes a selection; none: select")
    per_job: int = Quantity(1, "crystals", "simulated by one job; changes neither data nor paths", ge=1, le=10000)
    mp: MaterialsProject = MaterialsProject()
    optimade: Optimade = Optimade()
    files: Files = Files()
    limits: Limits = Limits()
    classes: Literal["aflow", "protostructure"] = Field(
        "aflow", description="classes are prototypes of the AFLOW library, or labels of space group and Wyckoff sites"
    )
    total: int | None = Quantity(None, "crystals", "scale the square-root law to this total; none: as it is", ge=1)
    per_class_min: int = Quantity(1, "crystals", "at least this many of each prototype, if there are", ge=0)
    per_class_max: int | None = Quantity(None, "crystals", "at most this many of each prototype", ge=1)
    stratify: bool = Field(False, description="spread the selection of a class over its crystal systems")
    other: bool = Field(True, description="keep crystals of no known prototype as the class 'other'")
    split: Split = Split()


# -------------------------------------------------------------------------------------------------------- orientations
class Orientations(Section):
    """How each crystal is turned. Every orientation becomes one supercell."""

    unrotated: bool = Field(True, description="the crystal as its file has it (c* along the beam is not assumed)")
    zone_axes: int = Quantity(3, "orientations", "low-index zone axes, most important first", ge=0, le=100)
    max_index: int = Quantity(3, "", "largest index u, v, w of a zone axis", ge=1, le=10)
    mistilted: int = Quantity(0, "orientations", "further zone axes, each with a random mistilt", ge=0, le=1000)
    mistilt: float = Quantity(2.0, "degree", "standard deviation of each of the mistilt's two components", ge=0, le=20)
    random: int = Quantity(2, "orientations", "uniformly random rotations", ge=0, le=10000)
    roll: bool = Field(True, description="turn each zone axis about the beam by a random angle")

    @model_validator(mode="after")
    def _some(self) -> Self:
        if not (self.unrotated or self.zone_axes or self.mistilted or self.random):
            raise ValueError("asks for no orientation at all: set unrotated, zone_axes, mistilted or random")
        return self


# ---------------------------------------------------------------------------------------------------------- microscope
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


# ------------------------------------------------------------------------------------------------------------ specimen
class Thermal(Section):
    """Thermal vibration of the atoms."""

    model: Literal["none", "debye_waller", "frozen_phonon"] = Field(
        "debye_waller", description="damped scattering factors, or an average over displaced atoms"
    )
    B: float | None = Quantity(None, "Å²", "isotropic B = 8π²u² of every element; none: per element", ge=0, le=20)
    configurations: int = Quantity(8, "", "displaced copies that frozen_phonon averages over", ge=1, le=1000)


class Specimen(Section):
    """The crystal under the beam."""

    thickness: Ascending[Depth] = Quantity(
        [100.0, 200.0], "Å", "exit planes, each a multiple of slice_thickness", min_length=1
    )
    box: Annotated[float | None, BeforeValidator(_automatic)] = Quantity(
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
    def _planes(self) -> Self:
        for t in self.thickness:
            if abs(t / self.slice_thickness - round(t / self.slice_thickness)) > 1e-6:
                raise ValueError(
                    f"thickness {t:g} Å is not a multiple of slice_thickness {self.slice_thickness:g} Å; "
                    "exit planes lie between slices"
                )
        return self


# ------------------------------------------------------------------------------------------------------------ detector
class DetectorSettings(Section):
    """The camera. Give sampling or q_max, not both."""

    shape: Annotated[list[Annotated[int, Field(ge=16, le=4096)]], Field(min_length=2, max_length=2)] = Quantity(
        [128, 128], "px", "pixels along qx, qy"
    )
    sampling: float | None = Quantity(None, "1/Å", "size of a pixel (q = 1/d)", gt=1e-4, le=1)
    q_max: float | None = Quantity(None, "1/Å", "half width of the shorter side, sampling · shape / 2", gt=0.01, le=20)

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


# --------------------------------------------------------------------------------------------------- training, scoring
class Training(Section):
    """Which networks; how each learns is Hydra's (config/train/experiment)."""

    experiments: list[str] = Field(["demo"], description="names of files in config/train/experiment", min_length=1)


class Evaluation(Section):
    """How detectors are scored on held-out quartets."""

    dose: Annotated[list[float], BeforeValidator(_listed)] = Quantity(
        [1e4, 1e6], "electrons", "electrons per pattern; each is scored", min_length=1
    )
    patterns: int = Quantity(200, "patterns", "most patterns scored per split, spread evenly over thickness", ge=1)
    edge_fit: bool = Field(False, description="also score positions refined by edge fits; slow")
    match_distance: float = Quantity(
        0.05, "1/Å", "a found peak within this distance of a true one is a match", gt=0, le=1
    )


class Simulated(Section):
    """A 4D-STEM scan made here, with exactly known truth."""

    crystal: str = Field("", description="id in the sample sheet; must not be a training crystal")
    zone_axis: Annotated[list[int], Field(min_length=3, max_length=3)] = Field([0, 0, 1], description="[uvw] along z")
    energy: Energy = Quantity(200e3, "eV", "beam energy")
    semiangle_cutoff: Semiangle = Quantity(2.0, "mrad", "convergence semi-angle")
    thickness: Depth = Quantity(400.0, "Å", "thickness")
    grid: Annotated[list[int], Field(min_length=2, max_length=2)] = Quantity([10, 10], "positions", "scan positions")
    strain: float = Quantity(0.02, "", "full range of the largest strain component", ge=0, le=0.2)
    tilt: float = Quantity(5.0, "mrad", "largest tilt of the crystal, bending over the scan", ge=0, le=100)
    dose: float = Quantity(1e6, "electrons", "electrons per pattern", gt=0, le=1e12)


class Scan(Section):
    """A scan to be detected: a file with its vacuum probe, or one simulated here."""

    scan: Path | None = Field(None, description="4D-STEM file")
    probe: Path | None = Field(None, description="vacuum probe: an image, or a vacuum scan to be averaged")
    simulate: Simulated | None = Field(None, description="make the scan here instead of reading one")
    find: Literal["network", "correlation"] = Field(
        "network", description="what finds the peaks: a network trained here, or correlation, which needs none"
    )
    experiment: str | None = Field(None, description="which trained network; none: the first of training.experiments")
    refine: str = Field("learned", description="what refines positions: none, learned, disk, edge, or a refiner's file")
    sampling: float | None = Quantity(None, "1/Å", "size of a detector pixel, where the file has none", gt=0, le=1)
    energy: Energy | None = Quantity(None, "eV", "beam energy, where the file has none")
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
        if self.scan is not None and self.probe is None and self.semiangle is None and self.scan.suffix != ".npz":
            raise ValueError("needs probe, the file of the vacuum probe, or semiangle, of a round one")
        if self.crystal is None and (self.zone_axis is not None or self.reference == "crystal"):
            raise ValueError("zone_axis and reference: crystal need crystal, a structure file")
        if self.find == "correlation" and self.experiment is not None:
            raise ValueError("names an experiment, but correlation uses no network")
        return self


# ----------------------------------------------------------------------------------------------------------------- all
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
        from fourdcrystal import box  # which works with these models

        box.check_camera(self.microscope, self.specimen, self.detector)
        if self.specimen.box is None:
            # every file that the settings are written into says which box was taken
            edge = box.smallest(self.microscope, self.specimen, self.detector)
            self.__dict__["specimen"] = self.specimen.model_copy(update={"box": edge})
        else:
            box.check(self.microscope, self.specimen, self.detector)
        return self


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
    """Coarsest allowed real-space sampling of the wave [Å]: as set, or fine enough for every pixel of the detector."""
    if specimen.sampling is not None:
        return specimen.sampling
    return min(COARSEST_SAMPLING, ANTIALIAS / (2 * detector.half_width))
