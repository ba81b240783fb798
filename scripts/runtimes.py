"""Gather what a run has cost from Snakemake's benchmark files."""

from pathlib import Path

from fourdcrystal import commandline


def main() -> None:
    parser = commandline.parser(__doc__)
    parser.add_argument("benchmarks", type=commandline.existing, help="folder with {rule}/{job}.tsv")
    parser.add_argument("--figure", type=Path, required=True, help="picture to write")
    parser.add_argument("--table", type=Path, required=True, help="table to write (CSV)")
    args = parser.parse_args()
    from fourdcrystal import files, runtimes

    table = runtimes.by_rule(runtimes.read(args.benchmarks))
    with files.replaced(args.table) as path:
        table.round(2).to_csv(path)
    runtimes.draw(args.figure, table)


if __name__ == "__main__":
    commandline.run(main)
