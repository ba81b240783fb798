"""Find Bragg peaks in a 4D-STEM scan; write Bragg vectors, strain, orientation and pictures."""

from fourdcrystal import commandline, detect_command


def main() -> None:
    parser = commandline.parser(__doc__)
    detect_command.add_arguments(parser)
    detect_command.run(parser.parse_args())


if __name__ == "__main__":
    commandline.run(main)
