"""GPUs of one machine, shared out among simulations that run side by side."""

import subprocess
import sys
import time

import pytest

from fourdcrystal import gpus

HOLD = (
    "import sys\nfrom fourdcrystal import gpus\n"
    "with gpus.leased(sys.argv[1]) as gpu:\n    print(gpu, flush=True)\n    sys.stdin.read()\n"
)


@pytest.fixture
def two_gpus(monkeypatch):
    monkeypatch.setenv(gpus.VISIBLE, "0,3")


def hold(folder):
    return subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def test_two_jobs_get_a_gpu_each_and_a_third_waits_until_one_is_killed(two_gpus, tmp_path):
    first, second = hold(tmp_path), hold(tmp_path)
    given = {first: first.stdout.readline().strip(), second: second.stdout.readline().strip()}
    assert set(given.values()) == {"0", "3"}
    third = hold(tmp_path)
    time.sleep(1)
    assert third.poll() is None
    second.kill()
    assert third.stdout.readline().strip() == given[second]
    for job in (first, third):
        job.communicate()
    second.communicate()


def test_within_the_lease_only_that_gpu_is_visible(two_gpus, tmp_path):
    with gpus.leased(tmp_path) as gpu:
        assert gpus.visible() == [gpu] == ["0"]
    assert gpus.visible() == ["0", "3"]


@pytest.mark.parametrize("names", ["", "-1", "1"])
def test_with_one_gpu_or_none_there_is_nothing_to_share_out(names, monkeypatch, tmp_path):
    monkeypatch.setenv(gpus.VISIBLE, names)
    with gpus.leased(tmp_path / "locks") as gpu:
        assert gpu == ("1" if names == "1" else None)
    assert not (tmp_path / "locks").exists()
