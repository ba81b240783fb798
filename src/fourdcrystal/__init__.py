"""4D-Crystal: from crystal structures to image quartets, a trained Bragg-disk detector, and strain maps."""

__version__ = "0.1.0"
