"""What every `Api` does, whoever stands behind it: files here, an API server where there is a cluster."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from theblock_operator.access import from_kubeconfig
from theblock_operator.api import Api, Change, Conflict, Invalid, NotFound
from theblock_operator.cluster import Cluster
from theblock_operator.embedded import admission
from theblock_operator.embedded.store import Store
from theblock_operator.metrics import Metrics

NAMESPACE = "theblock"
Object = dict[str, Any]


@pytest.fixture(params=["files", pytest.param("cluster", marks=[pytest.mark.cluster, pytest.mark.timeout(900)])])
async def api(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Api]:
    """Each member of `Api` in turn, empty."""
    if request.param == "files":
        store = Store(tmp_path / "store", admit=admission.admit)
        store.load()
        yield store
        return
    server = request.getfixturevalue("api_server")
    server.try_kubectl("create", "namespace", NAMESPACE)
    async with Cluster(from_kubeconfig(server.admin), meter=Metrics()) as cluster:
        yield cluster
        for kind in ("Network", "StatefulSet", "ConfigMap", "Secret", "Service", "ServiceAccount"):
            for found in await cluster.list(kind, NAMESPACE):
                await _remove(cluster, kind, found["metadata"])


async def _remove(cluster: Cluster, kind: str, meta: Object) -> None:
    if meta.get("finalizers"):
        await cluster.patch(kind, NAMESPACE, meta["name"], {"metadata": {"finalizers": None}})
    await cluster.delete(kind, NAMESPACE, meta["name"], uid=meta["uid"])


def config_map(name: str, data: dict[str, str], **more: Any) -> Object:
    meta = {"name": name, "namespace": NAMESPACE}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data, **more}


def stateful_set(name: str, replicas: int = 1, owner: Object | None = None) -> Object:
    meta: Object = {"name": name, "namespace": NAMESPACE, "labels": {"theblock.dev/member": name}}
    if owner is not None:
        meta["ownerReferences"] = [reference(owner)]
    labels = {"theblock.dev/member": name}
    pod = {"containers": [{"name": "node", "image": "theblock/node:1"}]}
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": meta,
        "spec": {
            "replicas": replicas,
            "serviceName": name,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }


def network(**spec: Any) -> Object:
    return {
        "apiVersion": "theblock.dev/v1alpha1",
        "kind": "Network",
        "metadata": {"name": "starter", "namespace": NAMESPACE},
        "spec": {"genesis": {"validators": [{"name": "validators", "members": 1}]}, **spec},
    }


def reference(owner: Object) -> Object:
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
    }


async def take_until(watch: AsyncIterator[Change], done: Callable[[Change], bool]) -> list[Change]:
    found = []
    async with asyncio.timeout(50):  # Collectors of garbage learn of new kinds every half minute.
        async for change in watch:
            found.append(change)
            if done(change):
                return found
    raise AssertionError("the watch ended")


async def test_what_was_created_is_found_with_what_the_server_adds(api: Api) -> None:
    made = await api.create(config_map("one", {"a": "1"}))

    assert made == await api.get("ConfigMap", NAMESPACE, "one")
    assert {"uid", "resourceVersion", "creationTimestamp"} <= set(made["metadata"])
    assert [found["metadata"]["name"] for found in await api.list("ConfigMap", NAMESPACE)] == ["one"]


async def test_an_object_that_is_not_there_is_not_found(api: Api) -> None:
    with pytest.raises(NotFound):
        await api.get("ConfigMap", NAMESPACE, "none")
    with pytest.raises(NotFound):
        await api.patch("ConfigMap", NAMESPACE, "none", {"data": {"a": "1"}})
    with pytest.raises(NotFound):
        await api.apply_status("Network", NAMESPACE, "none", {"replicas": 1})


async def test_creating_what_exists_is_a_conflict_and_changes_nothing(api: Api) -> None:
    before = await api.create(config_map("one", {"a": "1"}))

    with pytest.raises(Conflict):
        await api.create(config_map("one", {"a": "2"}))

    assert await api.get("ConfigMap", NAMESPACE, "one") == before


async def test_what_is_changed_in_hand_is_not_changed_in_store(api: Api) -> None:
    made = await api.create(config_map("one", {"a": "1"}))

    made["data"]["a"] = "2"

    assert (await api.get("ConfigMap", NAMESPACE, "one"))["data"] == {"a": "1"}


async def test_applying_the_same_twice_writes_once(api: Api) -> None:
    first = await api.apply(config_map("one", {"a": "1"}))
    second = await api.apply(config_map("one", {"a": "1"}))

    assert second["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]


async def test_a_field_that_is_no_longer_applied_goes_and_one_of_others_stays(api: Api) -> None:
    await api.apply(config_map("one", {"a": "1", "b": "2"}))
    await api.patch("ConfigMap", NAMESPACE, "one", {"data": {"theirs": "3"}})

    after = await api.apply(config_map("one", {"a": "1"}))

    assert after["data"] == {"a": "1", "theirs": "3"}


async def test_generation_rises_with_the_spec_alone(api: Api) -> None:
    made = await api.apply(stateful_set("v-0"))
    labelled = await api.patch("StatefulSet", NAMESPACE, "v-0", {"metadata": {"annotations": {"a": "1"}}})
    scaled = await api.patch("StatefulSet", NAMESPACE, "v-0", {"spec": {"replicas": 0}})

    assert made["metadata"]["generation"] == labelled["metadata"]["generation"] == 1
    assert scaled["metadata"]["generation"] == 2
    assert int(scaled["metadata"]["resourceVersion"]) > int(labelled["metadata"]["resourceVersion"])


async def test_status_is_written_apart_and_no_other_write_touches_it(api: Api) -> None:
    await api.apply(network())
    told = await api.apply_status("Network", NAMESPACE, "starter", {"height": 100})
    after = await api.apply(network(statusRefreshSeconds=60))

    assert told["status"] == after["status"] == {"height": 100}
    assert told["metadata"]["generation"] == 1
    assert after["metadata"]["generation"] == 2


async def test_a_merge_patch_removes_what_is_null(api: Api) -> None:
    await api.create(config_map("one", {"a": "1", "b": "2"}))

    after = await api.patch("ConfigMap", NAMESPACE, "one", {"data": {"a": None, "c": "3"}})

    assert after["data"] == {"b": "2", "c": "3"}


async def test_a_patch_for_another_uid_is_a_conflict(api: Api) -> None:
    await api.apply(stateful_set("v-0"))

    with pytest.raises(Conflict):
        await api.patch("StatefulSet", NAMESPACE, "v-0", {"metadata": {"uid": "other"}, "spec": {"replicas": 0}})

    assert (await api.get("StatefulSet", NAMESPACE, "v-0"))["spec"]["replicas"] == 1


async def test_a_delete_for_another_uid_is_a_conflict_and_of_nothing_is_nothing(api: Api) -> None:
    made = await api.create(config_map("one", {}))

    with pytest.raises(Conflict):
        await api.delete("ConfigMap", NAMESPACE, "one", uid="other")
    await api.delete("ConfigMap", NAMESPACE, "one", uid=made["metadata"]["uid"])
    await api.delete("ConfigMap", NAMESPACE, "one", uid=made["metadata"]["uid"])

    assert await api.list("ConfigMap", NAMESPACE) == []


async def test_a_finalizer_holds_an_object_until_it_is_taken_away(api: Api) -> None:
    made = await api.apply(network())
    await api.patch("Network", NAMESPACE, "starter", {"metadata": {"finalizers": ["theblock.dev/exit"]}})
    await api.delete("Network", NAMESPACE, "starter", uid=made["metadata"]["uid"])
    held = await api.get("Network", NAMESPACE, "starter")

    await api.patch("Network", NAMESPACE, "starter", {"metadata": {"finalizers": []}})

    assert held["metadata"]["deletionTimestamp"]
    with pytest.raises(NotFound):
        await api.get("Network", NAMESPACE, "starter")


async def test_what_an_object_owns_goes_with_it(api: Api) -> None:
    owner = await api.apply(network())
    workload = await api.apply(stateful_set("v-0", owner=owner))
    child = config_map("v-0-config", {})
    child["metadata"]["ownerReferences"] = [reference(workload)]
    await api.apply(child)
    await api.create(config_map("free", {}))
    children = api.watch("ConfigMap", NAMESPACE)
    await take_until(children, lambda change: change.type == "SYNCED")

    await api.delete("Network", NAMESPACE, "starter", uid=owner["metadata"]["uid"])

    await take_until(children, lambda change: change.type == "DELETED")
    assert [found["metadata"]["name"] for found in await api.list("ConfigMap", NAMESPACE)] == ["free"]
    assert await api.list("StatefulSet", NAMESPACE) == []


@pytest.mark.parametrize("kind", ["ConfigMap", "Secret"])
async def test_what_is_immutable_is_refused_another_content_and_takes_the_same(api: Api, kind: str) -> None:
    fixed = {**config_map("fixed", {"a": base64.b64encode(b"1").decode()}), "kind": kind, "immutable": True}
    await api.apply(fixed)

    await api.apply(fixed)
    with pytest.raises(Invalid):
        await api.apply({**fixed, "data": {"a": base64.b64encode(b"2").decode()}})
    with pytest.raises(Invalid):
        await api.patch(kind, NAMESPACE, "fixed", {"immutable": False})


async def test_plain_text_of_a_secret_is_stored_encoded(api: Api) -> None:
    meta = {"name": "key", "namespace": NAMESPACE}
    await api.create({"apiVersion": "v1", "kind": "Secret", "metadata": meta, "stringData": {"seed": "ab", "old": "x"}})

    after = await api.patch("Secret", NAMESPACE, "key", {"data": {"old": None}, "stringData": {"next": "cd"}})

    decoded = {name: base64.b64decode(value).decode() for name, value in after["data"].items()}
    assert decoded == {"seed": "ab", "next": "cd"}
    assert "stringData" not in after


async def test_a_watch_tells_what_is_there_then_what_happens(api: Api) -> None:
    await api.create(config_map("one", {"a": "1"}))
    watch = api.watch("ConfigMap", NAMESPACE)
    first = await take_until(watch, lambda change: change.type == "SYNCED")

    made = await api.create(config_map("two", {}))
    await api.patch("ConfigMap", NAMESPACE, "two", {"data": {"b": "2"}})
    await api.delete("ConfigMap", NAMESPACE, "two", uid=made["metadata"]["uid"])
    later = await take_until(watch, lambda change: change.type == "DELETED")

    assert [change.object["metadata"]["name"] for change in first if change.type == "ADDED"] == ["one"]
    assert [change.type for change in later] == ["ADDED", "MODIFIED", "DELETED"]
    assert later[1].object["data"] == {"b": "2"}


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        pytest.param({"presett": "devnet"}, "presett", id="unknown-field"),
        pytest.param({"preset": "moon"}, "spec.preset", id="no-such-choice"),
        pytest.param({"trust": {"memberSeconds": 1}}, "spec.trust.memberSeconds", id="out-of-bounds"),
        pytest.param({"statusRefreshSeconds": 5}, "statusRefreshSeconds", id="rule"),
    ],
)
async def test_a_resource_that_its_kind_refuses_is_invalid(api: Api, spec: Object, told: str) -> None:
    with pytest.raises(Invalid, match=told):
        await api.apply(network(**spec))


async def test_a_change_that_its_kind_refuses_is_invalid_and_leaves_it_as_it_was(api: Api) -> None:
    before = await api.apply(network(preset="devnet"))

    with pytest.raises(Invalid, match="immutable"):
        await api.apply(network(preset="minimal"))

    assert await api.get("Network", NAMESPACE, "starter") == before


async def test_defaults_are_filled_in(api: Api) -> None:
    made = await api.apply(network())

    assert made["spec"]["preset"] == "devnet"
    assert made["spec"]["explorer"]["replicas"] == 1
