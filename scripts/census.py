"""Count the crystals of a sample sheet by class, crystal system and split, and draw the counts."""

from pathlib import Path

from fourdcrystal import commandline


def main() -> None:
    parser = commandline.parser(__doc__)
    parser.add_argument("sheet", type=commandline.existing, help="sample sheet (.csv)")
    parser.add_argument("-o", "--output", type=Path, required=True, help="census to write (.json)")
    parser.add_argument("--picture", type=Path, required=True, help="picture to write (.png)")
    args = parser.parse_args()
    from fourdcrystal import census

    content = census.of_sheet(args.sheet)
    census.plot(args.picture, content)
    census.write(args.output, content)


if __name__ == "__main__":
    commandline.run(main)
