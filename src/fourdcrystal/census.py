"""Bookkeeping of the crystals: what was offered, what was rejected and why, what was selected of each class."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from fourdcrystal.classification import Classified
from fourdcrystal.crystals import SYSTEMS, crystal_system
from fourdcrystal.files import replaced
from fourdcrystal.limits import rejection
from fourdcrystal.selection import Candidate
from fourdcrystal.settings import Crystals
from fourdcrystal.sheet import SPLITS, Row
from fourdcrystal.sources import Entry


def candidates(
    entries: Iterable[Entry], classified: Iterable[Classified], crystals: Crystals
) -> tuple[list[Candidate], dict[str, Any]]:
    """The crystals that can be simulated, and the count of those that can't.

    Args:
        entries: Everything that the source offered.
        classified: What each entry with a structure is, in the same order.
        crystals: Limits, and which classes are meant.

    Returns:
        Candidates for the selection, and a dictionary: offered, accepted, rejected (number by reason).
    """
    found: list[Candidate] = []
    rejected: Counter[str] = Counter()
    offered = 0
    known = iter(classified)
    for entry in entries:
        offered += 1
        if entry.structure is None:
            rejected[entry.problem] += 1
            continue
        what = next(known)
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
    counts = {"offered": offered, "accepted": len(found), "rejected": dict(rejected.most_common())}
    return found, counts


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
    with replaced(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def plot(path: str | Path, content: dict[str, Any]) -> None:
    """Picture of the census: class sizes against selected counts, and what became of everything offered."""
    import numpy as np

    from fourdcrystal import plots

    size = np.array([c["class_size"] for c in content["classes"]])
    selected = np.array([c["selected"] for c in content["classes"]])
    number = Counter(zip(size.tolist(), selected.tolist(), strict=True))
    x, y, n = (np.array(v) for v in zip(*((a, b, k) for (a, b), k in number.items()), strict=True))
    line = np.geomspace(1, max(size.max(), 2), 50)
    scale = selected.sum() / np.sqrt(size).sum()
    bars = {f"selected: {word}": count for word, count in content["splits"].items() if count}
    if "accepted" in content:
        bars["within limits, not selected"] = content["accepted"] - content["selected"]
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
        right.set(xlabel="crystals", xscale="log" if max(bars.values()) > 1000 else "linear")
        right.margins(x=0.15)
