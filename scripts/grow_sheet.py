"""Add the crystals of a further selection to a data set's sample sheet; those it has keep their split."""

import shutil
from pathlib import Path

from fourdcrystal import commandline


def main() -> None:
    parser = commandline.parser(__doc__)
    parser.add_argument("before", type=commandline.existing, help="sample sheet of the data set (crystals.csv)")
    parser.add_argument("selected", type=commandline.existing, help="sample sheet that was selected anew")
    parser.add_argument("-o", "--output", type=Path, required=True, help="sample sheet to write, for crystals.sheet")
    args = parser.parse_args()
    from fourdcrystal import growth, sheet

    before = sheet.read(args.before)
    rows = growth.grown(before, sheet.read(args.selected))
    sheet.write(args.output, rows)
    if (counts := sheet.counts_beside(args.selected)).exists():  # what the further selection rejected
        shutil.copy(counts, sheet.counts_beside(args.output))
    print(f"{args.output}: {len(before)} crystals as they were, {len(rows) - len(before)} more")


if __name__ == "__main__":
    commandline.run(main)
