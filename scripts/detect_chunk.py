"""Search one of several parts of a 4D-STEM scan (--part I/N); detect.py with the same options puts them together."""

from fourdcrystal import commandline, detect_command


def main() -> None:
    parser = commandline.parser(__doc__)
    detect_command.add_arguments(parser)
    detect_command.run(parser.parse_args())


if __name__ == "__main__":
    commandline.run(main)
