"""How good a trained network is on crystals and prototypes it never saw, beside classical correlation at its best."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from fourdcrystal import (
    catalogue,
    conditions,
    context,
    correlation,
    floor,
    lattice,
    metrics,
    refinements,
    samples,
    seeds,
    vacuum,
)
from fourdcrystal.errors import InputError
from fourdcrystal.inference import Detector, Method
from fourdcrystal.peaks import Peaks
from fourdcrystal.samples import Sample
from fourdcrystal.settings import Evaluation

NETWORK = "network"
CLASSICAL: dict[str, dict[str, object]] = {
    "parabolic": {"subpixel": "parabolic"},
    "multicorr": {"subpixel": "multicorr"},
    "parabolic, root": {"subpixel": "parabolic", "square_root": True},
    "multicorr, root": {"subpixel": "multicorr", "square_root": True},
}
REFINED = (NETWORK, "multicorr, root")  # whose positions are refined
ALIKE = ("crystal", "orientation", "energy_eV", "semiangle")  # patterns that agree in these share a lattice and a probe
LEARNED, IN_LATTICE = "learned", "learned, in the lattice"
THRESHOLDS = np.geomspace(0.002, 0.5, 30)
BATCH = 64
MEDIAN_DISTANCE = float(np.sqrt(2 * np.log(2)))  # in a plane, over the deviation along an axis


def methods(detector: Detector) -> dict[str, Method]:
    """The network and the classical methods, with thresholds so low that the best one can be chosen afterwards."""
    lowest = float(THRESHOLDS[0])
    return {NETWORK: partial(detector.detect, threshold=lowest)} | {
        name: correlated(**options, threshold=lowest) for name, options in CLASSICAL.items()
    }


def correlated(**options: object) -> Method:
    """Classical correlation with some options of :func:`fourdcrystal.correlation.detect`; it tells no heights."""
    return lambda patterns, probe, curvature: correlation.detect(patterns, probe, **options)


def found_by(method: Method, given: Sample, counts: np.ndarray) -> Peaks:
    """Peaks of all patterns of a sample, each found with its own vacuum probe."""
    parts = []
    for index, probe in given.groups():
        for start in range(0, len(index), BATCH):
            some = index[start : start + BATCH]
            part = method(counts[some], probe, given.curvature[index[0]])
            parts.append(Peaks.of(some[part.pattern], part.positions, part.intensity, part.qz, part.sigma_px))
    order = np.argsort(np.concatenate([p.pattern for p in parts]), kind="stable")
    return Peaks(*(np.concatenate([getattr(p, n) for p in parts])[order] for n in Peaks.__dataclass_fields__))


def refined(kind: str, found: Peaks, given: Sample, counts: np.ndarray) -> Peaks:
    """The same peaks with refined positions, each with its own vacuum probe.

    Args:
        kind: What refines them, of :func:`fourdcrystal.refinements.named`.
        found: Peaks.
        given: The sample.
        counts: Its patterns with noise, (N, X, Y).
    """
    refinement, positions, sigma = refinements.named(kind), found.positions, found.sigma_px.copy()
    for index, probe in given.groups():
        rows = np.flatnonzero(np.isin(found.pattern, index))
        better = refinement.apply(counts, probe, found.where(rows))
        positions[rows], sigma[rows] = better.positions, better.sigma_px
    return replace(found, qx_px=positions[:, 0], qy_px=positions[:, 1], sigma_px=sigma)


def in_lattice(found: Peaks, given: Sample) -> Peaks:
    """The peaks in the context of their lattices; patterns of one crystal, orientation and probe are as one scan."""
    positions, sigma = found.positions, found.sigma_px.copy()
    shape = given.cbed.shape[1:]
    alike = [name for name in ALIKE if name in given.table]
    number = given.table.groupby(alike, observed=True).ngroup().to_numpy()
    for group in np.unique(number):
        index = np.flatnonzero(number == group)
        at = np.flatnonzero(np.isin(found.pattern, index))
        some = replace(found.where(at), pattern=np.searchsorted(index, found.pattern[at]))
        basis = lattice.find(some, shape)
        if basis is None:
            continue
        better = context.predicted(some, lattice.fit(some, len(index), basis, np.array(shape) // 2))
        positions[at], sigma[at] = better.positions, better.sigma_px
    return replace(found, qx_px=positions[:, 0], qy_px=positions[:, 1], sigma_px=sigma)


def floors(given: Sample, dose: float) -> np.ndarray:
    """Least standard deviation of each true position along an axis that shot noise allows [px], (N,).

    That of :mod:`fourdcrystal.floor`, for the electrons that a disk has beyond the median of a ring around it.
    """
    true, found = given.true, np.empty(len(given.true.pattern))
    for index, probe in given.groups():
        rows = np.flatnonzero(np.isin(true.pattern, index))
        scale = dose / probe.sum(dtype=np.float64)
        vacuum_probe = vacuum.of_probe(probe)
        reach = int(np.ceil(vacuum_probe.radius + 4))
        steps = np.arange(-reach, reach + 1)
        distance = np.hypot(steps[:, None], steps)
        disk, ring = distance <= vacuum_probe.radius, distance > vacuum_probe.radius + 1.5
        at = np.rint(true.positions[rows]).astype(int)
        x, y = (np.clip(at[:, i, None] + steps, 0, given.cbed.shape[i + 1] - 1) for i in (0, 1))
        crops = given.cbed[true.pattern[rows, None, None], x[:, :, None], y[:, None]].astype(np.float64) * scale
        level = np.median(crops[:, ring], axis=1)
        electrons = np.maximum(crops[:, disk].sum(1) - level * disk.sum(), 1.0)
        found[rows] = floor.sigma(vacuum_probe, electrons, level)
    return found


def scored(
    found: Peaks, given: Sample, settings: Evaluation, in_volts: bool, least: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Columns of :func:`fourdcrystal.metrics.by_pattern` for all patterns of a sample.

    Args:
        found: Peaks.
        given: The sample.
        settings: What counts as a match.
        in_volts: Whether intensities are in volts.
        least: What :func:`floors` gives; then there is a column floor_px, the median error of an estimate that reached
            them, for the reflections that were found.
    """
    dq = float(given.dq[0])
    border = correlation.radius(given.probe[0])
    matches = metrics.match(found, given.true, settings.match_distance / dq, given.cbed.shape[1:], border)
    volts = found.intensity if in_volts else metrics.in_volts(found, given.true, matches)
    columns = metrics.by_pattern(found, given.true, matches, volts, len(given.dq), given.dq)
    if least is not None:
        of, smallest = given.true.pattern[matches.true], MEDIAN_DISTANCE * least[matches.true]
        medians = [np.median(smallest[of == p]) if (of == p).any() else np.nan for p in range(len(given.dq))]
        columns["floor_px"] = np.array(medians)
    return columns


def best_threshold(found: Peaks, given: Sample, settings: Evaluation, in_volts: bool) -> float:
    """Of :data:`THRESHOLDS`, the one with the best intensity-weighted score."""
    dq = float(given.dq[0])
    border = correlation.radius(given.probe[0])
    matches = metrics.match(found, given.true, settings.match_distance / dq, given.cbed.shape[1:], border)
    volts = found.intensity if in_volts else metrics.in_volts(found, given.true, matches)
    relative = found.relative
    hit, wrong = relative[matches.found], relative[matches.false]
    v_hit, v_wrong = given.true.intensity[matches.true], volts[matches.false]
    wanted = v_hit.sum() + given.true.intensity[matches.missed].sum()
    scores = [v_hit[hit >= t].sum() / (wanted + v_wrong[wrong >= t].sum()) for t in THRESHOLDS]
    return float(THRESHOLDS[int(np.argmax(scores))])


def evaluate(
    path: Path, patterns: Path, detector: Detector, settings: Evaluation, seed: int
) -> tuple[pd.DataFrame, dict[str, float]]:
    """Score the network and the classical methods on held-out crystals and prototypes, for each dose and condition.

    Each classical method gets, for each split and dose, the threshold that scores best on the very patterns it is
    scored on. The network's is chosen once, on the validation crystals.

    Args:
        path: catalogue.parquet.
        patterns: Folder of the stores.
        detector: The trained network.
        settings: What is scored.
        seed: Of the counting noise.

    Returns:
        One row per split, dose, method and group of :mod:`fourdcrystal.conditions`; and the network's threshold.
    """
    tools = methods(detector)
    middle = float(np.exp(np.median(np.log(settings.dose))))
    known = samples.of_split(path, patterns, "validation", max(1, settings.patterns // 2))
    noisy = known.counts(middle, seeds.generator(seed, "evaluation", "validation"))
    threshold = best_threshold(found_by(tools[NETWORK], known, noisy), known, settings, in_volts=True)
    rows = []
    for split in held_out(path):
        given = samples.of_split(path, patterns, split, settings.patterns)
        for dose in settings.dose:
            counts = given.counts(dose, seeds.generator(seed, "evaluation", split, f"{dose:g}"))
            least = floors(given, dose)
            for name, method in tools.items():
                ours = name == NETWORK
                found = found_by(method, given, counts)
                used = threshold if ours else best_threshold(found, given, settings, in_volts=False)
                for kind, peaks in improved(name, found.above(used), given, counts, settings):
                    columns = scored(peaks, given, settings, ours, least)
                    about = {"split": split, "dose": dose, "method": kind, "threshold": used}
                    rows += [about | row for row in by_condition(columns, given)]
    return pd.DataFrame(rows), {"threshold": threshold}


def improved(
    name: str, found: Peaks, given: Sample, counts: np.ndarray, settings: Evaluation
) -> Iterator[tuple[str, Peaks]]:
    """A method's peaks, and those of :data:`REFINED` ones with refined positions, by the names in the tables."""
    yield name, found
    if name not in REFINED:
        return
    if settings.edge_fit:
        yield f"{name}, edge fit", refined("edge", found, given, counts)
    learned = refined("learned", found, given, counts)
    yield f"{name}, {LEARNED}", learned
    yield f"{name}, {IN_LATTICE}", in_lattice(learned, given)


def held_out(path: Path) -> list[str]:
    """The splits of a catalogue that networks are scored on.

    Raises:
        InputError: if it has none of them.
    """
    there = set(catalogue.read(path, columns=["split"])["split"].unique())
    found = [split for split in conditions.SPLITS if split in there]
    if not found:
        raise InputError(
            f"{path}: has no held-out crystals to evaluate on; crystals.split.test or test_prototypes must be above 0"
        )
    return found


def by_condition(columns: dict[str, np.ndarray], given: Sample) -> Iterator[dict[str, float | str]]:
    """Scores of all patterns, of each thickness and of each tilt (:func:`fourdcrystal.conditions.groups`)."""
    for about, group in conditions.groups(given.table):
        picked = {name: column[group] for name, column in columns.items()}
        yield {**about, **metrics.summary(picked, given.dq[group])}
