"""Collect the structures that a source offers into one table; one that is current already is kept."""

from pathlib import Path

from fourdcrystal import commandline


def main() -> None:
    parser = commandline.parser(__doc__)
    commandline.settings_argument(parser)
    parser.add_argument("--sheet", type=commandline.existing, help="collect the crystals of this sample sheet only")
    parser.add_argument("-o", "--output", type=Path, required=True, help="table of structures to write (.parquet)")
    args = parser.parse_args()
    from fourdcrystal import collection, recipe, sheet, sources

    crystals = recipe.read(args.settings).crystals
    only = {row.id: row.source_id for row in sheet.read(args.sheet)} if args.sheet else None
    key = collection.content(crystals, only)
    if not collection.holds(args.output, key):
        collection.write(args.output, sources.entries(crystals, only), key)


if __name__ == "__main__":
    commandline.run(main)
