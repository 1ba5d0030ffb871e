"""Keys to look at: once each, one worker a key, later and later after failures."""

import asyncio
import random

import pytest
from theblock_operator import queue as queues
from theblock_operator.queue import BACK_OFF_MAX_S, WorkQueue


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def queue(clock):
    return WorkQueue(clock, random.Random(1))


async def test_a_key_that_is_added_twice_is_looked_at_once(queue):
    queue.add("a")
    queue.add("a")
    queue.add("b")

    assert [await queue.get(), await queue.get()] == ["a", "b"]
    assert queue.depth == 0


async def test_a_key_that_is_added_while_it_is_looked_at_is_looked_at_again_and_not_at_the_same_time(queue):
    queue.add("a")
    await queue.get()
    queue.add("a")
    assert queue.depth == 0

    queue.done("a")

    assert await queue.get() == "a"


async def test_a_later_look_is_taken_when_it_is_due(queue, clock):
    queue.add_after("a", 10)
    queue.add("b")
    assert await queue.get() == "b"
    assert queue.depth == 0

    clock.now += 10

    assert await queue.get() == "a"


async def test_the_earlier_of_two_later_looks_counts(queue, clock):
    queue.add_after("a", 10)
    queue.add_after("a", 2)
    queue.add_after("a", 20)
    clock.now += 2
    assert await queue.get() == "a"
    queue.done("a")

    clock.now += 30
    queue.add("end")

    assert await queue.get() == "end"


async def test_failures_wait_longer_and_longer_within_bounds_and_with_jitter(queue):
    waits = [queue.add_failed("a") for _ in range(12)]

    for failures, wait in enumerate(waits):
        longest = min(BACK_OFF_MAX_S, 0.5 * 2**failures)
        assert longest / 2 <= wait <= longest
    queue.forget_failures("a")
    assert queue.add_failed("a") <= 0.5


async def test_a_worker_waits_for_a_key(queue):
    waiting = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    assert not waiting.done()

    queue.add("a")

    assert await waiting == "a"


async def test_the_oldest_key_tells_its_age(queue, clock):
    queue.add("a")
    clock.now += 7
    queue.add("b")

    assert queue.oldest_seconds == 7


async def test_the_queue_is_bounded(queue, monkeypatch):
    monkeypatch.setattr(queues, "KEYS_MAX", 2)
    for key in "abc":
        queue.add(key)

    assert queue.depth == 2
