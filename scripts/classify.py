"""Find the structure prototype, the symmetry and the measures of every collected structure."""

from pathlib import Path

from fourdcrystal import commandline


def main() -> None:
    parser = commandline.parser(__doc__)
    parser.add_argument("structures", type=commandline.existing, help="table of structures, from collect.py")
    parser.add_argument("-o", "--output", type=Path, required=True, help="table of classes to write (.parquet)")
    parser.add_argument("--workers", type=commandline.count, default=1, help="processes")
    args = parser.parse_args()
    from fourdcrystal import classification

    classification.run(args.structures, args.output, args.workers)


if __name__ == "__main__":
    commandline.run(main)
