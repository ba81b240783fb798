"""What all command lines share: their style of help, and errors in one sentence instead of a traceback."""

import argparse
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

from fourdcrystal import __version__
from fourdcrystal.errors import InputError


def parser(description: str | None) -> argparse.ArgumentParser:
    """An argument parser in the house's style: defaults shown in the help, ``--version``."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    made.add_argument("--version", action="version", version=f"4D-Crystal {__version__}")
    return made


def settings_argument(made: argparse.ArgumentParser) -> None:
    """Add ``--settings``: a file for people, inline JSON for the workflow (only what the rule depends on)."""
    made.add_argument(
        "--settings",
        default="config/config.yaml",
        help="settings file (YAML), or settings as inline JSON",
    )


def existing(path: str) -> Path:
    """Argument type: a path that must exist."""
    if not Path(path).exists():
        raise argparse.ArgumentTypeError(f"{path} does not exist")
    return Path(path)


def run(main: Callable[[], None]) -> None:
    """Run a command line; an InputError becomes one sentence on stderr and exit status 2.

    Warnings of third-party libraries are not for the user; ``python -W default`` shows them.
    """
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    try:
        main()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print("interrupted; a rerun continues with what is complete", file=sys.stderr)
        raise SystemExit(130) from None
