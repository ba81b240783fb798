"""The command ``detect``: its options, and what it does with them."""

import argparse
import re
from pathlib import Path

from fourdcrystal import commandline
from fourdcrystal.errors import InputError

SHIPPED = Path(__file__).parent / "data" / "model.safetensors"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``detect``."""
    parser.add_argument("scan", type=Path, help="4D-STEM file: dm4, mib, blo, emd, hspy, py4DSTEM .h5, zarr, npz, ...")
    parser.add_argument("--probe", type=Path, help="vacuum probe: an image, or a vacuum scan; none: in the scan's file")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for results")
    parser.add_argument("--model", type=Path, default=SHIPPED, help="trained network (.safetensors)")
    parser.add_argument("--sampling", type=float, help="size of a detector pixel [1/Å]; none: as the file says")
    parser.add_argument("--energy", type=float, help="beam energy [eV]; none: as the file says")
    parser.add_argument("--semiangle", type=float, help="semi-angle [mrad] of a round probe, where there is no image")
    parser.add_argument("--device", default="cpu", help="where to compute, such as cpu or cuda")
    parser.add_argument("--threshold", type=float, help="weakest peak over the pattern's strongest")
    parser.add_argument(
        "--refine",
        default="disk",
        help="what refines positions: none, disk (fits that allow any contrast), edge (of disks' edges), or a file",
    )
    parser.add_argument("--roi", type=region, help="part of the scan, x0:x1,y0:y1")
    parser.add_argument("--stride", type=int, default=1, help="take every n-th position along both axes")
    parser.add_argument("--bin", type=int, default=1, help="sum n x n detector pixels")
    parser.add_argument("--reference", type=region, help="unstrained part, x0:x1,y0:y1; none: the scan's median")
    parser.add_argument("--classical", action="store_true", help="also detect by classical correlation, to compare")
    parser.add_argument("--preview", type=int, metavar="N", help="only draw N patterns with the peaks found in them")


def region(text: str) -> tuple[slice, slice]:
    """Argument type: ``x0:x1,y0:y1`` in scan positions; either end may be missing."""
    if not re.fullmatch(r"\d*:\d*,\d*:\d*", text):
        raise argparse.ArgumentTypeError(f"'{text}' is not of the form x0:x1,y0:y1, such as 0:10,5:20")
    x, y = (slice(*(int(end) if end else None for end in axis.split(":"))) for axis in text.split(","))
    return x, y


def run(args: argparse.Namespace) -> None:
    """Detect as the options say.

    Raises:
        InputError: if a file, option or combination can't be used; before anything is computed.
    """
    import numpy as np

    for name in ("stride", "bin"):
        if getattr(args, name) < 1:
            raise InputError(f"--{name} is {getattr(args, name)}; allowed are whole numbers from 1")
    if args.threshold is not None and not 0 < args.threshold < 1:
        raise InputError(f"--threshold is {args.threshold:g}; allowed are fractions between 0 and 1")
    # the scan before torch and the model: what is most often wrong is said at once
    from fourdcrystal import scan_files, scans

    scan = scan_files.read(args.scan, args.probe, args.sampling, args.energy, args.semiangle)
    whole = scan.grid if len(scan.patterns.shape) == 4 else None
    scans.check_dimensions(scan)
    if args.roi or args.stride > 1:
        x, y = args.roi or (slice(None), slice(None))
        scan = scan.region(x, y, args.stride)
    scan = scan.binned(args.bin)
    scans.check(scan)
    reference = None
    if args.reference:
        mask = np.zeros(whole, bool)
        mask[args.reference] = True
        x, y = args.roi or (slice(None), slice(None))
        reference = mask[x, y][:: args.stride, :: args.stride]
        if not reference.any():
            raise InputError("--reference holds no position of the scan that is detected")
    from fourdcrystal import detection, detection_plots
    from fourdcrystal.inference import Detector, refinement_named

    detector = Detector.load(args.model, args.device, refine=refinement_named(args.refine, args.device))
    if args.threshold is not None:
        detector.threshold = args.threshold
    if args.preview:
        detection_plots.preview(args.output / "preview.png", scan, detector, args.preview)
        print(f"{args.output / 'preview.png'}: {args.preview} patterns with the peaks found in them")
        return
    found = detection.detect(scan, detector, reference)
    baselines = []
    if args.classical or "centres" in scan.truth:
        plain = detection.classical(scan, reference)
        baselines = [plain, detection.edge_fitted(scan, plain, reference)]
    figures = detection.write(args.output, scan, found, baselines, reference)
    print(report(args.output, figures))


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
    flagged = {name: count for name, count in figures["flags"].items() if count}
    if flagged:
        lines.append("patterns " + ", ".join(f"{name.replace('_', ' ')}: {count}" for name, count in flagged.items()))
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
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    detect = verbs.add_parser(
        "detect",
        help="find Bragg peaks in a scan with its vacuum probe",
        description="Find Bragg peaks in a 4D-STEM scan with a trained network; write Bragg vectors, strain and maps.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add_arguments(detect)
    run(parser.parse_args())
