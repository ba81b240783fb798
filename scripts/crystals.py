"""Write one crystal of a sample sheet as a file of its own."""

from pathlib import Path

from fourdcrystal import commandline


def main() -> None:
    parser = commandline.parser(__doc__)
    parser.add_argument("structures", type=commandline.existing, help="table of structures, from collect.py")
    parser.add_argument("sheet", type=commandline.existing, help="sample sheet (.csv)")
    parser.add_argument("--id", required=True, help="the crystal's id in the sample sheet")
    parser.add_argument("-o", "--output", type=Path, required=True, help="crystal file to write (.json)")
    args = parser.parse_args()
    from fourdcrystal import collection, crystals, sheet

    crystals.write(
        args.output, crystals.listed(sheet.one(args.sheet, args.id), collection.one(args.structures, args.id))
    )


if __name__ == "__main__":
    commandline.run(main)
