"""Feed the project's readers with damaged input until the time is up; all but the project's own error is a finding.

python benchmarks/fuzz.py                        # ten CPU-minutes for each target
python benchmarks/fuzz.py settings --minutes 1   # one target, for a look
"""

import argparse
import contextlib
import faulthandler
import importlib
import io
import os
import random
import shutil
import signal
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.database import DirectoryBasedExampleDatabase
from pymatgen.core import Lattice, Structure

from fourdcrystal import catalogue, hdf5, recipe, scan_files, source_files, stores, verification
from fourdcrystal.crystal_settings import Files
from fourdcrystal.errors import InputError
from fourdcrystal.reader import StoreReader
from fourdcrystal.settings import Settings

CORPUS = Path(".hypothesis") / "fuzz"
LOOK = 20  # seconds of a first look at an HDF5 file's metadata
HANGS = 120  # seconds after which an input is a finding, too; the program then ends
NUMBERS = st.one_of(
    st.integers(), st.floats(), st.sampled_from([0, -1, 1e308, 1e-308, 2**63, float("nan"), float("inf")])
)
PLAIN = st.one_of(st.none(), st.booleans(), NUMBERS, st.text(max_size=20))
VALUES = st.recursive(
    PLAIN, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
)
WRITTEN = [
    ("hspy", "a.hspy", np.float32),
    ("blockfile", "a.blo", np.uint8),
    ("emd", "b.emd", np.uint16),
    ("nexus", "a.nxs", np.uint16),
    ("tvips", "a_000.tvips", np.uint16),
]  # RosettaSciIO's writer, file, type of its numbers
WAYS = ["flip", "cut", "repeat", "zero", "insert"]
WORDS = [
    b"&a ",
    b"*a",
    b"2020-99-99",
    b"1e999",
    b"NaN",
    b"9" * 5000,
    b"[" * 2000,
    b"{" * 2000,
    b"../../",
    b"\xff\xff\xff\x7f",
]
PIECES = st.one_of(st.binary(max_size=8), st.sampled_from(WORDS))  # what readers stumble over
EDIT = st.tuples(st.floats(0, 1), st.sampled_from(WAYS), PIECES)
EDITS = st.lists(EDIT, min_size=1, max_size=6)


def damaged(content: bytes, edits: list[tuple[float, str, bytes]]) -> bytes:
    """Bytes after some edits: each a place (fraction of the length), what is done there, and bytes to do it with."""
    data = bytearray(content)
    for where, what, extra in edits:
        i = int(where * len(data))
        if what == "flip" and i < len(data):
            data[i] ^= (extra or b"\x01")[0] or 1
        elif what == "cut":
            del data[i : i + 1 + min(len(extra), 8) ** 3]
        elif what == "repeat":
            data[i:i] = data[i : i + 1 + min(len(extra), 8) ** 2]
        elif what == "zero":
            data[i : i + len(extra)] = bytes(len(extra))
        else:
            data[i:i] = extra
    return bytes(data)


def names(model: type, prefix: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Paths of all settings."""
    found = []
    for name, field in model.model_fields.items():
        inner = field.annotation
        found.append((*prefix, name))
        if isinstance(inner, type) and hasattr(inner, "model_fields"):
            found += names(inner, (*prefix, name))
    return found


def settings_target(folder: Path) -> tuple[st.SearchStrategy, Callable[[Any], None]]:
    """Settings files: known names with any values."""
    paths = names(Settings)

    def read(chosen: list[tuple[tuple[str, ...], Any]]) -> None:
        content: dict[str, Any] = {}
        for path, value in chosen:
            place = content
            for part in path[:-1]:
                inner = place.setdefault(part, {})
                if not isinstance(inner, dict):
                    break
                place = inner
            else:
                place[path[-1]] = value
        recipe.validate(content, "mine.yaml")

    return st.lists(st.tuples(st.sampled_from(paths), VALUES), min_size=1, max_size=5), read


def yaml_target(folder: Path) -> tuple[st.SearchStrategy, Callable[[Any], None]]:
    """Settings files as bytes."""
    seeds = [path.read_bytes() for path in Path("config").glob("*.yaml")]
    file = folder / "mine.yaml"

    def read(case: tuple[bytes, list]) -> None:
        file.write_bytes(damaged(*case))
        recipe.read(file)

    return st.tuples(st.sampled_from(seeds), EDITS), read


def crystals_target(folder: Path) -> tuple[st.SearchStrategy, Callable[[Any], None]]:
    """CIF, POSCAR and JSON files."""
    structure = Structure.from_spacegroup(
        "Pm-3m", Lattice.cubic(3.905), ["Sr", "Ti", "O"], [[0, 0, 0], [0.5] * 3, [0.5, 0.5, 0]]
    )
    for name in ("a.cif", "POSCAR", "a.json"):
        structure.to(str(folder / name))
    structure.to(str(folder / "b.cif"), symprec=0.01)
    seeds = {path.name: path.read_bytes() for path in folder.iterdir()}

    def read(case: tuple[str, list]) -> None:
        name, edits = case
        file = folder / name
        file.write_bytes(damaged(seeds[name], edits))
        list(source_files.entries(Files(paths=[file])))

    return st.tuples(st.sampled_from(sorted(seeds)), EDITS), read


def first_look(path: Path) -> None:
    """What :func:`fourdcrystal.hdf5.check` does, in a forked process: to start a new one takes longer than the rest."""
    if (child := os.fork()) == 0:
        with contextlib.suppress(BaseException):
            signal.alarm(LOOK)  # its end is the child's end, as in C nothing else is heard
            hdf5.look(str(path))
        os._exit(0)
    if os.WIFSIGNALED(os.waitpid(child, 0)[1]):
        raise InputError(f"{path}: is damaged: the HDF5 library crashes or hangs on its metadata")


def scans_target(folder: Path) -> tuple[st.SearchStrategy, Callable[[Any], None]]:
    """Scans in this package's formats, py4DSTEM's, HyperSpy's, and cameras' as RosettaSciIO writes them."""
    rng = np.random.default_rng(0)
    scan, probe = rng.poisson(3, (2, 3, 16, 16)).astype(np.float32), rng.random((16, 16))
    np.savez(folder / "a.npz", scan=scan, probe=probe, dq=0.02, energy=200e3)
    np.savez_compressed(folder / "b.npz", scan=scan, probe=probe, dq=0.02)
    np.save(folder / "a.npy", scan)
    with h5py.File(folder / "a.h5", "w") as file:
        file["scan"] = scan
    with h5py.File(folder / "a.emd", "w") as file:
        file.attrs["emd_group_type"] = "file"
        cube = file.create_group("root/datacube")
        cube.attrs["python_class"] = "DataCube"
        cube["data"] = scan
    from test_microscope_formats import signal

    for writer, name, kind in WRITTEN:
        content = signal(scan.astype(kind)) | {"learning_results": {}, "models": {}}
        importlib.import_module(f"rsciio.{writer}").file_writer(str(folder / name), content)
    seeds = {path.name: path.read_bytes() for path in folder.iterdir()}
    hdf5.check = first_look

    def read(case: tuple[str, list]) -> None:
        name, edits = case
        file = folder / name
        file.unlink(missing_ok=True)
        file.write_bytes(damaged(seeds[name], edits))
        found = scan_files.read(file, sampling=0.02, semiangle=2, energy=200e3)
        with contextlib.suppress(OSError):  # a damaged chunk shows only when it is read
            np.asarray(found.patterns[0, 0])

    return st.tuples(st.sampled_from(sorted(seeds)), EDITS), read


def stores_target(folder: Path) -> tuple[st.SearchStrategy, Callable[[Any], None]]:
    """Stores of quartets: one file of one is damaged; it is opened, read and verified."""
    from made_up import write

    whole = folder / "whole.zarr"
    write(whole, orientations=1)
    files = sorted(str(path.relative_to(whole)) for path in whole.rglob("*") if path.is_file())
    path = folder / "Si-1.zarr"

    def read(case: tuple[str, list]) -> None:
        name, edits = case
        shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(whole, path)
        before = (path / name).read_bytes()
        (path / name).write_bytes(after := damaged(before, edits))
        if after != before and not verification.of_store(path).problems:
            raise AssertionError(f"{name} was damaged and the store verifies")
        if name == "zarr.json":
            with contextlib.suppress(InputError):
                opened = StoreReader(path)
                opened.cbed((0, 0, 0, 0), np.empty(opened.shape, np.float16))
                opened.array("thickness")
            stores.open(path)

    return st.tuples(st.sampled_from(files), EDITS), read


def catalogue_target(folder: Path) -> tuple[st.SearchStrategy, Callable[[Any], None]]:
    """Catalogues: damaged Parquet, and other tables."""
    from made_up import row, write

    write(folder / "patterns" / "Si-1.zarr", orientations=1)
    catalogue.write(folder / "catalogue.parquet", catalogue.build(folder / "patterns", [row("Si-1", "train")]))
    pandas.DataFrame({"crystal": ["Si-1"], "thickness": ["x"]}).to_parquet(folder / "other.parquet")
    seeds = {path.name: path.read_bytes() for path in folder.glob("*.parquet")}
    file = folder / "damaged.parquet"

    def read(case: tuple[str, list]) -> None:
        name, edits = case
        file.write_bytes(damaged(seeds[name], edits))
        catalogue.read(file)

    return st.tuples(st.sampled_from(sorted(seeds)), EDITS), read


TARGETS = {
    "settings": settings_target,
    "yaml": yaml_target,
    "crystals": crystals_target,
    "scans": scans_target,
    "stores": stores_target,
    "catalogue": catalogue_target,
}


def run(target: str, minutes: float) -> int:
    """Fuzz one target; the number of different findings."""
    with tempfile.TemporaryDirectory() as name, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        strategy, read = TARGETS[target](Path(name))
        CORPUS.mkdir(parents=True, exist_ok=True)
        tried = refused = 0
        findings: dict[str, str] = {}

        def once(case: Any) -> None:
            nonlocal tried, refused
            tried += 1
            (CORPUS / f"{target}.last").write_text(repr(case))  # what it was, should it hang in a C library
            faulthandler.dump_traceback_later(HANGS, exit=True)
            try:
                with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                    read(case)
            except InputError:
                refused += 1
            except Exception as error:
                last = traceback.extract_tb(error.__traceback__)
                ours = [frame for frame in last if "fourdcrystal" in frame.filename] or last
                key = f"{type(error).__name__} in {Path(ours[-1].filename).name}:{ours[-1].lineno}"
                if key not in findings:
                    findings[key] = f"{str(error)[:150]!r} for {str(case)[:200]}"
                    print(f"  {target}: {key}: {findings[key]}", flush=True)

        end, seed = time.process_time() + 60 * minutes, random.randrange(2**32)
        while time.process_time() < end:
            seed += 1
            fuzzed = settings(
                max_examples=500, deadline=None, database=DirectoryBasedExampleDatabase(CORPUS / target),
                suppress_health_check=list(HealthCheck), phases=[Phase.reuse, Phase.generate],
            )(given(strategy)(once))  # fmt: skip
            from hypothesis import seed as seeded

            seeded(seed)(fuzzed)()
        print(f"{target}: {tried} inputs, {refused} refused in words, {len(findings)} findings", flush=True)
        return len(findings)


if __name__ == "__main__":
    import sys

    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", choices=[[], *TARGETS], help="what to fuzz; none: all")
    parser.add_argument("--minutes", type=float, default=10, help="CPU-minutes for each target")
    given_options = parser.parse_args()
    sys.exit(sum([run(name, given_options.minutes) for name in given_options.targets or TARGETS]) > 0)
