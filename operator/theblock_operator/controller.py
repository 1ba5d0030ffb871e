"""Keys in, visits out: the parts of the operator joined, the same with Kubernetes and without.

    controller = Controller(api, settings, meter=...)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(controller.run(namespaces))

Children are watched here; our own six kinds come from whoever knows them (kopf in a cluster, a watch in the embedded
run) into `cache`, which adds the keys that a change concerns. A visit that fails comes back later and later.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from theblock_node.client.errors import RefusedError, UnavailableError

from theblock_operator import keys
from theblock_operator.api import OUR_KINDS, WATCHED, Api, ApiError
from theblock_operator.cache import Cache, Key
from theblock_operator.chain import Links
from theblock_operator.observe import Observer, Secrets
from theblock_operator.observed import Layout
from theblock_operator.queue import WorkQueue
from theblock_operator.reconcile import Reconciler

log = logging.getLogger(__name__)
WORKERS = 4
RESYNC_S = 300.0
"""Every key is looked at again after this time, whatever was told."""
SYNC_S = 60.0
"""So long may the first listing of everything take."""


class Meter(Protocol):
    """Where figures about visits go."""

    def visited(self, kind: str, result: str, seconds: float) -> None:
        """``result``: done, acted, invalid, gone or failed."""
        ...


@dataclass(frozen=True, slots=True)
class Settings:
    """What the operator is told about itself."""

    run_dir: Path
    """Where its own certificates for each network lie."""
    images: tuple[str, str]
    """Of members, and of the container `prover`, where a resource names none."""
    watches_nodes: bool = True
    layout: Callable[[], Layout] = Layout
    """Where members have their files, and which address each has."""
    figures_s: float | None = None
    """How old the slices in the status of a ComputeProvider may be while they move; None: nobody scales by them."""


class Controller:
    """Owned by one event loop."""

    def __init__(
        self,
        api: Api,
        settings: Settings,
        *,
        meter: Meter,
        monotonic: Callable[[], float] = time.monotonic,
        now: Callable[[], int] = lambda: int(time.time()),
        chance: random.Random | None = None,
    ) -> None:
        self._api = api
        self._meter = meter
        self._monotonic = monotonic
        self._watched = tuple(kind for kind in WATCHED if kind != "Node" or settings.watches_nodes)
        self.queue: WorkQueue[Key] = WorkQueue(monotonic, chance or random.Random())
        self.cache = Cache(self.queue.add, monotonic)
        self.links = Links(monotonic, now)
        self.observer = Observer(
            self.cache,
            Secrets(api, monotonic),
            self.links,
            layout=settings.layout,
            run_dir=settings.run_dir,
            images=settings.images,
            watches_nodes=settings.watches_nodes,
            monotonic=monotonic,
            now=now,
        )
        self.reconciler = Reconciler(api, self.observer, now=now, monotonic=monotonic, figures_s=settings.figures_s)

    async def run(self, namespaces: Sequence[str], *, own_kinds: bool) -> None:
        """Work until cancelled. ``own_kinds``: watch our six kinds too, where nobody else tells of them."""
        kinds = (*self._watched, *(OUR_KINDS if own_kinds else ()))
        try:
            async with asyncio.TaskGroup() as tasks:
                for kind in kinds:
                    for namespace in ("",) if kind == "Node" else namespaces:
                        tasks.create_task(self.cache.follow(self._api, kind, namespace))
                for kind in kinds:
                    await self.cache.wait_synced([kind], [""] if kind == "Node" else namespaces, SYNC_S)
                for _ in range(WORKERS):
                    tasks.create_task(self._work())
                tasks.create_task(self._resync())
        finally:
            await self.links.close()

    async def _work(self) -> None:
        while True:
            key = await self.queue.get()
            started = self._monotonic()
            result = "failed"
            try:
                visit = await self.reconciler.visit(key)
            except (ApiError, UnavailableError, RefusedError, keys.BadKey) as failed:
                wait = self.queue.add_failed(key)
                log.warning("%s %s/%s: %s; again in %.1f s", *key, failed, wait)
            except Exception:
                # A fault of ours must not stop the other resources; it is told in full, and in the metrics.
                wait = self.queue.add_failed(key)
                log.exception("%s %s/%s: the visit broke; again in %.1f s", *key, wait)
            else:
                result = visit.result
                for other in visit.concerns:
                    self.queue.add(other)
                self.queue.forget_failures(key)
                if visit.again_s is not None:
                    self.queue.add_after(key, visit.again_s)
            finally:
                self.queue.done(key)
            self._meter.visited(key[0], result, self._monotonic() - started)

    async def _resync(self) -> None:
        while True:
            await asyncio.sleep(RESYNC_S)
            for kind in OUR_KINDS:
                for found in self.cache.all(kind):
                    self.queue.add((kind, found["metadata"]["namespace"], found["metadata"]["name"]))
