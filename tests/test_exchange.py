"""An ONNX file gives the same maps as PyTorch."""

import json

import numpy as np
import onnxruntime
import pytest
import torch
from synthetic_quartets import quartets

from fourdcrystal import exchange, modelfile, network
from fourdcrystal.errors import InputError
from fourdcrystal.experiment import Model

MODELS = {
    "ccunet": Model(name="ccunet", width=8, depth=2, patch=2, blocks=1, powers=[1.0, 0.5]),
    "fcunet": Model(name="fcunet", width=4, depth=2, patch=1, blocks=1, powers=[1.0]),
}


def trained(name):
    torch.manual_seed(0)
    built = network.build(MODELS[name]).eval()
    torch.nn.init.normal_(built.head.weight, std=0.02)
    torch.nn.init.normal_(built.gain, std=0.5)
    return modelfile.TrainedModel(built, {"model": MODELS[name].model_dump(mode="json")}, {"catalogue": "abc"}, "test")


@pytest.mark.parametrize("name", list(MODELS))
def test_onnx_and_pytorch_agree_within_a_ten_thousandth(name, tmp_path):
    model, path = trained(name), tmp_path / "model.onnx"
    exchange.to_onnx(model, path, (64, 48))
    batch = quartets(3, (64, 48))
    cbed, probe = 1000 * batch["cbed"][:, None], batch["probe"][:, None]
    pixel = torch.tensor([network.USUAL, [2e-5, 0.1], [torch.nan, torch.nan]])
    with torch.inference_mode():
        expected = model.network(cbed, probe, pixel)
    session = onnxruntime.InferenceSession(path)
    ug, qz = session.run(["ug", "qz"], {"cbed": cbed.numpy(), "probe": probe.numpy(), "pixel": pixel.numpy()})
    np.testing.assert_allclose(ug, expected["ug"].numpy(), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(qz, expected["qz"].numpy(), rtol=1e-4, atol=1e-4 * network.HEIGHT)
    kept = session.get_modelmeta().custom_metadata_map
    assert json.loads(kept["fourdcrystal.data"]) == {"catalogue": "abc"}


def test_a_shape_that_the_network_does_not_take_is_refused_in_words(tmp_path):
    with pytest.raises(InputError, match="multiples of 8 px"):
        exchange.to_onnx(trained("ccunet"), tmp_path / "model.onnx", (60, 64))
    assert not list(tmp_path.iterdir())
