"""Simulate a strained, bent 4D-STEM scan by multislice, with its vacuum probe, counting noise and exact truth."""

from pathlib import Path

from fourdcrystal import commandline


def main() -> None:
    parser = commandline.parser(__doc__)
    commandline.settings_argument(parser)
    parser.add_argument("--scan", required=True, help="name of the scan in the settings")
    parser.add_argument("--crystal", type=commandline.existing, required=True, help="crystal as JSON")
    parser.add_argument("--jobs", type=commandline.count, default=1, help="processes")
    parser.add_argument("-o", "--output", type=Path, required=True, help="scan as .npz")
    args = parser.parse_args()
    from fourdcrystal import crystals, recipe, simulated_scans  # after --help: abTEM takes seconds to import

    settings = recipe.read(args.settings)
    simulated_scans.make(args.output, crystals.read(args.crystal), args.scan, settings, args.jobs)


if __name__ == "__main__":
    commandline.run(main)
