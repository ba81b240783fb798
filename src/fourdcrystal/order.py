"""The order in which training sees a data set: random, the same for the same seed, and kind to the disk."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch.utils.data import Sampler

from fourdcrystal import seeds

WINDOW = 256  # shards that are mixed with each other: enough for variety, few enough for caches


class Order(Sampler[list[int]]):
    """Batches out of one endless stream of random passes through the data.

    A pass puts the shards (the quartets of one orientation, one file) in random order and mixes the quartets of each
    :data:`WINDOW` of them, so that neighbours in time are mostly in files that have just been read. Batch number k of a
    run follows from the seed alone: epoch e has the batches e · steps to (e + 1) · steps, and a run that is resumed
    goes on where it was.

    Args:
        shards: Number of the shard that each quartet is in, (rows,).
        batch_size: Quartets in a batch of one process.
        seed: Of the run.
        steps: Batches in an epoch; none: as many as fit into one pass.
        rank: Which of ``processes`` this is.
        processes: That share every step.
    """

    def __init__(
        self, shards: ArrayLike, batch_size: int, seed: int, steps: int | None = None, rank: int = 0, processes: int = 1
    ) -> None:
        shards = np.asarray(shards)
        if not len(shards):
            raise ValueError("there is nothing to order")
        self._rows = np.argsort(shards, kind="stable")  # shard by shard; a catalogue is in that order already
        ordered = shards[self._rows]
        self._starts = np.concatenate([[0], 1 + np.flatnonzero(ordered[1:] != ordered[:-1])])
        self._batch_size, self._seed, self._rank, self._processes = batch_size, seed, rank, processes
        self._steps = steps or max(1, len(shards) // (batch_size * processes))
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Go to the start of an epoch; Lightning calls this."""
        self._epoch = epoch

    def __len__(self) -> int:
        return self._steps

    def one_pass(self, number: int) -> NDArray[np.int64]:
        """Row positions in the order of one pass, (rows,)."""
        rng = seeds.generator(self._seed, "order of training", number)
        sizes = np.diff(self._starts, append=len(self._rows))
        shards = rng.permutation(len(sizes))
        mixed = []
        for window in np.split(shards, range(WINDOW, len(shards), WINDOW)):
            ends = np.cumsum(sizes[window])
            places = np.arange(ends[-1]) + np.repeat(self._starts[window] - ends + sizes[window], sizes[window])
            mixed.append(rng.permutation(self._rows[places]))
        return np.concatenate(mixed)

    def __iter__(self) -> Iterator[list[int]]:
        count, number, rows = len(self._rows), -1, np.empty(0, np.int64)
        for step in range(self._epoch * self._steps, (self._epoch + 1) * self._steps):
            first = (step * self._processes + self._rank) * self._batch_size
            batch: list[int] = []
            for place in range(first, first + self._batch_size):
                if place // count != number:
                    number = place // count
                    rows = self.one_pass(number)
                batch.append(int(rows[place % count]))
            yield batch
