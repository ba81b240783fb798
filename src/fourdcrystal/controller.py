"""SLURM's controller out of reach for a while: a run must wait for it, not lose its jobs.

Snakemake's SLURM plugin (2.8) asks the controller two things, and takes silence badly:

* Its age limit for finished jobs (MinJobAge). Without an answer it turns from squeue to sacct, which needs a database
  that many clusters lack.
* The states of jobs. After some attempts without an answer it forgets the jobs, and Snakemake waits for them for ever;
  a finished job that squeue has ceased to list, too, is waited for, for ever.

:func:`outlast` mends both. docs/decisions/0063-slurm-controller.md tells how it was found.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

PAUSE = 10.0  # s between questions to a controller that doesn't answer

Answer = tuple[dict[str, str] | None, float | None]  # states by job id, seconds that it took; none: no answer


class Remembered:
    """A question whose answer never changes: the last one counts while there is none."""

    def __init__(self, ask: Callable[[], int | None]) -> None:
        self._ask = ask
        self._last: int | None = None

    def __call__(self) -> int | None:
        """The answer, or the last one; none before the first."""
        answer = self._ask()
        self._last = self._last if answer is None else answer
        return self._last


class Patient:
    """Asks for the states of jobs until there is an answer.

    A job that was listed once and is listed no more has ended longer ago than the controller remembers. Its state is
    UNKNOWN then, which the plugin takes for an end; Snakemake looks at the job's outputs anyway.
    """

    def __init__(self, ask: Callable[[str, Any], Awaitable[Answer]]) -> None:
        self._ask, self._listed = ask, set[str]()

    async def __call__(self, command: str, logger: Any) -> Answer:
        """States of jobs by id, and seconds that the question took."""
        waited = False
        while True:
            states, seconds = await self._ask(command, logger)
            if states is not None:
                break
            if not waited:
                logger.warning("SLURM's controller doesn't answer: waiting for it")
                waited = True
            await asyncio.sleep(PAUSE)
        if waited:
            logger.warning("SLURM's controller answers again")
        gone = self._listed - set(states)
        self._listed |= set(states)
        return states | dict.fromkeys(gone, "UNKNOWN"), seconds


def outlast(plugin: Any) -> None:
    """Let Snakemake's SLURM plugin wait for a controller that doesn't answer.

    Args:
        plugin: ``snakemake_executor_plugin_slurm``.
    """
    if not isinstance(plugin.query_job_status, Patient):
        plugin.query_job_status = Patient(plugin.query_job_status)
        plugin.get_min_job_age = Remembered(plugin.get_min_job_age)
