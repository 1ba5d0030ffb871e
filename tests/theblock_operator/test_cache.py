"""What was told of objects, and whom a change concerns."""

import asyncio

import pytest
from theblock_operator import cache as caches
from theblock_operator.api import Change, Unavailable
from theblock_operator.cache import Cache


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def changed():
    return []


@pytest.fixture
def cache(changed, clock):
    return Cache(changed.append, clock)


def resource(kind, name, version="1", generation=1, network="net", **status):
    meta = {"name": name, "namespace": "n", "resourceVersion": version, "generation": generation}
    return {"kind": kind, "metadata": meta, "spec": {"network": network}, "status": status}


def child(name, version="1", **labels):
    named = {f"theblock.dev/{key}": value for key, value in labels.items()}
    return {"metadata": {"name": name, "namespace": "n", "resourceVersion": version, "labels": named}}


def test_a_child_concerns_its_resource(cache, changed):
    cache.put("Pod", child("a-0-0", kind="Bridge", resource="a"))
    cache.put("Pod", child("a-0-0", kind="Bridge", resource="a"))
    cache.put("Pod", child("a-0-0", "2", kind="Bridge", resource="a"))
    cache.drop("Pod", child("a-0-0", "3", kind="Bridge", resource="a"))

    assert changed == [("Bridge", "n", "a")] * 3


def test_children_are_found_by_their_labels_as_they_stand_now(cache):
    def found(**labels):
        named = {f"theblock.dev/{key}": value for key, value in labels.items()}
        return [object_["metadata"]["name"] for object_ in cache.select("Pod", "n", named)]

    for name in ("a", "b", "c"):
        cache.put("Pod", child(name, kind="Bridge", resource="one", network="net"))
    cache.put("Pod", child("theirs"))
    cache.put("Pod", child("b", "2", kind="Bridge", resource="two", network="net"))
    cache.put("Pod", child("a", "2", kind="Bridge", resource="one", network="net"))

    assert found(resource="one") == ["a", "c"], "news of one does not change the order"
    assert found(resource="one", kind="Validator") == []
    assert found(resource="two", kind="Bridge") == ["b"]
    assert found(network="net") == ["a", "b", "c"]
    assert found(kind="Bridge") == ["a", "b", "c"]
    assert found() == [name for _, name in cache.within("Pod", "n")] == ["a", "b", "c", "theirs"]
    assert list(cache.select("Pod", "elsewhere")) == []
    cache.drop("Pod", child("c", "3"))
    cache.drop("Pod", child("b", "3", kind="Bridge", resource="two", network="net"))
    assert (found(resource="one"), found(resource="two"), found(network="net")) == (["a"], [], ["a"])


def test_a_child_of_others_concerns_nobody(cache, changed):
    cache.put("Pod", child("theirs"))

    assert changed == []
    assert cache.get("Pod", "n", "theirs") is not None


def test_a_network_concerns_all_that_name_it_and_a_status_does_not(cache, changed):
    cache.put("Bridge", resource("Bridge", "b"))
    cache.put("Bridge", resource("Bridge", "else", network="other"))
    cache.put("Network", resource("Network", "net"))
    changed.clear()

    cache.put("Network", resource("Network", "net", "2", height=5))
    assert changed == [("Network", "n", "net")]
    changed.clear()

    cache.put("Network", resource("Network", "net", "3", genesisHash="ab"))
    assert set(changed) == {("Network", "n", "net"), ("Bridge", "n", "b")}


def test_objects_are_selected_by_all_labels(cache):
    cache.put("Pod", child("a", kind="Bridge", resource="a"))
    cache.put("Pod", child("b", kind="Bridge", resource="b"))

    found = cache.select("Pod", "n", {"theblock.dev/kind": "Bridge", "theblock.dev/resource": "b"})

    assert [o["metadata"]["name"] for o in found] == ["b"]


class Watches:
    """Watches that tell what they are given, one after the other; then they hang."""

    def __init__(self, *runs):
        self.runs = list(runs)
        self.began = 0
        self.hung = asyncio.Event()

    async def watch(self, kind, namespace):
        self.began += 1
        if not self.runs:
            self.hung.set()
            await asyncio.Event().wait()
        for told in self.runs.pop(0):
            if isinstance(told, Exception):
                raise told
            yield told


async def test_what_is_no_longer_listed_after_a_cut_is_gone(cache, clock, monkeypatch):
    monkeypatch.setattr(caches, "RETRY_S", (0,))
    synced = Change("SYNCED", {})
    watches = Watches(
        [Change("ADDED", child("a")), Change("ADDED", child("b")), synced, Unavailable(0, "cut", "")],
        [Change("ADDED", child("b")), synced, Change("ADDED", child("c"))],
    )
    following = asyncio.create_task(cache.follow(watches, "Pod", "n"))

    await cache.wait_synced(["Pod"], ["n"], 30)
    await asyncio.wait_for(watches.hung.wait(), 30)

    assert sorted(o["metadata"]["name"] for o in cache.all("Pod")) == ["b", "c"]
    assert cache.is_synced()
    assert cache.silent_since() is None
    following.cancel()


async def test_a_watch_that_stays_down_is_silent_since_it_went(cache, clock, monkeypatch):
    monkeypatch.setattr(caches, "RETRY_S", (0,))
    clock.now = 50.0
    watches = Watches([Unavailable(0, "down", "")], [Unavailable(0, "down", "")])
    following = asyncio.create_task(cache.follow(watches, "Pod", "n"))
    await asyncio.wait_for(watches.hung.wait(), 30)

    assert cache.silent_since() == 50.0
    assert not cache.is_synced()
    following.cancel()


async def test_waiting_for_everything_has_an_end(cache):
    with pytest.raises(TimeoutError):
        await cache.wait_synced(["Pod"], ["n"], 0.01)
