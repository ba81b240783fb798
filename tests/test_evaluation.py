"""Evaluation scores each method on the same noisy patterns, each with its own vacuum probe."""

import json

import numpy as np
import pandas as pd
import pytest
from disk_patterns import disk, lattice_points, pattern

from fourdcrystal import evaluation, evaluation_report, floor, inference, samples
from fourdcrystal.errors import InputError
from fourdcrystal.metrics import Truth
from fourdcrystal.samples import Sample
from fourdcrystal.settings import Evaluation, Labels

SHAPE, BASIS, DQ = (80, 80), np.array([[15.0, 1.0], [-2.0, 16.0]]), 0.02


@pytest.fixture(scope="module")
def given():
    """Four patterns, of two convergence angles and two thicknesses."""
    radii, thickness = [3.0, 4.5, 3.0, 4.5], [100.0, 100.0, 200.0, 200.0]
    images, truths = [], []
    for i, radius in enumerate(radii):
        points = lattice_points(SHAPE, np.array([40.2, 39.7]), BASIS, 6)
        images.append(pattern(SHAPE, points, radius, 1.0))
        counted = np.arange(len(points)) > 0  # not the direct beam
        g = np.column_stack([(points - points[0]) * DQ, np.zeros(len(points))])
        truths.append((np.full(len(points), i), points, np.exp(-np.hypot(*g.T) / 0.5), g, counted))
    probes = np.array([disk(SHAPE, (40, 40), radius) for radius in radii])
    table = pd.DataFrame({"energy_eV": 200e3, "semiangle": [0, 1, 0, 1], "thickness_A": thickness})
    table["purpose"] = ["zone_axis", "mistilted", "zone_axis", "random"]
    table["mistilt_mrad"] = [0.0, 12.0, 0.0, 0.0]
    true = Truth(*(np.concatenate(column) for column in zip(*truths, strict=True)))
    return Sample(np.array(images) * probes.sum((1, 2))[:, None, None], probes, np.full(4, DQ), table, true)


def test_noise_has_the_dose_that_was_asked_for(given):
    counts = given.counts(1e5, np.random.default_rng(0))
    assert counts.sum((1, 2)) == pytest.approx(np.full(4, 1e5), rel=0.02)


def test_every_pattern_is_searched_with_its_own_probe_and_scored(given):
    counts = given.counts(1e6, np.random.default_rng(0))
    search = evaluation.correlated(threshold=0.005)
    found = evaluation.found_by(search, given, counts)
    assert (np.diff(found.pattern) >= 0).all() and set(found.pattern) == {0, 1, 2, 3}
    threshold = evaluation.best_threshold(found, given, Evaluation(), in_volts=False)
    columns = evaluation.scored(found.above(threshold), given, Evaluation(), in_volts=False)
    everything, thin, thick, *tilted = evaluation.by_condition(columns, given)
    assert np.isnan(everything["thickness_A"]) and [thin["thickness_A"], thick["thickness_A"]] == [100, 200]
    assert everything["score"] > 0.95 and everything["position_median_px"] < 0.1
    assert everything["reflections"] == thin["reflections"] + thick["reflections"] == given.true.counted.sum()
    assert [(row["tilt"], row["patterns"]) for row in tilted] == [("on axis", 2), ("10–30", 1), ("random", 1)]


def test_patterns_of_catalogues_put_together_are_searched_with_their_own_probe(given):
    """The first semi-angle of one catalogue isn't that of another."""
    given.table["semiangle"] = 0
    groups = {tuple(index): probe for index, probe in given.groups()}
    assert set(groups) == {(0, 2), (1, 3)}
    np.testing.assert_array_equal(groups[1, 3], given.probe[1])
    given.dq[2] *= 2
    assert {tuple(index) for index, _ in given.groups()} == {(0,), (2,), (1, 3)}


def test_best_threshold_is_the_best(given):
    counts = given.counts(3e4, np.random.default_rng(1))
    found = evaluation.found_by(evaluation.correlated(threshold=0.002), given, counts)
    best = evaluation.best_threshold(found, given, Evaluation(), in_volts=False)

    def score(threshold):
        columns = evaluation.scored(found.above(threshold), given, Evaluation(), in_volts=False)
        return next(evaluation.by_condition(columns, given))["score_weighted"]

    assert score(best) >= max(score(t) for t in evaluation.THRESHOLDS[::6]) - 0.02


def test_edge_fits_move_positions_only(given):
    counts = given.counts(1e6, np.random.default_rng(2))
    found = evaluation.found_by(evaluation.correlated(threshold=0.05), given, counts)
    refined = evaluation.refined("edge", found, given, counts)
    np.testing.assert_array_equal(refined.intensity, found.intensity)
    assert 0 < np.abs(refined.positions - found.positions).max() < 1


def test_reflections_that_no_image_can_tell_apart_are_one():
    g = np.array([[0.5, 0.0, 0.01], [0.51, 0.0, 0.03], [0.8, 0.0, 0.0]])
    merged, weight = samples._merged(g, np.array([3.0, 1.0, 2.0]), 0.02)
    assert weight.tolist() == [4, 2]
    np.testing.assert_allclose(merged, [[0.5025, 0, 0.015], [0.8, 0, 0]])


def test_direct_beam_cut_disks_and_faint_reflections_need_not_be_found():
    g = np.array([[0, 0, 0], [0.5, 0, 0], [0, 0.3, 0], [0.93, 0, 0], [0, -0.6, 0]])
    vg, settings = np.array([14.0, 6.0, 0.05, 6.0, 3.0]), Labels(width=1.5, sigma=1.0, weakest=0.02)
    number, at, weight, found, counted = samples.reflections_seen(3, g, vg, 200e3, settings, DQ, (100, 100), 5.0)
    assert number.tolist() == [3] * 5  # all are there
    np.testing.assert_allclose(np.sort(found[counted, 0] + found[counted, 1]), [-0.6, 0.5])
    np.testing.assert_allclose(at[counted][found[counted, 0] == 0.5], [[75, 50]])
    np.testing.assert_allclose(weight, sorted(vg, reverse=True), rtol=1e-3)


def test_summary_names_the_best_classical_method_of_each_figure():
    base = dict.fromkeys((*evaluation_report.FIGURES, *evaluation_report.POSITIONS), 0.5)
    rows = [
        base | {"method": "network", "score": 0.9, "tilt_median_mrad": 2.0, "untilted_median_mrad": 5.0},
        base | {"method": "multicorr, root, learned", "position_median_px": 0.1, "position_joint_px": 0.03},
        base | {"method": "multicorr", "position_median_px": 0.2},
        base | {"method": "parabolic", "score": 0.7, "position_median_px": np.nan},
    ]
    scores = pd.DataFrame([row | {"split": "test", "dose": 1e5, "thickness_A": np.nan, "tilt": ""} for row in rows])
    entry = evaluation_report.summary(scores)["test"]["100000"]
    assert entry["score"] == {"network": 0.9, "classical": 0.7, "classical_method": "parabolic"}
    assert entry["position_median_px"]["classical_method"] == "multicorr"  # what is learned isn't classical
    assert entry["multicorr, root, learned"]["position_joint_px"] == 0.03
    assert entry["tilt_median_mrad"] == {"network": 2.0, "no_tilt": 5.0}
    assert "held-out crystals, 100,000 electrons" in evaluation_report.table({"test": {"100000": entry}})


def test_refined_methods_come_alone_and_in_the_lattice_and_the_lattice_helps(given):
    counts = given.counts(3e4, np.random.default_rng(3))
    found = evaluation.found_by(evaluation.correlated(threshold=0.05, square_root=True), given, counts)
    table = given.table.assign(crystal="a")
    given = Sample(given.cbed, given.probe, given.dq, table, given.true)
    least = floor.of_sample(given, 3e4)
    errors = {}
    for name, peaks in evaluation.improved("multicorr, root", found, given, counts, Evaluation()):
        columns = evaluation.scored(peaks, given, Evaluation(), False, least)
        errors[name] = np.median(columns["error_px"])
        assert 0.02 < np.median(columns["floor_px"]) < 0.5
    assert list(errors) == [f"multicorr, root{kind}" for kind in ("", ", learned", ", learned, in the lattice")]
    assert errors["multicorr, root, learned, in the lattice"] < errors["multicorr, root, learned"]


def test_a_network_is_not_scored_on_prototypes_that_it_learned_from_elsewhere(production):
    catalogue, patterns = production.results / "catalogue.parquet", production.results / "patterns"
    zincblende = "AB_cF8_216_c_a"
    others = set(pd.read_parquet(catalogue)["prototype"]) - {zincblende}
    assert evaluation.held_out(catalogue, {"test": others, "test_prototype": others}) == ["test_prototype"]
    left = samples.of_split(catalogue, patterns, "test_prototype", 100, others)
    assert set(left.table["prototype"]) == {zincblende}
    with pytest.raises(InputError, match="no held-out crystals of prototypes that the network hasn't learned"):
        evaluation.held_out(catalogue, {split: {zincblende, *others} for split in ("test", "test_prototype")})


def test_the_shipped_network_is_scored_at_the_threshold_that_it_is_used_with(production):
    said = json.loads((production.results / "evaluation" / "shipped" / "summary.json").read_text())
    assert said["threshold"] == inference.THRESHOLD
    assert {"test_prototype"} == said.keys() & {"test", "test_prototype"}  # what it learned from is left out
