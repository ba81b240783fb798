"""From the words of the command line to how a scan is analysed."""

import argparse
import re
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
from pymatgen.core import Structure

from fourdcrystal import correlation, crystals, ellipticity, gain, gaps, scan_rotation, source_files, sources
from fourdcrystal.analysis import Analysis, ellipse
from fourdcrystal.errors import InputError
from fourdcrystal.option_types import region
from fourdcrystal.scans import Scan
from fourdcrystal.structurefiles import KINDS, kind

NUMBER = r"-?\d+\.?\d*"
RING = 64  # patterns whose mean shows a ring


def of_options(args: argparse.Namespace, whole: tuple[int, int]) -> Analysis:
    """What the options on strain and orientation say, but for what the scan itself has to tell (:func:`measured`).

    Args:
        args: The options.
        whole: Positions of the whole scan, to which a reference region refers.

    Raises:
        InputError: if one can't be understood, or needs another one that is missing.
    """
    structure = None if args.crystal is None else read_structure(args.crystal)
    for option, value in (("reference", args.reference), ("ellipse", args.ellipse), ("zone-axis", args.zone_axis)):
        if structure is None and (value == "crystal" or (option == "zone-axis" and value is not None)):
            raise InputError(
                f"--{option} {'' if option == 'zone-axis' else 'crystal '}needs --crystal, a structure file"
            )
    return Analysis(
        region=_region(args, whole),
        crystal=structure,
        zone_axis=args.zone_axis,
        absolute=args.reference == "crystal",
        ellipse=_ellipse(args.ellipse),
        frame=_frame(args),
    )


def measured(analysis: Analysis, args: argparse.Namespace, scan: Scan) -> Analysis:
    """The same with what ``--ellipse ring`` and ``--rotation find`` measure; the latter reads the whole scan.

    Args:
        analysis: Of :func:`of_options`.
        args: The options.
        scan: What is left of the scan after ``roi``, ``stride`` and ``bin``.

    Raises:
        InputError: if it can't be measured.
    """
    if args.ellipse != "ring" and args.rotation != "find":
        return analysis
    radius = correlation.radius(scan.probe)
    fill = gaps.of_scan(scan, gain.of_patterns(scan.pairs())).fill
    if args.ellipse == "ring":
        some = fill(scan.sample(RING))
        finite = np.isfinite(some).all((1, 2))
        mean = some[finite].sum(0) / max(finite.sum(), 1)
        analysis = replace(analysis, ellipse=ellipticity.find(mean, scan.centre, radius))
    if args.rotation == "find":
        analysis = replace(analysis, frame=scan_rotation.find(scan.masses(fill)))
    return analysis


def read_structure(path: Path) -> Structure:
    """A crystal from a structure file (of several structures the first), or from one of this package's crystal files.

    Raises:
        InputError: if it is missing, can't be read, or several elements share a site.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such crystal file")
    if kind(path) not in ("cif", "poscar", "json"):
        raise InputError(f"{path}: is no structure file; allowed are {KINDS.rpartition(',')[0]} and this program's own")
    if kind(path) == "json" and b'"spacegroup"' in path.read_bytes():
        return crystals.read(path).structure
    structure, problem = sources.ordered(source_files.structures(path)[0])
    if structure is None:
        raise InputError(f"{path}: has {problem}; allowed are crystals with one element on every site")
    return structure


def _region(args: argparse.Namespace, whole: tuple[int, int]) -> np.ndarray | None:
    if args.reference in ("median", "crystal"):
        return None
    try:
        chosen = region(args.reference)
    except argparse.ArgumentTypeError as error:
        raise InputError(f"--reference: {error}; allowed are also median and crystal") from None
    if any((side.stop or 0) > last for side, last in zip(chosen, whole, strict=True)):
        raise InputError(f"--reference {args.reference} goes beyond the {whole[0]} x {whole[1]} scan")
    mask = np.zeros(whole, bool)
    mask[chosen] = True
    x, y = args.roi or (slice(None), slice(None))
    used = mask[x, y][:: args.stride, :: args.stride]
    if not used.any():
        raise InputError("--reference holds no position of the scan that is detected")
    return used.ravel()


def _ellipse(text: str | None) -> np.ndarray | Literal["crystal"]:
    if text in (None, "ring"):
        return np.eye(2)
    if text == "crystal":
        return "crystal"
    if not re.fullmatch(f"{NUMBER},{NUMBER}", text) or not 1 <= float(text.split(",")[0]) <= ellipticity.LARGEST:
        raise InputError(
            f"--ellipse is '{text}'; allowed are RATIO,DEGREES (ratio 1 to 1.5), such as 1.02,30, crystal, ring"
        )
    ratio, degrees = map(float, text.split(","))
    return ellipse(ratio, np.radians(degrees))


def _frame(args: argparse.Namespace) -> float | Literal["lattice"]:
    if args.rotation is not None and args.frame != "scan":
        raise InputError("--rotation is only used with --frame scan")
    if args.frame in ("detector", "lattice"):
        return 0.0 if args.frame == "detector" else "lattice"
    if args.frame == "scan":
        if args.rotation == "find":
            return 0.0
        if args.rotation is None or not re.fullmatch(NUMBER, args.rotation):
            raise InputError("--frame scan needs --rotation, the angle of the scan on the detector in degrees, or find")
        return float(np.radians(float(args.rotation)))
    if not re.fullmatch(NUMBER, args.frame):
        raise InputError(f"--frame is '{args.frame}'; allowed are detector, lattice, scan, or an angle in degrees")
    return float(np.radians(float(args.frame)))
