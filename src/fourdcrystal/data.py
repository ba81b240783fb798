"""The data module that Lightning trains from."""

from functools import partial

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from fourdcrystal import quartets
from fourdcrystal.order import Order
from fourdcrystal.places import Location
from fourdcrystal.quartets import Batch, Quartets

AHEAD = 4  # batches that each worker keeps ready


class QuartetData(pl.LightningDataModule):
    """Batches of quartets, as :class:`fourdcrystal.quartets.Quartets` describes them, split by crystal and prototype.

    Labels aren't drawn here and artefacts aren't applied here: both happen to whole batches, on the device.
    The trainer must have ``use_distributed_sampler=False``: the order divides the batches itself.

    Args:
        catalogue: catalogue.parquet, on disk or in an object store (``s3://...``).
        patterns: Folder of the stores, the same.
        batch_size: Quartets in a batch of each device.
        seed: Of the order of training.
        workers: Processes that read and decode ahead; 0: the training process does.
        epoch_steps: Batches in an epoch of training; none: one pass.
        validation_batches: Most batches per validation, spread evenly over the split; none: all.
    """

    def __init__(
        self,
        catalogue: Location,
        patterns: Location,
        batch_size: int,
        seed: int,
        workers: int = 0,
        epoch_steps: int | None = None,
        validation_batches: int | None = None,
    ) -> None:
        super().__init__()
        self._select = partial(quartets.select, catalogue, patterns)
        self._batch_size, self._seed, self._workers = batch_size, seed, workers
        self._epoch_steps, self._validation_batches = epoch_steps, validation_batches

    def train_dataloader(self) -> DataLoader[Batch]:
        """Training quartets in random order."""
        chosen = self._select("train")
        rank, processes = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        order = Order(chosen.shards(), self._batch_size, self._seed, self._epoch_steps, rank, processes)
        return self._loader(chosen, order)

    def val_dataloader(self) -> DataLoader[Batch]:
        """Validation quartets, always the same."""
        most = self._validation_batches and self._validation_batches * self._batch_size
        return self._in_order(self._select("validation", most))

    def test_dataloader(self) -> list[DataLoader[Batch]]:
        """Quartets of held-out crystals, and of held-out prototypes."""
        return [self._in_order(self._select(split)) for split in ("test", "test_prototype")]

    def _in_order(self, chosen: Quartets) -> DataLoader[Batch]:
        places = range(len(chosen))
        return self._loader(chosen, [list(places[i : i + self._batch_size]) for i in places[:: self._batch_size]])

    def _loader(self, chosen: Quartets, batches: Order | list[list[int]]) -> DataLoader[Batch]:
        return DataLoader(
            chosen,
            sampler=batches,
            batch_size=None,  # the sampler gives whole batches, and the data set reads them as such
            num_workers=self._workers,
            # clients of object stores hang in a copied process
            multiprocessing_context="spawn" if self._workers and chosen.remote else None,
            persistent_workers=self._workers > 0,
            prefetch_factor=AHEAD if self._workers else None,
            pin_memory=torch.cuda.is_available(),
        )
