"""A page to browse quartets in: one HTML file that needs nothing else, with filters for class, split and thickness."""

import base64
import html
import io
import json
from importlib.resources import files as package_files
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from fourdcrystal import gallery, plots
from fourdcrystal.places import Location

NAMES = ("probe", "cbed", "vg", "qz")


def png(shares: NDArray[np.floating], colours: str) -> str:
    """An image as a data URI: a PNG of 256 colours.

    Args:
        shares: Brightness from 0 to 1, (qx, qy).
        colours: Name of a colour map.
    """
    indices = np.clip(np.rint(255 * shares), 0, 255).astype(np.uint8)
    picture = Image.fromarray(indices, mode="P")
    palette = (matplotlib.colormaps[colours](np.arange(256))[:, :3] * 255).astype(np.uint8)
    picture.putpalette(palette.tobytes())
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def pictures(images: gallery.Images) -> dict[str, str]:
    """The four images of a quartet on the scales of the gallery."""
    probe, cbed, vg, qz = images
    defined, height = gallery.heights(vg, qz)
    scaled = (
        np.sqrt(np.clip(probe, 0, 1)),
        np.clip(cbed / cbed.max(), 0, 1) ** 0.3,
        np.sqrt(np.clip(vg / max(float(vg.max()), 1e-3), 0, 1)),
        0.5 + 0.5 * defined.filled(0) / height,
    )
    colours = (plots.DIFFRACTION, plots.DIFFRACTION, "viridis", plots.SIGNED)
    return {name: png(shares, colour) for name, shares, colour in zip(NAMES, scaled, colours, strict=True)}


def entry(number: int, row: pd.Series, images: gallery.Images) -> dict[str, Any]:
    """What the page knows about one quartet."""
    return {
        "row": number,
        "crystal": str(row["crystal"]),
        "formula": str(row["formula"]),
        "prototype": str(row["prototype"]),
        "split": str(row["split"]),
        "turned": f"[{row['zone_axis']}]" if row["zone_axis"] else str(row["purpose"]),
        "tilt": round(float(row["mistilt_mrad"]), 1),
        "energy": float(row["energy_eV"]) / 1e3,
        "semiangle": round(float(row["semiangle_mrad"]), 3),
        "thickness": round(float(row["thickness_A"]), 3),
        "intensity": round(float(row["intensity"]), 4),
        "vgmax": round(float(images[2].max()), 2),
        "qzmax": round(float(np.abs(gallery.heights(*images[2:])[0]).max()), 4),
        **pictures(images),
    }


def page(catalogue: pd.DataFrame, patterns: Location, most: int) -> str:
    """The page, with at most so many quartets of as many prototypes, thicknesses and orientations as possible.

    Args:
        catalogue: One row per quartet; its index is the row number.
        patterns: Folder of the stores.
        most: Quartets on the page.
    """
    chosen = gallery.choose(catalogue, most)
    entries = [entry(int(number), row, gallery.quartet(patterns, row)[0]) for number, row in chosen.iterrows()]
    about = f"{len(entries)} of {len(catalogue):,} quartets, {catalogue['crystal'].nunique():,} crystals"
    template = (package_files("fourdcrystal") / "data" / "album.html").read_text()
    # a "<" could begin what ends the script inside the page, or a comment that swallows its end
    content = json.dumps(entries, ensure_ascii=False).replace("<", "\\u003c")
    return template.replace("{{about}}", html.escape(about)).replace("{{entries}}", content)
