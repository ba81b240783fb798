"""Turn a crystal into all its orientations and cut a checked supercell for each."""

from pathlib import Path

from fourdcrystal import commandline


def main() -> None:
    parser = commandline.parser(__doc__)
    commandline.settings_argument(parser)
    parser.add_argument("crystal", type=commandline.existing, help="crystal file (.json)")
    parser.add_argument("-o", "--output", type=Path, required=True, help="file of supercells to write (.npz)")
    args = parser.parse_args()
    from fourdcrystal import crystals, production, recipe, supercell

    orientations, cells = production.supercells(crystals.read(args.crystal), recipe.read(args.settings))
    supercell.write(args.output, orientations, cells)


if __name__ == "__main__":
    commandline.run(main)
