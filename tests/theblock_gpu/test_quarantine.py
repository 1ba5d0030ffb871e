"""A task that failed three times is refused for a while; nothing else is."""

from __future__ import annotations

import pytest
from theblock_gpu import quarantine
from theblock_gpu.quarantine import FailedTasks
from theblock_node.core.errors import InvalidRecord

TASK = (b"\x01" * 32, 0)


def failed(times: list[int]) -> FailedTasks:
    tasks = FailedTasks()
    for at in times:
        tasks.add(TASK, at)
    return tasks


def test_third_failure_within_ten_minutes_quarantines_for_ten_minutes():
    tasks = failed([0, 1000])
    tasks.check(TASK, 1000)
    tasks.add(TASK, 2000)
    with pytest.raises(InvalidRecord) as refused:
        tasks.check(TASK, 2000)
    assert refused.value.code == "snark.job_quarantined"
    assert refused.value.facts["retry_after_ms"] == 600_000
    tasks.check((TASK[0], 1), 2000)
    tasks.check(TASK, 602_000)


def test_failures_far_apart_are_forgiven():
    failed([0, 300_000, 600_000]).check(TASK, 600_000)


def test_done_task_is_forgiven():
    tasks = failed([0, 1])
    tasks.forget(TASK)
    tasks.add(TASK, 2)
    tasks.check(TASK, 2)


def test_remembered_tasks_are_bounded(monkeypatch):
    monkeypatch.setattr(quarantine, "TASKS_MAX", 2)
    tasks = failed([0, 0, 0])
    for index in (1, 2):
        tasks.add((TASK[0], index), 0)
    tasks.check(TASK, 0)
