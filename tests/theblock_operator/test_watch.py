"""What kopf is told to do, and the sweep that finds what a watch did not bring."""

import asyncio
from pathlib import Path

import pytest
from theblock_operator import watch
from theblock_operator.access import Access
from theblock_operator.api import OUR_KINDS, NotFound, Unavailable
from theblock_operator.cache import Cache
from theblock_operator.watch import Sweep, WatchDeaf


class Objects:
    """An API server's objects of our kinds, as far as they are listed and read."""

    def __init__(self):
        self.stored = {}
        self.established = set()
        self.asked = 0

    def put(self, kind, name, version):
        meta = {"name": name, "namespace": "n", "resourceVersion": version}
        self.stored[kind, name] = {"kind": kind, "metadata": meta, "spec": {"network": "net"}}
        return self.stored[kind, name]

    async def list(self, kind, namespace):
        return [o for (k, _), o in self.stored.items() if k == kind]

    async def get(self, kind, namespace, name):
        if (kind, name) not in self.stored:
            raise NotFound(404, "NotFound", name)
        return self.stored[kind, name]

    async def is_established(self, crd):
        self.asked += 1
        if self.asked == 1:
            raise Unavailable(503, "down", "")
        self.established.add(crd)
        return self.asked > 8


@pytest.fixture
def objects():
    return Objects()


@pytest.fixture
def changed():
    return []


@pytest.fixture
def cache(changed):
    return Cache(changed.append, lambda: 0.0)


def test_kopf_only_watches_and_never_writes():
    registry = watch.registry(Cache(lambda _: None, lambda: 0.0), Access("http://127.0.0.1:1"))
    settings = watch.settings()

    assert len(registry._watching.get_all_handlers()) == len(OUR_KINDS)
    assert not registry._changing.get_all_handlers()
    assert not registry._spawning.get_all_handlers()
    assert not settings.posting.enabled
    assert settings.scanning.disabled
    assert settings.peering.standalone


async def test_what_kopf_hears_stands_in_the_cache(cache, changed, objects):
    tell = watch._teller(cache, "Bridge")

    await tell(event={"type": None, "object": objects.put("Bridge", "b", "1")})
    assert cache.get("Bridge", "n", "b") is not None
    await tell(event={"type": "DELETED", "object": objects.stored["Bridge", "b"]})

    assert cache.get("Bridge", "n", "b") is None
    assert set(changed) == {("Bridge", "n", "b")}


def test_a_renewed_token_reaches_kopf(tmp_path: Path):
    (tmp_path / "token").write_text("one")
    access = Access("https://127.0.0.1:1", token_file=tmp_path / "token")

    first = watch.connection(access)
    (tmp_path / "token").write_text("two")

    assert first.token == "one"
    assert first.expiration is not None
    assert watch.connection(access).token == "two"
    assert watch.connection(Access("https://127.0.0.1:1", token="t")).expiration is None


async def test_work_waits_until_all_kinds_are_served(objects):
    await watch.wait_kinds(objects, retry_s=0.0)

    assert len(objects.established) == len(OUR_KINDS)


async def test_work_waits_until_everything_was_told(cache, objects):
    objects.put("Network", "net", "1")
    waiting = asyncio.create_task(watch.wait_told(objects, cache, ["n"], timeout_s=30))
    await asyncio.sleep(0)
    assert not waiting.done()

    cache.put("Network", objects.stored["Network", "net"])

    await waiting


async def test_work_does_not_wait_for_what_went_meanwhile(cache, objects):
    objects.put("Network", "net", "1")
    listed = await objects.list("Network", "n")
    objects.stored.clear()

    async def list_(kind, namespace):
        return listed if kind == "Network" else []

    objects.list = list_

    await watch.wait_told(objects, cache, ["n"], timeout_s=30)


async def test_a_sweep_drops_what_is_gone_and_takes_what_is_new(cache, changed, objects):
    cache.put("Bridge", objects.put("Bridge", "gone", "1"))
    objects.stored.clear()
    objects.put("Validator", "new", "2")
    changed.clear()

    await Sweep(objects, cache, ["n"], grace_s=0).once()

    assert cache.get("Bridge", "n", "gone") is None
    assert cache.get("Validator", "n", "new") is not None
    assert {("Bridge", "n", "gone"), ("Validator", "n", "new")} <= set(changed)


async def test_a_watch_that_brings_nothing_is_deaf_after_two_sweeps(cache, objects):
    cache.put("Bridge", objects.put("Bridge", "b", "1"))
    sweep = Sweep(objects, cache, ["n"], grace_s=0)
    objects.put("Bridge", "b", "2")
    await sweep.once()
    objects.put("Bridge", "b", "3")

    with pytest.raises(WatchDeaf, match="Bridge n/b"):
        await sweep.once()


async def test_a_watch_that_is_merely_behind_is_not_deaf(cache, objects):
    cache.put("Bridge", objects.put("Bridge", "b", "1"))
    sweep = Sweep(objects, cache, ["n"], grace_s=0)
    for version in ("2", "4", "6"):
        objects.put("Bridge", "b", version)
        await sweep.once()
        cache.put("Bridge", objects.put("Bridge", "b", str(int(version) + 1)))

    assert cache.get("Bridge", "n", "b")["metadata"]["resourceVersion"] == "7"


async def test_news_that_comes_while_the_sweep_waits_does_not_count(cache, objects):
    cache.put("Bridge", objects.put("Bridge", "b", "1"))
    sweep = Sweep(objects, cache, ["n"], grace_s=0)
    for version in ("2", "3", "4"):
        stored = objects.put("Bridge", "b", version)
        sweeping = asyncio.create_task(sweep.once())
        await asyncio.sleep(0)
        cache.put("Bridge", stored)
        await sweeping

    assert cache.get("Bridge", "n", "b")["metadata"]["resourceVersion"] == "4"
