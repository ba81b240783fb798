"""From a scan to files: whatever finds the peaks, the maps and files say what the scan says."""

import json
from dataclasses import replace

import h5py
import numpy as np
import pandas as pd
import pytest
import xarray
from disk_patterns import scan

from fourdcrystal import (
    correlation,
    detection,
    detection_plots,
    detection_report,
    flags,
    mapping,
    refinements,
    scan_truth,
    significance,
)
from fourdcrystal.detectors import Correlator
from fourdcrystal.flags import FLAGS


class Correlating:
    """Stands in for a trained network: classical correlation, with heights q_z of a tilted crystal."""

    tilt, method, identity, in_volts = np.array([0.004, -0.003]), "stand-in", "stand-in", True

    def doubts(self, shape, radius, dq):
        return None

    def batch_size(self, shape):
        return 5

    def detect(self, patterns, probe, pixel, faint=False):
        found = correlation.detect(patterns, probe, threshold=0.05)
        qz = -((found.positions - np.array([48.3, 47.8])) * 0.02) @ self.tilt
        return replace(found, qz=qz)


@pytest.fixture(scope="module")
def spoiled():
    u = np.linspace(-1, 1, 3)[:, None, None, None]
    distortion = np.eye(2) + u * np.array([[0.01, 0], [0, -0.005]])
    made = scan(distortion=np.broadcast_to(distortion, (3, 4, 2, 2)))
    patterns = made.patterns.copy()
    patterns[0, 3], patterns[2, 0, 5, 5] = 0, np.nan
    return replace(made, patterns=patterns)


@pytest.fixture(scope="module")
def found(spoiled):
    return detection.detect(spoiled, Correlating())


def test_empty_and_spoiled_patterns_are_flagged_and_have_no_peaks(found):
    counts = np.bincount(found.peaks.pattern, minlength=12)
    assert counts[3] == counts[8] == 0 and (np.delete(counts, [3, 8]) > 15).all()
    assert found.flags[3] == FLAGS["empty"] | FLAGS["no_lattice"]
    assert found.flags[8] == FLAGS["not_finite"] | FLAGS["no_lattice"]
    assert not np.delete(found.flags, [3, 8]).any()
    assert np.isnan(found.maps.strain.values[[3, 8]]).all()


def test_without_an_energy_nothing_is_said_to_be_in_volts(spoiled):
    known, unknown = (detection.detect(replace(spoiled, energy=energy), Correlating()) for energy in (200e3, None))
    assert known.units == "V" and not any("energy" in note for note in known.notes)
    assert unknown.units == "px²" and any("--energy" in note for note in unknown.notes)


def test_noise_of_a_dark_reference_below_zero_spoils_nothing():
    made = scan()
    read = made.patterns + np.random.default_rng(0).normal(0, 1.0, made.patterns.shape)
    found = detection.detect(replace(made, patterns=read), Correlator(refine=refinements.named("learned")))
    assert found.maps.lattices.fitted.all() and np.isfinite(found.peaks.positions).all()


def test_strain_is_the_one_that_was_put_in(found):
    values = found.maps.strain.values.reshape(3, 4, 4)
    # reciprocal space grows by 1 % along x from one row to the next: real space shrinks
    assert np.nanmean(values[2, :, 0] - values[0, :, 0]) == pytest.approx(-0.02, abs=1.5e-3)
    assert np.nanmean(values[2, :, 1] - values[0, :, 1]) == pytest.approx(0.01, abs=1.5e-3)
    assert np.nanmax(np.abs(values[..., 2:])) < 4e-3


def test_tilt_comes_from_the_heights(found):
    good = np.isfinite(found.maps.tilt[:, 0])
    assert np.abs(found.maps.tilt[good] - Correlating.tilt).max() < 2e-4
    rotation = mapping.orientations(found.maps)[good]
    np.testing.assert_allclose(rotation @ rotation.swapaxes(1, 2), np.tile(np.eye(3), (len(rotation), 1, 1)), atol=1e-9)
    axis = rotation[:, :, 2] / rotation[:, 2:, 2]
    np.testing.assert_allclose(axis[:, :2], found.maps.tilt[good], atol=1e-9)


def test_files_hold_the_same_vectors_with_units(tmp_path, spoiled, found):
    figures = detection_report.write(tmp_path, spoiled, found)
    table = pd.read_parquet(tmp_path / "bragg_vectors.parquet")
    names = ["rx", "ry", "h", "k", "qx_px", "qy_px", "qx", "qy", "qz", "intensity", "sigma_px"]
    assert list(table) == [*names, "qx_alone_px", "qy_alone_px", "sigma_alone_px", "significance", "electrons"]
    assert table.attrs["units"]["qx"] == "1/Å" and len(table) == figures["peaks"]
    one = table[(table.rx == 1) & (table.ry == 2)]
    nearest = one.loc[(one.qx**2 + one.qy**2).idxmin()]
    assert np.hypot(nearest.qx, nearest.qy) < 0.002  # the direct beam is the origin
    assert (nearest.h, nearest.k) == (0, 0)
    basis = found.maps.lattices.vectors[1 * 4 + 2] * spoiled.dq
    on = one.dropna(subset=["h", "k"])
    off = on[["qx", "qy"]].to_numpy() - on[["h", "k"]].to_numpy(float) @ basis
    assert len(on) > 10 and float(np.median(np.hypot(*off.T))) < 0.1 * spoiled.dq
    with h5py.File(tmp_path / "bragg_vectors.h5") as file:  # what py4DSTEM looks for: see test_other_programs.py
        vectors = file["braggvectors_root/braggvectors"]
        assert vectors.attrs["python_class"] == "BraggVectors"
        points = vectors["_v_uncal/data"]
        assert points.shape == (3, 4) and len(points[0, 3]) == 0
        np.testing.assert_array_equal(points[1, 2]["qx"], one.qx_px)
    strain = xarray.open_zarr(tmp_path / "strain.zarr", consolidated=False)
    assert strain.theta.units == "rad" and strain.e_xx.dims == ("rx", "ry")
    assert strain.flags.attrs["flag_meanings"].split() == list(FLAGS)
    assert "tilt_x" in xarray.open_zarr(tmp_path / "orientation.zarr", consolidated=False)
    assert json.loads((tmp_path / "summary.json").read_text())["flags"]["empty"] == 1
    pictures = {"patterns", "bragg_vector_map", "strain", "tilt", "virtual_images", "flags"}
    assert {p.stem for p in tmp_path.glob("*.png")} == pictures


def test_bragg_vector_map_adds_up_and_is_centred(found, spoiled):
    image = mapping.bragg_vector_map(found.peaks, found.maps.centres, spoiled.shape, 4)
    assert image.shape == (384, 384)
    assert image.sum() == pytest.approx(found.peaks.intensity.sum(), rel=1e-6)
    bright = np.unravel_index(np.argmax(image), image.shape)
    assert np.abs(np.array(bright) - 4 * 48).max() <= 1


def test_saturated_patterns_are_flagged():
    patterns = np.zeros((2, 20, 20), np.float32)
    patterns[1] = 1
    patterns[1, :6, :6] = 4095  # 12 bits in numbers of 16
    assert flags.of_patterns(patterns).tolist() == [FLAGS["empty"], FLAGS["saturated"]]


def test_classical_detection_stands_beside_it(spoiled):
    found = detection.classical(spoiled)
    assert (found.maps.lattices.agreeing > 10).sum() == 10
    assert found.flags[3] == FLAGS["empty"] | FLAGS["no_lattice"]
    assert np.isnan(found.maps.tilt).all()
    refined = detection.edge_fitted(spoiled, found)
    assert refined.method == "classical, edge fit" and len(refined.peaks) == len(found.peaks)
    assert np.nanmedian(refined.maps.lattices.residual) < 0.1


def test_patterns_of_another_phase_do_not_spoil_the_errors_of_the_others(spoiled, found, monkeypatch):
    names = ("score", "score_weighted", "position_median_px", "position_rms_px", "r_factor")
    monkeypatch.setattr(scan_truth, "scores", lambda *_: dict.fromkeys(names, 0.0))  # of peaks; strain is looked at
    assert scan_truth.errors(spoiled, found.peaks, found.maps, False)["strain_rmse"] < 1e-3
    values = found.maps.strain.values.copy()
    values[5] = np.nan
    other = replace(found.maps, strain=replace(found.maps.strain, values=values))
    assert scan_truth.errors(spoiled, found.peaks, other, False)["strain_rmse"] < 1e-3


def test_disks_are_fitted_where_a_gap_s_numbers_mean_nothing_as_where_there_is_none():
    whole = scan((4, 5))
    whole = replace(whole, patterns=whole.patterns + np.random.default_rng(0).poisson(2.0, whole.patterns.shape))
    patterns = whole.patterns.copy()
    patterns[:, :, 30:32] = 6e4
    refined = [
        detection.edge_fitted(made, detection.classical(made)).peaks
        for made in (whole, replace(whole, patterns=patterns))
    ]
    distance = np.hypot(*(refined[1].positions[:, None] - refined[0].positions).transpose(2, 0, 1))
    distance[refined[1].pattern[:, None] != refined[0].pattern] = np.inf
    assert len(refined[1]) > 0.5 * len(refined[0])
    assert np.quantile(distance.min(1), 0.95) < 0.2


def test_a_preview_draws_no_peak_that_counts_do_not_stand_behind(tmp_path, spoiled, monkeypatch):
    drawn = []
    monkeypatch.setattr(detection_plots, "patterns", lambda path, scan, peaks, count: drawn.append(peaks))
    few = replace(spoiled, patterns=np.random.default_rng(0).poisson(np.nan_to_num(spoiled.patterns) / 300 + 0.2))
    detector = Correlator(threshold=0.005, refine=refinements.named("edge"))
    how = detection.searcher_of(few, detector)
    detection_plots.preview(tmp_path / "preview.png", few, how, 4)
    assert significance.sure(drawn[0]).all() and len(drawn[0])
    assert not significance.sure(how.batch(few.sample(4)).peaks).all()
