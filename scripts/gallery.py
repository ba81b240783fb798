"""Draw a gallery of image quartets from a data set."""

from pathlib import Path

from fourdcrystal import commandline


def main() -> None:
    parser = commandline.parser(__doc__)
    parser.add_argument("--catalogue", type=commandline.existing, required=True, help="catalogue.parquet")
    parser.add_argument("--patterns", type=commandline.existing, required=True, help="folder of the stores")
    parser.add_argument("-n", type=commandline.count, default=6, help="quartets to draw")
    parser.add_argument("-o", "--output", type=Path, required=True, help="picture to write")
    args = parser.parse_args()
    from fourdcrystal import catalogue, gallery

    rows = gallery.choose(catalogue.read(args.catalogue), args.n)
    quartets = [(gallery.caption(row), *gallery.quartet(args.patterns, row)) for _, row in rows.iterrows()]
    gallery.draw(args.output, quartets)


if __name__ == "__main__":
    commandline.run(main)
