"""What a detection says, on disk: Bragg vectors, strain, orientation, pictures, and the key figures of all of it."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fourdcrystal import (
    __version__,
    bragg_vectors,
    context,
    detection_plots,
    files,
    flags,
    hyperspy_vectors,
    indexing,
    metrics,
    results,
    scan_truth,
)
from fourdcrystal.analysis import PLAIN, Analysis, axes, distorted, straightened
from fourdcrystal.detection import Detected
from fourdcrystal.scans import Scan
from fourdcrystal.significance import sure


def summary(scan: Scan, found: Detected) -> dict[str, Any]:
    """Key figures of a detection."""
    maps = found.maps
    a, b = maps.reference * scan.dq
    lengths = np.hypot(*a), np.hypot(*b)
    angle = np.degrees(np.arccos(a @ b / lengths[0] / lengths[1]))
    sigma = np.mean([metrics.middle(maps.strain.sigma[:, i]) for i in range(3)])
    return {
        "scan": scan.name,
        "method": found.method,
        "positions": list(scan.grid),
        "pixels": list(scan.shape),
        "sampling_invA": scan.dq,
        "energy_eV": scan.energy,
        "intensity_units": found.units,
        "peaks": len(found.peaks),
        "peaks_faint": int(np.count_nonzero(~sure(found.peaks))),
        "peaks_per_pattern": round(len(found.peaks) / len(scan), 2),
        "patterns_per_second": round(len(scan) / found.found.seconds, 1),
        "flags": flags.counts(found.flags),
        "notes": list(found.notes),
        "lattice_invA": [_rounded(length, 5) for length in lengths],
        "lattice_angle_degree": _rounded(angle, 3),
        "zone_axis": None if maps.zone is None else list(maps.zone.axis),
        "ellipticity": round(axes(maps.distortion)[0], 5),
        "lattice_residual_px": _rounded(metrics.middle(maps.lattices.residual), 4),
        "lattice_deviation_px": _rounded(found.deviation, 4),
        "direct_beam_wander_px": None if maps.beam is None else round(maps.beam.wander, 4),
        "strain_sigma": _rounded(float(sigma), 6),
        "version": __version__,
    }


def _rounded(value: float, digits: int) -> float | None:
    """As JSON can hold it: nothing where it is not known."""
    return round(float(value), digits) if np.isfinite(value) else None


def write(
    output: Path,
    scan: Scan,
    found: Detected,
    baselines: Sequence[Detected] = (),
    analysis: Analysis = PLAIN,
    options: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Write everything about a detection into a folder; summary.json comes last.

    Args:
        output: Folder; files of an earlier run are replaced one by one, of which the summary goes first.
        scan: The scan.
        found: The results.
        baselines: Classical results, reported beside them; the first is drawn.
        analysis: As both used it.
        options: What else results depend on, for the summary and the stores' attributes.

    Returns:
        The summary.
    """
    for name in (
        "summary.json",
        "orientation.png",
        "grains.png",
    ):  # it vouches for all others; there may be none this time
        (output / name).unlink(missing_ok=True)
    said = {"options": dict(options)} if options else {}
    maps, attributes = found.maps, {"scan": scan.name, "sampling_invA": scan.dq, "version": __version__} | said
    straight = straightened(found.peaks, maps.distortion, np.array(scan.centre))
    vectors = bragg_vectors.table(
        found.peaks,
        straight,
        scan.grid,
        maps.centres,
        scan.dq,
        found.units,
        found.alone,
        context.indices(straight, maps.lattices),
    )
    if maps.zone is not None and analysis.crystal is not None:
        vectors.attrs["miller"] = indexing.miller_indices(maps.zone, analysis.crystal).tolist()
    bragg_vectors.write_parquet(output / "bragg_vectors.parquet", vectors)
    seen = distorted(maps.centres, maps.distortion, np.array(scan.centre))
    camera = bragg_vectors.Camera(scan.shape, scan.dq, seen, axes(maps.distortion))
    bragg_vectors.write_emd(output / "bragg_vectors.h5", found.peaks, scan.grid, camera)
    hyperspy_vectors.write(output / "bragg_vectors.hspy", vectors, scan.grid, scan.dq, scan.name)
    results.write(output / "strain.zarr", results.strain(maps, found.flags, scan.grid, attributes))
    results.write(output / "orientation.zarr", results.orientation(maps, scan.grid, attributes, analysis.crystal))
    results.write(output / "virtual_images.zarr", results.virtual_images(found.found, scan.grid, attributes))
    figures = summary(scan, found) | said
    if "centres" in scan.truth:
        region = analysis.region
        figures["error"] = {found.method: scan_truth.errors(scan, found.peaks, maps, found.units == "V", region)}
        if found.alone is not None:
            errors = scan_truth.errors(scan, found.alone, maps, found.units == "V", region)
            figures["error"][f"{found.method}, each disk alone"] = errors
        for other in baselines:
            figures["error"][other.method] = scan_truth.errors(scan, other.peaks, other.maps, False, region)
    detection_plots.draw(output, scan, found, baselines[0] if baselines else None, analysis)
    with files.replaced(output / "summary.json") as path:
        path.write_text(json.dumps(figures, indent=2, ensure_ascii=False) + "\n")
    return figures
