"""Which reflections are strong tells how a crystal is tilted, better than a network that was a little wrong."""

from dataclasses import replace

import numpy as np
import pytest

from fourdcrystal import laue, tilt
from fourdcrystal.electrons import scattering
from fourdcrystal.peaks import Peaks
from fourdcrystal.pixels import Pixel

WAVELENGTH, DQ, RADIUS, CENTRE = 0.0250793, 0.0125, 7.0, (127.6, 128.3)
PIXEL = Pixel.of(DQ, 200e3)


def shared(g, volts, tilted, width=3e-3):
    """Electrons of two-beam diffraction, averaged over thickness and along a diameter by brute force; 1/Å and rad."""
    length = np.hypot(*g.T)
    s = WAVELENGTH * length**2 / 2 - g @ tilted
    within = np.linspace(-1, 1, 401) * RADIUS * DQ * WAVELENGTH
    mean = [
        np.mean(
            (own := (v * laue.SHARPNESS * WAVELENGTH * scattering(200e3)) ** 2)
            / (own + width**2 + (each + n * within) ** 2)
        )
        for each, n, v in zip(s, length, volts, strict=True)
    ]
    return 2e4 * np.array(mean)


def pattern(tilted, said, rng, scatter=0.0):
    """Peaks of a crystal that is tilted, with heights for the tilt that a network says, [rad]."""
    h, k = np.meshgrid(np.arange(-6, 7), np.arange(-6, 7))
    g = np.column_stack([h.ravel() * 0.17 + k.ravel() * 0.02, k.ravel() * 0.21])
    g = g[np.hypot(*g.T) < 1.2]
    volts = 4 * rng.uniform(0.1, 1, len(g)) * np.exp(-np.hypot(*g.T))
    counts = shared(g, volts, tilted) * np.exp(rng.normal(0, scatter, len(g)))
    counts[np.hypot(*g.T) == 0] = 5e4
    volts[np.hypot(*g.T) == 0] = 30.0
    return Peaks.of(
        np.zeros(len(g), int),
        np.array(CENTRE) + g / DQ,
        volts,
        -g @ np.array(said),
        np.full(len(g), 0.1),
        np.full(len(g), 9.0),
        rng.poisson(counts).astype(float),
    )


def tilt_of(peaks):
    q = (peaks.positions - np.array(CENTRE)) * DQ
    return tilt.plane(q, peaks.qz, peaks.intensity)[0]


def settled(peaks, pixel=PIXEL):
    return laue.settled(peaks, (128.0, 128.0), RADIUS, pixel)


@pytest.mark.parametrize("tilted", [(0.004, 0.0), (-0.006, 0.011), (0.02, 0.015)])
def test_a_wrong_tilt_is_put_right_by_the_counts(tilted):
    rng, size = np.random.default_rng(0), np.hypot(*tilted)
    said = np.array(tilted) + 0.25 * size * np.array([0.6, -0.8])
    better = settled(pattern(tilted, said, rng))
    assert np.hypot(*(tilt_of(better) - tilted)) < 0.55 * np.hypot(*(said - tilted))


def test_where_the_model_holds_and_the_network_says_next_to_nothing_the_tilt_is_exact(monkeypatch):
    monkeypatch.setattr(laue, "FLOOR", 20.0)
    monkeypatch.setattr(laue, "SCATTER", 0.05)
    tilted = np.array([0.009, -0.013])
    better = settled(pattern(tilted, (0.004, -0.008), np.random.default_rng(6)))
    assert np.hypot(*(tilt_of(better) - tilted)) < 1e-4


def test_descan_does_not_matter():
    peaks = pattern((0.012, -0.004), (0.009, -0.005), np.random.default_rng(8))
    moved = replace(peaks, qx_px=peaks.qx_px + 2 * RADIUS, qy_px=peaks.qy_px - RADIUS)
    np.testing.assert_allclose(settled(moved).qz, settled(peaks).qz, atol=1e-9)
    stopped = peaks.where(np.hypot(*(peaks.positions - CENTRE).T) > 4 * RADIUS)  # behind a beam stop
    np.testing.assert_array_equal(settled(stopped).qz, stopped.qz)


def test_intensities_that_other_beams_have_changed_still_help():
    rng, before, after = np.random.default_rng(1), [], []
    for _ in range(40):
        tilted = rng.uniform(-0.015, 0.015, 2)
        said = tilted + 0.2 * np.hypot(*tilted) * rng.normal(size=2)
        peaks = pattern(tilted, said, rng, scatter=0.7)
        before.append(np.hypot(*(said - tilted)))
        after.append(np.hypot(*(tilt_of(settled(peaks)) - tilted)))
    assert np.median(after) < 0.6 * np.median(before)


def test_many_patterns_at_once_are_as_each_by_itself():
    rng = np.random.default_rng(2)
    parts = [pattern(t, np.multiply(t, 0.8), rng) for t in ((0.01, 0.002), (-0.003, 0.012), (0.0, -0.02))]
    parts[1] = parts[1].where(slice(0, 60))
    together = settled(Peaks.joined(parts, [1, 2, 1]))
    alone = np.concatenate([settled(part).qz for part in parts])
    np.testing.assert_allclose(together.qz, alone, atol=1e-7)


def test_what_is_off_the_plane_stays_off_it():
    peaks = pattern((0.01, 0.0), (0.008, 0.0), np.random.default_rng(3))
    higher = np.zeros(len(peaks))
    higher[20] = 0.1  # a reflection of a higher Laue zone
    high = settled(replace(peaks, qz=peaks.qz + higher, intensity=np.where(higher > 0, 1e-3, peaks.intensity)))
    assert high.qz[20] - settled(peaks).qz[20] == pytest.approx(0.1, abs=0.01)


def test_turning_the_pattern_turns_the_tilt():
    peaks = pattern((0.012, 0.004), (0.009, 0.005), np.random.default_rng(4))
    off = peaks.positions - CENTRE
    turned = replace(peaks, qx_px=CENTRE[0] - off[:, 1], qy_px=CENTRE[1] + off[:, 0])
    a, b = tilt_of(settled(peaks)), tilt_of(settled(turned))
    np.testing.assert_allclose(b, [-a[1], a[0]], atol=1e-5)


@pytest.mark.parametrize("lacking", ["pixel", "electrons", "heights", "reflections"])
def test_where_something_is_not_known_nothing_changes(lacking):
    peaks, pixel = pattern((0.01, 0), (0.008, 0), np.random.default_rng(5)), PIXEL
    if lacking == "electrons":
        peaks = replace(peaks, electrons=np.full(len(peaks), np.nan))
    elif lacking == "heights":
        peaks = replace(peaks, qz=np.full(len(peaks), np.nan))
    elif lacking == "reflections":
        peaks = peaks.where(slice(0, laue.FEWEST))
    else:
        pixel = Pixel.unknown()
    np.testing.assert_array_equal(settled(peaks, pixel).qz, peaks.qz)
    assert len(settled(Peaks.none())) == 0
