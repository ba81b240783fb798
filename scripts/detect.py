"""Find Bragg peaks in a 4D-STEM scan; write Bragg vectors, strain, orientation and pictures."""

from fourdcrystal import commandline, detect_command


def main() -> None:
    detect_command.script(__doc__)


if __name__ == "__main__":
    commandline.run(main)
