"""Progress with rate and remaining time: a bar on a terminal, a line now and then in a log."""

import sys
import time
from types import TracebackType
from typing import Self

from tqdm import tqdm

EVERY = 10.0  # s between lines in a log


class Progress:
    """Counts things done; use as a context.

    Args:
        total: How many there are.
        label: What is being done.
        unit: What is counted.
    """

    def __init__(self, total: int, label: str, unit: str) -> None:
        self.total, self.label, self.unit, self.done = total, label, unit, 0
        self._started = self._said = time.monotonic()
        terminal = sys.stderr.isatty()
        self._bar = tqdm(total=total, desc=label, unit=f" {unit}", leave=False) if terminal else None

    def __enter__(self) -> Self:
        return self

    def add(self, count: int) -> None:
        """Say that so many more are done."""
        self.done += count
        if self._bar is not None:
            self._bar.update(count)
            return
        now = time.monotonic()
        if now - self._said >= EVERY and self.done < self.total:
            rate = self.done / (now - self._started)
            left = (self.total - self.done) / rate
            print(
                f"{self.label}: {self.done} of {self.total} {self.unit}, {rate:.1f}/s, {left:.0f} s left",
                file=sys.stderr,
                flush=True,
            )
            self._said = now

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()
