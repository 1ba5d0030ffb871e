"""The store beyond what every `Api` does: files, restarts, watches that fall behind."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest
from theblock_operator.api import Invalid, Unavailable
from theblock_operator.embedded import store as stores
from theblock_operator.embedded.store import Store

Object = dict[str, Any]


def opened(folder: Path) -> Store:
    store = Store(folder, admit=lambda object_, _before: object_)
    store.load()
    return store


def config_map(name: str, **data: str) -> Object:
    meta = {"name": name, "namespace": "theblock"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data}


async def test_another_store_over_the_folder_finds_everything_as_it_was(tmp_path: Path) -> None:
    first = opened(tmp_path)
    await first.apply(config_map("one", a="1", b="2"))
    made = await first.get("ConfigMap", "theblock", "one")

    second = opened(tmp_path)

    assert await second.get("ConfigMap", "theblock", "one") == made
    # What was applied is remembered too: a field that is dropped now goes.
    assert (await second.apply(config_map("one", a="1")))["data"] == {"a": "1"}


async def test_a_write_that_was_cut_leaves_the_old_object(tmp_path: Path) -> None:
    first = opened(tmp_path)
    await first.apply(config_map("one", a="1"))
    left = tmp_path / "configmaps" / "theblock" / "one.json.new"
    left.write_bytes(b"{half")

    second = opened(tmp_path)

    assert (await second.get("ConfigMap", "theblock", "one"))["data"] == {"a": "1"}
    assert not left.exists()


async def test_files_are_for_nobody_else_to_read(tmp_path: Path) -> None:
    store = opened(tmp_path / "store")
    meta = {"name": "key", "namespace": "theblock"}
    await store.create({"apiVersion": "v1", "kind": "Secret", "metadata": meta, "stringData": {"seed": "ab"}})

    [path] = (tmp_path / "store").glob("secrets/*/*.json")

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


async def test_what_was_orphaned_by_a_crash_is_collected(tmp_path: Path) -> None:
    first = opened(tmp_path)
    owner = await first.apply(config_map("owner"))
    child = config_map("child")
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"]}
    child["metadata"]["ownerReferences"] = [reference]
    await first.apply(child)
    (tmp_path / "configmaps" / "theblock" / "owner.json").unlink()

    second = opened(tmp_path)
    second.collect()

    assert await second.list("ConfigMap", "theblock") == []


async def test_a_pod_is_asked_to_end_and_goes_when_its_machine_says_so(tmp_path: Path) -> None:
    store = opened(tmp_path)
    meta = {"name": "v-0-0", "namespace": "theblock"}
    spec = {"terminationGracePeriodSeconds": 7, "containers": []}
    pod = await store.create({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec})

    await store.delete("Pod", "theblock", "v-0-0", uid=pod["metadata"]["uid"])
    asked = await store.get("Pod", "theblock", "v-0-0")
    await store.delete("Pod", "theblock", "v-0-0", uid=pod["metadata"]["uid"], grace_seconds=0)

    assert asked["metadata"]["deletionGracePeriodSeconds"] == 7
    assert await store.list("Pod", "theblock") == []


async def test_a_watch_that_falls_behind_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores, "WATCH_QUEUE_MAX", 3)
    store = opened(tmp_path)
    watch = store.watch("ConfigMap", "theblock")
    assert (await anext(watch)).type == "SYNCED"

    for number in range(10):
        await store.create(config_map(f"m{number}"))

    with pytest.raises(Unavailable):
        async for _ in watch:
            pass


async def test_only_the_latest_events_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores, "EVENTS_MAX", 3)
    store = opened(tmp_path)

    for number in range(5):
        meta = {"name": f"e{number}", "namespace": "theblock"}
        await store.create({"apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": meta})

    assert len(await store.list("Event", "theblock")) == 3


@pytest.mark.parametrize(
    ("change", "told"),
    [
        pytest.param({"kind": "Job"}, "kind", id="unknown-kind"),
        pytest.param({"apiVersion": "v2"}, "apiVersion", id="another-version"),
        pytest.param({"metadata": {"namespace": "theblock"}}, "metadata.name", id="no-name"),
        pytest.param({"metadata": {"name": "../x", "namespace": "theblock"}}, "metadata.name", id="path-in-a-name"),
        pytest.param({"metadata": {"name": "x", "namespace": "../y"}}, "metadata.namespace", id="path-in-a-namespace"),
        pytest.param({"metadata": {"name": "x"}}, "metadata.namespace", id="no-namespace"),
        pytest.param({"data": {"a": "x" * 3 * 2**20}}, "larger", id="too-large"),
    ],
)
async def test_an_object_that_cannot_be_stored_is_refused(tmp_path: Path, change: Object, told: str) -> None:
    store = opened(tmp_path)

    with pytest.raises(Invalid, match=told):
        await store.create({**config_map("one"), **change})
