"""What training reads: whole quartets, of its split only, in a random order that resumes."""

import gc
import pickle
import tracemalloc
from itertools import chain
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
import torch
from made_up import DQ, SETTINGS, SHAPE, row, write

from fourdcrystal import catalogue, labels, quartets, stores
from fourdcrystal.data import QuartetData
from fourdcrystal.errors import InputError
from fourdcrystal.order import WINDOW, Order
from fourdcrystal.reader import StoreReader

SPLITS = {"Si-1": "train", "Si-2": "train", "Si-3": "validation", "Si-4": "test"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Four crystals of 12, 18, 12 and 18 quartets."""
    made = tmp_path_factory.mktemp("dataset")
    for i, name in enumerate(SPLITS):
        write(made / "patterns" / f"{name}.zarr", seed=i, orientations=2 + i % 2)
    listed = [row(name, split) for name, split in SPLITS.items()]
    catalogue.write(made / "catalogue.parquet", catalogue.build(made / "patterns", listed))
    return made


def data(folder, **options) -> QuartetData:
    return QuartetData(folder / "catalogue.parquet", folder / "patterns", **{"batch_size": 8, "seed": 1} | options)


def test_a_batch_holds_what_the_stores_hold(folder):
    chosen = quartets.select(folder / "catalogue.parquet", folder / "patterns", "train")
    table = catalogue.read(folder / "catalogue.parquet")
    batch = chosen[[0, 17, 29, 12]]
    assert batch["cbed"].shape == batch["probe"].shape == (4, *SHAPE)
    for i, number in enumerate(batch["row"].tolist()):
        of = table.loc[number]
        store = stores.open(folder / "patterns" / f"{of.crystal}.zarr")
        np.testing.assert_array_equal(
            batch["cbed"][i], store.cbed[of.orientation, of.energy, of.semiangle, of.thickness]
        )
        np.testing.assert_array_equal(batch["probe"][i], store.probe[of.energy, of.semiangle])
        assert float(batch["semiangle"][i]) == float(store.semiangle[of.semiangle])
        assert float(batch["thickness"][i]) == float(store.thickness[of.thickness])
        assert float(batch["energy"][i]) == 200e3
        assert float(batch["dq"][i]) == pytest.approx(DQ)
        mine = store.reflection_orientation.values == of.orientation
        found = SimpleNamespace(g=store.reflection_g.values[mine], vg=store.reflection_vg.values[mine])
        weights = labels.weights(found.g, found.vg, 200e3, SETTINGS.labels)
        np.testing.assert_allclose(batch["vg"][i][batch["vg"][i] > 0], weights[weights > 0], rtol=1e-6)
        np.testing.assert_allclose(batch["g"][i][batch["vg"][i] > 0], found.g[weights > 0], rtol=1e-6)


def test_a_batch_has_the_units_of_potentials_and_heights_of_its_pixels(folder):
    batch = quartets.select(folder / "catalogue.parquet", folder / "patterns", "train")[[0, 17]]
    np.testing.assert_allclose(batch["curvature"], 0.0250793 * DQ**2, rtol=1e-4)  # λ of 200 keV in Å
    # 2 m e / h² = γ / 150.41 V Å² with γ = 1.3914 at 200 keV
    np.testing.assert_allclose(batch["volts"], 150.41 * DQ**2 / 1.3914, rtol=1e-3)


def test_every_pattern_is_read_as_zarr_reads_it(folder):
    path = folder / "patterns" / "Si-2.zarr"
    reader, expected = StoreReader(path), stores.open(path).cbed.values
    got = np.empty(SHAPE, np.float16)
    for index in np.ndindex(expected.shape[:4]):
        reader.cbed(index, got)
        np.testing.assert_array_equal(got, expected[index])


@pytest.mark.parametrize("damage", ["truncated", "missing"])
def test_a_damaged_pattern_is_named(tmp_path, damage):
    write(tmp_path / "Si-1.zarr")
    shard = tmp_path / "Si-1.zarr" / "cbed" / "c" / "1/0/0/0/0/0"
    shard.write_bytes(shard.read_bytes()[:100]) if damage == "truncated" else shard.unlink()
    with pytest.raises(InputError, match="cbed/c/1/0/0/0/0/0: is damaged"):
        StoreReader(tmp_path / "Si-1.zarr").cbed((1, 0, 0, 0), np.empty(SHAPE, np.float16))


def test_a_row_takes_few_bytes_and_no_python_object(folder):
    table = catalogue.arrow(folder / "catalogue.parquet", "train", quartets.NEEDED)
    long = pa.concat_tables([table] * (120_000 // len(table))).unify_dictionaries().combine_chunks()
    assert len(long) == 120_000
    gc.collect()
    before = len(gc.get_objects())
    tracemalloc.start()
    chosen = quartets.Quartets(folder / "patterns", long)
    batches = Order(chosen.shards(), batch_size=16, seed=0)
    chosen[next(iter(batches))]
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # 6.5 million rows: 0.5 GB held, 1 GB for a moment, at most
    assert held < 80 * len(long) and peak < 160 * len(long)
    assert len(gc.get_objects()) - before < 2000


def test_nothing_of_a_test_crystal_is_trained_on(folder):
    table, module = catalogue.read(folder / "catalogue.parquet"), data(folder)
    seen = torch.cat([batch["row"] for batch in module.train_dataloader()])
    assert set(table.loc[seen.numpy(), "split"]) == {"train"}
    validated = torch.cat([batch["row"] for batch in module.val_dataloader()])
    assert sorted(validated.tolist()) == table.index[table["split"] == "validation"].tolist()


def test_a_split_without_quartets_gets_one_sentence(folder):
    with pytest.raises(InputError, match="has no quartets of the split 'test_prototype'"):
        data(folder).test_dataloader()


def test_a_validation_of_few_batches_is_spread_over_the_split(folder):
    loader = data(folder, batch_size=2, validation_batches=3).val_dataloader()
    rows = torch.cat([batch["row"] for batch in loader])
    assert len(rows) == 6
    assert (rows.min(), rows.max()) == (30, 41)


def test_workers_read_the_same_batches_in_the_same_order(folder):
    alone, helped = (list(data(folder, workers=n).train_dataloader()) for n in (0, 2))
    assert len(alone) == len(helped) == 3
    for a, b in zip(alone, helped, strict=True):
        assert all(torch.equal(a[name], b[name]) for name in a)


def test_data_sets_travel_to_processes_that_are_spawned(folder):
    chosen = quartets.select(folder / "catalogue.parquet", folder / "patterns", "train")
    before, after = chosen[[3, 4]], pickle.loads(pickle.dumps(chosen))[[3, 4]]
    assert all(torch.equal(before[name], after[name]) for name in before)


def epochs(order: Order, numbers) -> list[list[int]]:
    batches = []
    for number in numbers:
        order.set_epoch(number)
        batches += list(order)
    return batches


def test_one_pass_sees_every_quartet_once_and_the_next_in_another_order():
    order = Order(np.repeat(np.arange(50), 6), batch_size=10, seed=0)
    first, second = epochs(order, [0]), epochs(order, [1])
    assert sorted(list(chain(*first))) == sorted(list(chain(*second))) == list(range(300))
    assert first != second


def test_the_order_resumes_at_any_epoch_as_if_it_had_never_stopped():
    def order():
        return Order(np.repeat(np.arange(7), 3), batch_size=4, seed=5, steps=3)

    whole = epochs(order(), range(8))
    assert epochs(order(), range(5, 8)) == whole[15:]
    seen = list(chain(*whole))
    for passed in range(len(seen) // 21):  # epochs that end in the middle of a pass go on with it
        assert sorted(seen[21 * passed : 21 * (passed + 1)]) == list(range(21))


def test_processes_share_each_step_without_overlap():
    shards = np.repeat(np.arange(10), 8)
    alone = epochs(Order(shards, batch_size=8, seed=2, steps=5), range(2))
    pair = [epochs(Order(shards, batch_size=4, seed=2, steps=5, rank=r, processes=2), range(2)) for r in (0, 1)]
    assert alone == [a + b for a, b in zip(*pair, strict=True)]


def test_neighbours_in_time_are_in_few_files():
    shards = np.repeat(np.arange(8 * WINDOW), 10)
    order = Order(shards, batch_size=100, seed=0)
    rows = order.one_pass(0)
    for window in rows.reshape(8, -1):
        assert len(set(shards[window])) == WINDOW
    assert np.corrcoef(rows, np.arange(len(rows)))[0, 1] < 0.05


def test_a_stale_catalogue_stops_training_before_it_starts(tmp_path):
    write(tmp_path / "patterns" / "Si-1.zarr")
    listed = [row("Si-1", "train")]
    catalogue.write(tmp_path / "catalogue.parquet", catalogue.build(tmp_path / "patterns", listed))
    write(tmp_path / "patterns" / "Si-1.zarr", seed=1)
    with pytest.raises(InputError, match="is stale"):
        data(tmp_path).train_dataloader()


def test_labels_that_cannot_be_drawn_again_are_not_replaced_silently(tmp_path, monkeypatch):
    other = SETTINGS.labels.model_copy(update={"method": "potential_fft"})
    monkeypatch.setattr("made_up.SETTINGS", SETTINGS.model_copy(update={"labels": other}))
    write(tmp_path / "patterns" / "Si-1.zarr")
    catalogue.write(tmp_path / "catalogue.parquet", catalogue.build(tmp_path / "patterns", [row("Si-1", "train")]))
    with pytest.raises(InputError, match=r"Si-1\.zarr: was made with labels.method: potential_fft"):
        next(iter(data(tmp_path).train_dataloader()))
