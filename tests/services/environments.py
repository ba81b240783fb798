"""Servers of other projects, each in an environment of its own that is made once, from the package index, and kept."""

import contextlib
import fcntl
import hashlib
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".cache" / "services"

MATERIALS_PROJECT = ["emmet-api==0.87.3", "emmet-core==0.87.3", "mongomock==4.3.0", "uvicorn"]
OPTIMADE = ["optimade[server]==1.5.0"]
# older than this project's own dependencies: the last of py4DSTEM that reads its usual files needs NumPy 1
PY4DSTEM = ["py4dstem==0.14.18", "numpy==1.26.4", "pymatgen==2024.7.18", "monty<2025.2", "pandas<3"]
BLOBFINDER = ["libertem-blobfinder==0.6.1"]
HYPERSPY = ["hyperspy==2.5.0", "pyxem==0.21.0"]
# the newer line of the Materials Project's client, and what the source needs beside it
NEWER_CLIENT = ["mp-api==0.47.0", "pymatgen==2026.10.24", "pydantic==2.14.3", "pytest==9.2.0", "filelock==4.2.11"]


def newer_interpreter() -> str:
    """A Python of at least 3.12, on the path or among pyenv's; skips the test if there is none."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    names = [f"python3.{minor}" for minor in (12, 13, 14)]
    for candidate in (*names, *(found for name in names for found in sorted(pyenv.glob(f"versions/*/bin/{name}")))):
        with contextlib.suppress(OSError):  # not there; a shim of pyenv that leads nowhere fails instead
            if subprocess.run([candidate, "-c", "import venv, ensurepip"], capture_output=True).returncode == 0:
                return str(candidate)
    pytest.skip("no Python of at least 3.12 on the path or among pyenv's")


def python(name: str, packages: list[str], base: str = sys.executable) -> Path:
    """The interpreter of an environment with these packages; skips the test, with the reason, if it can't be made."""
    version = sys.version if base == sys.executable else base
    key = hashlib.sha256(f"{version}{packages}".encode()).hexdigest()[:12]
    folder = FOLDER / f"{name}-{key}"
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (FOLDER / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            try:
                subprocess.run([base, "-m", "venv", "--clear", folder], check=True, capture_output=True)
                pip = [folder / "bin" / "python", "-m", "pip", "install", "--disable-pip-version-check", "--quiet"]
                subprocess.run([*pip, *packages], check=True, capture_output=True, text=True, timeout=600)
            except (subprocess.SubprocessError, OSError) as error:
                said = (getattr(error, "stderr", None) or str(error) or type(error).__name__).strip().splitlines()[-1]
                pytest.skip(f"{', '.join(packages)} can't be installed here: {said}")
            (folder / "complete").touch()
    return folder / "bin" / "python"


def free_port() -> int:
    """A port on loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def serving(command: list[object], port: int, ready: str, **environment: str) -> Iterator[str]:
    """Run a server while the block runs.

    Yields:
        Its address.
    """
    address = f"http://127.0.0.1:{port}"
    process = subprocess.Popen(
        [str(part) for part in command], env=os.environ | environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        for _ in range(600):
            if process.poll() is not None:
                raise AssertionError(f"the server ended: {process.stdout.read().decode()[-2000:]}")
            try:
                with urllib.request.urlopen(address + ready, timeout=1):
                    break
            except (urllib.error.URLError, OSError):
                time.sleep(0.2)
        else:
            raise AssertionError(f"the server doesn't answer at {address}{ready}")
        yield address
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
