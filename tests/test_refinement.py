"""Made-up disks are where their table says, and refinement moves candidates onto them."""

import math

import pytest
import torch
from synthetic_quartets import disk

from fourdcrystal import disks, refinement


def test_made_up_disks_are_seeded():
    first, again = (disks.draw(4, torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(first.counts, again.counts)
    assert not torch.equal(first.counts, disks.draw(4, torch.Generator().manual_seed(6)).counts)


def test_the_edge_of_a_made_up_disk_lies_around_its_centre():
    """Pixels well inside the moved probe are bright, pixels well outside are background, whatever the contrast."""
    made = disks.draw(200, torch.Generator().manual_seed(0))
    axis = torch.arange(33.0) - 16
    grid = torch.stack(torch.meshgrid(axis, axis, indexing="ij"), -1)
    distance = (grid - made.offset[:, None, None]).norm(dim=-1)
    strong = (made.electrons > 3000) & (made.radius > 4)
    for counts, r, radius in zip(made.counts[strong], distance[strong], made.radius[strong], strict=True):
        inside, ring = counts[r < 0.6 * radius].mean(), counts[(r > radius + 1.2) & (r < radius + 2.5)]
        # a neighbour may shine into the ring, but not all around
        assert inside > torch.quantile(ring, 0.2)


def test_the_probe_of_a_crop_is_in_its_middle():
    made = disks.draw(64, torch.Generator().manual_seed(1))
    axis = torch.arange(33.0) - 16
    mass = made.probe.sum((1, 2))
    moments = [(made.probe.sum(2) * axis).sum(1) / mass, (made.probe.sum(1) * axis).sum(1) / mass]
    assert torch.stack(moments).abs().median() < 0.05


def test_crops_show_what_is_around_a_pixel_and_zero_outside_the_frame():
    patterns = torch.rand(2, 40, 50)
    seen = refinement.crops(patterns, torch.tensor([1, 0]), torch.tensor([[20, 30], [0, 49]]))
    assert torch.equal(seen[0], patterns[1, 4:37, 14:47])
    assert seen[1, 16, 16] == patterns[0, 0, 49]
    assert float(seen[1, :16].abs().max()) == 0
    assert float(seen[1, :, 17:].abs().max()) == 0


def test_a_probe_image_is_centred_before_use():
    probe = disk((64, 64), torch.tensor([29.3, 35.6]), 6.0) * 1000
    reference = disk((33, 33), torch.tensor([16.0, 16.0]), 6.0) * 1000
    assert (refinement.centred_probe(probe) - reference).abs().max() < 60


def test_likelihood_is_least_at_the_true_error():
    true, offset = torch.zeros(1000, 2), 0.3 * torch.randn(1000, 2, generator=torch.Generator().manual_seed(0))
    costs = {
        sigma: float(refinement.negative_log_likelihood(offset, torch.full((1000,), math.log(sigma)), true, beta=0))
        for sigma in (0.15, 0.3, 0.6)
    }
    assert min(costs, key=costs.get) == 0.3


@pytest.mark.slow
def test_training_refines_candidates_and_knows_how_well():
    """A hundred steps: better than the candidates, and two thirds of errors within the stated deviation."""
    network = refinement.train(steps=100, batch_size=48, seed=0)
    made = disks.draw(400, torch.Generator().manual_seed(7))
    with torch.inference_mode():
        offset, log_sigma = network(made.counts, made.probe)
    strong = made.electrons > 300
    error = (offset - made.offset)[strong]
    assert error.norm(dim=1).median() < 0.95 * made.offset[strong].norm(dim=1).median()
    within = (error.abs() < log_sigma[strong].exp()[:, None]).float().mean()
    assert 0.5 < float(within) < 0.9


def test_a_refiner_file_gives_the_network_back(tmp_path):
    torch.manual_seed(0)
    network = refinement.Refiner(8).eval()
    refinement.save(tmp_path / "refiner.safetensors", network, {"steps": 0})
    made = disks.draw(3, torch.Generator().manual_seed(0))
    back = refinement.load(tmp_path / "refiner.safetensors")
    assert torch.equal(back(made.counts, made.probe)[0], network(made.counts, made.probe)[0])
