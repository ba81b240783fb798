"""Write the table of all settings into config/README.md."""

from pathlib import Path

from fourdcrystal import commandline


def main() -> None:
    parser = commandline.parser(__doc__)
    parser.add_argument("--readme", type=Path, default=Path("config/README.md"), help="file that holds the table")
    args = parser.parse_args()
    from fourdcrystal import files, recipe

    head, _, _ = args.readme.read_text().partition("| setting |")
    with files.replaced(args.readme) as path:
        path.write_text(head + recipe.table())


if __name__ == "__main__":
    commandline.run(main)
