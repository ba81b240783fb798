"""Conditions change what a camera sees, and the truth with it; nothing of them was learned from."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from disk_patterns import disk, lattice_points, pattern

from fourdcrystal import evaluation, held_out, rocking
from fourdcrystal.metrics import Truth
from fourdcrystal.samples import Sample
from fourdcrystal.settings import Evaluation

SHAPE, DQ, RADIUS = (96, 96), 0.02, 5.0


def made(crystal: str) -> Sample:
    points = lattice_points(SHAPE, np.array([48.2, 47.7]), np.array([[17.0, 1.0], [-2.0, 18.0]]), 7)
    g = np.column_stack([(points - points[0]) * DQ, np.zeros(len(points))])
    true = Truth(np.zeros(len(points), int), points, np.ones(len(points)), g, np.arange(len(points)) > 0)
    probe = disk(SHAPE, (48.0, 48.0), RADIUS)
    table = pd.DataFrame({"crystal": [crystal], "energy_eV": 2e5, "semiangle": 2.0, "thickness_A": 100.0})
    cbed = probe.sum() * pattern(SHAPE, points, RADIUS, 1.0)
    return Sample(cbed[None], probe[None], np.array([DQ]), table, true)


def position_error(given: Sample) -> float:
    counts = given.counts(1e7, np.random.default_rng(0))
    found = evaluation.found_by(evaluation.correlated(threshold=0.05), given, counts)
    columns = evaluation.scored(found, given, Evaluation(), in_volts=False)
    assert columns["tp"][0] > 8
    return float(columns["error_px"][0])


@pytest.mark.parametrize(
    "changed",
    [
        lambda s: held_out.with_ellipse(s, 0.1),
        lambda s: held_out.with_displaced_probe(s, 2.5),
        lambda s: held_out.with_background(s, 0.2),
    ],
    ids=["ellipse", "displaced probe", "background"],
)
def test_disks_are_where_the_changed_truth_says(changed):
    assert position_error(changed(made("a"))) < 0.15


def test_an_ellipse_moves_the_disks_that_it_should():
    before, after = made("a"), held_out.with_ellipse(made("a"), 0.1)
    moved = np.hypot(*(after.true.positions - before.true.positions).T)
    assert moved.max() > 1.0
    assert position_error(replace(after, true=before.true)) > 0.3


def test_background_keeps_the_electrons():
    before, after = made("a"), held_out.with_background(made("a"), 0.4)
    assert after.cbed.sum() == pytest.approx(0.6 * before.cbed.sum() + 0.4 * before.probe.sum(), rel=1e-3)


def test_samples_are_joined_and_parted_with_their_truth():
    both = held_out.joined([made("a"), held_out.with_ellipse(made("b"), 0.1)])
    assert both.table["crystal"].tolist() == ["a", "b"]
    second = held_out.subset(both, np.array([False, True]))
    np.testing.assert_array_equal(second.true.positions, held_out.with_ellipse(made("b"), 0.1).true.positions)
    assert set(second.true.pattern) == {0} and second.table["crystal"].tolist() == ["b"]


def test_no_refiner_learned_from_the_crystals():
    learnt, _ = rocking.divided(Path(f"{name}_0.npz") for name in rocking.crystals())
    names = {path.stem.rpartition("_")[0] for path in learnt}
    chosen = held_out.structures(6, 0)
    assert len(chosen) == 8 and not names & set(chosen)
    assert {split for split, _ in chosen.values()} == {held_out.CRYSTALS, held_out.PROTOTYPES}
