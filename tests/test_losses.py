"""Losses vanish at the truth and weigh what they say."""

import pytest
import torch
from synthetic_quartets import quartets

from fourdcrystal import artefacts, losses
from fourdcrystal.experiment import Artefacts, Loss
from fourdcrystal.network import HEIGHT, compress


def truth(n=3):
    batch = quartets(n)
    settings = Artefacts(dose=[1e5, 1e5], probe_dose=[1e6, 1e6])
    batch = artefacts.apply(batch, settings, artefacts.generators(range(n), 0), 1.5)
    height = batch["qz"] / (HEIGHT * batch["curvature"][:, None, None])
    return batch, torch.stack([compress(batch["vg"] / batch["volts"][:, None, None]), height], 1)


def test_the_truth_costs_nothing():
    batch, raw = truth()
    assert float(losses.MapLoss(Loss(peak=10, qz=0.1, linear=0, learned=False))(raw, batch)["loss"]) < 1e-12


def test_an_error_at_a_peak_costs_more_than_one_between_peaks():
    batch, raw = truth(1)
    loss = losses.MapLoss(Loss(peak=10, qz=0, linear=0, learned=False))
    flat = batch["peaks"][0].flatten()
    costs = []
    for pixel in (int(flat.argmax()), int(flat.argmin())):
        wrong = raw.clone()
        wrong[0, 0].view(-1)[pixel] += 1
        costs.append(float(loss(wrong, batch)["loss"]))
    assert costs[0] / costs[1] > 10


def test_qz_counts_only_where_there_is_potential():
    batch, raw = truth(1)
    wrong = raw.clone()
    wrong[:, 1][batch["vg"] < 1e-6 * batch["vg"].max()] = 1e3
    loss = losses.MapLoss(Loss(peak=10, qz=1, linear=0, learned=False))
    everywhere = float(loss(raw + 1e3, batch)["qz_loss"])
    assert float(loss(wrong, batch)["qz_loss"]) < 1e-4 * everywhere


def test_the_r_factor_is_that_of_the_maps_in_volts():
    batch, raw = truth(2)
    raw[:, 0] *= 1.2**0.5  # all potentials a fifth too large
    costs = losses.MapLoss(Loss(peak=10, qz=0.1, linear=0, learned=False))(raw, batch)
    assert float(costs["vg_r_factor"]) == pytest.approx(0.2, rel=1e-4)
    more = losses.MapLoss(Loss(peak=10, qz=0.1, linear=0.5, learned=False))(raw, batch)
    assert float(more["loss"] - costs["loss"]) == pytest.approx(0.1, rel=1e-4)
    assert float(more["vg_loss"]) == float(costs["vg_loss"])  # the square error alone, as learning curves say


def test_a_batch_costs_the_mean_of_its_halves():
    """So that a batch may be split over devices."""
    batch, raw = truth(4)
    loss = losses.MapLoss(Loss(peak=10, qz=0.1, linear=0, learned=False))
    raw = raw + torch.randn(raw.shape, generator=torch.Generator().manual_seed(0))

    def cost(part):
        return float(loss(raw[part], {k: v[part] for k, v in batch.items()})["loss"])

    assert abs(cost(slice(0, 4)) - (cost(slice(0, 2)) + cost(slice(2, 4))) / 2) < 1e-6


def test_learned_weights_settle_at_the_inverse_of_each_loss():
    """The minimum of exp(-s) L + s is at s = log L."""
    batch, raw = truth(1)
    loss = losses.MapLoss(Loss(peak=10, qz=0.1, linear=0, learned=True))
    optimiser = torch.optim.Adam(loss.parameters(), lr=0.1)
    for _ in range(200):
        optimiser.zero_grad()
        out = loss(raw + 0.3, batch)
        out["loss"].backward()
        optimiser.step()
    expected = torch.stack([out["vg_loss"], out["qz_loss"]]).log()
    torch.testing.assert_close(loss.log_variances.detach(), expected, atol=0.05, rtol=0)
