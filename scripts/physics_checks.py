"""Draw a data set's physics checks: intensity and seam by thickness, thin disks against kinematical diffraction."""

from pathlib import Path

from fourdcrystal import commandline


def main() -> None:
    parser = commandline.parser(__doc__)
    parser.add_argument("catalogue", type=commandline.existing, help="catalogue.parquet")
    parser.add_argument("patterns", type=commandline.existing, help="folder of the stores")
    parser.add_argument("-o", "--output", type=Path, required=True, help="picture to write")
    args = parser.parse_args()
    from fourdcrystal import catalogue, physics_checks

    physics_checks.draw(args.output, catalogue.read(args.catalogue), args.patterns)


if __name__ == "__main__":
    commandline.run(main)
