"""Training is the same whether it is killed or split over processes, and leaves whole files."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import pytorch_lightning as lightning
import torch
from synthetic_quartets import quartets
from torch.utils.data import DataLoader, Dataset

from fourdcrystal import checkpoints, experiment, modelfile, training
from fourdcrystal.errors import InputError
from fourdcrystal.order import Order

TREE = Path(__file__).parents[1] / "config" / "train"
ABOUT = {"catalogue": "made up", "labels": {"width": 1.5, "sigma": 0.03}}


def composed(output, *overrides):
    fixed = (f"paths.output={output}", "trainer.steps=12", "trainer.epoch_steps=4", "trainer.validation_batches=1")
    return experiment.compose("miniature", TREE, (*fixed, *overrides))


class MadeUp(Dataset):
    def __init__(self, count, fails_after=math.inf):
        self.batch, self.left = quartets(count, (32, 32), radius=2.0, spacing=8.0), fails_after

    def __getitem__(self, places):
        if self.left <= 0:
            raise RuntimeError("killed")
        self.left -= 1
        return {name: values[places] for name, values in self.batch.items()}


class MadeUpData(lightning.LightningDataModule):
    """Data module like fourdcrystal.data's, of made-up quartets; may stop in the middle, as a killed training does."""

    def __init__(self, settings, fails_after=math.inf):
        super().__init__()
        self.settings, self.fails_after = settings, fails_after

    def train_dataloader(self):
        rank, processes = self.trainer.global_rank, self.trainer.world_size
        order = Order(range(32), self.settings.data.batch_size, 0, self.settings.trainer.epoch_steps, rank, processes)
        return DataLoader(MadeUp(32, self.fails_after), sampler=order, batch_size=None)

    def val_dataloader(self):
        return DataLoader(MadeUp(4), sampler=[[0, 1], [2, 3]], batch_size=None)


def fitted(settings, **options):
    return training.fit(settings, MadeUpData(settings, **options), 1.5, ABOUT)


def test_training_begins_with_the_weights_of_another_network(tmp_path):
    first, _ = fitted(composed(tmp_path / "first"))
    modelfile.save(tmp_path / "first.safetensors", first.network, composed(tmp_path).recipe(), ABOUT)
    still = ["optimiser.learning_rate=1e-12", "trainer.ema=null", "seed=5", f"start={tmp_path / 'first.safetensors'}"]
    second, _ = fitted(composed(tmp_path / "second", *still))
    for name, weights in second.network.state_dict().items():
        torch.testing.assert_close(weights, first.network.state_dict()[name], rtol=1e-6, atol=1e-9)


def test_weights_of_another_architecture_are_refused_with_the_settings_that_they_need(tmp_path):
    with pytest.raises(InputError, match=r"another network; allowed here are model.width=32 model.depth=3"):
        fitted(composed(tmp_path, "start=shipped"))


STOPS = ["trainer.patience=2", "trainer.steps=16", "optimiser.learning_rate=1e-12"]  # early, after 12 steps


@pytest.mark.parametrize("overrides", [["trainer.ema=null"], ["trainer.ema=0.9"], STOPS])
def test_a_killed_training_goes_on_to_the_same_weights(tmp_path, overrides):
    whole, history = fitted(composed(tmp_path / "whole", *overrides))
    cut = composed(tmp_path / "cut", *overrides)
    with pytest.raises(RuntimeError, match="killed"):
        fitted(cut, fails_after=10)
    assert (tmp_path / "cut" / checkpoints.NAME).is_file()
    resumed, resumed_history = fitted(cut)
    assert [row["step"] for row in resumed_history.rows] == [row["step"] for row in history.rows] == [4, 8, 12]
    for name, weights in whole.network.state_dict().items():
        torch.testing.assert_close(resumed.network.state_dict()[name], weights, rtol=0, atol=0)


@pytest.mark.parametrize(
    "overrides", [[], ["trainer.ema=null"], ["trainer.patience=1", "optimiser.learning_rate=1e-12"]]
)
def test_a_training_killed_after_its_last_step_ends_with_the_same_weights(tmp_path, overrides):
    settings = composed(tmp_path, *overrides)
    whole, history = fitted(settings)
    assert (tmp_path / checkpoints.NAME).is_file()  # as long as the model isn't written
    resumed, resumed_history = fitted(settings)
    assert resumed_history.rows == history.rows
    for name, weights in whole.network.state_dict().items():
        torch.testing.assert_close(resumed.network.state_dict()[name], weights, rtol=0, atol=0)


def test_a_damaged_checkpoint_is_not_gone_on_from(tmp_path, capsys):
    settings = composed(tmp_path)
    whole, _ = fitted(settings)
    content = (tmp_path / checkpoints.NAME).read_bytes()
    (tmp_path / checkpoints.NAME).write_bytes(content[: len(content) // 2])
    again, _ = fitted(settings)
    assert "is damaged" in capsys.readouterr().out
    for name, weights in whole.network.state_dict().items():
        torch.testing.assert_close(again.network.state_dict()[name], weights, rtol=0, atol=0)


def test_a_checkpoint_of_other_settings_is_not_gone_on_from(tmp_path, capsys):
    with pytest.raises(RuntimeError, match="killed"):
        fitted(composed(tmp_path), fails_after=10)
    fitted(composed(tmp_path, "optimiser.learning_rate=1e-4"))
    assert "other settings or data: starting afresh" in capsys.readouterr().out


def test_early_stopping_and_tensorboard(tmp_path):
    settings = composed(tmp_path, "trainer.patience=1", "optimiser.learning_rate=1e-12", "trainer.tensorboard=true")
    _, history = fitted(settings)
    assert len(history.rows) < 3
    assert list((tmp_path / "tensorboard").glob("events*"))


def test_mixed_precision_learns_the_same_within_its_rounding(tmp_path):
    full, half = (fitted(composed(tmp_path / p, f"trainer.precision={p}"))[1] for p in ("32-true", "bf16-mixed"))
    assert math.isclose(half.rows[-1]["train_loss"], full.rows[-1]["train_loss"], rel_tol=0.05)


def test_training_leaves_whole_files_and_the_recipe_in_the_model(tmp_path):
    settings = composed(tmp_path)
    learner, history = fitted(settings)
    training.write(settings, learner, history, ABOUT)
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == ["config.yaml", "history.csv", "learning_curve.png", "metrics.json", "model.safetensors"]
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["steps"] == 12
    assert metrics["validation_loss"] > 0
    loaded = modelfile.load(tmp_path / "model.safetensors")
    assert loaded.recipe == settings.recipe()
    assert loaded.data["catalogue"] == "made up"


SPLIT = """
import sys
sys.path.insert(0, {tests!r})
import torch
from test_training import composed, fitted
settings = composed(sys.argv[1], *sys.argv[2:])
learner, history = fitted(settings)
if learner.global_rank == 0:
    torch.save(dict(loss=history.rows[-1]["train_loss"], weights=learner.network.state_dict()), sys.argv[1] + "/end.pt")
"""


@pytest.mark.slow
def test_two_processes_learn_the_same_as_one_with_twice_the_batch(tmp_path):
    (tmp_path / "split.py").write_text(SPLIT.format(tests=str(Path(__file__).parent)))
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    ends = []
    for name, *overrides in (
        ("one", "data.batch_size=4", "trainer.devices=1"),
        ("two", "data.batch_size=2", "trainer.devices=2"),
    ):
        (tmp_path / name).mkdir()
        command = [sys.executable, "split.py", str(tmp_path / name), *overrides]
        subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True, timeout=300)
        ends.append(torch.load(tmp_path / name / "end.pt", weights_only=True))
    one, two = ends
    assert math.isclose(one["loss"], two["loss"], rel_tol=1e-4)
    for name, weights in one["weights"].items():
        torch.testing.assert_close(two["weights"][name], weights, rtol=1e-3, atol=1e-5)


def test_a_changed_learning_rate_is_another_experiment_and_a_changed_path_is_not(tmp_path):
    first = experiment.as_parameter(composed(tmp_path))
    assert experiment.as_parameter(composed(tmp_path / "elsewhere", "data.workers=2")) == first
    assert experiment.as_parameter(composed(tmp_path, "optimiser.learning_rate=1e-4")) != first


def test_a_recipe_names_the_weights_it_begins_with_and_no_folder_of_this_machine(tmp_path):
    one, other = (composed(tmp_path, f"start={tmp_path / folder / 'model.safetensors'}") for folder in ("a", "b"))
    assert one.recipe() == other.recipe() and one.recipe()["start"] == "model.safetensors"
    assert composed(tmp_path).recipe()["start"] is None
    assert experiment.as_parameter(one) != experiment.as_parameter(other)


def test_composing_an_experiment_does_not_import_torch():
    code = (
        "import sys; from pathlib import Path; from fourdcrystal import experiment; "
        f"experiment.compose('demo', Path({str(TREE)!r})); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_the_script_says_in_one_sentence_what_is_missing(tmp_path):
    command = [sys.executable, str(TREE.parents[1] / "scripts" / "train.py"), "experiment=miniature"]
    command += [f"paths.catalogue={tmp_path / 'absent.parquet'}", f"paths.output={tmp_path / 'model'}"]
    done = subprocess.run(command, text=True, capture_output=True, timeout=120)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: ")
    assert "no such catalogue" in done.stderr


def test_an_unknown_experiment_is_refused_in_words():
    from fourdcrystal.errors import InputError

    with pytest.raises(InputError, match=r"'dmeo' has no file .*; known are .*demo"):
        experiment.compose("dmeo", TREE)
    with pytest.raises(InputError, match=r"loss\.peak is -3"):
        experiment.compose("demo", TREE, ("loss.peak=-3",))
    with pytest.raises(InputError, match="steps 705 must be a multiple of epoch_steps 70"):
        experiment.compose("demo", TREE, ("trainer.steps=705",))


def test_a_training_whose_loss_is_no_number_says_so_and_leaves_no_model(tmp_path):
    with pytest.raises(InputError, match="lower optimiser"):
        fitted(composed(tmp_path, "optimiser.learning_rate=10", "trainer.clip=inf"))
    assert not list(tmp_path.glob("*.safetensors")) and not (tmp_path / checkpoints.NAME).exists()


@pytest.mark.parametrize(("steps", "warmup"), [(9, 0.1), (1, 0.5), (12, 0.0), (12, 1.0)])
def test_any_share_of_the_steps_may_warm_up(tmp_path, steps, warmup):
    sizes = f"trainer.steps={steps}", f"trainer.epoch_steps={steps}", f"optimiser.warmup={warmup}"
    _, history = fitted(composed(tmp_path, *sizes))
    assert history.rows[-1]["step"] == steps


def test_a_gpu_that_is_not_there_is_said_in_words(tmp_path):
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(InputError, match="finds no GPU here"):
        fitted(composed(tmp_path, "trainer.accelerator=gpu"))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"detector": {"shape": [100, 100]}}, "multiples of 8 px"),
        ({"labels": {"method": "potential_fft"}}, "needs analytic"),
        ({"crystals": {"split": {"validation": 0}}}, "to validate with"),
    ],
)
def test_data_that_could_not_be_learned_from_are_refused_before_they_are_made(tmp_path, settings, words):
    from fourdcrystal.settings import Settings

    with pytest.raises(InputError, match=words):
        experiment.check_data(composed(tmp_path), Settings.model_validate(settings))
    experiment.check_data(composed(tmp_path), Settings())


def test_a_folder_named_by_a_year_is_a_folder(tmp_path):
    assert composed(tmp_path, "paths.patterns=2026").paths.patterns == Path("2026")


@pytest.mark.slow
def test_each_job_of_a_sweep_over_seeds_has_a_folder_of_its_own(tmp_path):
    words = ["experiment=miniature", f"paths.output={tmp_path}", "seed=0,1", "--multirun"]
    script = TREE.parents[1] / "scripts" / "train.py"
    # there are no data: each job begins, and says so in its own folder
    subprocess.run([sys.executable, script, *words], cwd=tmp_path, capture_output=True, text=True)
    assert {path.name for path in tmp_path.iterdir() if "seed=" in path.name} >= {"experiment=miniature,seed=0"}
