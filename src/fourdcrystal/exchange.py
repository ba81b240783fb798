"""Trained networks for other programs: ONNX files."""

import json
import logging
import warnings
from pathlib import Path
from typing import cast

import torch

from fourdcrystal import files, modelfile, network
from fourdcrystal.errors import InputError

OPSET = 20  # the first with DFT over any axis


def to_onnx(trained: modelfile.TrainedModel, path: Path, shape: tuple[int, int]) -> None:
    """Write a network as ONNX: cbed [counts], probe and pixel in, ug [dq²] and qz [λ dq²] out.

    Images are (batch, 1, X, Y), pixel is (batch, 2): λ dq² [1/Å] and dq² h² / 2 m e [V], NaN where not known. The
    batch may have any size; the patterns' shape is fixed. Recipe and data are kept as metadata.

    Args:
        trained: Network with its recipe.
        path: File to write (.onnx).
        shape: Pixels along q_x and q_y.

    Raises:
        InputError: if the packages onnx and onnxscript are missing, or the network doesn't take this shape.
    """
    try:
        import onnx
        import onnxscript  # noqa: F401 - torch's exporter needs it
    except ImportError as error:
        raise InputError(f"export to ONNX needs the package {error.name}: pip install onnx onnxscript") from error
    model = trained.network.eval()
    example = (torch.rand(2, 1, *shape), torch.rand(2, 1, *shape), torch.tensor([network.USUAL] * 2))
    model.raw(*example)  # refuses a wrong shape in words
    batch = torch.export.Dim("batch", min=1, max=65536)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # that torchvision isn't there
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            model,
            example,
            dynamo=True,
            input_names=["cbed", "probe", "pixel"],
            output_names=["ug", "qz"],
            opset_version=OPSET,
            dynamic_shapes=({0: batch}, {0: batch}, {0: batch}),
            verbose=False,
        )
    written = cast(torch.onnx.ONNXProgram, program).model_proto  # none only without dynamo
    for key, value in (("recipe", trained.recipe), ("data", trained.data), ("software", trained.version)):
        entry = written.metadata_props.add()
        entry.key, entry.value = f"fourdcrystal.{key}", json.dumps(value, sort_keys=True)
    onnx.checker.check_model(written)
    with files.replaced(path) as temporary:
        temporary.write_bytes(written.SerializeToString())
