"""Quartets by the row, as batches of tensors: what networks are trained and scored on."""

from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from fourdcrystal import catalogue, labels, places
from fourdcrystal.electrons import scattering, wavelength
from fourdcrystal.errors import InputError
from fourdcrystal.layout import PATTERN
from fourdcrystal.order import WINDOW
from fourdcrystal.places import AHEAD, Location
from fourdcrystal.reader import StoreReader
from fourdcrystal.settings import Labels

Batch = dict[str, torch.Tensor]
NEEDED = ("crystal", *PATTERN, "energy_eV", "semiangle_mrad", "thickness_A")


class Quartets(Dataset[Batch]):
    """Rows of a catalogue; indexing with a list of positions reads and decodes a batch.

    A batch has, for B quartets of X x Y pixels and at most N labelled reflections:

    ============= ============ ==============================================================
    cbed          (B, X, Y)    intensity over the vacuum probe's maximum
    probe         (B, X, Y)    vacuum probe over its maximum
    dq            (B,)         size of a pixel [1/Å]
    curvature     (B,)         λ dq² [1/Å]: twice the height of the Ewald sphere one pixel from the direct beam
    volts         (B,)         dq² h² / (2 m e) [V]: the V_g whose U_g is one px²
    energy        (B,)         [eV]
    semiangle     (B,)         [mrad]
    thickness     (B,)         [Å]
    g             (B, N, 3)    scattering vectors of the labelled reflections [1/Å]
    vg            (B, N)       their weights abs(V_g) w(s_g) [V]; 0 is padding
    row           (B,)         row in the catalogue
    ============= ============ ==============================================================

    Args:
        patterns: Folder of the stores, or its URL in an object store.
        table: Rows with the columns :data:`NEEDED`, from :func:`fourdcrystal.catalogue.arrow`.

    Raises:
        InputError: when a batch is read whose store is missing, damaged, or of another detector than the others.
    """

    def __init__(self, patterns: Location, table: pa.Table) -> None:
        self._patterns = patterns
        self.remote = places.remote(patterns)
        self.crystals, self._crystal = catalogue.words(table["crystal"])
        self._index = [table[name].to_numpy() for name in PATTERN]
        self._quantities = {
            name: table[column].to_numpy()
            for name, column in (("energy", "energy_eV"), ("semiangle", "semiangle_mrad"), ("thickness", "thickness_A"))
        }
        self._row = table["row"].to_numpy()
        self._cached()

    def _cached(self) -> None:
        """Caches with bounds: what a window of the order of training needs, however large the data set is."""
        self._reader = lru_cache(WINDOW)(self._open)
        self._labels = lru_cache(4 * WINDOW)(self._read_labels)
        self._probes: dict[str, NDArray[np.float16]] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k not in ("_reader", "_labels", "_probes")}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__dict__.update(state)
        self._cached()

    def __len__(self) -> int:
        return len(self._crystal)

    def shards(self) -> NDArray[np.int64]:
        """A number for the file that each row is in, (rows,), for :class:`fourdcrystal.order.Order`."""
        return self._crystal.astype(np.int64) << 32 | self._index[0]

    def shape(self) -> tuple[int, int]:
        """Pixels along qx and qy, of the first row's store."""
        return self._reader(int(self._crystal[0])).shape

    def __getitem__(self, positions: Sequence[int]) -> Batch:
        chosen = np.asarray(positions)
        shape = self.shape()
        cbed, probe = (np.empty((len(chosen), *shape), np.float16) for _ in range(2))
        dq, tables, wanted = np.empty(len(chosen), np.float32), [], []
        for i, place in enumerate(chosen):
            crystal = int(self._crystal[place])
            orientation, energy, semiangle, thickness = (int(axis[place]) for axis in self._index)
            reader = self._reader(crystal)
            if reader.shape != shape:
                raise InputError(
                    f"{reader.location}: has patterns of {reader.shape} px, others of {shape} px; "
                    "a network is trained on one detector shape at a time"
                )
            wanted.append((reader, (orientation, energy, semiangle, thickness), cbed[i]))
            probe[i] = self._probe(reader)[energy, semiangle]
            dq[i] = reader.dq
            tables.append(self._labels(crystal, orientation, energy))
        self._read(wanted)
        g = np.zeros((len(chosen), max(len(t[1]) for t in tables), 3), np.float32)
        vg = np.zeros(g.shape[:2], np.float32)
        for i, (vectors, weights) in enumerate(tables):
            g[i, : len(weights)], vg[i, : len(weights)] = vectors, weights
        energies = self._quantities["energy"][chosen]
        length, unit = (np.array([of(e) for e in energies]) for of in (wavelength, lambda e: 1 / scattering(e)))
        arrays = {"cbed": cbed, "probe": probe, "dq": dq, "g": g, "vg": vg}
        arrays |= {"curvature": length * dq**2, "volts": unit * dq**2}
        return {
            **{name: torch.from_numpy(values).float() for name, values in arrays.items()},
            **{name: torch.from_numpy(values[chosen]) for name, values in self._quantities.items()},
            "row": torch.from_numpy(self._row[chosen]),
        }

    def _read(self, wanted: list[tuple[StoreReader, tuple[int, int, int, int], NDArray[np.float16]]]) -> None:
        """Read and decode patterns: from disk one after the other, from an object store many at a time."""
        if not self.remote:
            for reader, index, out in wanted:
                reader.cbed(index, out)
            return
        with ThreadPoolExecutor(AHEAD) as threads:
            list(threads.map(lambda one: one[0].cbed(*one[1:]), wanted))

    def _open(self, crystal: int) -> StoreReader:
        return StoreReader(places.inside(self._patterns, f"{self.crystals[crystal]}.zarr"))

    def _probe(self, reader: StoreReader) -> NDArray[np.float16]:
        """The vacuum probes of a store; crystals of one recipe share them, so they are kept once."""
        key = reader.attributes["checksums"]["probe"]
        if key not in self._probes:
            self._probes[key] = reader.array("probe")
        return self._probes[key]

    def _read_labels(
        self, crystal: int, orientation: int, energy: int
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Scattering vectors and weights of the reflections that are labelled."""
        reader = self._reader(crystal)
        settings = Labels.model_validate(reader.attributes["recipe"]["labels"])
        if settings.method != "analytic":
            raise InputError(
                f"{reader.location}: was made with labels.method: {settings.method}, whose maps can't be drawn again "
                "when patterns are distorted; training and evaluation need analytic"
            )
        g, vg = reader.reflections(orientation)
        beam = float(reader.array("energy")[energy])
        weights = labels.weights(g, vg, beam, settings)
        seen = weights > 0
        return g[seen].astype(np.float32), weights[seen].astype(np.float32)


def select(
    path: Location, patterns: Location, split: str, most: int | None = None, without: Collection[str] = ()
) -> Quartets:
    """Quartets of one split, in the catalogue's order.

    Args:
        path: catalogue.parquet.
        patterns: Folder of the stores.
        split: One of :data:`fourdcrystal.catalogue.SPLITS`.
        most: At most this many, evenly spread over the split; none: all.
        without: Prototypes that are left out.

    Raises:
        InputError: if the catalogue can't be used or is stale, or the split has no such quartet.
    """
    table = catalogue.arrow(path, split, [*NEEDED, "prototype"])
    left_out = pc.is_in(table["prototype"], pa.array(list(without), pa.string()))
    table = table.filter(pc.invert(left_out)).drop_columns(["prototype"])
    if not len(table):
        raise InputError(f"{path}: has no quartets of the split '{split}'; crystals.split sets how many there are")
    if most is not None and most < len(table):
        table = table.take(pa.array(np.linspace(0, len(table) - 1, most).round().astype(int)))
    chosen = Quartets(patterns, table)
    catalogue.check_fresh(path, patterns, chosen.crystals)
    return chosen
