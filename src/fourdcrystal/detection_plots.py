"""Pictures of a detection: patterns with the found peaks, Bragg vector map, strain and tilt beside the truth."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.patches import Patch
from scipy.ndimage import gaussian_filter

from fourdcrystal import correlation, mapping, orientation_plots, plots, scan_truth, significance, strain_plots
from fourdcrystal.analysis import PLAIN, Analysis, straightened
from fourdcrystal.detection import Detected
from fourdcrystal.flags import FLAGS, WORDS
from fourdcrystal.peaks import Peaks
from fourdcrystal.plots import STYLE
from fourdcrystal.scans import Scan
from fourdcrystal.search import Searcher


def draw(
    output: Path, scan: Scan, found: Detected, baseline: Detected | None = None, analysis: Analysis = PLAIN
) -> None:
    """All pictures of a detection, into a folder."""
    patterns(output / "patterns.png", scan, found.peaks, None if baseline is None else baseline.peaks)
    bragg_vector_map(output / "bragg_vector_map.png", scan, found)
    strain_plots.strain(output / "strain.png", scan, found, baseline, analysis)
    if found.maps.grain.max(initial=0) > 0:
        strain_plots.grains(output / "grains.png", scan, found.maps)
    tilt_maps(output / "tilt.png", scan, found)
    if found.maps.zone is not None and analysis.crystal is not None:
        orientation_plots.orientation_maps(output / "orientation.png", scan, found, analysis.crystal)
    virtual_images(output / "virtual_images.png", scan, found)
    flag_map(output / "flags.png", scan, found)


def patterns(path: Path, scan: Scan, peaks: Peaks, classical: Peaks | None = None, count: int = 4) -> None:
    """Some patterns with the peaks found in them; true centres as dots where they are known."""
    index, images = scan.spread(count), scan.sample(count)
    true = scan_truth.reflections(scan) if "centres" in scan.truth else None
    with plots.figure(path, 1, len(index), (3.2, 3.4)) as (_, axes):
        for panel, p, image in zip(axes[0], index.tolist(), images, strict=True):
            x, y = np.unravel_index(p, scan.grid)
            plots.pattern(panel, np.nan_to_num(image), f"position {x}, {y}")
            if true is not None:
                at = true.positions[(true.pattern == p) & true.counted]
                panel.plot(at[:, 1], at[:, 0], ".", ms=2, color="w", label="truth")
            if classical is not None:
                part = classical.of_pattern(p)
                panel.plot(
                    part.qy_px, part.qx_px, "x", ms=5, mew=0.8, color=plots.COLOURS["classical"], label="classical"
                )
            part = peaks.of_pattern(p)
            panel.plot(part.qy_px, part.qx_px, "o", ms=7, mew=0.8, mfc="none", color="#56b4e9", label="found")
            panel.set_xlim(-0.5, scan.shape[1] - 0.5)
            panel.set_ylim(scan.shape[0] - 0.5, -0.5)
        axes[0, 0].legend(loc="lower left", fontsize=7, labelcolor="w")


def preview(path: Path, scan: Scan, searcher: Searcher, count: int) -> None:
    """Some patterns, searched and drawn with the peaks that are sure: a look before the whole scan is searched."""
    found = searcher.batch(scan.sample(count)).peaks
    found = found.where(significance.sure(found))  # faint ones only a scan can tell from noise
    patterns(path, scan, replace(found, pattern=scan.spread(count)[found.pattern]), count=count)


def bragg_vector_map(path: Path, scan: Scan, found: Detected) -> None:
    """All Bragg vectors of the scan in one map, in 1/Å."""
    sampling = 4
    straight = straightened(found.peaks, found.maps.distortion, np.array(scan.centre))
    image = mapping.bragg_vector_map(straight, found.maps.centres, scan.shape, sampling)
    half = np.array(scan.shape) // 2 * scan.dq
    with plots.figure(path, size=(4.4, 4.0)) as (figure, axes):
        panel = axes[0, 0]
        far = np.array(scan.shape) * scan.dq - half
        begin, end = (edge - scan.dq / sampling / 2 for edge in (-half, far))  # a bin's middle is its place
        # smoothed, since a peak of one bin would be too small to be seen; the direct beam doesn't set the scale
        smooth = gaussian_filter(image, 1.0) ** 0.33
        x, y = (axis - sampling * (n // 2) for axis, n in zip(np.indices(image.shape), scan.shape, strict=True))
        brightest = smooth[np.hypot(x, y) > sampling * correlation.radius(scan.probe)].max(initial=0)
        extent = (begin[1], end[1], end[0], begin[0])
        shown = panel.imshow(smooth, cmap=plots.DIFFRACTION, extent=extent, vmin=0, vmax=brightest or None)
        panel.set_xlabel("$q_y$ [1/Å]")
        panel.set_ylabel("$q_x$ [1/Å]")
        panel.set_title(f"Bragg vector map, {len(found.peaks)} vectors")
        plots.colour_bar(figure, shown, panel, "intensity$^{1/3}$")
        known = np.isfinite(found.maps.reference).all()
        for vector, name in zip(found.maps.reference * scan.dq, ("a*", "b*"), strict=True) if known else ():
            arrow = {"arrowstyle": "->", "color": "w", "shrinkA": 0, "shrinkB": 2}
            panel.annotate("", (vector[1], vector[0]), xytext=(0, 0), arrowprops=arrow)
            panel.annotate(name, (1.25 * vector[1], 1.25 * vector[0]), color="w", ha="center", va="center")


def tilt_maps(path: Path, scan: Scan, found: Detected) -> None:
    """Tilt of the crystal towards x and y and on a colour wheel, beside the truth where it is known."""
    rows = [(found.method, found.maps.tilt)]
    if "tilt" in scan.truth:
        rows.append(("truth", scan.truth["tilt"].reshape(-1, 2)))
    with plots.figure(path, len(rows), 3, (2.9, 2.5)) as (figure, axes):
        for panel, title in zip(axes[0], ("tilt towards x [mrad]", "tilt towards y [mrad]", "tilt"), strict=True):
            panel.set_title(title)
        for row, (name, values) in enumerate(rows):
            if not np.isfinite(values).any():
                for panel in axes[row]:
                    panel.set(xticks=[], yticks=[])
                    panel.text(0.5, 0.5, "not known: no q$_z$", transform=panel.transAxes, ha="center", va="center")
                axes[row, 0].set_ylabel(name)
                continue
            longest = 1e3 * plots.span(np.hypot(*rows[-1][1].T))
            vectors = 1e3 * values.reshape(*scan.grid, 2)
            orientation_plots.wheel_map(axes[row, 2], vectors, longest, f"up to {longest:.1f} mrad")
            plots.scan_axes(axes[row, 2], last=row == len(rows) - 1)
            for column in (0, 1):
                panel, image = axes[row, column], values[:, column].reshape(scan.grid) * 1e3
                limit = plots.span(rows[-1][1][:, column] * 1e3)
                shown = panel.imshow(image, cmap=plots.SIGNED, vmin=-limit, vmax=limit)
                plots.scan_axes(panel, name if column == 0 else None, row == len(rows) - 1)
                plots.colour_bar(figure, shown, panel)


def virtual_images(path: Path, scan: Scan, found: Detected) -> None:
    """Virtual bright and annular dark field, from all counts; and the number of peaks."""
    peaks = np.bincount(found.peaks.pattern, minlength=len(scan))
    images = (
        ("bright field", found.found.bright, "gray", "counts"),
        ("dark field", found.found.dark, "gray", "counts"),
        ("peaks", peaks, "viridis", "peaks per pattern"),
    )
    with plots.figure(path, 1, 3, (2.8, 2.4)) as (figure, axes):
        for panel, (name, values, colours, label) in zip(axes[0], images, strict=True):
            shown = panel.imshow(values.reshape(scan.grid), cmap=colours, vmin=0 if name == "peaks" else None)
            plots.scan_axes(panel, "" if name == "bright field" else None)
            panel.set_title(name)
            plots.colour_bar(figure, shown, panel, label)


def flag_map(path: Path, scan: Scan, found: Detected) -> None:
    """Which positions have which flag; where there are several, the first of them."""
    bits, words = list(FLAGS.values()), [WORDS[name] for name in FLAGS]
    first = np.zeros(len(scan), int)
    for number, bit in reversed(list(enumerate(bits, 1))):
        first[(found.flags & bit) > 0] = number
    colours = ["#eeeeee", *STYLE["axes.prop_cycle"].by_key()["color"][: len(bits)]]
    with plots.figure(path, size=(5.4, 2.8)) as (figure, axes):
        panel = axes[0, 0]
        panel.imshow(first.reshape(scan.grid), cmap=ListedColormap(colours), vmin=-0.5, vmax=len(bits) + 0.5)
        plots.scan_axes(panel, "")
        panel.set_title(f"flagged: {int((first > 0).sum())} of {len(scan)} patterns")
        counts = [int((first == i).sum()) for i in range(len(bits) + 1)]
        told = zip(["nothing wrong", *words], counts, colours, strict=True)
        shown = [(f"{name}: {n}", Patch(facecolor=c, edgecolor="#888888")) for name, n, c in told if n]
        names, handles = zip(*shown, strict=True)
        figure.legend(handles, names, loc="outside right center", fontsize=8)
