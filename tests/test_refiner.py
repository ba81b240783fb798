"""Disks are where their table says, and the shipped refiner moves candidates onto them."""

import hashlib

import pytest
import torch
from safetensors.torch import save_file

from fourdcrystal import disks, refiner
from fourdcrystal.errors import InputError


def made(count, seed):
    return disks.draw(count, torch.Generator().manual_seed(seed), refiner.SIZE)


def test_made_up_disks_are_seeded():
    assert torch.equal(made(4, 5).expected, made(4, 5).expected)
    assert not torch.equal(made(4, 5).expected, made(4, 6).expected)


def test_crops_show_what_is_around_a_pixel_and_zero_outside_the_frame():
    patterns = torch.rand(2, 40, 50)
    seen = refiner.crops(patterns, torch.tensor([1, 0]), torch.tensor([[20, 30], [0, 49]]))
    assert torch.equal(seen[0], patterns[1, 4:37, 14:47])
    assert float(seen[1, :16].abs().max()) == 0


def test_the_shipped_refiner_is_what_its_card_describes_and_finds_centres():
    card = (refiner.SHIPPED.parent / "refiner.md").read_text()
    assert hashlib.sha256(refiner.SHIPPED.read_bytes()).hexdigest() in card
    network, some = refiner.load(refiner.SHIPPED), made(300, 1)
    generator = torch.Generator().manual_seed(2)
    counts, electrons = some.counts(generator)
    candidate = some.offset + 0.5 * torch.randn(300, 2, generator=generator)
    outlines = some.radii(refiner.RAYS)
    with torch.inference_mode():
        centre, sigma = refiner.converged(
            network, counts, lambda at, which: some.where(which).probe(at), outlines, candidate
        )
    strong, error = electrons > 3000, centre - some.offset
    assert error[strong].norm(dim=1).median() < 0.15
    assert 0.6 < (error.abs() < sigma[:, None]).float().mean() < 0.85  # 600 errors


def test_what_was_known_before_counts_as_much_as_it_is_certain():
    network, some = refiner.load(refiner.SHIPPED), made(50, 4)
    seen = some.expected * 1000, some.probe(some.offset), some.offset, some.radii(refiner.RAYS)
    expected = some.offset + torch.tensor([0.5, 0.0])
    with torch.inference_mode():
        certain, _ = refiner.posterior(network, *seen, expected, torch.full((50,), 1e-3))
        nothing, precision = refiner.posterior(network, *seen, expected, torch.full((50,), 1e3))
        moment, alone = network(*seen)
    assert torch.allclose(certain, expected, atol=2e-3)
    assert torch.allclose(precision, alone, rtol=1e-3, atol=1e-4)
    assert torch.allclose(nothing, some.offset + torch.linalg.solve(alone, moment), atol=1e-2)


def test_a_refiner_file_gives_the_network_back(tmp_path):
    network, some = refiner.Refiner(8).eval(), made(3, 0)
    refiner.save(tmp_path / "refiner.safetensors", network, {"steps": 0})
    inputs = some.expected, some.probe(some.offset), some.offset, some.radii(refiner.RAYS)
    assert torch.equal(refiner.load(tmp_path / "refiner.safetensors")(*inputs)[1], network(*inputs)[1])


@pytest.mark.parametrize("width", ["9", "a", "-1", "1" + 12 * "0", "1" + 30 * "0", None])
def test_a_refiner_file_whose_weights_are_not_as_wide_as_it_says_is_refused(tmp_path, width):
    weights = refiner.Refiner(8).state_dict()
    about = {"format": refiner.FORMAT} | ({} if width is None else {"width": width})
    save_file(weights, tmp_path / "refiner.safetensors", about)
    with pytest.raises(InputError, match="weights and width don't fit each other"):
        refiner.load(tmp_path / "refiner.safetensors")


def test_eight_bits_of_mantissa_in_the_convolutions_move_no_disk_by_what_matters():
    network, some = refiner.load(refiner.SHIPPED), made(200, 3)
    counts, _ = some.counts(torch.Generator().manual_seed(4))
    found = []
    seen = counts, some.probe(some.offset), some.offset, some.radii(refiner.RAYS)
    for network.in_bfloat16 in (False, True):
        with torch.inference_mode():
            found.append(refiner.posterior(network, *seen, some.offset, torch.ones(200))[0])
    off = (found[0] - found[1]).norm(dim=1)
    assert 0 < off.median() < 0.003 and off.max() < 0.05, "px"
