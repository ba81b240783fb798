"""What all command lines share: their style of help, and errors in one sentence instead of a traceback."""

import argparse
import errno
import math
import os
import signal
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from fourdcrystal import __version__, places
from fourdcrystal.errors import InputError
from fourdcrystal.places import Location

# what a system answers where a file or folder may not be read or written, or is in the way of one
REFUSED = (
    errno.EACCES,
    errno.EEXIST,
    errno.EISDIR,
    errno.ELOOP,
    errno.ENAMETOOLONG,
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EPERM,
    errno.EROFS,
)


VERSION = f"4D-Crystal {__version__}"


class _Help(argparse.ArgumentDefaultsHelpFormatter):
    """Shows each default that says something."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        silent = action.default is None or action.default is False
        return action.help if silent else super()._get_help_string(action)


class _Parser(argparse.ArgumentParser):
    """Says what is wrong with a command line in one sentence, and not how all of it could look."""

    def error(self, message: str) -> NoReturn:
        """End with status 2."""
        self.exit(2, f"error: {message}; {self.prog} --help tells the options\n")


def parser(description: str | None) -> argparse.ArgumentParser:
    """An argument parser in the house's style: defaults shown in the help, ``--version``."""
    made = _Parser(description=description, formatter_class=_Help)
    made.add_argument("--version", action="version", version=VERSION)
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


def count(text: str) -> int:
    """Argument type: a whole number from 1."""
    if not text.isdecimal() or len(text) > 18 or int(text) < 1:
        raise argparse.ArgumentTypeError(f"is {text}; allowed are whole numbers from 1")
    return int(text)


def positive(text: str) -> float:
    """Argument type: a number above 0."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and number > 0):
        raise argparse.ArgumentTypeError(f"is {text}; allowed are numbers above 0")
    return number


def place(location: str) -> Location:
    """Argument type: a path that must exist, or the URL of an object store (``s3://...``)."""
    return location if places.remote(location) else existing(location)


def run(main: Callable[[], None]) -> None:
    """Run a command line; what a user can mend becomes one sentence on stderr and exit status 2.

    That are InputErrors, a full disk, and files that may not be read or written. Where nobody reads the output any
    more, as behind ``| head``, it ends silently. Warnings of third-party libraries are not for the user;
    ``python -W default`` shows them.
    """
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    try:
        main()
        sys.stdout.flush()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains when it flushes at exit
        raise SystemExit(128 + signal.SIGPIPE) from None
    except Exception as error:
        if (cause := _no_space(error)) is not None:
            said = f"no space is left to write in ({cause}); free some and run again"
        elif isinstance(error, OSError) and error.errno in REFUSED and error.filename is not None:
            said = f"{error.filename}: can't be used ({error.strerror})"
        else:
            raise
        print(f"error: {said}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print("interrupted; a rerun continues with what is complete", file=sys.stderr)
        raise SystemExit(130) from None


def run_composed(main: Callable[[], None]) -> None:
    """The same for a program whose command line Hydra reads; its help, composition and sweeps are Hydra's."""
    if "--version" in sys.argv[1:]:
        print(VERSION)
        return
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # Hydra then raises what it would spread over many lines

    def composed() -> None:
        """The program, with Hydra's complaints in one sentence."""
        from hydra.errors import HydraException

        try:
            main()
        except HydraException as error:
            raise InputError(_composition(error)) from error

    run(composed)


def _composition(error: Exception) -> str:
    """What Hydra says about a file or setting that there isn't, without its advice and search path."""
    from hydra.errors import MissingConfigException

    if isinstance(error, MissingConfigException) and error.options:
        return f"{error.missing_cfg_file}: no such configuration; allowed are {', '.join(error.options)}"
    said = " ".join(str(error).split())
    if said.startswith("Could not override"):
        return f"{said.split('. ')[0]}, there is no such setting; --cfg job prints all"
    return said


def _no_space(error: BaseException | None) -> BaseException | None:
    """The full disk, used-up quota or limit on the size of files that is behind an error, if one is."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            return error
        if "(os error 28)" in str(error) or "errno = 28" in str(error):
            return error  # of safetensors and of HDF5, which don't raise an OSError with its number
        error = error.__cause__ or error.__context__
    return None
