"""4D-Crystal: from crystal structures to image quartets, a trained Bragg-disk detector, and strain maps."""

__version__ = "0.1.0"

# Raise it when simulated numbers change: every store is then made again. tests/test_simulation.py compares.
PATTERNS_VERSION = 6
