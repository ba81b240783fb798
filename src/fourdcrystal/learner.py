"""How a network learns from batches of quartets, as a Lightning module."""

import json
from typing import Any, cast

import pytorch_lightning as lightning
import torch
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor
from torch.utils.data import DataLoader

from fourdcrystal import artefacts, losses, network
from fourdcrystal.experiment import Experiment
from fourdcrystal.order import Order

Batch = dict[str, Tensor]


class Learner(lightning.LightningModule):
    """A network, its losses and its optimiser; artefacts and labels are made here, on the device.

    Args:
        experiment: All settings.
        width: Standard deviation of a label peak [px], of the data's recipe.
        origin: What a checkpoint must agree with to be resumed: recipe and data.
    """

    def __init__(self, experiment: Experiment, width: float, origin: dict[str, Any] | None = None) -> None:
        super().__init__()
        self.experiment, self.width, self.origin = experiment, width, origin or {}
        self.network = network.build(experiment.model)
        self.loss = losses.MapLoss(experiment.loss)
        if experiment.trainer.compile:
            self.network.compile()

    def recorded(self, batch: Batch, *purpose: str | int) -> Batch:
        """The batch as a camera would record it, with its labels; the same for the same purpose.

        Args:
            batch: Of the data module.
            purpose: What for, such as ``("train", step)``.
        """
        samples = artefacts.generators(batch["row"].tolist(), self.experiment.seed, *purpose)
        # half precision is for the network: labels and Fourier transforms keep theirs
        with torch.autocast(self.device.type, enabled=False):
            return artefacts.apply(batch, self.experiment.data.artefacts, samples, self.width)

    def raw(self, batch: Batch) -> Tensor:
        """See :meth:`fourdcrystal.network.DiskNetwork.raw`, of a recorded batch."""
        pixel = torch.stack([batch["curvature"], batch["volts"]], 1)
        return self.network.raw(batch["cbed"][:, None], batch["probe"][:, None], pixel)

    def on_train_epoch_start(self) -> None:
        """Go on with the order of samples where the steps so far ended."""
        # Lightning's own count is one too many after a checkpoint at the end of an epoch
        order = cast(Order, cast(DataLoader, self.trainer.train_dataloader).sampler)
        order.set_epoch(self.global_step // self.experiment.trainer.epoch_steps)

    def training_step(self, batch: Batch, index: int) -> Tensor:
        """Loss of a batch under artefacts that are new at every step."""
        batch = self.recorded(batch, "train", self.global_step)
        raw = self.raw(batch)
        costs = self.loss(raw, batch)
        self._log("train", costs, len(raw))
        return costs["loss"]

    def validation_step(self, batch: Batch, index: int) -> None:
        """Log losses and R factor of a batch under artefacts that are always the same."""
        batch = self.recorded(batch, "validation")
        raw = self.raw(batch).float()
        self._log("validation", self.loss(raw, batch), len(raw))

    def _log(self, split: str, costs: dict[str, Tensor], size: int) -> None:
        named = {f"{split}_{name}": value for name, value in costs.items()}
        self.log_dict(named, on_step=False, on_epoch=True, batch_size=size, sync_dist=True)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """AdamW with one cycle of the learning rate."""
        settings, steps = self.experiment.optimiser, self.experiment.trainer.steps
        learned = [p for p in self.parameters() if p.requires_grad]
        optimiser = torch.optim.AdamW(learned, settings.learning_rate, weight_decay=settings.weight_decay)
        total = steps + 1  # the scheduler is asked once more after the last step
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimiser,
            settings.learning_rate,
            total_steps=total,
            pct_start=settings.warmup if settings.warmup * total > 1.5 else 0.0,  # a rise of one step is none
            anneal_strategy="cos",
            cycle_momentum=False,
        )
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Note in the checkpoint which recipe and data it belongs to."""
        checkpoint["origin"] = json.dumps(self.origin, sort_keys=True)
