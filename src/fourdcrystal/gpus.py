"""GPUs of this machine, shared out among jobs that run side by side."""

import fcntl
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import gettempdir

VISIBLE = "CUDA_VISIBLE_DEVICES"
PAUSE = 0.2  # s between looks for a free one


def visible() -> list[str]:
    """GPUs that this process may use: those of CUDA_VISIBLE_DEVICES, else all that have an NVIDIA device file."""
    if VISIBLE in os.environ:
        return [name.strip() for name in os.environ[VISIBLE].split(",") if name.strip() not in ("", "-1")]
    devices = Path("/dev").glob("nvidia[0-9]*")
    return sorted((m[1] for path in devices if (m := re.fullmatch(r"nvidia(\d+)", path.name))), key=int)


@contextmanager
def leased(folder: str | Path | None = None) -> Iterator[str | None]:
    """One GPU for this process alone, as far as jobs of this project go; waits for one if all are in use.

    Snakemake counts GPUs (``--resources gpu=2``) but doesn't say which one a job gets; SLURM does, and then one is
    visible and nothing is left to share out. The lease ends with the process, however it ends.

    Args:
        folder: For the lock files, one per GPU; shared by all jobs of a machine. The default is one of this user.

    Yields:
        The GPU's name as in CUDA_VISIBLE_DEVICES, which is set to it; none where there is no GPU.
    """
    offered = visible()
    if len(offered) < 2:
        yield offered[0] if offered else None
        return
    place = Path(folder or Path(gettempdir()) / f"fourdcrystal-gpus-{os.getuid()}")
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    locks = {name: os.open(place / re.sub(r"\W", "_", name), os.O_CREAT | os.O_RDWR, 0o600) for name in offered}
    before = os.environ.get(VISIBLE)
    try:
        taken = _first_free(locks)
        os.environ[VISIBLE] = taken
        yield taken
    finally:
        for lock in locks.values():
            os.close(lock)
        if before is None:
            os.environ.pop(VISIBLE, None)
        else:
            os.environ[VISIBLE] = before


def _first_free(locks: dict[str, int]) -> str:
    while True:
        for name, lock in locks.items():
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            return name
        time.sleep(PAUSE)
