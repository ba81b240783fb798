"""Gather the key figures of a run, as a page and as JSON; or show them on the terminal."""

from pathlib import Path

from fourdcrystal import commandline


def main() -> None:
    parser = commandline.parser(__doc__)
    parser.add_argument("results", type=commandline.existing, help="folder of all outputs")
    parser.add_argument("--page", type=Path, help="HTML page to write")
    parser.add_argument("--figures", type=Path, help="JSON file to write")
    args = parser.parse_args()
    import json

    from fourdcrystal import files, overview

    found = overview.gather(args.results)
    for path, content in ((args.page, overview.page), (args.figures, lambda f: json.dumps(f, indent=2) + "\n")):
        if path:
            files.write_text(path, content(found))
    print(overview.text(found), end="")


if __name__ == "__main__":
    commandline.run(main)
