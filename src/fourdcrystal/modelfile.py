"""A trained network as one file: safetensors weights, with its recipe and the data's checksum as JSON metadata.

Nothing in such a file is executed on loading: the architecture is rebuilt from validated settings.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors.torch import save as as_bytes

from fourdcrystal import __version__, experiment, files, network, weightfiles
from fourdcrystal.errors import InputError

SHIPPED = Path(__file__).parent / "data" / "network.safetensors"
FORMAT = "4"  # raised when older files can't be read any more


@dataclass(frozen=True)
class TrainedModel:
    """A network and where it comes from.

    Attributes:
        network: In evaluation mode, on the device asked for.
        recipe: The composed experiment (:meth:`fourdcrystal.experiment.Experiment.recipe`).
        data: Checksum of the catalogue that it learned from, numbers of quartets and crystals, physical ranges.
        version: Version of this package that wrote the file.
    """

    network: network.DiskNetwork
    recipe: dict[str, Any]
    data: dict[str, Any]
    version: str


def save(path: Path, trained: network.DiskNetwork, recipe: dict[str, Any], data: dict[str, Any]) -> None:
    """Write a model file, whole or not at all; the same bytes for the same network, recipe and data."""
    metadata = {
        "format": FORMAT,
        "software": f"fourdcrystal {__version__}",
        "recipe": json.dumps(recipe, sort_keys=True),
        "data": json.dumps(data, sort_keys=True),
    }
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in trained.state_dict().items()}
    with files.replaced(path) as temporary:
        temporary.write_bytes(_in_order(as_bytes(weights, metadata)))


def _in_order(content: bytes) -> bytes:
    """A safetensors file with its metadata sorted; the library writes them in another order each time."""
    end = 8 + int.from_bytes(content[:8], "little")  # the header's length comes first, the header is JSON
    header = json.loads(content[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode().ljust(end - 8)
    if len(text) != end - 8:
        raise ValueError("the header of a safetensors file has another form than expected")
    return content[:8] + text + content[end:]


def named(model: str) -> Path:
    """The file of a model that a user named: ``shipped`` is that of this package."""
    return SHIPPED if model == "shipped" else Path(model)


def checksum(path: Path) -> str:
    """SHA-256 of a model file.

    Raises:
        InputError: if there is none.
    """
    _check_there(path)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _check_there(path: Path) -> None:
    if not Path(path).is_file():
        raise InputError(f"{path}: no such model file; make one with scripts/train.py")


def load(path: Path, device: str | torch.device = "cpu") -> TrainedModel:
    """Read a model file.

    Raises:
        InputError: if the file is missing, isn't a model file of this package, or its weights don't fit its recipe.
    """
    _check_there(path)
    metadata, weights = weightfiles.read(path, "model file", device)
    if metadata.get("format") != FORMAT:
        raise InputError(
            f"{path}: has model format {metadata.get('format', 'none')!r}; this version of 4D-Crystal reads {FORMAT!r}"
        )
    try:
        recipe, data = json.loads(metadata["recipe"]), json.loads(metadata["data"])
        settings, software = experiment.Model.model_validate(recipe["model"]), metadata["software"]
        built = weightfiles.fitted(lambda: network.build(settings), weights)
    except (KeyError, TypeError, ValueError, RecursionError, ValidationError, RuntimeError) as error:
        raise InputError(f"{path}: weights and recipe don't fit each other ({str(error).splitlines()[0]})") from error
    return TrainedModel(built.to(device).eval(), recipe, data, software)


def prototypes(path: Path) -> list[str]:
    """Prototypes that the network of a model file, or one that it began with, learned from.

    Raises:
        InputError: if the file doesn't say.
    """
    data = load(path).data
    try:
        return sorted({*data["learned"], *data["learned_before"]})
    except (KeyError, TypeError) as error:
        raise InputError(f"{path}: doesn't say which prototypes its network learned from, so train it again") from error
