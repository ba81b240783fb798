"""What one training experiment is: every setting of the Hydra tree config/train, validated.

Hydra composes the tree (experiment files, command-line overrides, sweeps); the models below say which keys there are
and what is allowed, while their values stand in the tree alone. Nothing here imports torch, so the workflow can compose
an experiment while it reads its rules.
"""

import json
from pathlib import Path
from typing import Annotated, Any, Literal, Self, cast

from pydantic import BeforeValidator, Field, model_validator

from fourdcrystal import places, recipe
from fourdcrystal.errors import InputError
from fourdcrystal.places import Location
from fourdcrystal.sections import Quantity, Section
from fourdcrystal.settings import Settings


def _place(value: Any) -> Any:
    return value if value is None else places.location(str(value))  # a folder may be named by a number


Place = Annotated[Location, BeforeValidator(_place)]  # on disk, or in an object store
Range = Annotated[list[float], Field(min_length=2, max_length=2)]


def _interval(value: list[float], name: str, lowest: float, highest: float) -> None:
    if not lowest <= value[0] <= value[1] <= highest:
        raise ValueError(f"{name} {value} must be [from, to] with {lowest:g} <= from <= to <= {highest:g}")


class Model(Section):
    """Architecture of the network."""

    name: Literal["ccunet", "fcunet"] = Field(..., description="2021: real U-Net; 2022: Fourier-space U-Net")
    width: int = Quantity(..., "channels", "at the finest level; doubled at each coarser one", ge=2, le=256)
    depth: int = Quantity(
        ..., "levels", "halvings of the image; sides must be multiples of patch · 2^depth", ge=1, le=7
    )
    patch: Literal[1, 2, 4] = Quantity(..., "px", "side of the squares whose pixels become channels (ccunet)")
    blocks: int = Quantity(..., "", "residual blocks per level and side", ge=1, le=8)
    powers: Annotated[list[Annotated[float, Field(ge=0, le=1)]], Field(min_length=1, max_length=4)] = Field(
        ..., description="exponents of |F(cbed)·conj F(probe)|: 1 cross-, 0.5 hybrid, 0 phase correlation"
    )

    @model_validator(mode="after")
    def _patches(self) -> Self:
        if self.name == "fcunet" and self.patch != 1:
            raise ValueError(f"patch {self.patch} is for ccunet; fcunet convolves a spectrum and allows 1 only")
        return self

    @property
    def step(self) -> int:
        """Sides of patterns must be multiples of this [px]."""
        return self.patch * 2**self.depth


class Artefacts(Section):
    """What a real microscope does to a pattern; each drawn anew for every sample; absent by default."""

    dose: Range = Quantity(..., "electrons", "electrons per pattern, log-uniform")
    probe_dose: Range = Quantity(..., "electrons", "electrons in the vacuum probe's image, log-uniform")
    background: Range = Quantity([0.0, 0.0], "", "fraction of electrons in the inelastic background")
    background_width: Range = Quantity([0.1, 0.1], "1/Å", "half width at half maximum of its Lorentzian, log-uniform")
    ellipticity: float = Quantity(0.0, "", "largest ratio of axes less one, along a random direction", ge=0, le=0.5)
    camera_length: Range = Quantity([1.0, 1.0], "", "camera length over that of the data, log-uniform")
    rotation: float = Quantity(0.0, "degree", "largest rotation of the detector", ge=0, le=180)
    shift: float = Quantity(0.0, "px", "largest displacement of the pattern along each axis", ge=0, le=64)
    centring: float = Quantity(0.0, "px", "standard deviation of the probe image's residual shift", ge=0, le=8)
    blur: Range = Quantity([0.0, 0.0], "px", "standard deviation of the detector's Gaussian point spread")
    hot: float = Quantity(0.0, "", "largest fraction of hot pixels", ge=0, le=0.05)
    dead: float = Quantity(0.0, "", "largest fraction of dead pixels", ge=0, le=0.05)

    frame: Range = Quantity([1.0, 1.0], "", "side of the camera's frame over that of the data's")

    @model_validator(mode="after")
    def _intervals(self) -> Self:
        _interval(self.frame, "frame", 0.25, 1)
        _interval(self.dose, "dose", 1, 1e12)
        _interval(self.probe_dose, "probe_dose", 1, 1e14)
        _interval(self.background, "background", 0, 0.95)
        _interval(self.background_width, "background_width", 1e-4, 10)
        _interval(self.camera_length, "camera_length", 0.25, 4)
        _interval(self.blur, "blur", 0, 10)
        return self


class Data(Section):
    """How quartets reach the network."""

    batch_size: int = Quantity(..., "samples", "on each device", ge=1, le=4096)
    workers: int = Quantity(..., "processes", "that load ahead", ge=0, le=256)
    artefacts: Artefacts


class Loss(Section):
    """What is minimised."""

    peak: float = Quantity(..., "", "extra weight of pixels at peaks, relative to empty ones", ge=0, le=1e4)
    qz: float = Quantity(..., "", "weight of the q_z loss relative to the Vg loss", ge=0, le=1e4)
    linear: float = Quantity(
        ..., "", "weight of the maps' R factor within the Vg loss, beside the square error of √V_g", ge=0, le=1e4
    )
    learned: bool = Field(..., description="learn the two tasks' weights (homoscedastic uncertainty) instead")


class Optimiser(Section):
    """How it is minimised: AdamW, linear warm-up, then one cosine down to zero."""

    learning_rate: float = Quantity(..., "", "highest learning rate", gt=0, le=10)
    weight_decay: float = Quantity(..., "", "AdamW's decoupled decay", ge=0, le=10)
    warmup: float = Quantity(..., "", "fraction of the steps that the learning rate rises", ge=0, le=1)


class Trainer(Section):
    """Where and for how long; handed to Lightning."""

    steps: int = Quantity(..., "steps", "optimiser steps in all", ge=1)
    epoch_steps: int = Quantity(..., "steps", "between validations and checkpoints", ge=1)
    validation_batches: int = Quantity(..., "batches", "most batches per validation", ge=1)
    patience: int | None = Quantity(..., "epochs", "stop early without improvement for so long; none: never", ge=1)
    accelerator: Literal["auto", "cpu", "gpu", "mps"] = Field(..., description="kind of device")
    devices: Annotated[int, Field(ge=1, le=1024)] | Literal["auto"] = Field(..., description="devices per node")
    nodes: int = Quantity(..., "nodes", "of the cluster", ge=1)
    precision: Literal["32-true", "16-mixed", "bf16-mixed"] = Field(..., description="of the arithmetic")
    clip: float = Quantity(..., "", "largest norm of the gradient", gt=0)
    ema: float | None = Field(..., gt=0, lt=1, description="decay of averaged weights; none: weights of the last step")
    compile: bool = Field(..., description="torch.compile the network")
    tensorboard: bool = Field(..., description="also log for TensorBoard")

    @model_validator(mode="after")
    def _whole_epochs(self) -> Self:
        if self.steps % self.epoch_steps:  # Lightning validates at the ends of whole epochs only
            raise ValueError(
                f"steps {self.steps} must be a multiple of epoch_steps {self.epoch_steps}, whose ends are validated"
            )
        return self


class Paths(Section):
    """Where things are. The workflow passes these."""

    catalogue: Place = Field(..., description="which quartets there are")
    patterns: Place = Field(..., description="folder of the stores")
    output: Path = Field(..., description="folder of the model")


class Experiment(Section):
    """One network's training."""

    name: str = Field(..., pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", description="of the experiment")
    seed: int = Field(..., ge=0, le=2**63 - 1, description="of initial weights, order of samples, and artefacts")
    start: str | None = Field(
        ..., description="weights to begin with: shipped (those of this package) or a model's file; none: random ones"
    )
    model: Model
    data: Data
    loss: Loss
    optimiser: Optimiser
    trainer: Trainer
    paths: Paths

    def recipe(self) -> dict[str, Any]:
        """What the weights depend on, as plain values: everything but the paths and this machine's devices.

        Of weights to begin with, the file's name; which ones they are, their checksum says beside the data's.
        """
        values = self.model_dump(
            mode="json",
            exclude={"paths": True, "trainer": {"accelerator", "devices", "nodes", "tensorboard"}, "data": {"workers"}},
        )
        return values | {"start": self.start and Path(self.start).name}


def validate(composed: Any) -> Experiment:
    """An experiment from Hydra's composed configuration.

    Raises:
        InputError: naming the setting, what is wrong and what is allowed.
    """
    from omegaconf import DictConfig, OmegaConf

    content = OmegaConf.to_container(composed, resolve=True) if isinstance(composed, DictConfig) else composed
    return recipe.validate(cast(dict[str, Any], content), "config/train", Experiment)


def check_data(trained: Experiment, settings: Settings) -> None:
    """Refuse data that an experiment can't learn from, before they are made.

    Raises:
        InputError: naming the setting, what is wrong and what is allowed.
    """
    step, shape = trained.model.step, settings.detector.shape
    if any(side % step for side in shape):
        raise InputError(
            f"detector.shape: the network of the experiment {trained.name} can't take {shape[0]} x {shape[1]} px; "
            f"allowed are sides that are multiples of {step} px (model.patch · 2^model.depth)"
        )
    if settings.labels.method != "analytic":
        raise InputError(
            f"labels.method: the experiment {trained.name} can't learn from labels of '{settings.labels.method}', "
            "which can't be moved as patterns are; training needs analytic ones"
        )
    if not settings.crystals.split.validation:
        raise InputError(
            f"crystals.split.validation is 0, but the experiment {trained.name} needs crystals to validate with"
        )


def compose(name: str, folder: Path, overrides: tuple[str, ...] = ()) -> Experiment:
    """The experiment that ``python scripts/train.py experiment=NAME OVERRIDES`` would run.

    Args:
        name: Name of a file in ``folder``/experiment, without its suffix.
        folder: The Hydra tree, config/train.
        overrides: As on the command line, such as ``optimiser.learning_rate=1e-3``.

    Raises:
        InputError: if there is no such experiment, or a setting of it is unknown or out of range.
    """
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from hydra.errors import HydraException

    known = sorted(p.stem for p in (folder / "experiment").glob("*.yaml"))
    if name not in known:
        raise InputError(
            f"training.experiments: '{name}' has no file in {folder / 'experiment'}; known are {', '.join(known)}"
        )
    with initialize_config_dir(str(folder.resolve()), version_base="1.3"):
        try:
            composed = hydra_compose("train", [f"experiment={name}", *overrides])
        except HydraException as error:
            raise InputError(f"experiment {name}: {' '.join(str(error).split())}") from error
    return validate(composed)


def as_parameter(experiment: Experiment) -> str:
    """The experiment as a rule's parameter: what the weights depend on retrains, a changed comment doesn't."""
    return json.dumps(experiment.recipe() | {"start": experiment.start}, sort_keys=True)
