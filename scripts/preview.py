"""Quartets to look at: a page to browse (.html) or a gallery (.png) of many classes, thicknesses and tilts."""

from pathlib import Path

from fourdcrystal import commandline


def main() -> None:
    parser = commandline.parser(__doc__)
    parser.add_argument("--catalogue", type=commandline.place, default="results/catalogue.parquet", help="of quartets")
    parser.add_argument("--patterns", type=commandline.place, default="results/patterns", help="folder of the stores")
    parser.add_argument("-n", type=commandline.count, default=96, help="quartets to show")
    parser.add_argument("-o", "--output", type=Path, required=True, help="page (.html) or picture (.png) to write")
    args = parser.parse_args()
    from fourdcrystal import album, catalogue, files, gallery

    table = catalogue.read(args.catalogue)
    if args.output.suffix == ".html":
        files.write_text(args.output, album.page(table, args.patterns, args.n))
    else:
        chosen = [row for _, row in gallery.choose(table, args.n).iterrows()]
        gallery.draw(args.output, [(gallery.caption(row), *gallery.quartet(args.patterns, row)) for row in chosen])


if __name__ == "__main__":
    commandline.run(main)
