"""Make the catalogue of a data set: one row per quartet of the stores that a sheet of crystals lists."""

from pathlib import Path

from fourdcrystal import commandline


def main() -> None:
    parser = commandline.parser(__doc__)
    parser.add_argument("sheet", type=commandline.existing, help="sheet of crystals (crystals.csv)")
    parser.add_argument("patterns", type=commandline.existing, help="folder of the stores {crystal}.zarr")
    parser.add_argument("-o", "--output", type=Path, required=True, help="catalogue to write (Parquet)")
    args = parser.parse_args()
    from fourdcrystal import catalogue, sheet

    table = catalogue.build(args.patterns, sheet.read(args.sheet))
    catalogue.write(args.output, table)
    print(f"{args.output}: {table.num_rows} quartets")


if __name__ == "__main__":
    commandline.run(main)
