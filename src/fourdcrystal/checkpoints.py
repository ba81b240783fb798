"""Checkpoints of a training: whole or absent, and gone on from only by a training of the same recipe and data."""

import io
import json
import pickle
from pathlib import Path
from typing import Any

import torch
from lightning_fabric.plugins.io.torch_io import TorchCheckpointIO

from fourdcrystal import files

NAME = "checkpoint.ckpt"  # what a killed training goes on from; removed when it is complete


class WholeCheckpoints(TorchCheckpointIO):
    """Writes a checkpoint beside its place and renames it onto it.

    Lightning's own way goes through the system's temporary folder. Where that is another file system than the results',
    as on most clusters, it copies, and a copy that is cut off can be opened.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write a checkpoint whole, or leave what was there."""
        # by way of memory: torch's own file writer says of a full disk only that writing failed
        content = io.BytesIO()
        torch.save(checkpoint, content)
        with files.replaced(path) as temporary:
            temporary.write_bytes(content.getbuffer())


def resumable(path: Path, origin: dict[str, Any]) -> Path | None:
    """The checkpoint, if there is one of the same recipe and data; any other is removed, and that is said."""
    if not path.is_file():
        return None
    try:
        found = torch.load(path, map_location="cpu", weights_only=True).get("origin")
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        print(f"{path} is damaged ({str(error).splitlines()[0]}): starting afresh", flush=True)
        path.unlink(missing_ok=True)  # another process of the same training may be first
        return None
    if found == json.dumps(origin, sort_keys=True):
        print(f"going on from {path}", flush=True)
        return path
    print(f"{path} is of other settings or data: starting afresh", flush=True)
    path.unlink(missing_ok=True)
    return None
