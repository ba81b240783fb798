"""Types of options of `detect`: words of the command line that stand for parts of scans and directions."""

import argparse
import re

LARGEST_INDEX = 99  # of a zone axis


def region(text: str) -> tuple[slice, slice]:
    """Argument type: ``x0:x1,y0:y1`` in scan positions; either end may be missing."""
    if not re.fullmatch(r"\d*:\d*,\d*:\d*", text):
        raise argparse.ArgumentTypeError(f"'{text}' is not of the form x0:x1,y0:y1, such as 0:10,5:20")
    x, y = (slice(*(int(end) if end else None for end in axis.split(":"))) for axis in text.split(","))
    return x, y


def grid(text: str) -> tuple[int, int]:
    """Argument type: ``AxB``."""
    if not re.fullmatch(r"[1-9]\d*x[1-9]\d*", text):
        raise argparse.ArgumentTypeError(f"'{text}' is not of the form AxB, such as 64x80")
    a, b = map(int, text.split("x"))
    return a, b


def order(text: str) -> tuple[int, ...]:
    """Argument type: the numbers 0 to 3 in some order."""
    if sorted(text.split(",")) != list("0123"):
        raise argparse.ArgumentTypeError(f"'{text}' is not an order of the axes 0,1,2,3, such as 2,3,0,1")
    return tuple(map(int, text.split(",")))


def share(text: str) -> tuple[int, int]:
    """Argument type: ``I/N`` with 1 <= I <= N."""
    i, _, n = text.partition("/")
    if not (i.isdigit() and n.isdigit() and 1 <= int(i) <= int(n)):
        raise argparse.ArgumentTypeError(f"'{text}' is not of the form I/N with I from 1 to N, such as 2/8")
    return int(i), int(n)


def axis(text: str) -> tuple[int, int, int]:
    """Argument type: ``u,v,w``."""
    if not re.fullmatch(r"-?\d+,-?\d+,-?\d+", text) or set(text.split(",")) <= {"0", "-0"}:
        raise argparse.ArgumentTypeError(f"'{text}' is not a zone axis u,v,w, such as 1,1,0")
    u, v, w = map(int, text.split(","))
    if max(map(abs, (u, v, w))) > LARGEST_INDEX:
        raise argparse.ArgumentTypeError(f"'{text}': indices of a zone axis are at most {LARGEST_INDEX}")
    return u, v, w
