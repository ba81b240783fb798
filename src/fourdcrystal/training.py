"""Training from start to files: data, learner, Lightning's trainer, checkpoints, history, learning curve."""

import csv
import json
import logging
import math
import os
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pytorch_lightning as lightning
import torch
import yaml
from pytorch_lightning import callbacks
from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.plugins.environments import SLURMEnvironment
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from fourdcrystal import catalogue, checkpoints, files, losses, modelfile, places, plots, stores
from fourdcrystal.data import QuartetData
from fourdcrystal.electrons import wavelength
from fourdcrystal.errors import InputError
from fourdcrystal.experiment import Experiment
from fourdcrystal.instrument_settings import DetectorSettings
from fourdcrystal.learner import Learner

SILENCE = 15.0  # s; longest time without a word on the terminal
PIXELS_OF = 64  # stores whose pixel sizes are looked at
CURVES = ("loss", "vg_loss", "qz_loss", "vg_r_factor")


class History(callbacks.Callback):
    """One row of figures per epoch, kept in the checkpoint, and lines of progress on the terminal."""

    def __init__(self, steps: int) -> None:
        self.steps, self.seconds = steps, 0.0
        self.rows: list[dict[str, float]] = []
        self._started = self._mark = self._said = 0.0
        self._first_step, self.ended = 0, False

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Begin to count time and steps."""
        self._started = self._mark = self._said = time.monotonic()
        self._first_step = trainer.global_step
        if (stopping := trainer.early_stopping_callback) is not None and stopping.stopped_epoch:
            trainer.should_stop = True  # it had stopped when it was killed
        if trainer.is_global_zero and trainer.world_size > 1:
            print(f"{trainer.world_size} processes", flush=True)

    def on_train_batch_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        """Say how far it is, if nothing was said for long."""
        if time.monotonic() - self._said > SILENCE:
            self._say(trainer, "")

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Keep and say the epoch's figures."""
        if trainer.global_step == self._first_step:
            return  # a resumed training ends, once more, the epoch after which it was saved
        now = time.monotonic()
        self.seconds, self._mark = self.seconds + now - self._mark, now
        figures = {name: float(value) for name, value in trainer.callback_metrics.items() if name.endswith(CURVES)}
        row = {"step": trainer.global_step, "seconds": round(self.seconds, 3), **dict(sorted(figures.items()))}
        self.rows.append(row)
        for name in ("train_loss", "validation_loss"):
            # raised before the checkpoint is written: the last good one stays
            if not math.isfinite(row.get(name, 0.0)):
                raise InputError(
                    f"{name} is {row[name]} at step {trainer.global_step}: what the network has learned are no "
                    "numbers; lower optimiser.learning_rate, or look for damaged data (scripts/verify.py)"
                )
        validation = row.get("validation_loss", float("nan"))
        self._say(trainer, f": loss {row['train_loss']:.4f}, validation {validation:.4f}")

    def on_train_end(self, *_: Any) -> None:
        """Note that Lightning has done what it does at the end."""
        self.ended = True

    def _say(self, trainer: lightning.Trainer, losses: str) -> None:
        self._said = time.monotonic()
        rate = (trainer.global_step - self._first_step) / (self._said - self._started)
        left = int((self.steps - trainer.global_step) / rate)
        if trainer.is_global_zero and not trainer.progress_bar_callback:
            when = f"{left // 60}:{left % 60:02d} min left"
            print(f"step {trainer.global_step}/{self.steps}{losses}, {rate:.2f} steps/s, {when}", flush=True)

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps of it."""
        return {"rows": self.rows, "seconds": self.seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with what a checkpoint kept."""
        self.rows, self.seconds = state_dict["rows"], state_dict["seconds"]


def trainer(experiment: Experiment, history: History) -> lightning.Trainer:
    """Lightning's trainer for an experiment, with its callbacks and loggers.

    Raises:
        InputError: if the experiment wants a GPU where there is none.
    """
    settings, output = experiment.trainer, experiment.paths.output
    if settings.accelerator == "gpu" and not (torch.cuda.is_available() or torch.backends.mps.is_available()):
        raise InputError(
            "trainer.accelerator is gpu, but torch finds no GPU here; trainer.accelerator=auto takes what there is"
        )
    used: list[callbacks.Callback] = [
        history,
        callbacks.ModelCheckpoint(
            output, Path(checkpoints.NAME).stem, save_on_train_epoch_end=True, enable_version_counter=False
        ),
    ]
    if settings.ema is not None:
        used.append(callbacks.EMAWeightAveraging(decay=settings.ema))
    if settings.patience is not None:
        # looked at when it is validated: a resumed training ends, once more, an epoch that has no figures any more
        used.append(
            callbacks.EarlyStopping("validation_loss", patience=settings.patience, check_on_train_epoch_end=False)
        )
    if sys.stdout.isatty():
        used.append(callbacks.TQDMProgressBar())
    devices, nodes = settings.devices, settings.nodes
    plugins: list[Any] = [checkpoints.WholeCheckpoints()]  # Lightning's plugins have no common base
    if SLURMEnvironment.detect():
        # the profile has said how many processes there are; Lightning's own requeueing would hide a job from Snakemake
        nodes = int(os.environ["SLURM_NNODES"])
        devices = int(os.environ["SLURM_NTASKS"]) // nodes
        plugins.append(SLURMEnvironment(auto_requeue=False))
    return lightning.Trainer(
        accelerator=settings.accelerator,
        devices=devices,
        num_nodes=nodes,
        precision=settings.precision,
        max_steps=settings.steps,
        limit_val_batches=settings.validation_batches,
        gradient_clip_val=settings.clip,
        num_sanity_val_steps=0,
        callbacks=used,
        plugins=plugins,
        logger=TensorBoardLogger(output, name="tensorboard", version="") if settings.tensorboard else False,
        enable_progress_bar=sys.stdout.isatty(),
        enable_model_summary=False,
        default_root_dir=output,
        use_distributed_sampler=False,  # the data module's sampler knows about ranks
    )


def fit(
    experiment: Experiment, data: lightning.LightningDataModule, width: float, about: dict[str, Any]
) -> tuple[Learner, History]:
    """Train a network, going on from a checkpoint of the same recipe and data if there is one.

    Args:
        experiment: All settings; checkpoints go to its ``paths.output``.
        data: Gives the batches of docs/data_format.md.
        width: Standard deviation of a label peak [px].
        about: What the data are, above all their checksum.

    Returns:
        The trained learner and the figures of every epoch.
    """
    origin = {"recipe": experiment.recipe(), "data": about}
    checkpoint = checkpoints.resumable(experiment.paths.output / checkpoints.NAME, origin)
    torch.manual_seed(experiment.seed)
    learner, history = Learner(experiment, width, origin), History(experiment.trainer.steps)
    if experiment.start is not None:
        learner.network.load_state_dict(_beginning(experiment.start, experiment))
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)  # which accelerators there are not
    with warnings.catch_warnings():
        # advice about workers, loggers and devices, each of which a setting has decided
        warnings.filterwarnings("ignore", module="pytorch_lightning|lightning_fabric")
        run = trainer(experiment, history)
        run.fit(learner, datamodule=data, ckpt_path=checkpoint, weights_only=True)
    if not history.ended:
        # nothing was left to train, and Lightning then leaves out the end, where averages become the weights
        for callback in run.callbacks:  # type: ignore[attr-defined]  # Lightning sets it without declaring it
            if isinstance(callback, callbacks.WeightAveraging):
                callback.on_train_end(run, learner)
    return learner.cpu(), history


def _beginning(start: str, experiment: Experiment) -> dict[str, torch.Tensor]:
    """The weights to begin with.

    Raises:
        InputError: if they can't be read, or are of another network than ``model`` describes.
    """
    path = modelfile.named(start)
    begun = modelfile.load(path)
    theirs, ours = begun.recipe["model"], experiment.recipe()["model"]
    if different := [f"model.{name}={theirs[name]}" for name in ours if theirs[name] != ours[name]]:
        raise InputError(f"start: {path} holds the weights of another network; allowed here are {' '.join(different)}")
    return begun.network.state_dict()


def describe(experiment: Experiment) -> dict[str, Any]:
    """What a network learns from: the data's checksum, numbers, ranges and label settings, and weights to begin with.

    Raises:
        InputError: if there is no usable catalogue or store.
    """
    paths = experiment.paths
    columns = ["crystal", "prototype", "energy_eV", "semiangle_mrad", "thickness_A"]
    rows = catalogue.arrow(paths.catalogue, "train", columns)
    if not len(rows):
        raise InputError(f"{paths.catalogue}: has no quartets of the split 'train'; crystals.split sets how many")
    crystals, _ = catalogue.words(rows["crystal"])
    # a data set has one recipe, unless catalogues were put together: then pixels differ, and some stores show them all
    some = crystals[:: max(1, len(crystals) // PIXELS_OF)]
    recipes = [stores.metadata(places.inside(paths.patterns, f"{crystal}.zarr"))["recipe"] for crystal in some]
    if len({tuple(recipe["labels"][name] for name in ("width", "sigma")) for recipe in recipes}) > 1:
        raise InputError(
            f"{paths.catalogue}: its crystals have labels of different widths or sigmas; a network learns one kind"
        )
    detectors = [DetectorSettings.model_validate(recipe["detector"]) for recipe in recipes]
    smallest, largest = (end(detector.dq for detector in detectors) for end in (min, max))
    shortest, longest = experiment.data.artefacts.camera_length
    ranges = {name: [float(end(rows[name]).as_py()) for end in (pc.min, pc.max)] for name in columns[2:]}
    begun = None if experiment.start is None else modelfile.named(experiment.start)
    learned = catalogue.words(rows["prototype"])[0]
    edges = zip(ranges["semiangle_mrad"], ranges["energy_eV"], (largest, smallest), strict=True)
    return {
        "catalogue": catalogue.identity(paths.catalogue),
        "start": begun and modelfile.checksum(begun),
        "quartets": len(rows),
        "crystals": len(crystals),
        "prototypes": len(learned),
        "learned": sorted(learned),
        # whoever began with a network knows what that one knew: an evaluation may not call it unseen
        "learned_before": [] if begun is None else modelfile.prototypes(begun),
        **ranges,
        # of the vacuum probe's disk, which grows with the angle and with the energy
        "radius_px": [angle * 1e-3 / wavelength(energy) / dq for angle, energy, dq in edges],
        "pixel_invA": [smallest / longest, largest / shortest],
        "shape": list(detectors[0].shape),
        "labels": recipes[0]["labels"],
    }


def train(experiment: Experiment) -> None:
    """Train a network on a catalogue and write model, metrics, history and learning curve to ``paths.output``.

    Raises:
        InputError: if the data can't be used.
    """
    paths, settings = experiment.paths, experiment.trainer
    about = describe(experiment)
    data = QuartetData(
        paths.catalogue,
        paths.patterns,
        experiment.data.batch_size,
        experiment.seed,
        experiment.data.workers,
        settings.epoch_steps,
        settings.validation_batches,
    )
    rank_zero_only(print)(
        f"{experiment.name}: {experiment.model.name} learns from {about['quartets']} quartets of {about['crystals']} "
        f"crystals, {settings.steps} steps of {experiment.data.batch_size} samples",
        flush=True,
    )
    learner, history = fit(experiment, data, about["labels"]["width"], about)
    if learner.global_rank == 0:
        write(experiment, learner, history, about)


def write(experiment: Experiment, learner: Learner, history: History, about: dict[str, Any]) -> None:
    """Write what a training leaves: configuration, history, learning curve, metrics and, last, the model."""
    output, rows = experiment.paths.output, history.rows
    with files.replaced(output / "config.yaml") as path:
        path.write_text(yaml.safe_dump(experiment.recipe(), sort_keys=False, allow_unicode=True))
    with files.replaced(output / "history.csv") as path, path.open("w", newline="") as file:
        table = csv.DictWriter(file, list(rows[-1]), restval="")
        table.writeheader()
        table.writerows(rows)
    learning_curve(output / "learning_curve.png", experiment, rows)
    samples = rows[-1]["step"] * experiment.data.batch_size
    metrics = {
        **{name: value for name, value in rows[-1].items() if name not in ("step", "seconds")},
        "steps": rows[-1]["step"],
        "seconds": rows[-1]["seconds"],
        "samples_per_second_and_device": samples / rows[-1]["seconds"],
        "parameters": sum(p.numel() for p in learner.network.parameters()),
        "data": about,
    }
    with files.replaced(output / "metrics.json") as path:
        path.write_text(json.dumps(metrics, indent=2, sort_keys=True) + "\n")
    modelfile.save(output / "model.safetensors", learner.network, experiment.recipe(), about)
    (output / checkpoints.NAME).unlink(missing_ok=True)


def learning_curve(path: Path, experiment: Experiment, rows: list[dict[str, float]]) -> None:
    """Losses of training and validation samples against steps, one panel per loss."""
    titles = {
        "loss": ("total", "loss"),
        "vg_loss": (r"error of $\sqrt{V_g}$", "mean square (V)"),
        "qz_loss": ("error of $q_z$", f"mean square ({losses.RISE:g} 1/Å)²"),
        "vg_r_factor": ("R factor of the $V_g$ map", r"$\Sigma|V-\hat{V}|\,/\,\Sigma V$"),
    }
    with plots.figure(path, 1, len(titles), (3.0, 2.6)) as (figure, axes):
        for panel, (name, (title, label)) in zip(axes[0], titles.items(), strict=True):
            for split, colour in (("train", plots.COLOURS["other"]), ("validation", plots.COLOURS["ours"])):
                points = [(row["step"], row[f"{split}_{name}"]) for row in rows if f"{split}_{name}" in row]
                if points:
                    panel.plot(*zip(*points, strict=True), ".-", color=colour, label=f"{split} samples")
            panel.set(title=title, xlabel="optimiser steps", ylabel=label)
            panel.set_ylim(bottom=0)
            panel.xaxis.get_major_locator().set_params(integer=True)
        handles, names = axes[0, 0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=2)
        figure.suptitle(f"{experiment.name}: {experiment.model.name}, {rows[-1]['seconds'] / 60:.1f} min")
