"""Both networks keep one interface, take any size, and come back from a file as they were."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from synthetic_quartets import quartets

from fourdcrystal import artefacts, experiment, losses, modelfile, network
from fourdcrystal.errors import InputError
from fourdcrystal.experiment import Artefacts, Loss, Model
from fourdcrystal.pixels import Pixel

SMALL = {
    "ccunet": Model(name="ccunet", width=8, depth=2, patch=1, blocks=1, powers=[1.0, 0.5]),
    "patches": Model(name="ccunet", width=8, depth=1, patch=2, blocks=1, powers=[1.0, 0.5]),
    "fcunet": Model(name="fcunet", width=4, depth=2, patch=1, blocks=1, powers=[1.0]),
}
USUAL = torch.tensor([network.USUAL])
both = pytest.mark.parametrize("name", list(SMALL))


def built(name):
    torch.manual_seed(0)
    net = network.build(SMALL[name])
    torch.nn.init.normal_(net.head.weight, std=0.1)
    torch.nn.init.normal_(net.gain, std=0.2)
    return net.eval()


@both
@pytest.mark.parametrize("shape", [(32, 32), (48, 64), (36, 20)])
def test_any_size_divisible_by_two_to_the_depth(name, shape):
    out = built(name)(torch.rand(2, 1, *shape) * 9, torch.rand(2, 1, *shape), USUAL)
    assert set(out) == {"ug", "qz"}
    assert out["ug"].shape == out["qz"].shape == (2, 1, *shape)
    assert float(out["ug"].detach().min()) >= 0


@both
def test_another_size_is_refused_in_words(name):
    with pytest.raises(InputError, match=r"30 x 33 px .* multiples of 4 px"):
        built(name)(torch.rand(1, 1, 30, 33), torch.rand(1, 1, 30, 33), USUAL)


@both
def test_neither_the_unit_of_the_pattern_nor_the_centring_of_the_probe_matters(name):
    net, batch = built(name), quartets(1)
    cbed, probe = batch["cbed"][:, None], batch["probe"][:, None]
    reference = net(cbed, probe, USUAL)["ug"]
    torch.testing.assert_close(net(1000 * cbed, 0.1 * probe, USUAL)["ug"], reference, atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(net(cbed, probe.roll((5, -3), (-2, -1)), USUAL)["ug"], reference, atol=1e-3, rtol=1e-2)


@both
def test_an_empty_pattern_gives_finite_maps(name):
    out = built(name)(torch.zeros(1, 1, 32, 32), quartets(1, (32, 32))["probe"][:, None], USUAL)
    assert all(bool(torch.isfinite(v).all()) for v in out.values())


@both
def test_networks_are_told_the_pixel_and_one_that_is_not_known_is_the_usual_one(name):
    net, batch = built(name), quartets(2)
    pixels = [USUAL, torch.full((1, 2), torch.nan), 4 * USUAL, torch.tensor([network.USUAL, [2e-5, 0.1]])]
    usual, unknown, larger, mixed = (
        net(batch["cbed"][:, None], batch["probe"][:, None], pixel)["ug"] for pixel in pixels
    )
    torch.testing.assert_close(unknown, usual)
    assert float((larger - usual).detach().abs().max()) > 0.1 * float(usual.detach().max())
    torch.testing.assert_close(mixed[0], usual[0], atol=1e-5, rtol=1e-4)  # each its own
    assert not torch.allclose(mixed[1], usual[1])


@pytest.mark.parametrize("energy, within", [(200e3, 0.2), (80e3, 0.7)])
def test_the_usual_pixel_is_about_0_016(energy, within):
    pixel = Pixel.of(0.016, energy)
    assert pytest.approx((pixel.curvature, pixel.volts), rel=within) == network.USUAL


@both
def test_inference_is_deterministic(name):
    net, batch = built(name), quartets(2)
    first, second = (net(batch["cbed"][:, None], batch["probe"][:, None], USUAL) for _ in range(2))
    assert torch.equal(first["ug"], second["ug"])


@both
@pytest.mark.slow
def test_a_network_learns_made_up_disks(name):
    """A hundred steps on made-up quartets cut the loss of the empty map by more than half."""
    torch.manual_seed(0)
    net, loss = network.build(SMALL[name]), losses.MapLoss(Loss(peak=10, qz=0.1, linear=0, learned=False))
    optimiser = torch.optim.AdamW(net.parameters(), 4e-3)
    batch = quartets(16, (48, 48), radius=2.5)
    settings = Artefacts(dose=[1e5, 1e6], probe_dose=[1e6, 1e7], rotation=180, shift=2)
    costs = []
    for step in range(100):
        part = {k: v[(4 * step) % 16 : (4 * step) % 16 + 4] for k, v in batch.items()}
        part = artefacts.apply(part, settings, artefacts.generators(part["row"].tolist(), 0, step), 1.5)
        pixel = torch.stack([part["curvature"], part["volts"]], 1)
        out = loss(net.raw(part["cbed"][:, None], part["probe"][:, None], pixel), part)["loss"]
        optimiser.zero_grad()
        out.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        costs.append(out.item())
    assert sum(costs[-10:]) / 10 < 0.5 * costs[0]


@both
def test_a_model_file_gives_the_network_back(name, tmp_path):
    net, batch = built(name), quartets(1)
    path = tmp_path / "model.safetensors"
    modelfile.save(path, net, {"model": SMALL[name].model_dump(mode="json")}, {"catalogue": "abc"})
    loaded = modelfile.load(path)
    assert loaded.data == {"catalogue": "abc"}
    inputs = batch["cbed"][:, None], batch["probe"][:, None], USUAL
    assert torch.equal(loaded.network(*inputs)["ug"], net(*inputs)["ug"])


def test_files_that_are_no_model_are_refused_in_words(tmp_path):
    with pytest.raises(InputError, match="no such model file"):
        modelfile.load(tmp_path / "absent.safetensors")
    (tmp_path / "text.safetensors").write_text("hello")
    with pytest.raises(InputError, match="can't be read as a model file"):
        modelfile.load(tmp_path / "text.safetensors")
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(InputError, match="has model format"):
        modelfile.load(tmp_path / "other.safetensors")
    modelfile.save(tmp_path / "mixed.safetensors", built("ccunet"), {"model": SMALL["fcunet"].model_dump()}, {})
    with pytest.raises(InputError, match="don't fit each other"):
        modelfile.load(tmp_path / "mixed.safetensors")


@pytest.mark.parametrize("recipe, more", [
    ({"model": SMALL["ccunet"].model_dump() | {"width": 256, "depth": 7, "blocks": 8}}, {"software": "a"}),
    ({"model": SMALL["ccunet"].model_dump()}, {}),
    ([], {"software": "a"}),
    ({"model": "ccunet"}, {"software": "a"}),
])  # fmt: skip
def test_a_model_file_can_not_ask_for_a_network_larger_than_its_weights(tmp_path, recipe, more):
    about = {"format": modelfile.FORMAT, "recipe": json.dumps(recipe), "data": "{}", **more}
    weights = {"a": torch.zeros(1)}
    if not more:
        weights = {name: tensor.contiguous() for name, tensor in built("ccunet").state_dict().items()}
    save_file(weights, tmp_path / "huge.safetensors", about)  # the first would take four terabytes
    with pytest.raises(InputError, match="weights and recipe don't fit each other"):
        modelfile.load(tmp_path / "huge.safetensors")


def test_every_experiment_of_the_tree_is_valid():
    tree = Path(__file__).parents[1] / "config" / "train"
    names = sorted(p.stem for p in (tree / "experiment").glob("*.yaml"))
    assert {"demo", "cpu", "gpu", "paper"} <= set(names)
    for name in names:
        assert experiment.compose(name, tree).name == name


def test_a_model_file_says_all_prototypes_that_its_network_knows(tmp_path):
    path, about = tmp_path / "m.safetensors", {"learned": ["b", "a"], "learned_before": ["c", "a"]}
    modelfile.save(path, built("ccunet"), {"model": SMALL["ccunet"].model_dump(mode="json")}, about)
    assert modelfile.prototypes(path) == ["a", "b", "c"]
    modelfile.save(path, built("ccunet"), {"model": SMALL["ccunet"].model_dump(mode="json")}, {"learned": ["a"]})
    with pytest.raises(InputError, match="which prototypes its network learned from"):
        modelfile.prototypes(path)
