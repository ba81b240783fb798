"""How good a trained network is on crystals and prototypes it never saw, beside classical correlation at its best."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fourdcrystal import (
    catalogue,
    conditions,
    context,
    correlation,
    floor,
    inference,
    lattice,
    metrics,
    occupancy,
    refinements,
    samples,
    seeds,
    significance,
)
from fourdcrystal.errors import InputError
from fourdcrystal.inference import NetworkDetector
from fourdcrystal.peaks import Peaks
from fourdcrystal.pixels import Pixel
from fourdcrystal.samples import Sample
from fourdcrystal.settings import Evaluation

Method = Callable[[np.ndarray, np.ndarray, Pixel], Peaks]  # peaks of patterns (N, X, Y), probe (X, Y) and pixel

NETWORK = "network"
CLASSICAL: dict[str, dict[str, Any]] = {
    "parabolic": {"subpixel": "parabolic"},
    "multicorr": {"subpixel": "multicorr"},
    "parabolic, root": {"subpixel": "parabolic", "square_root": True},
    "multicorr, root": {"subpixel": "multicorr", "square_root": True},
}
REFINED = (NETWORK, "multicorr, root")  # whose positions are refined
SAME_SCAN = (
    "crystal",
    "orientation",
    "energy_eV",
    "semiangle",
)  # patterns that agree in these share a lattice and a probe
LEARNED, IN_LATTICE = "learned", "learned, in the lattice"
THRESHOLDS = np.geomspace(0.002, 0.5, 30)
BATCH = 64
MEDIAN_DISTANCE = float(np.sqrt(2 * np.log(2)))  # in a plane, over the deviation along an axis


def methods(detector: NetworkDetector) -> dict[str, Method]:
    """The network and the classical methods, with thresholds so low that the best one can be chosen afterwards."""
    lowest = float(THRESHOLDS[0])
    return {NETWORK: partial(detector.detect, threshold=lowest)} | {
        name: correlated(**options, threshold=lowest) for name, options in CLASSICAL.items()
    }


def correlated(**options: Any) -> Method:
    """Classical correlation with some options of :func:`fourdcrystal.correlation.detect`; it tells no heights."""
    return lambda patterns, probe, pixel: correlation.detect(patterns, probe, **options)


def found_by(method: Method, given: Sample, counts: np.ndarray) -> Peaks:
    """Peaks of all patterns of a sample, each found with its own vacuum probe."""
    parts = []
    for index, probe in given.groups():
        for start in range(0, len(index), BATCH):
            some = index[start : start + BATCH]
            part = method(counts[some], probe, given.pixel(index[0]))
            parts.append(replace(part, pattern=some[part.pattern]))
    return in_order(parts)


def refined(kind: str, found: Peaks, given: Sample, counts: np.ndarray) -> Peaks:
    """The same peaks with refined positions, each with its own vacuum probe.

    Args:
        kind: What refines them, of :func:`fourdcrystal.refinements.named`.
        found: Peaks.
        given: The sample.
        counts: Its patterns with noise, (N, X, Y).
    """
    refinement, positions, sigma = refinements.named(kind), found.positions, found.sigma_px.copy()
    if refinement is None:
        return found
    for index, probe in given.groups():
        rows = np.flatnonzero(np.isin(found.pattern, index))
        better = refinement.apply(counts, probe, found.where(rows))
        positions[rows], sigma[rows] = better.positions, better.sigma_px
    return replace(found, qx_px=positions[:, 0], qy_px=positions[:, 1], sigma_px=sigma)


def as_detected(found: Peaks, given: Sample, counts: np.ndarray) -> Peaks:
    """What the command ``detect`` makes of peaks: refined, with counts behind them; faint ones are among them.

    Args:
        found: Peaks of a method.
        given: The sample.
        counts: Its patterns with noise, (N, X, Y).
    """
    refine, parts = refinements.learned(), []
    for index, probe in given.groups():
        at = np.isin(found.pattern, index)
        some = replace(found.where(at), pattern=np.searchsorted(index, found.pattern[at]))
        better = inference.placed(counts[index], probe, some, refine, given.pixel(index[0]), faint=True)
        parts.append(replace(better, pattern=index[better.pattern]))
    return in_order(parts)


def in_lattice(found: Peaks, given: Sample) -> Peaks:
    """The peaks in the context of their lattices, without faint ones that these can't tell from noise.

    Patterns of one crystal, orientation and probe are as one scan. Not quite: they are of different thicknesses, so
    their disks have no asymmetry in common (:mod:`fourdcrystal.asymmetry`).
    """
    alike = [name for name in SAME_SCAN if name in given.table]
    number = given.table.groupby(alike, observed=True).ngroup().to_numpy()
    shape, certain, parts = given.cbed.shape[1:], significance.sure(found), []
    for group in np.unique(number):
        index = np.flatnonzero(number == group)
        at = np.isin(found.pattern, index)
        some = replace(found.where(at), pattern=np.searchsorted(index, found.pattern[at]))
        basis = lattice.find(some.where(certain[at]), shape)
        if basis is None:
            better = some.where(certain[at])
        else:
            lattices = lattice.fit(some.where(certain[at]), len(index), basis, np.array(shape) // 2)
            kept = some.where(occupancy.kept(some, lattices))
            better = context.predicted(kept, lattices)
        parts.append(replace(better, pattern=index[better.pattern]))
    return in_order(parts)


def in_order(parts: list[Peaks]) -> Peaks:
    """Peaks of different patterns as one table."""
    columns = {f.name: np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(Peaks)}
    return Peaks(**columns).where(np.argsort(columns["pattern"], kind="stable"))


def matched(found: Peaks, given: Sample, settings: Evaluation) -> metrics.Matches:
    """Which peaks are which reflections of a sample."""
    border = np.empty(len(given.dq))
    for index, probe in given.groups():
        border[index] = correlation.radius(probe)
    return metrics.match(found, given.true, settings.match_distance / given.dq, given.cbed.shape[1:], border)


def scored(
    found: Peaks, given: Sample, settings: Evaluation, in_volts: bool, least: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Columns of :func:`fourdcrystal.metrics.by_pattern` for all patterns of a sample.

    Args:
        found: Peaks.
        given: The sample.
        settings: What counts as a match.
        in_volts: Whether intensities are in volts.
        least: What :func:`fourdcrystal.floor.of_sample` gives; then there is a column floor_px, the median error of an
            estimate that reached them, for the reflections that were found.
    """
    matches = matched(found, given, settings)
    volts = found.intensity if in_volts else metrics.in_volts(found, given.true, matches)
    columns = metrics.by_pattern(found, given.true, matches, volts, len(given.dq), given.dq)
    if least is not None:
        of, smallest = given.true.pattern[matches.true], MEDIAN_DISTANCE * least[matches.true]
        medians = [np.median(smallest[of == p]) if (of == p).any() else np.nan for p in range(len(given.dq))]
        columns["floor_px"] = np.array(medians)
    return columns


def best_threshold(found: Peaks, given: Sample, settings: Evaluation, in_volts: bool) -> float:
    """Of :data:`THRESHOLDS`, the one with the best intensity-weighted score."""
    matches = matched(found, given, settings)
    volts = found.intensity if in_volts else metrics.in_volts(found, given.true, matches)
    relative = found.relative
    hit, wrong = relative[matches.found], relative[matches.false]
    v_hit, v_wrong = given.true.intensity[matches.true], volts[matches.false]
    wanted = v_hit.sum() + given.true.intensity[matches.missed].sum()
    scores = [v_hit[hit >= t].sum() / (wanted + v_wrong[wrong >= t].sum()) for t in THRESHOLDS]
    return float(THRESHOLDS[int(np.argmax(scores))])


def evaluate(
    path: Path, patterns: Path, detector: NetworkDetector, settings: Evaluation, seed: int
) -> tuple[pd.DataFrame, dict[str, float]]:
    """Score the network and the classical methods on held-out crystals and prototypes, for each dose and condition.

    Each classical method gets, for each split and dose, the threshold that scores best on the very patterns it is
    scored on. The network's is chosen once, on the validation crystals. A network that learned from other data is
    scored at the threshold that it is used with, on crystals of prototypes that it didn't learn from; one that began
    with the weights of another, on held-out prototypes that this one didn't learn from.

    Args:
        path: catalogue.parquet.
        patterns: Folder of the stores.
        detector: The trained network.
        settings: What is scored.
        seed: Of the counting noise.

    Returns:
        One row per split, dose, method and group of :mod:`fourdcrystal.conditions`; and the network's threshold.

    Raises:
        InputError: if the catalogue or a store can't be used, or there is no crystal to score the network on.
    """
    tools = methods(detector)
    threshold, before = detector.threshold, detector.learned_before
    left_out = dict.fromkeys(conditions.SPLITS, detector.learned | before)
    if detector.catalogue == catalogue.identity(path):
        # which crystals it learned from here is known, so others of the same prototypes are fair
        left_out = {"test": frozenset(), "test_prototype": before}
        middle = float(np.exp(np.median(np.log(settings.dose))))
        known = samples.of_split(path, patterns, "validation", max(1, settings.patterns // 2))
        noisy = known.counts(middle, seeds.generator(seed, "evaluation", "validation"))
        threshold = best_threshold(found_by(tools[NETWORK], known, noisy), known, settings, in_volts=True)
    rows = []
    for split in held_out(path, left_out):
        given = samples.of_split(path, patterns, split, settings.patterns, left_out[split])
        for dose in settings.dose:
            counts = given.counts(dose, seeds.generator(seed, "evaluation", split, f"{dose:g}"))
            least = floor.of_sample(given, dose)
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
    learned = as_detected(found, given, counts)
    yield f"{name}, {LEARNED}", learned.where(significance.sure(learned))
    yield f"{name}, {IN_LATTICE}", in_lattice(learned, given)


def held_out(path: Path, left_out: Mapping[str, Collection[str]]) -> list[str]:
    """The splits of a catalogue that a network is scored on.

    Args:
        path: catalogue.parquet.
        left_out: Prototypes that the network learned from elsewhere, for each split.

    Raises:
        InputError: if nothing is left of any of them.
    """
    rows = catalogue.read(path, columns=["split", "prototype"])
    found = [s for s, known in left_out.items() if not set(rows["prototype"][rows["split"] == s]) <= set(known)]
    if found:
        return found
    if set(left_out).isdisjoint(rows["split"]):
        raise InputError(
            f"{path}: has no held-out crystals to evaluate on; crystals.split.test or test_prototypes must be above 0"
        )
    raise InputError(
        f"{path}: has no held-out crystals of prototypes that the network hasn't learned from elsewhere; "
        "crystals.split.hold_out can name some of those that config/offline.yaml holds out"
    )


def by_condition(columns: dict[str, np.ndarray], given: Sample) -> Iterator[dict[str, float | str]]:
    """Scores of all patterns, of each thickness and of each tilt (:func:`fourdcrystal.conditions.groups`)."""
    for about, group in conditions.groups(given.table):
        picked = {name: column[group] for name, column in columns.items()}
        yield {**about, **metrics.summary(picked, given.dq[group])}
