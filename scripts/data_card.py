"""Write the data card of a data set: what it holds, sources and licences, and how to read it."""

from pathlib import Path

from fourdcrystal import commandline


def main() -> None:
    parser = commandline.parser(__doc__)
    parser.add_argument("catalogue", type=commandline.existing, help="catalogue.parquet")
    parser.add_argument("patterns", type=commandline.existing, help="folder of the stores")
    parser.add_argument("-o", "--output", type=Path, required=True, help="data card to write (Markdown)")
    args = parser.parse_args()
    from fourdcrystal import datacard, files

    files.write_text(args.output, datacard.make(args.catalogue, args.patterns))


if __name__ == "__main__":
    commandline.run(main)
