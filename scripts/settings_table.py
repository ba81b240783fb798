"""Write the tables of all settings into config/README.md."""

import re
from pathlib import Path

from fourdcrystal import commandline


def main() -> None:
    parser = commandline.parser(__doc__)
    parser.add_argument("--readme", type=Path, default=Path("config/README.md"), help="file that holds the tables")
    args = parser.parse_args()
    from fourdcrystal import experiment, files, recipe

    tables = iter((recipe.table(), recipe.table(experiment.Experiment)))
    text = re.sub(r"(^\|.*\n)+", lambda _: next(tables), args.readme.read_text(), flags=re.MULTILINE)
    files.write_text(args.readme, text)


if __name__ == "__main__":
    commandline.run(main)
