"""Weights of networks in safetensors files: nothing in such a file is executed, and what it claims is not believed."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from fourdcrystal.errors import InputError

Network = TypeVar("Network", bound=nn.Module)


def read(path: Path, kind: str, device: str | torch.device = "cpu") -> tuple[dict[str, str], dict[str, Tensor]]:
    """Metadata and weights of a file.

    Args:
        path: The file.
        kind: What it should be, for messages.
        device: Where the weights go.

    Raises:
        InputError: if it can't be read.
    """
    try:
        with safe_open(path, framework="pt", device=str(device)) as opened:
            return opened.metadata() or {}, {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: can't be read as a {kind} ({error})") from error


def fitted(build: Callable[[], Network], weights: Mapping[str, Tensor]) -> Network:
    """A network with given weights.

    Args:
        build: Makes the network that the file asks for.
        weights: By name.

    Raises:
        ValueError: if they are those of another architecture, found out before memory is taken for it, or NaN.
    """
    with torch.device("meta"):  # of no size: metadata of one line can ask for a network of terabytes
        expected = {name: tensor.shape for name, tensor in build().state_dict().items()}
    if expected != {name: tensor.shape for name, tensor in weights.items()}:
        raise ValueError("its weights are those of another architecture")
    if any(not torch.isfinite(tensor).all() for tensor in weights.values()):
        raise ValueError("some of its weights are no numbers: its training has failed")
    built = build()
    built.load_state_dict(weights)
    return built
