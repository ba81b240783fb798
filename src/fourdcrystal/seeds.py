"""Random numbers that depend on what they are for, never on the order in which jobs run."""

import hashlib

import numpy as np


def generator(seed: int, *purpose: str | int) -> np.random.Generator:
    """Random generator for one purpose of one run.

    Args:
        seed: Seed of the run (``seed`` in config.yaml).
        purpose: What the numbers are for, such as a crystal's id and ``"orientations"``.

    Returns:
        A Generator that is the same for the same arguments on every machine, and independent for different ones.
    """
    words = "\x1f".join(str(p) for p in purpose)
    digest = hashlib.sha256(words.encode()).digest()
    return np.random.default_rng([seed, *np.frombuffer(digest, dtype="<u4").tolist()])
