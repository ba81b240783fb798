"""Simulate the diffraction patterns of a crystal's supercells, draw their labels, and write one Zarr store."""

from pathlib import Path

from fourdcrystal import commandline


def main() -> None:
    parser = commandline.parser(__doc__)
    commandline.settings_argument(parser)
    parser.add_argument("crystal", type=commandline.existing, help="crystal file (.json)")
    parser.add_argument("supercells", type=commandline.existing, help="its supercells (.npz), from supercells.py")
    parser.add_argument("-o", "--output", type=Path, required=True, help="store to write (.zarr)")
    args = parser.parse_args()
    from fourdcrystal import crystals, gpus, production, recipe, supercell

    orientations, cells = supercell.read(args.supercells)
    settings = recipe.read(args.settings)
    with gpus.leased():
        production.write_patterns(args.output, crystals.read(args.crystal), orientations, cells, settings)


if __name__ == "__main__":
    commandline.run(main)
