"""Simulate several crystals of a sample sheet in one process, one Zarr store each."""

from pathlib import Path

from fourdcrystal import commandline


def main() -> None:
    parser = commandline.parser(__doc__)
    commandline.settings_argument(parser)
    parser.add_argument("structures", type=commandline.existing, help="table of structures, from collect.py")
    parser.add_argument("sheet", type=commandline.existing, help="sample sheet (.csv)")
    parser.add_argument("--ids", nargs="+", required=True, help="crystals of the sheet to simulate")
    parser.add_argument("--patterns", type=Path, required=True, help="folder of the stores")
    parser.add_argument("-o", "--output", type=Path, required=True, help="record of the stores to write (.json)")
    args = parser.parse_args()
    from fourdcrystal import fanout, gpus, recipe

    settings = recipe.read(args.settings)
    with gpus.leased():
        fanout.make(args.structures, args.sheet, args.ids, args.patterns, args.output, settings)


if __name__ == "__main__":
    commandline.run(main)
