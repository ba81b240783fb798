"""``python -m fourdcrystal detect scan --probe probe -o out/`` and the command ``fourdcrystal``."""

from fourdcrystal import commandline, detect_command


def main() -> None:
    """Run the command line."""
    commandline.run(detect_command.main)


if __name__ == "__main__":
    main()
