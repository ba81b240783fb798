"""Pages as a browser makes them, without an error and without a network."""

import shutil
import subprocess
from pathlib import Path

import pytest

CHROMIUM = shutil.which("chromium")
needed = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed (Debian: apt-get install chromium)")


def dom(address: str, profile: Path, milliseconds: int = 5000) -> str:
    """The page, with what its scripts have made of it after so much of its own time."""
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--enable-logging=stderr"]
    command += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    command += [f"--user-data-dir={profile}", f"--virtual-time-budget={milliseconds}", "--dump-dom", address]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180)
    assert not [line for line in done.stderr.splitlines() if "CONSOLE" in line and "rror" in line]
    return done.stdout
