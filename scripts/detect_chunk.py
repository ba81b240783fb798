"""Search one of several parts of a 4D-STEM scan (--part I/N); detect.py with the same options puts them together."""

from fourdcrystal import commandline, detect_command


def main() -> None:
    detect_command.script(__doc__)


if __name__ == "__main__":
    commandline.run(main)
