"""Bookkeeping of the crystals: what was offered, what was rejected and why, what was selected of each class."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from fourdcrystal import sheet
from fourdcrystal.classification import Classified
from fourdcrystal.crystal_settings import Crystals
from fourdcrystal.crystals import SYSTEMS, crystal_system
from fourdcrystal.errors import InputError
from fourdcrystal.files import write_text
from fourdcrystal.limits import REASONS, rejection
from fourdcrystal.selection import Candidate
from fourdcrystal.sheet import SPLITS, Row
from fourdcrystal.sources import PARTIAL_OCCUPANCY, Entry

OTHERS = "the classified structures are not those that were collected; classify these (scripts/classify.py)"


def candidates(
    entries: Iterable[Entry], classified: Iterable[Classified], crystals: Crystals
) -> tuple[list[Candidate], dict[str, Any]]:
    """The crystals that can be simulated, and the count of those that can't.

    Args:
        entries: Everything that the source offered.
        classified: What each entry with a structure is, in the same order.
        crystals: Limits, and which classes are meant.

    Returns:
        Candidates for the selection, and a dictionary: source, database_versions, limits, offered, accepted, rejected
        (number by reason; those of the limits also where there is none).

    Raises:
        InputError: if what is classified are other structures than the entries.
    """
    found: list[Candidate] = []
    rejected: Counter[str] = Counter(dict.fromkeys((PARTIAL_OCCUPANCY, *REASONS), 0))
    versions: set[str] = set()
    offered = 0
    known = iter(classified)
    for entry in entries:
        offered += 1
        versions.add(entry.source["database_version"])
        if entry.structure is None:
            rejected[entry.problem] += 1
            continue
        what = next(known, None)
        if what is None or what.id != entry.id:
            raise InputError(f"{entry.id}: {OTHERS}")
        if reason := rejection(what.measures, crystals.limits):
            rejected[reason] += 1
            continue
        found.append(
            Candidate(
                id=entry.id,
                prototype=what.prototype if crystals.classes == "aflow" else what.protostructure,
                formula=entry.structure.composition.reduced_formula,
                spacegroup=what.measures.spacegroup,
                crystal_system=crystal_system(what.measures.spacegroup),
                protostructure=what.protostructure,
                source_id=entry.source["id"],
            )
        )
    if (what := next(known, None)) is not None:
        raise InputError(f"{what.id}: {OTHERS}")
    counts = {
        "source": crystals.source,
        "database_versions": sorted(versions - {""}),
        "limits": crystals.limits.model_dump(mode="json"),
        "offered": offered,
        "accepted": len(found),
        "rejected": dict(rejected.most_common()),
    }
    return found, counts


def read_counts(path: Path, rows: Sequence[Row]) -> dict[str, Any]:
    """What became of everything that a source offered, when the crystals of a sheet were selected from it.

    Args:
        path: What the selection wrote beside the sheet.
        rows: The sheet.

    Raises:
        InputError: if the file can't be read, or is of another selection than the sheet.
    """
    try:
        counts = json.loads(path.read_text())
        accepted, rejected = int(counts["accepted"]), {str(k): int(n) for k, n in counts["rejected"].items()}
        whole = accepted + sum(rejected.values()) == int(counts["offered"])
    except (OSError, ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path}: can't be read as the counts of a selection ({error}); remove it or restore it"
        ) from error
    if not whole or sum({row.prototype: row.class_size for row in rows}.values()) > accepted:
        raise InputError(
            f"{path}: is of another selection than the sample sheet beside it, whose classes have more crystals than "
            f"the {accepted} that it accepts; copy both from one selection, or remove it"
        )
    return counts


def words(counts: dict[str, Any], rows: Sequence[Row]) -> str:
    """One line on what was offered, what was rejected and why, and what was selected."""
    reasons = ", ".join(f"{reason} {number}" for reason, number in counts["rejected"].items() if number) or "none"
    return (
        f"{counts['offered']} crystals offered; rejected: {reasons}; {counts['accepted']} within the limits; "
        f"{len(rows)} selected of {len({row.prototype for row in rows})} classes"
    )


def of_sheet(path: Path) -> dict[str, Any]:
    """The census of a sample sheet, with what its selection rejected where that was kept beside it.

    Raises:
        InputError: if the sheet or the counts can't be used.
    """
    rows = sheet.read(path)
    beside = sheet.counts_beside(path)
    return (read_counts(beside, rows) if beside.exists() else {}) | count(rows)


def count(rows: Sequence[Row]) -> dict[str, Any]:
    """What a sample sheet holds: crystals by split, by crystal system and by class."""
    sizes = {row.prototype: row.class_size for row in rows}
    selected = Counter(row.prototype for row in rows)
    splits = Counter(row.split for row in rows)
    systems = Counter(row.crystal_system for row in rows)
    return {
        "selected": len(rows),
        "prototypes": len(sizes),
        "splits": {word: splits[word] for word in SPLITS},
        "crystal_systems": {system: systems[system] for system in SYSTEMS},
        "classes": [
            {"prototype": name, "class_size": sizes[name], "selected": selected[name]}
            for name in sorted(sizes, key=lambda n: (-sizes[n], n))
        ],
    }


def write(path: str | Path, content: dict[str, Any]) -> None:
    """Write counts as JSON, whole or not at all."""
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def plot(path: str | Path, content: dict[str, Any]) -> None:
    """Picture of the census: class sizes against selected counts, and what became of everything offered."""
    import numpy as np

    from fourdcrystal import plots

    size = np.array([c["class_size"] for c in content["classes"]])
    selected = np.array([c["selected"] for c in content["classes"]])
    number = Counter(zip(size.tolist(), selected.tolist(), strict=True))
    x, y, n = (np.array(v) for v in zip(*((a, b, k) for (a, b), k in number.items()), strict=True))
    line = np.geomspace(1, max(size.max(), 2), 50)
    free = selected < size  # the others give all they have, and can't follow the law
    scale = selected[free].sum() / np.sqrt(size[free]).sum() if free.any() else 1.0
    bars = {f"selected: {word}": count for word, count in content["splits"].items() if count}
    if "accepted" in content:
        bars["within the limits, not selected"] = content["accepted"] - content["selected"]
        bars |= {f"rejected: {reason}": count for reason, count in content["rejected"].items()}
    colours = ["C0" if name.startswith("selected") else "0.75" for name in bars]
    with plots.figure(path, columns=2, size=(4.6, 3.4)) as (_, axes):
        left, right = axes[0]
        left.scatter(x, y, s=14 * np.sqrt(n), alpha=0.6, label="classes (area: how many)")
        left.plot(line, np.sqrt(line), color="0.6", lw=1, label="√N")
        if abs(scale - 1) > 0.1:
            left.plot(
                line, scale * np.sqrt(line), color="k", lw=1, ls="--", label=f"{scale:.2f} √N (scaled to the total)"
            )
        left.set(xscale="log", yscale="log", xlabel="crystals offered in the class, N", ylabel="crystals selected")
        left.set(xlim=(0.8, max(12, 1.3 * size.max())), ylim=(0.8, max(12, 1.3 * selected.max())))
        for axis in (left.xaxis, left.yaxis):
            axis.set_major_formatter("{x:g}")
        left.legend()
        drawn = right.barh(list(bars), list(bars.values()), color=colours)
        right.bar_label(drawn, padding=3)
        right.invert_yaxis()
        right.set_xlabel("crystals")
        if max(bars.values()) > 1000:
            right.set_xscale("symlog", linthresh=1)  # a logarithm, but for zero
        right.margins(x=0.2)
