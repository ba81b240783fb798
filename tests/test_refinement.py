"""Disks are where their table says, and the shipped refiner moves candidates onto them."""

import hashlib

import torch

from fourdcrystal import disks, refinement


def made(count, seed):
    return disks.draw(count, torch.Generator().manual_seed(seed), refinement.SIZE)


def test_made_up_disks_are_seeded():
    assert torch.equal(made(4, 5).expected, made(4, 5).expected)
    assert not torch.equal(made(4, 5).expected, made(4, 6).expected)


def test_crops_show_what_is_around_a_pixel_and_zero_outside_the_frame():
    patterns = torch.rand(2, 40, 50)
    seen = refinement.crops(patterns, torch.tensor([1, 0]), torch.tensor([[20, 30], [0, 49]]))
    assert torch.equal(seen[0], patterns[1, 4:37, 14:47])
    assert float(seen[1, :16].abs().max()) == 0


def test_the_shipped_refiner_is_what_its_card_describes_and_finds_centres():
    card = (refinement.SHIPPED.parent / "refiner.md").read_text()
    assert hashlib.sha256(refinement.SHIPPED.read_bytes()).hexdigest() in card
    network, some = refinement.load(refinement.SHIPPED), made(300, 1)
    generator = torch.Generator().manual_seed(2)
    counts, electrons = some.counts(generator)
    centre = some.offset + 0.5 * torch.randn(300, 2, generator=generator)
    with torch.inference_mode():
        for _ in range(refinement.PASSES):
            centre = centre + network(counts, some.probe(centre), centre, some.radii(refinement.RAYS))[0]
    strong = electrons > 3000
    assert (centre - some.offset)[strong].norm(dim=1).median() < 0.2


def test_a_refiner_file_gives_the_network_back(tmp_path):
    network, some = refinement.Refiner(8).eval(), made(3, 0)
    refinement.save(tmp_path / "refiner.safetensors", network, {"steps": 0})
    inputs = some.expected, some.probe(some.offset), some.offset, some.radii(refinement.RAYS)
    assert torch.equal(refinement.load(tmp_path / "refiner.safetensors")(*inputs)[1], network(*inputs)[1])


def test_eight_bits_of_mantissa_in_the_convolutions_move_no_disk_by_what_matters():
    network, some = refinement.load(refinement.SHIPPED), made(200, 3)
    counts, _ = some.counts(torch.Generator().manual_seed(4))
    found = []
    for network.bfloat16 in (False, True):
        with torch.inference_mode():
            found.append(network(counts, some.probe(some.offset), some.offset, some.radii(refinement.RAYS))[0])
    off = (found[0] - found[1]).norm(dim=1)
    assert 0 < off.median() < 0.003 and off.max() < 0.05, "px"
