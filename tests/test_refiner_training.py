"""Training moves candidates onto centres of disks that it never saw, and its loss is smallest where it should be."""

import pytest
import torch

from fourdcrystal import refiner_training
from fourdcrystal.errors import InputError


def test_a_short_training_places_unseen_disks_better_than_their_candidates():
    made = refiner_training.collection(1024, 0, None)
    network = refiner_training.train(made, 250, 48, seed=0, width=24, learning_rate=8e-3)
    strong = refiner_training.validate(network, refiner_training.validation(None, 1024))[-2:]
    assert all(figures.disks > 100 for figures in strong)
    assert all(figures.median < 0.85 * figures.candidates for figures in strong)
    assert all(0.3 < figures.coverage < 0.95 for figures in strong)


def test_a_killed_training_goes_on_as_if_nothing_had_happened(tmp_path, monkeypatch):
    monkeypatch.setattr(refiner_training, "KEPT", 2)
    made, path = refiner_training.collection(64, 0, None), tmp_path / "training.checkpoint"
    whole = refiner_training.train(made, 6, 16, seed=0, width=8, learning_rate=1e-3)

    def killed(step, loss):
        if step == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        refiner_training.train(made, 6, 16, 0, 8, 1e-3, killed, path)
    resumed = refiner_training.train(made, 6, 16, 0, 8, 1e-3, checkpoint=path)
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), resumed.parameters(), strict=True))


def test_a_training_does_not_go_on_from_one_of_other_settings_or_crops(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(refiner_training, "KEPT", 2)
    made, other = (refiner_training.collection(64, seed, None) for seed in (0, 1))
    path = tmp_path / "training.checkpoint"
    begun = refiner_training.train(made, 4, 16, 0, 8, 1e-3, checkpoint=path)
    for crops, seed, start in ((made, 5, None), (other, 0, None), (made, 0, begun)):
        refiner_training.train(made, 4, 16, 0, 8, 1e-3, checkpoint=path)
        afresh = refiner_training.train(crops, 4, 16, seed, 8, 1e-3, checkpoint=path, start=start)
        assert "starting afresh" in capsys.readouterr().out
        without = refiner_training.train(crops, 4, 16, seed, 8, 1e-3, start=start)
        assert all(torch.equal(a, b) for a, b in zip(afresh.parameters(), without.parameters(), strict=True))
    with pytest.raises(InputError, match="refiner of width 8; --width must be the same, not 16"):
        refiner_training.train(made, 4, 16, 0, 16, 1e-3, start=begun)


def test_the_learning_rate_rises_stays_and_falls_to_nothing():
    rates = [refiner_training.schedule(step, 1000) for step in range(1000)]
    assert rates[0] < 0.01 and rates[300] == rates[700] == 1 and rates[-1] < 0.01


def test_the_loss_is_smallest_at_the_true_offset():
    true = torch.tensor([[0.3, -0.2]])
    precision = torch.tensor([[[9.0, 2.0], [2.0, 4.0]]])
    least = refiner_training.negative_log_likelihood(true, precision, true)
    for angle in torch.linspace(0, 6, 13):
        away = true + 0.01 * torch.stack([angle.cos(), angle.sin()])
        assert refiner_training.negative_log_likelihood(away, precision, true) > least


def test_the_likelihood_is_largest_for_the_spread_that_errors_have():
    error = 0.3 * torch.randn(20_000, 2, generator=torch.Generator().manual_seed(0))

    def loss(sigma):
        precision = torch.eye(2).expand(len(error), 2, 2) / sigma**2
        return refiner_training.negative_log_likelihood(error, precision, torch.zeros(1, 2), beta=0)

    assert min((0.2, 0.27, 0.3, 0.33, 0.4), key=loss) == 0.3


def test_turned_crops_still_have_their_disk_where_the_table_says():
    made = refiner_training.validation(None, 16)
    for which in range(8):
        turned = refiner_training.turned(made, which)
        # the probe drawn at the turned offset is the turned probe
        assert torch.allclose(turned.probe(turned.offset).sum((1, 2)), made.probe(made.offset).sum((1, 2)), rtol=1e-3)
        before, after = ((m.expected * m.probe(m.offset)).sum((1, 2)) for m in (made, turned))
        assert torch.allclose(before, after, rtol=1e-3)
