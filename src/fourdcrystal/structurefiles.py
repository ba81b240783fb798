"""Which files of a folder are crystal structures; light, since the workflow asks while it is being parsed."""

from pathlib import Path

from fourdcrystal.errors import InputError

KINDS = "CIF (.cif), POSCAR (.poscar, .vasp, POSCAR*, CONTCAR*), pymatgen JSON (.json), a parquet table (.parquet)"


def kind(path: Path) -> str:
    """cif, poscar, json, parquet, or empty for a file that is none of these."""
    suffix = path.suffix.lower()
    if suffix in (".cif", ".json", ".parquet"):
        return suffix[1:]
    if suffix in (".poscar", ".vasp") or path.name.upper().startswith(("POSCAR", "CONTCAR")):
        return "poscar"
    return ""


def of_source(source_id: str) -> Path:
    """The file of a structure that is called FILE, or FILE#WHICH where the file has several.

    Both may have a # of their own.
    """
    name = source_id
    while "#" in name:
        if Path(name).exists():
            return Path(name)
        name = name.rpartition("#")[0]
    return Path(name if Path(name).exists() else source_id)


def members(path: Path) -> list[Path]:
    """The structure files that a path of the settings stands for, in a fixed order.

    Raises:
        InputError: if the path doesn't exist, is no structure file, or is a folder without any.
    """
    if path.is_dir():
        found = sorted(p for p in path.rglob("*") if p.is_file() and kind(p) and not p.name.startswith("."))
        if not found:
            raise InputError(f"crystals.files.paths: the folder {path} holds no structure file; allowed are {KINDS}")
        return found
    if not path.exists():
        raise InputError(f"crystals.files.paths: {path} does not exist")
    if not kind(path):
        raise InputError(f"crystals.files.paths: {path} is no structure file; allowed are {KINDS}")
    return [path]
