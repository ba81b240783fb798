"""What a plan will cost, judged by the jobs that ran before."""

import json

import pytest

from fourdcrystal import costs
from fourdcrystal.costs import Planned
from fourdcrystal.settings import Settings

HEADER = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\tresources"


def record(results, name, s, cpu_s, resources="{'_cores': 1}"):
    path = results / "benchmarks" / f"{name}.tsv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{HEADER}\n{s}\t0:00:00\t300\t1\t1\t1\t1\t1\t90\t{cpu_s}\t{resources}\n")


def store(results, settings, size):
    path = results / "patterns" / "Si.zarr" / "zarr.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"attributes": {"recipe": settings.model_dump(mode="json")}}))
    (path.parent / "c").write_bytes(bytes(size - path.stat().st_size))


@pytest.fixture
def results(tmp_path):
    record(tmp_path, "simulate/Si", 30, 36)
    record(tmp_path, "simulate/Au", 60, 54)
    record(tmp_path, "train/demo", 100, 180)
    store(tmp_path, Settings(), 10_000)
    return tmp_path


def by_rule(found):
    return {cost.rule: cost for cost in found}


def test_a_job_to_come_costs_what_such_jobs_have_cost_in_the_mean(results):
    planned = {"simulate": Planned(100, 100, 0), "train": Planned(1, 1, 0)}
    found = by_rule(costs.estimate(planned, results, Settings()))
    assert found["simulate"].core_hours == pytest.approx(100 * (36 + 60) / 2 / 3600)
    assert found["simulate"].bytes == 100 * 10_000
    assert found["train"].core_hours == pytest.approx(180 / 3600)
    assert found["simulate"].gpu_hours == found["train"].gpu_hours == 0


def test_a_recipe_of_twice_the_thickness_takes_twice_the_time_and_no_more_room(results):
    thick = Settings.model_validate({"specimen": {"thickness": [100, 400]}})
    (cost,) = costs.estimate({"simulate": Planned(1, 1, 0)}, results, thick)
    assert cost.core_hours == pytest.approx(2 * 48 / 3600)
    assert cost.bytes == 10_000


def test_twice_the_semi_angles_take_twice_the_time_and_room(results):
    two = len(Settings().microscope.semiangle_cutoff) * 2
    wide = Settings.model_validate({"microscope": {"semiangle_cutoff": [2 + i / 10 for i in range(two)]}})
    (cost,) = costs.estimate({"simulate": Planned(1, 1, 0)}, results, wide)
    assert cost.core_hours == pytest.approx(2 * 48 / 3600)
    assert cost.bytes == 20_000


def test_frozen_phonons_take_the_time_of_all_their_copies(results):
    phonons = Settings.model_validate({"specimen": {"thermal": {"model": "frozen_phonon", "configurations": 5}}})
    (cost,) = costs.estimate({"simulate": Planned(1, 1, 0)}, results, phonons)
    assert cost.core_hours == pytest.approx(5 * 48 / 3600)


def test_waves_cost_what_the_points_of_their_grid_cost():
    coarse, fine = (
        Settings.model_validate({"specimen": {"box": 50, "sampling": s, "seam_limit": 1}}) for s in (0.1, 0.097)
    )
    assert costs.work(fine) / costs.work(coarse) == pytest.approx((640 / 512) ** 2)  # the next grid that is fast


def test_more_beams_cost_the_supercells_nothing_and_more_thickness_does(results):
    record(results, "supercells/Si", 2, 2)
    planned = {"supercells": Planned(1, 1, 0)}
    beams = Settings.model_validate({"microscope": {"semiangle_cutoff": [2, 2.1]}})
    thick = Settings.model_validate({"specimen": {"thickness": [100, 400]}})
    spent = [costs.estimate(planned, results, settings)[0].core_hours for settings in (beams, thick)]
    assert spent == pytest.approx([2 / 3600, 2 * 2 / 3600])


def test_gpu_hours_are_told_only_by_jobs_that_had_a_gpu(results):
    (without,) = costs.estimate({"simulate": Planned(10, 10, 1)}, results, Settings())
    assert without.gpu_hours is None
    record(results, "simulate/GaAs", 3, 4, "{'_cores': 1, 'gpu': 1}")
    (measured,) = costs.estimate({"simulate": Planned(10, 10, 1)}, results, Settings())
    assert measured.gpu_hours == pytest.approx(10 * 3 / 3600)


def test_a_job_of_many_crystals_is_judged_by_jobs_of_one(results):
    record(results, "supercells/Si", 2, 2)
    (cost,) = costs.estimate({"simulate_shard": Planned(5, 100, 0)}, results, Settings())
    assert cost.core_hours == pytest.approx(100 * (2 + 48) / 3600)


def test_a_job_of_many_crystals_is_judged_by_its_own_kind_where_there_is_one(results):
    record(results, "simulate_shard/shard-0", 200, 100)
    (results / "shards").mkdir()
    (results / "shards" / "shard-0.json").write_text(json.dumps(dict.fromkeys("abcd", "crc")))
    (cost,) = costs.estimate({"simulate_shard": Planned(5, 100, 0)}, results, Settings())
    assert cost.core_hours == pytest.approx(100 * 50 / 3600)


def test_a_job_of_many_crystals_that_was_begun_again_says_nothing(results):
    record(results, "simulate_shard/shard-0", 200, 100)  # from before; its record went with the new beginning
    (cost,) = costs.estimate({"simulate_shard": Planned(5, 100, 0)}, results, Settings())
    assert (cost.core_hours, cost.records) == (None, 2)
    assert "ask again" in costs.table([cost])


def test_what_was_never_run_is_unknown_and_left_out_of_the_total(results):
    found = costs.estimate({"simulate": Planned(1, 1, 0), "evaluate": Planned(1, 1, 0)}, results, Settings())
    assert by_rule(found)["evaluate"].core_hours is None
    lines = costs.table(found).splitlines()
    assert lines[3].split() == ["evaluate", "1", "-", "0", "0", "jobs"]
    assert lines[4].startswith("total of what is known")
    assert "ask again" in lines[5]


def test_a_dry_run_ends_with_the_estimate(production):
    change = ("--config", "microscope={energy: 100e3}")
    shown = production.snakemake("-n", *change).stdout
    assert "core-hours" in shown
    assert "core-hours" in production.snakemake("-n", "--quiet", "rules", *change).stdout
    simulate = next(line.split() for line in shown.splitlines() if line.startswith("simulate ") and "jobs" in line)
    assert simulate[1] == "6"
    assert 0 < float(simulate[2]) < 1
    assert "core-hours" not in production.snakemake("-n", "--quiet", "all", *change).stdout
    finished = production.snakemake("-n").stdout
    assert "core-hours" not in finished, "nothing to be done costs nothing"
    assert "Exception" not in shown + finished
