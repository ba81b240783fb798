"""Patterns that say less than the others of their scan are told apart, and keep what they say."""

from dataclasses import replace

import numpy as np
from disk_patterns import scan

from fourdcrystal import detection, flags, refinements
from fourdcrystal.detectors import Correlator
from fourdcrystal.flags import FLAGS


def test_strain_is_uncertain_where_any_component_is_known_far_worse_than_in_the_scan():
    sigma = np.full((20, 4), [1e-3, 2e-3, 1e-3, 1e-3])
    sigma[1] *= 4
    sigma[2] *= 6
    sigma[3, 1] *= 6
    sigma[4] = np.nan
    residual = np.full(20, 0.1)
    residual[5:7] = 0.25, 0.35  # two lattices overlap
    assert np.flatnonzero(flags.uncertain(sigma, residual)).tolist() == [2, 3, 6]
    assert not flags.uncertain(np.full((3, 4), np.nan), np.full(3, np.nan)).any()


def test_a_pattern_of_few_electrons_in_a_scan_of_many_is_flagged_and_keeps_its_strain():
    made = scan((3, 4))
    patterns = made.patterns.copy()
    patterns[1, 2] = np.random.default_rng(0).binomial(patterns[1, 2].astype(int), 0.01)
    found = detection.detect(replace(made, patterns=patterns), Correlator(refine=refinements.named("learned")))
    assert np.flatnonzero(found.flags & FLAGS["uncertain"]).tolist() == [6]
    assert np.isfinite(found.maps.strain.values).all()
    assert flags.counts(found.flags)["uncertain"] == 1
    # a flag is what the last look at the peaks says
    again = detection.mapped(made, "again", replace(found.found, peaks=found.peaks.where(found.peaks.pattern != 6)))
    assert found.flags[6] == FLAGS["uncertain"] and again.flags[6] == FLAGS["no_lattice"] | FLAGS["no_peaks"]


def test_every_flag_is_a_bit_of_its_own_and_has_words():
    assert sorted(FLAGS.values()) == [1 << i for i in range(len(FLAGS))]
    assert max(FLAGS.values()) <= np.iinfo(np.uint8).max and flags.WORDS.keys() == FLAGS.keys()
