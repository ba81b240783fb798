"""The section ``crystals`` of the settings: where structures come from, which are taken, which are held out."""

from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from fourdcrystal.sections import Fraction, Quantity, Section


def _open(address: str) -> str:
    """An address that holds no secret: settings are kept in stores and reports, and said in messages."""
    if urlsplit(address).username is not None:
        raise ValueError("holds a user's name or password, which would be seen in reports; allowed are plain addresses")
    return address


Address = Annotated[str, AfterValidator(_open)]


class Limits(Section):
    """What can be simulated; a structure beyond a limit is counted as rejected, with the reason."""

    max_sites: int = Quantity(120, "sites", "most sites in the primitive cell", ge=1, le=2000)
    max_edge: float = Quantity(40.0, "Å", "longest edge of the primitive cell", gt=1, le=200)
    min_distance: float = Quantity(0.65, "Å", "shortest distance between two atoms (H-H is 0.74 Å)", ge=0.1, le=3)


class MaterialsProject(Section):
    """Options of ``source: mp``. The key comes from MP_API_KEY or pymatgen's settings, never from here."""

    endpoint: Address | None = Field(None, description="address of the API; the Materials Project's own if empty")
    database_version: str | None = Field(None, description="refuse any other version of the database; none: the newest")
    batch: int = Quantity(300, "ids", "ids asked for in one request", ge=1, le=1000)
    cache: Path = Field(Path(".cache/mp"), description="folder of downloaded structures, one subfolder a version")
    offline: bool = Field(False, description="read the cache only")
    gnome: bool = Field(False, description="also GNoME's structures, which may not be used commercially")
    elements: list[str] = Field([], description="only crystals that contain all of these elements")


class Optimade(Section):
    """Options of ``source: optimade``."""

    provider: Address = Field("", description="alias (cod, mp, oqmd, ...) or base URL of an OPTIMADE provider")
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
    stratify: bool = Field(
        False, description="share the total among crystal systems, and spread each class over its own"
    )
    other: bool = Field(True, description="keep crystals of no known prototype as the class 'other'")
    split: Split = Split()
