"""Small stores of made-up quartets, for tests of everything that reads them."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
from known_crystals import SILICON

from fourdcrystal import labels, stores
from fourdcrystal.crystals import Crystal
from fourdcrystal.settings import Settings
from fourdcrystal.sheet import Row

SHAPE, DQ = (32, 48), 0.02
SETTINGS = Settings.model_validate(
    {
        "microscope": {"energy": 200e3, "semiangle_cutoff": [2, 3]},
        "specimen": {"thickness": [100, 200, 400]},
        "detector": {"shape": SHAPE, "sampling": DQ},
    }
)
PARTS = {"seed", "orientations", "microscope", "specimen", "detector", "labels"}


def silicon(name: str = "Si-1") -> Crystal:
    source = {"name": "made up", "id": name, "database_version": "0", "licence": "CC0-1.0", "citation": "nobody"}
    return Crystal(name, SILICON, "A_cF8_227_a", 227, "cubic", source)


def row(name: str, split: str) -> Row:
    """Its line in the sheet of crystals."""
    return Row(name, "A_cF8_227_a", 4, split, "Si", 227, "cubic", "A_cF8_227_a:Si", name)


def axes(orientations: int = 2) -> stores.Axes:
    turned = [
        SimpleNamespace(rotation=np.eye(3), purpose="zone_axis", zone_axis=(0, 0, i + 1), mistilt=0.01 * i)
        for i in range(orientations)
    ]
    return stores.Axes(turned, [200e3], [2.0, 3.0], [100.0, 200.0, 400.0], SHAPE, DQ)


def disk(qx: float, qy: float, radius: float) -> np.ndarray:
    x, y = ((np.arange(n) - n // 2) * DQ for n in SHAPE)
    return (np.hypot(x[:, None] - qx, y - qy) < radius).astype(np.float32)


def reflections(count: int = 5) -> SimpleNamespace:
    hkl = np.array([(0, 0, 0), (2, 2, 0), (-2, 2, 0), (0, 4, 0), (-4, 0, 0), (3, -1, 0), (1, 1, 1)], np.int32)[:count]
    g = hkl @ SILICON.lattice.inv_matrix.T
    return SimpleNamespace(hkl=hkl, g=g, vg=3 * np.exp(1j * np.arange(count)))


def fill(writer: stores.Writer, made: stores.Axes, rng: np.random.Generator) -> None:
    probe = np.stack([disk(0, 0, a * 0.04) for a in made.semiangle])[None]
    writer.put_probe(probe)
    for i in range(len(made.orientations)):
        cbed = probe[:, :, None] * rng.uniform(0.1, 0.9, (1, 2, len(made.thickness), 1, 1))
        table = reflections(5 + i)
        weights = labels.weights(table.g, table.vg, 200e3, SETTINGS.labels)
        vg, qz = labels.draw(labels.positions(table.g, DQ, SHAPE), weights, table.g[:, 2], SHAPE, SETTINGS.labels.width)
        writer.put(i, cbed, vg[None], qz[None], table, np.full((1, 2, len(made.thickness)), 1e-3))


def write(path: Path, seed: int = 0, orientations: int = 2) -> None:
    """A store whose crystal is named like the file."""
    made = axes(orientations)
    recipe = SETTINGS.model_dump(mode="json", include=PARTS) | {"seed": seed}
    with stores.new_store(path, silicon(path.stem), made, recipe, 1) as writer:
        fill(writer, made, np.random.default_rng(seed))
