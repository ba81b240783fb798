"""Draw what a data set is made of: histograms of classes, thicknesses, semi-angles, tilts and intensities."""

from pathlib import Path

from fourdcrystal import commandline


def main() -> None:
    parser = commandline.parser(__doc__)
    parser.add_argument("catalogue", type=commandline.existing, help="catalogue.parquet")
    parser.add_argument("-o", "--output", type=Path, required=True, help="picture to write")
    args = parser.parse_args()
    from fourdcrystal import catalogue, histograms

    histograms.draw(args.output, catalogue.read(args.catalogue))


if __name__ == "__main__":
    commandline.run(main)
