"""A network that is got ready for inference with 8 bits of mantissa gives the same numbers as before."""

import torch
from torch import nn

from fourdcrystal import bfloat16, disks, refiner


def test_negative_numbers_become_zero_whatever_the_precision():
    numbers = torch.tensor([-1e30, -2.5, -1e-30, -0.0, 0.0, 1e-30, 3.0, 1e30, -torch.inf, torch.inf])
    for kind in (torch.float32, torch.bfloat16):
        with torch.inference_mode():
            made = bfloat16.rectified_(numbers.to(kind, copy=True))
        assert torch.equal(made, numbers.to(kind).relu())


def test_gradients_pass_where_there_are_some():
    numbers = torch.tensor([-1.0, 2.0], dtype=torch.bfloat16, requires_grad=True)
    bfloat16.rectified_(numbers * 1).sum().backward()
    assert numbers.grad.tolist() == [0.0, 1.0]


def test_rounding_once_is_rounding_at_every_call():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 2, 1)).eval()
    image = torch.rand(2, 3, 12, 12)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        before = network(image)
        assert torch.equal(bfloat16.ready(network)(image), before)
    assert all(weight.dtype == torch.bfloat16 for weight in network.parameters())


def test_the_refiner_that_is_ready_says_what_it_said():
    network = refiner.load(refiner.SHIPPED)
    network.in_bfloat16 = True
    some = disks.draw(20, torch.Generator().manual_seed(1), refiner.SIZE)
    seen = 300 * some.expected, some.probe(some.offset), some.offset, some.radii(refiner.RAYS)
    with torch.inference_mode():
        before = network(*seen)
        after = bfloat16.ready(network)(*seen)
    for a, b in zip(before, after, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3)
