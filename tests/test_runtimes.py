"""What a run has cost, gathered from benchmark files."""

import json
import math

import pytest

from fourdcrystal import runtimes

HEADER = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\n"


@pytest.fixture
def folder(tmp_path):
    for name, line in {
        "train": "100\t0:01:40\t900\t1\t1\t1\t1\t1\t90\t180",
        "simulate/Si": "12.5\t0:00:12\t300\t1\t1\t1\t1\t1\t90\t11",
        "simulate/Au": "20\t0:00:20\t250\t1\t1\t1\t1\t1\t90\t19",
        "crystals/Si": "0.1\t0:00:00\t-\t-\t-\t-\t-\t-\t0\t0",
    }.items():
        path = tmp_path / f"{name}.tsv"
        path.parent.mkdir(exist_ok=True)
        path.write_text(HEADER + line + "\n")
    return tmp_path


def test_jobs_of_a_rule_are_summed_and_their_largest_memory_kept(folder):
    table = runtimes.by_rule(runtimes.read(folder))
    assert table.loc["simulate"].to_dict() == {
        "jobs": 2,
        "wall_s": 32.5,
        "longest_s": 20,
        "cpu_s": 30,
        "peak_memory_MB": 300,
    }
    assert math.isnan(table.loc["crystals", "peak_memory_MB"]), (
        "a job too short to be measured is no job without memory"
    )


def test_rules_are_listed_in_the_order_of_the_data_flow(folder):
    assert list(runtimes.by_rule(runtimes.read(folder)).index) == ["crystals", "simulate", "train"]


def test_the_picture_has_a_bar_of_every_rule_s_time_and_memory(folder, tmp_path, panels):
    runtimes.draw(tmp_path / "cost.png", runtimes.by_rule(runtimes.read(folder)))
    assert (tmp_path / "cost.png").read_bytes().startswith(b"\x89PNG")
    time, memory = panels
    assert [text.get_text() for text in time.get_yticklabels()] == ["crystals (1)", "simulate (2)", "train (1)"]
    assert [bar.get_width() for bar in time.patches] == pytest.approx([0.1, 32.5, 100])
    assert [bar.get_width() for bar in memory.patches] == pytest.approx([0, 0.3, 0.9])
    assert [text.get_text() for text in memory.texts] == ["not measured", "0.3 GB", "0.9 GB"]


def test_classes_are_compared_by_the_cost_of_one_crystal(folder, tmp_path, panels):
    results = tmp_path / "results"
    (results / "shards").mkdir(parents=True)
    (results / "benchmarks").mkdir()
    (folder / "simulate").rename(results / "benchmarks" / "simulate")
    shard = {"Ge": {"checksum": "x", "s": 7.5, "mem_MB": 400}, "Ag": {"checksum": "y", "s": None, "mem_MB": None}}
    (results / "shards" / "shard-0.json").write_text(json.dumps(shard))
    table = runtimes.by_class(results, {"Si": "diamond", "Ge": "diamond", "Au": "fcc", "Ag": "fcc"})
    assert list(table.index) == ["fcc", "diamond"], "the dearest first"
    assert table.loc["diamond"].to_dict() == {"crystals": 2, "mean_s": 10, "longest_s": 12.5, "peak_memory_MB": 400}
    assert table.loc["fcc", "crystals"] == 1, "a store that was kept was not measured"
    runtimes.draw_classes(tmp_path / "classes.png", table)
    assert (tmp_path / "classes.png").read_bytes().startswith(b"\x89PNG")
    assert [bar.get_width() for bar in panels[0].patches] == pytest.approx([20, 10])
    assert [text.get_text() for text in panels[0].get_yticklabels()] == ["fcc (1)", "diamond (2)"]
