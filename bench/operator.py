"""The operator's controller beside a plain asyncio list-and-watch controller, both on the same embedded store.

Each side brings the same synthetic resources from new to told: one object applied and one status written for each. The
synthetic kind decides nothing, so what is compared is the shell around a decision: cache, queue, visit, report. A
third side makes the same calls and nothing else. Then the starter's own kinds: what a visit costs that finds all well.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml
from theblock_operator import kinds, names
from theblock_operator.acts import EnsureShared, Plan
from theblock_operator.api import OUR_KINDS, WATCHED, Change
from theblock_operator.controller import Controller, Settings
from theblock_operator.embedded import admission
from theblock_operator.embedded.store import Store
from theblock_operator.objects.labels import owner_of
from theblock_operator.observed import Object, Observed, Resource
from theblock_operator.status import Condition, Status, rfc3339

from bench.figures import Figure, Peer

RESOURCES = 200
ROUNDS = 5
WORKERS = 4
"""As many as the operator has."""
LIMIT_S = 120.0
NAMESPACE = "theblock"
KIND = "Bridge"
"""The kind in whose place the synthetic one stands."""
STARTER = Path(__file__).resolve().parents[1] / "examples" / "starter" / "starter.yaml"
VISITS_AT_REST = 300
READY = Status((Condition("Ready", "True", "Fine"),))


@dataclass(frozen=True, slots=True)
class Round:
    """One side, once."""

    seconds: float
    cpu_s: float
    calls: int
    visits: int


class _Counted:
    """The verbs of `Api` that a controller uses, counted."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.calls = 0

    async def get(self, kind: str, namespace: str, name: str) -> Object:
        self.calls += 1
        return await self._store.get(kind, namespace, name)

    async def list(self, kind: str, namespace: str) -> list[Object]:
        self.calls += 1
        return await self._store.list(kind, namespace)

    async def create(self, object_: Object) -> Object:
        self.calls += 1
        return await self._store.create(object_)

    async def apply(self, object_: Object) -> Object:
        self.calls += 1
        return await self._store.apply(object_)

    async def apply_status(self, kind: str, namespace: str, name: str, status: Object) -> Object:
        self.calls += 1
        return await self._store.apply_status(kind, namespace, name, status)

    async def patch(self, kind: str, namespace: str, name: str, patch: Object) -> Object:
        self.calls += 1
        return await self._store.patch(kind, namespace, name, patch)

    async def delete(self, kind: str, namespace: str, name: str, *, uid: str, grace_seconds: int | None = None) -> None:
        self.calls += 1
        await self._store.delete(kind, namespace, name, uid=uid, grace_seconds=grace_seconds)

    def watch(self, kind: str, namespace: str) -> AsyncIterator[Change]:
        return self._store.watch(kind, namespace)

    def uid(self, name: str) -> str:
        """Of a resource, without a call: what a watch would have told."""
        found = self._store.peek(KIND, NAMESPACE, name)
        assert found is not None
        return str(found["metadata"]["uid"])


class _Visits:
    def __init__(self) -> None:
        self.count = 0

    def visited(self, kind: str, result: str, seconds: float) -> None:
        self.count += 1


Side = Callable[[_Counted, Path], Awaitable[int]]
"""Runs until every resource is told; returns how many visits it took."""


def run() -> Iterator[Figure]:
    sides: Mapping[str, Side] = {"ours": _ours, "plain": _plain, "calls": _calls_alone}
    rounds: dict[str, list[Round]] = {name: [] for name in sides}
    known = kinds.BY_NAME[KIND]
    for _ in range(ROUNDS):
        for name, side in sides.items():
            # A synthetic kind for as long as a round lasts.
            kinds.BY_NAME[KIND] = replace(known, plan=_plan, judge=lambda *_: READY)
            try:
                rounds[name].append(asyncio.run(_round(side)))
            finally:
                kinds.BY_NAME[KIND] = known
    yield from _figures(rounds)
    yield asyncio.run(_at_rest())


def _figures(rounds: Mapping[str, list[Round]]) -> Iterator[Figure]:
    def median(side: str, of: Callable[[Round], float]) -> float:
        return statistics.median(of(one) for one in rounds[side])

    plain, alone = "plain asyncio list and watch", "the same calls and nothing else"
    note = f"{RESOURCES} new resources, {WORKERS} workers: one apply and one status each"
    rates = {side: RESOURCES / median(side, lambda one: one.seconds) for side in rounds}
    yield Figure(
        "operator.converge", rates["ours"], "resources/s", (Peer(plain, rates["plain"]), Peer(alone, rates["calls"])),
        note=note,
    )  # fmt: skip
    cpu = {side: 1000 * median(side, lambda one: one.cpu_s) / RESOURCES for side in rounds}
    yield Figure(
        "operator.cpu", cpu["ours"], "ms/resource", (Peer(plain, cpu["plain"]), Peer(alone, cpu["calls"])),
        note="the store's own work included", is_time=True,
    )  # fmt: skip
    calls = {side: median(side, lambda one: one.calls) / RESOURCES for side in rounds}
    per_resource = {side: median(side, lambda one: one.visits) / RESOURCES for side in rounds}
    yield Figure(
        "operator.visits", rates["ours"] * per_resource["ours"], "visits/s", (Peer(plain, rates["plain"]),),
        note=f"{per_resource['ours']:.1f} a resource, all but one find nothing to do; the plain one looks once",
    )  # fmt: skip
    yield Figure(
        "operator.visit_cpu", cpu["ours"] / per_resource["ours"], "ms/visit", (Peer(plain, cpu["plain"]),),
        is_time=True,
    )  # fmt: skip
    yield Figure(
        "operator.calls", calls["ours"], "calls/resource", (Peer(plain, calls["plain"]),),
        is_time=True,
    )  # fmt: skip


async def _round(side: Side) -> Round:
    with TemporaryDirectory(prefix="theblock-bench-", dir=_fast_folder()) as name:
        folder = Path(name)
        store = Store(folder / "store", admit=lambda object_, _before: object_)
        store.load()
        like = next(body for body in _starter() if body["kind"] == KIND)
        for number in range(RESOURCES):
            await store.create(_resource(like, number))
        api = _Counted(store)
        started, cpu = time.perf_counter(), time.process_time()
        visits = await side(api, folder)
        return Round(time.perf_counter() - started, time.process_time() - cpu, api.calls, visits)


def _starter() -> list[Object]:
    return list(yaml.safe_load_all(STARTER.read_text()))


def _fast_folder() -> str | None:
    """In memory where there is such a place: the disk is not what is compared."""
    memory = Path("/dev/shm")
    return str(memory) if memory.is_dir() else None


def _resource(found: Object, number: int) -> Object:
    """One like the starter's. Each names a network of its own, so that none concerns another."""
    spec = {**found["spec"], "network": f"net-{_letters(number)}"}
    return {**found, "metadata": {"name": f"r-{_letters(number)}", "namespace": NAMESPACE}, "spec": spec}


def _letters(number: int) -> str:
    """A number in letters: names may not end in digits, members' names do."""
    return "".join(chr(ord("a") + int(digit)) for digit in str(number))


def _child(name: str, uid: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": name,
            "namespace": NAMESPACE,
            "labels": {names.RESOURCE: name, names.KIND: KIND},
            "ownerReferences": [{"apiVersion": "theblock.dev/v1alpha1", "kind": KIND, "name": name, "uid": uid}],
        },
        "spec": {"clusterIP": "None", "ports": [{"name": "grpc", "port": 26658}], "selector": {names.RESOURCE: name}},
    }


# Ours.


def _plan(spec: Any, observed: Observed, now: int) -> Plan:
    resource: Resource = observed.resource
    assert owner_of(resource).uid == resource.uid
    return Plan((EnsureShared((_child(resource.name, resource.uid),)),))


async def _ours(api: _Counted, folder: Path) -> int:
    visits = _Visits()
    controller = Controller(api, Settings(folder / "run", ("node:1", "prover:1"), watches_nodes=False), meter=visits)
    running = asyncio.create_task(controller.run([NAMESPACE], own_kinds=True))
    try:
        await _wait_told(api)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    return visits.count


# The plain one: what an afternoon gives.


async def _plain(api: _Counted, folder: Path) -> int:
    queue: asyncio.Queue[str] = asyncio.Queue()
    seen: dict[str, Object] = {}
    visits = 0

    async def follow() -> None:
        async for change in api.watch(KIND, NAMESPACE):
            if change.type in ("ADDED", "MODIFIED"):
                object_ = change.object
                known = seen.get(object_["metadata"]["name"])
                seen[object_["metadata"]["name"]] = object_
                # Its own status brings it nothing new.
                if known is None or known["metadata"]["generation"] != object_["metadata"]["generation"]:
                    queue.put_nowait(object_["metadata"]["name"])

    async def work() -> None:
        nonlocal visits
        while True:
            object_ = seen[await queue.get()]
            meta = object_["metadata"]
            await api.apply(_child(meta["name"], meta["uid"]))
            await api.apply_status(KIND, NAMESPACE, meta["name"], _status(meta["generation"]))
            visits += 1

    tasks = [asyncio.create_task(follow()), *(asyncio.create_task(work()) for _ in range(WORKERS))]
    try:
        await _wait_told(api)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return visits


async def _calls_alone(api: _Counted, folder: Path) -> int:
    for number in range(RESOURCES):
        name = f"r-{_letters(number)}"
        await api.apply(_child(name, api.uid(name)))
        await api.apply_status(KIND, NAMESPACE, name, _status(1))
    return RESOURCES


def _status(generation: int) -> Object:
    condition = {"type": "Ready", "status": "True", "reason": "Fine", "lastTransitionTime": rfc3339(int(time.time()))}
    return {"observedGeneration": generation, "conditions": [condition]}


async def _wait_told(api: _Counted) -> None:
    """Return once every resource has its status."""
    told: set[str] = set()
    async with asyncio.timeout(LIMIT_S):
        async for change in api.watch(KIND, NAMESPACE):
            if change.object.get("status", {}).get("observedGeneration"):
                told.add(change.object["metadata"]["name"])
                if len(told) == RESOURCES:
                    return


# The starter at rest.


async def _at_rest() -> Figure:
    with TemporaryDirectory(prefix="theblock-bench-", dir=_fast_folder()) as name:
        folder = Path(name)
        store = Store(folder / "store", admit=admission.admit)
        store.load()
        wanted = ("Network", "Validator")
        for body in _starter():
            if body["kind"] in wanted:
                await store.create(body)
        api = _Counted(store)
        controller = Controller(
            api, Settings(folder / "run", ("node:1", "prover:1"), watches_nodes=False), meter=_Visits()
        )
        keys = [("Network", NAMESPACE, "starter"), ("Validator", NAMESPACE, "validators")]
        before = -1
        while before != api.calls:
            before = api.calls
            for key in keys:
                _tell(controller, store)
                await controller.reconciler.visit(key)
        calls, cpu = api.calls, time.process_time()
        for number in range(VISITS_AT_REST):
            await controller.reconciler.visit(keys[number % 2])
        cpu_ms = 1000 * (time.process_time() - cpu) / VISITS_AT_REST
        note = f"the starter's Network and four Validators, no pods: {(api.calls - calls) / VISITS_AT_REST:.2f} calls"
        return Figure("operator.at_rest", cpu_ms, "ms/visit", note=note, is_time=True)


def _tell(controller: Controller, store: Store) -> None:
    """All news at once, as watches would bring it."""
    for kind in (*WATCHED, *OUR_KINDS):
        for object_ in store.select(kind):
            controller.cache.put(kind, object_)
