"""The data card: what a data set holds, where its crystals come from, under which licences, and how to read it."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fourdcrystal import catalogue, places, stores
from fourdcrystal.layout import asked

if TYPE_CHECKING:
    import pandas as pd

# each of at most five lines, without this package; a test runs them
READING = """\
With xarray, nothing is read before it is used:

```python
import xarray

store = xarray.open_zarr("patterns/{crystal}.zarr")
pattern = store.cbed.isel(orientation=0).sel(energy={energy!r}, semiangle={semiangle!r}, thickness={thickness!r})
print(store.attrs["crystal"]["formula"], dict(store.sizes), float(pattern.sum()))
```

One quartet as torch tensors:

```python
import torch, xarray

quartet = xarray.open_zarr("patterns/{crystal}.zarr").isel(orientation=0, energy=0, semiangle=0, thickness=0)
images = {{name: torch.from_numpy(quartet[name].values).float() for name in ("cbed", "probe", "vg", "qz")}}
```

All patterns of an orientation as a NumPy array (zarr decodes):

```python
import numpy, zarr

store = zarr.open_group("patterns/{crystal}.zarr", mode="r")
patterns = numpy.asarray(store["cbed"][0], dtype="float32")  # energy, semiangle, thickness, qx, qy
```

A row of `pandas.read_parquet("catalogue.parquet")` says where a quartet is: its store's name, and indices of the axes.
"""


def make(path: Path, patterns: Path) -> str:
    """The data card of a data set, in Markdown.

    Args:
        path: catalogue.parquet.
        patterns: Folder of the stores.

    Raises:
        InputError: if the catalogue can't be used or is stale, or a store can't be used.
    """
    catalogue.check_fresh(path, patterns)
    table = catalogue.read(path)
    crystals = table.drop_duplicates("crystal")
    about = [stores.metadata(patterns / f"{crystal}.zarr") for crystal in crystals["crystal"]]
    recipe, versions = about[0]["recipe"], about[0]["versions"]
    size = sum(sum(places.at(patterns / f"{crystal}.zarr").sizes().values()) for crystal in crystals["crystal"])
    detector = recipe["detector"]
    shape = f"{detector['shape'][0]} x {detector['shape'][1]}"
    parts = [
        "# Data card\n",
        f"{len(table):,} image quartets (vacuum probe, CBED pattern, potential map V_g, out-of-plane map q_z) of "
        f"{len(crystals):,} crystals in {table['prototype'].nunique():,} structure prototypes, simulated by multislice "
        f"with 4D-Crystal {versions['fourdcrystal']}. {shape} px, {size / 1e6:,.1f} MB.\n",
        f"Checksum of the whole (SHA-256, in `catalogue.parquet`): `{catalogue.identity(path)}`\n",
        "## What is in it\n",
        _lines(_ranges(table, recipe)),
        "## Splits\n",
        _table(("split", "crystals", "prototypes", "quartets"), _splits(table)),
        "Splits are by crystal. Prototypes of `test_prototype` are in no other split. `other` is no prototype: its "
        "crystals are held out by space group and Wyckoff positions.\n",
        "## Classes\n",
        _table(("prototype", "crystals", "quartets", "split"), _classes(table)),
        "## Sources and licences\n",
        _table(("source", "version", "licence", "crystals", "how to cite"), _sources(about)),
        "Every store names its crystal's source, id, licence and citation in its attributes (`crystal.source`)."
        " Patterns are derived from these structures: pass the attribution on.\n",
        "## Reading\n",
        READING.format(crystal=table["crystal"].iloc[0], **{name: values[0] for name, values in asked(recipe).items()}),
        "The format is described in docs/data_format.md of 4D-Crystal. `python scripts/verify.py FOLDER` checks every"
        " byte, `python scripts/remake.py --row N` makes any quartet again.\n",
        "## Limits\n",
        _lines(_limits(table, recipe)),
    ]
    return "\n".join(parts)


def _ranges(table: "pd.DataFrame", recipe: Mapping[str, Any]) -> list[str]:
    def values(column: str, scale: float = 1.0) -> str:
        """The values of a column, ascending."""
        return ", ".join(f"{value * scale:g}" for value in sorted(table[column].unique()))

    purposes = table.drop_duplicates(["crystal", "orientation"])["purpose"].value_counts(sort=False)
    turned = ", ".join(f"{count} {name}" for name, count in purposes.sort_index().items() if count)
    return [
        f"beam energies: {values('energy_eV', 1e-3)} keV",
        f"convergence semi-angles: {values('semiangle_mrad')} mrad",
        f"thicknesses: {values('thickness_A')} Å, in slices of {recipe['specimen']['slice_thickness']:g} Å",
        f"orientations: {turned}; largest mistilt {table['mistilt_mrad'].max():.1f} mrad",
        f"thermal vibration: {recipe['specimen']['thermal']['model']}",
        f"labels: {recipe['labels']['method']}, excitation errors within σ = {recipe['labels']['sigma']:g} 1/Å",
    ]


def _limits(table: "pd.DataFrame", recipe: Mapping[str, Any]) -> list[str]:
    seam, lost = table["seam_fraction"].max(), 1 - table["intensity"].min()
    return [
        "elastic scattering only: no inelastic background, noise or detector; training adds them",
        f"the box is not periodic with a tilted crystal: at most {100 * seam:.2g} % of a pattern's beam came near its "
        f"lateral seam (limit: {100 * recipe['specimen']['seam_limit']:g} %)",
        f"at most {100 * max(lost, 0):.2g} % of the beam misses the detector",
        "stored within 1e-6 of the vacuum probe's maximum or 0.2 % of the value, whichever is larger",
    ]


def _splits(table: "pd.DataFrame") -> Iterable[tuple[Any, ...]]:
    for name in catalogue.SPLITS:
        mine = table[table["split"] == name]
        yield name, mine["crystal"].nunique(), mine["prototype"].nunique(), f"{len(mine):,}"


def _classes(table: "pd.DataFrame") -> Iterable[tuple[Any, ...]]:
    for prototype, mine in table.groupby("prototype", observed=True):
        split = ", ".join(name for name in catalogue.SPLITS if (mine["split"] == name).any())
        yield prototype, mine["crystal"].nunique(), f"{len(mine):,}", split


def _sources(about: Iterable[Mapping[str, Any]]) -> Iterable[tuple[Any, ...]]:
    counts: dict[tuple[str, ...], int] = {}
    for one in about:
        source = one["crystal"]["source"]
        key = tuple(source.get(name, "") for name in ("name", "database_version", "licence", "citation"))
        counts[key] = counts.get(key, 0) + 1
    for (name, version, licence, citation), count in sorted(counts.items()):
        yield name, version, licence, count, citation


def _lines(items: Iterable[str]) -> str:
    return "".join(f"* {item}\n" for item in items)


def _table(header: Iterable[str], rows: Iterable[tuple[Any, ...]]) -> str:
    header = list(header)
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(str(cell).replace('|', '&#124;') for cell in line)} |\n" for line in lines)
