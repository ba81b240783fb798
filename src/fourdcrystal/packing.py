"""A data set in a few files, for upload: zip archives of whole stores, the catalogue, the data card, and a manifest.

Nothing is compressed again, and archives have no dates: the same data set gives the same files. zarr-python reads a
store inside an archive: ``zarr.open_group(zarr.storage.ZipStore("patterns-000.zip"), path="Si.zarr")``.
"""

import hashlib
import json
import shutil
import tempfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

from fourdcrystal import catalogue, places, verification
from fourdcrystal.errors import InputError
from fourdcrystal.files import replaced_folder
from fourdcrystal.places import Location

MANIFEST, CARD = "manifest.json", "data_card.md"
FORMAT = "4D-Crystal packed data set 1"


def archives(stores: Iterable[Path], most: int) -> list[list[Path]]:
    """Stores in the order given, divided among archives of at most ``most`` bytes, or one store where it is larger."""
    groups: list[list[Path]] = []
    filled = most
    for store in stores:
        size = sum(places.at(store).sizes().values())
        if filled + size > most:
            groups.append([])
            filled = 0
        groups[-1].append(store)
        filled += size
    return groups


def pack(results: Path, output: Path, most: int = 2_000_000_000) -> list[str]:
    """Pack the data set of a folder of results.

    Args:
        results: Has catalogue.parquet and patterns/.
        output: Folder to write, whole or not at all; it must not be there yet.
        most: Bytes of an archive.

    Returns:
        Names of the files written.

    Raises:
        InputError: if the data set can't be used or isn't whole, or something is there already.
    """
    if output.exists():
        raise InputError(f"{output}: is there already; pack into a folder that isn't")
    listed = catalogue.identities(results / "catalogue.parquet")
    verdict = verification.verify(results)
    if verdict.problems:
        raise InputError(
            f"{results}: is not packed, since it has {len(verdict.problems)} problems; {verdict.problems[0]}"
        )
    with replaced_folder(output) as folder:
        groups = archives([results / "patterns" / f"{crystal}.zarr" for crystal in sorted(listed)], most)
        for number, stores in enumerate(groups):
            _archive(folder / f"patterns-{number:03d}.zip", stores)
        shutil.copyfile(results / "catalogue.parquet", folder / "catalogue.parquet")
        if (results / CARD).exists():
            shutil.copyfile(results / CARD, folder / CARD)
        sums = {file.name: _checksum(file) for file in sorted(folder.iterdir())}
        (folder / MANIFEST).write_text(json.dumps({"format": FORMAT, "sha256": sums}, indent=1) + "\n")
        return [*sums, MANIFEST]


def unpack(packed: Path, results: Path) -> verification.Verdict:
    """Unpack a data set and verify it.

    Args:
        packed: Folder that :func:`pack` wrote.
        results: Folder to write, whole or not at all.

    Returns:
        What the verification says; there are no problems.

    Raises:
        InputError: if a file is missing or damaged, or something is there already.
    """
    if results.exists():
        raise InputError(f"{results}: is there already; unpack into a folder that isn't")
    sums = _manifest(packed)
    with replaced_folder(results) as folder:
        for name, wanted in sums.items():
            file = packed / name
            if not file.is_file():
                raise InputError(f"{file}: is missing, but {packed / MANIFEST} lists it")
            if _checksum(file) != wanted:
                raise InputError(f"{file}: is damaged; it differs from its checksum in {packed / MANIFEST}")
            if file.suffix == ".zip":
                with zipfile.ZipFile(file) as archive:
                    _check_members(file, archive)
                    archive.extractall(folder / "patterns")
            else:
                shutil.copyfile(file, folder / name)
        verdict = verification.verify(folder)
        if verdict.problems:
            raise InputError(f"{packed}: {verdict.problems[0]}")
    return verdict


def is_packed(location: Location) -> bool:
    """Whether there is a packed data set at a location on disk."""
    return isinstance(location, Path) and (location / MANIFEST).exists()


def verified(packed: Path) -> verification.Verdict:
    """Verify a packed data set: every file against the manifest, then all that is in them, unpacked for a while.

    The folder beside it needs room for the whole data set.
    """
    with tempfile.TemporaryDirectory(prefix=f".{packed.name}.verified-", dir=packed.resolve().parent) as folder:
        try:
            return unpack(packed, Path(folder) / "unpacked")
        except InputError as error:
            return verification.Verdict(0, 0, 0, [verification.Problem(str(packed), "", str(error))])


def _archive(path: Path, stores: Iterable[Path]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for store in stores:
            for file in sorted(f for f in store.rglob("*") if f.is_file()):
                name = f"{store.name}/{file.relative_to(store).as_posix()}"
                archive.writestr(zipfile.ZipInfo(name), file.read_bytes())  # ZipInfo: 1980, not now


def _check_members(path: Path, archive: zipfile.ZipFile) -> None:
    """Refuse an archive that :func:`_archive` can't have written: one that unpacks to more than it is, or elsewhere."""
    for member in archive.infolist():
        if member.compress_type != zipfile.ZIP_STORED:
            raise InputError(f"{path}: its member {member.filename} is compressed; archives of a data set are not")
        if ".." in Path(member.filename).parts or Path(member.filename).is_absolute():
            raise InputError(f"{path}: its member {member.filename!r} would be unpacked outside the data set")
    if sum(member.file_size for member in archive.infolist()) > path.stat().st_size:
        raise InputError(f"{path}: its members share bytes, and would unpack to more than it holds")


def _checksum(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _manifest(packed: Path) -> dict[str, str]:
    try:
        content = json.loads((packed / MANIFEST).read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{packed / MANIFEST}: can't be read ({error}); a packed data set has one") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise InputError(f"{packed / MANIFEST}: is not the manifest of a packed data set (no format '{FORMAT}')")
    sums = content.get("sha256")
    if not isinstance(sums, dict):
        raise InputError(f"{packed / MANIFEST}: lists no files (sha256)")
    for name in sums:
        if Path(name).name != name:
            raise InputError(f"{packed / MANIFEST}: lists {name!r}, which is no name of a file beside it")
    return dict(sums)
