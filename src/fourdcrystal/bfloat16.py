"""Numbers of 8 bits of mantissa: where a machine multiplies them faster, and how a network is got ready for them.

Their price is documented in docs/decisions/0051: positions that differ by 0.0005 px in the median.
"""

import torch
from torch import Tensor, nn


def fast_on(device: torch.device) -> bool:
    """Whether a device multiplies bfloat16 faster than single precision; where it is emulated it would be slower."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and torch.cpu._is_avx512_bf16_supported()  # torch 2.7 has no public name for it


def rectified_(x: Tensor) -> Tensor:
    """ReLU in place, and its argument.

    The sign of a number is its first bit, as that of an integer, so bfloat16 is compared as integers of 16 bits: on
    processors, which compare it in single precision otherwise, five times as fast. Gradients don't pass through that.
    """
    if x.dtype != torch.bfloat16 or torch.is_grad_enabled():
        return torch.relu_(x)
    x.view(torch.int16).clamp_min_(0)
    return x


class Rectifier(nn.Module):
    """:func:`rectified_` as a layer."""

    def forward(self, x: Tensor) -> Tensor:
        """ReLU in place of x."""
        return rectified_(x)


def ready(network: nn.Module) -> nn.Module:
    """A network for inference alone, in place: its convolutions' weights rounded once and not at every call.

    It must be called under autocast to bfloat16, which gives the same numbers as before. Layers that are computed in
    single precision there have to stay out.
    """
    for module in network.modules():
        if isinstance(module, (nn.Conv1d, nn.Conv2d)):
            module.to(torch.bfloat16)
            # channels side by side in memory, as convolutions want them
            module.weight.data = module.weight.data.movedim(1, -1).contiguous().movedim(-1, 1)
        for name, child in module.named_children():
            if isinstance(child, nn.ReLU):
                setattr(module, name, Rectifier())
    return network
