"""Select crystals by the square-root law and split them: writes the sample sheet and what was rejected."""

from pathlib import Path

from fourdcrystal import commandline


def main() -> None:
    parser = commandline.parser(__doc__)
    commandline.settings_argument(parser)
    parser.add_argument("structures", type=commandline.existing, help="table of structures, from collect.py")
    parser.add_argument("classes", type=commandline.existing, help="table of classes, from classify.py")
    parser.add_argument(
        "-o", "--output", type=Path, required=True, help="sample sheet to write (.csv), with .counts.json beside it"
    )
    args = parser.parse_args()
    from fourdcrystal import census, classification, collection, recipe, selection, sheet

    settings = recipe.read(args.settings)
    entries, classes = collection.read(args.structures), classification.read(args.classes)
    candidates, counts = census.candidates(entries, classes, settings.crystals)
    rows = selection.select(candidates, settings.crystals, settings.seed)
    census.write(sheet.counts_beside(args.output), counts)
    sheet.write(args.output, rows)
    print(census.words(counts, rows))


if __name__ == "__main__":
    commandline.run(main)
