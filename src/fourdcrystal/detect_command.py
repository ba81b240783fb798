"""The command ``detect``: its options, and what it does with them."""

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fourdcrystal import commandline
from fourdcrystal.electrons import ENERGIES
from fourdcrystal.errors import InputError
from fourdcrystal.option_types import axis, grid, order, region, share

NAMED = ("grid", "axes", "probe", "semiangle", "crystal", "zone_axis", "reference", "frame", "rotation", "ellipse")

if TYPE_CHECKING:
    from fourdcrystal.analysis import Analysis
    from fourdcrystal.detectors import Detector
    from fourdcrystal.scans import Scan


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``detect``."""
    parser.add_argument("scan", type=Path, help="4D-STEM file: dm4, mib, blo, emd, hspy, py4DSTEM .h5, zarr, npz, ...")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for results")
    files = parser.add_argument_group("what the files don't say")
    files.add_argument("--probe", type=Path, help="vacuum probe: an image, or a vacuum scan; none: in the scan's file")
    files.add_argument("--semiangle", type=float, help="semi-angle [mrad] of a round probe, instead of --probe")
    files.add_argument("--sampling", type=float, help="size of a detector pixel [1/Å]; none: as the file says")
    files.add_argument("--energy", type=float, help="beam energy [eV]; none: as the file says")
    files.add_argument("--grid", type=grid, metavar="AxB", help="scan positions of a file that holds a stack, as 64x80")
    files.add_argument("--axes", type=order, metavar="ORDER", help="where the file's axes are: 2,3,0,1, detector first")
    part = parser.add_argument_group("which part")
    part.add_argument("--roi", type=region, metavar="X0:X1,Y0:Y1", help="part of the scan")
    part.add_argument("--stride", type=int, default=1, help="take every n-th position along both axes")
    part.add_argument("--bin", type=int, default=1, help="sum n x n detector pixels")
    part.add_argument("--preview", type=int, metavar="N", help="only draw N patterns with the peaks found in them")
    joined = "search part I of N; a run without it joins them"
    part.add_argument("--part", type=share, default="1/1", metavar="I/N", help=joined)
    search = parser.add_argument_group("how peaks are found")
    search.add_argument(
        "--model",
        default="shipped",
        help="what finds peaks: shipped (the network of this package), correlation (with the probe), or a trained "
        "network's file (.safetensors)",
    )
    search.add_argument("--device", default="auto", help="where to compute: cpu, cuda, cuda:1; auto: a GPU, if any")
    search.add_argument("--threshold", type=float, help="weakest peak over the pattern's strongest")
    search.add_argument(
        "--refine",
        default="learned",
        help="what refines positions: none, learned (shipped), disk (fits), edge (of disks' edges), or a file",
    )
    search.add_argument("--classical", action="store_true", help="also detect by classical correlation, to compare")
    maps = parser.add_argument_group("strain and orientation")
    maps.add_argument("--crystal", type=Path, help="what the specimen is: CIF, POSCAR, or pymatgen or crystal JSON")
    maps.add_argument("--zone-axis", type=axis, metavar="U,V,W", help="along the beam; none: the one that fits best")
    maps.add_argument(
        "--reference", default="median", help="unstrained: median (of the scan), crystal, or a region X0:X1,Y0:Y1"
    )
    maps.add_argument("--frame", default="detector", help="e_xx along: detector, lattice (a*), scan, or an angle [deg]")
    maps.add_argument("--rotation", help="angle [deg] of the scan's axis 0 on the detector, or find (for --frame scan)")
    maps.add_argument("--ellipse", help="camera's ellipticity: RATIO,DEGREES, crystal (from its lattice), or ring")


def script(description: str | None) -> None:
    """A script with all options of ``detect``, described by itself."""
    parser = commandline.parser(description)
    add_arguments(parser)
    run(parser.parse_args())


def run(args: argparse.Namespace) -> None:
    """Detect as the options say.

    Raises:
        InputError: if a file, option or combination can't be used; before anything is computed.
    """
    check(args)
    # the scan before torch and the model: what is most often wrong is said at once
    from fourdcrystal import scan_checks, scan_files

    scan = scan_files.read(
        args.scan, args.probe, args.sampling, args.energy, args.semiangle, grid=args.grid, axes=args.axes
    )
    scan_checks.check_dimensions(scan)
    whole = scan.grid
    if args.roi or args.stride > 1:
        x, y = args.roi or (slice(None), slice(None))
        scan = scan.region(x, y, args.stride)
    scan = scan.binned(args.bin)
    scan_checks.check(scan)
    from fourdcrystal import detection, detection_plots, scan_analysis

    analysis = scan_analysis.of_options(args, whole)
    detector = _detector(args)
    args.output.mkdir(parents=True, exist_ok=True)  # what can't be written is said before the search
    if args.preview:
        shown, path = min(args.preview, len(scan)), args.output / "preview.png"
        detection_plots.preview(path, scan, detection.searcher_of(scan, detector), shown)
        print(f"{path}: {shown} patterns with the peaks found in them")
        return
    if args.part[1] == 1:  # a part only finds peaks
        analysis = scan_analysis.measured(analysis, args, scan)
    figures = _detected(args, scan, detector, analysis)
    if figures is not None:
        print(report(args.output, figures))


def check(args: argparse.Namespace) -> None:
    """Refuse numbers out of range.

    Raises:
        InputError: says which.
    """
    for name in ("stride", "bin", "preview"):
        if getattr(args, name) is not None and getattr(args, name) < 1:
            raise InputError(f"--{name} is {getattr(args, name)}; allowed are whole numbers from 1")
    if args.threshold is not None and not 0 < args.threshold < 1:
        raise InputError(f"--threshold is {args.threshold:g}; allowed are fractions between 0 and 1")
    for name in ("sampling", "energy", "semiangle"):
        value = getattr(args, name)
        if value is not None and not (math.isfinite(value) and value > 0):
            raise InputError(f"--{name} is {value:g}; it must be positive and finite")
    if args.energy is not None and not ENERGIES[0] <= args.energy <= ENERGIES[1]:
        raise InputError(
            f"--energy is {args.energy:g} eV; allowed are {ENERGIES[0]:g} to {ENERGIES[1]:g}, such as 200e3 for 200 keV"
        )


def _detector(args: argparse.Namespace) -> "Detector":
    from fourdcrystal import detectors

    detector = detectors.named(args.model, args.device, args.refine)
    if args.threshold is not None:
        detector.threshold = args.threshold
    return detector


def _detected(args: argparse.Namespace, scan: "Scan", detector: "Detector", analysis: "Analysis") -> dict | None:
    """Key figures of the search, everything written; none where only a part was asked for."""
    from fourdcrystal import detection, detection_report, search

    pieces = args.output / "pieces"
    found = detection.detect(scan, detector, analysis, pieces, args.part)
    if found is None:
        print(f"part {args.part[0]} of {args.part[1]} is searched; without --part all are put together")
        return None
    baselines = []
    if args.classical or "centres" in scan.truth:
        plain = detection.classical(scan, analysis)
        baselines = [plain, detection.edge_fitted(scan, plain, analysis)]
    figures = detection_report.write(args.output, scan, found, baselines, analysis, _options(args, detector))
    search.forget(pieces, detection.identity(scan, detector))
    return figures


def _options(args: argparse.Namespace, detector: "Detector") -> dict[str, Any]:
    """What results depend on besides the scan's file, as JSON can hold it."""
    from fourdcrystal import modelfile

    network = args.model != "correlation"
    begins = [part.start or 0 for part in args.roi] if args.roi else [0, 0]
    return {
        "scan_origin": begins,  # of the results' position 0, 0 in the file's scan
        "scan_step": args.stride,
        "binning": args.bin,
        "model": str(args.model),
        "model_sha256": modelfile.checksum(modelfile.named(args.model)) if network else None,
        "refine": args.refine,
        "threshold": detector.threshold,
        **{name: None if getattr(args, name) is None else str(getattr(args, name)) for name in NAMED},
    }


def report(output: Path, figures: dict) -> str:
    """Key figures in a few lines."""
    lines = [
        f"{output}: {figures['peaks']} Bragg vectors, {figures['peaks_per_pattern']:.1f} a pattern, "
        f"{figures['patterns_per_second']:.0f} patterns/s"
    ]
    a, b = figures["lattice_invA"]
    if a is None:
        lines.append("the peaks make no lattice: strain and orientation are not known; look at patterns.png")
    else:
        lines.append(
            f"lattice {a:.4f} x {b:.4f} 1/Å, {figures['lattice_angle_degree']:.2f}°, peaks off it by "
            f"{figures['lattice_residual_px']:.3f} px, strain known to {100 * figures['strain_sigma']:.3f} %"
        )
    if figures["ellipticity"] != 1:
        lines.append(f"the camera's ellipticity is taken as {figures['ellipticity']:.4f}")
    from fourdcrystal.flags import WORDS

    flagged = [f"{WORDS[name]}: {count}" for name, count in figures["flags"].items() if count]
    if flagged:
        lines.append(f"patterns {', '.join(flagged)}")
    lines += [f"note: {note}" for note in figures["notes"]]
    for name, error in figures.get("error", {}).items():
        words = {
            "score": "score {:.3f}",
            "position_median_px": "position {:.3f} px",
            "tilt_median_mrad": "tilt {:.2f} mrad",
        }
        known = [form.format(error[key]) for key, form in words.items() if key in error]
        if "strain_rmse" in error:
            known.append(f"strain RMSE {100 * error['strain_rmse']:.3f} %")
        lines.append(f"against the truth, {name}: {', '.join(known)}")
    return "\n".join(lines)


def main() -> None:
    """``python -m fourdcrystal detect``."""
    parser = commandline.parser("4D-Crystal: Bragg vectors, strain and orientation from 4D-STEM scans.")
    parser.prog = "fourdcrystal"
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    detect = verbs.add_parser(
        "detect",
        help="find Bragg peaks in a scan with its vacuum probe",
        description="Find Bragg peaks in a 4D-STEM scan with its vacuum probe; write Bragg vectors, strain and maps.",
        formatter_class=parser.formatter_class,
    )
    add_arguments(detect)
    run(parser.parse_args())
