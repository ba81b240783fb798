"""SLURM's controller out of reach: what Snakemake's plugin is told meanwhile."""

import asyncio
import logging
from types import SimpleNamespace

import pytest

from fourdcrystal import controller


@pytest.fixture
def asked(monkeypatch):
    """A plugin whose questions get the answers of a list, one after the other."""
    monkeypatch.setattr(controller, "PAUSE", 0)
    answers: list = []

    async def states(command, logger):
        answer = answers.pop(0)
        return (None, None) if answer is None else (answer, 0.1)

    plugin = SimpleNamespace(query_job_status=states, get_min_job_age=lambda: answers.pop(0))
    controller.outlast(plugin)
    return plugin, answers


def states(plugin):
    return asyncio.run(plugin.query_job_status("squeue", logging.getLogger()))[0]


def test_a_controller_that_is_silent_is_asked_until_it_answers(asked, caplog):
    plugin, answers = asked
    answers += [None] * 100 + [{"7": "RUNNING"}]
    assert states(plugin) == {"7": "RUNNING"}
    assert [record.message for record in caplog.records] == [
        "SLURM's controller doesn't answer: waiting for it",
        "SLURM's controller answers again",
    ]


def test_a_job_that_is_not_listed_yet_has_no_state_and_one_that_was_listed_has_ended(asked):
    plugin, answers = asked
    answers += [{"7": "RUNNING"}, {"8": "PENDING"}, {"8": "RUNNING"}]
    assert "8" not in states(plugin)
    assert states(plugin) == {"7": "UNKNOWN", "8": "PENDING"}
    assert states(plugin) == {"7": "UNKNOWN", "8": "RUNNING"}


def test_the_age_limit_of_finished_jobs_is_remembered(asked):
    plugin, answers = asked
    answers += [None, 300, None, None]
    assert [plugin.get_min_job_age() for _ in range(4)] == [None, 300, 300, 300]


def test_the_installed_plugin_still_asks_in_this_way():
    plugin = pytest.importorskip("snakemake_executor_plugin_slurm")
    before = plugin.query_job_status, plugin.get_min_job_age
    try:
        controller.outlast(plugin)
        controller.outlast(plugin)
        assert isinstance(plugin.query_job_status, controller.Patient)
        assert not isinstance(plugin.query_job_status._ask, controller.Patient), "once is enough"
        used = plugin.Executor.check_active_jobs.__code__.co_names
        assert {"query_job_status", "get_min_job_age"} <= set(used)
    finally:
        plugin.query_job_status, plugin.get_min_job_age = before
