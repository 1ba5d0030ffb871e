"""The controller process of a run without Kubernetes: the operator's own controller over files, and the machine.

Everything that is stateful lies in the folder; the process may be killed at any moment and started again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import time

from theblock_operator.api import OUR_KINDS
from theblock_operator.controller import Controller, Settings
from theblock_operator.embedded import admission, context, control, files
from theblock_operator.embedded.addressing import AddressBook
from theblock_operator.embedded.desk import Desk
from theblock_operator.embedded.meters import VisitCounter
from theblock_operator.embedded.places import Home
from theblock_operator.embedded.processes import Machine
from theblock_operator.embedded.spawning import Launched
from theblock_operator.embedded.store import Store
from theblock_operator.members import Ports
from theblock_operator.metrics import CertificateReader, Metrics
from theblock_operator.observed import Object

log = logging.getLogger(__name__)
IMAGE = "theblock-node:local"
PROVER_IMAGE = "theblock-gpu:local"
CONTEXT_S = 0.5
"""So often context.json is brought up to date."""


class AlreadyRunning(Exception):
    """Another controller holds the folder."""


async def run(home: Home, namespace: str, *, subnet: int, spawner: Launched) -> None:
    """Serve until SIGTERM, SIGINT or the verb `stop`; then stop all members."""
    home.root.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = files.try_lock(home.lock)
    if lock is None:
        raise AlreadyRunning(f"a controller holds {home.lock}: process {files.holder(home.lock)}")
    files.write_holder(lock, os.getpid())
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    store = Store(home.store, admit=admission.admit)
    store.load()
    store.collect()
    book = AddressBook(home, store, namespace, subnet=subnet)
    book.load()
    run_ = _Run(home, store, book, namespace, spawner)
    await run_.serve(stopping)


class _Run:
    def __init__(self, home: Home, store: Store, book: AddressBook, namespace: str, spawner: Launched) -> None:
        self._home = home
        self._store = store
        self._book = book
        self._namespace = namespace
        self._metrics = Metrics()
        self._meter = VisitCounter(self._metrics)
        self._started = time.monotonic()
        self._machine = Machine(store, home, namespace, address=book.address, spawner=spawner)
        settings = Settings(
            run_dir=home.certificates, images=(IMAGE, PROVER_IMAGE), watches_nodes=True, layout=book.layout
        )
        self._controller = Controller(store, settings, meter=self._meter)
        queue, certificates, secrets = self._controller.queue, CertificateReader(), self._controller.observer.secrets
        self._metrics.follow_queue(lambda: queue.depth, lambda: queue.oldest_seconds)
        self._metrics.follow_certificates(lambda: certificates.read(secrets.known()), lambda: int(time.time()))

    async def serve(self, stopping: asyncio.Event) -> None:
        desk = Desk(self._store, self._namespace, status=self.status, stop=stopping.set)
        async with control.serve(self._home.control, desk.answer):
            await self._work(stopping)

    async def _work(self, stopping: asyncio.Event) -> None:
        machine = asyncio.create_task(self._machine.run())
        others = [
            asyncio.create_task(self._controller.run([self._namespace], own_kinds=True)),
            asyncio.create_task(self._keep_context()),
            asyncio.create_task(self._serve_metrics()),
            asyncio.create_task(stopping.wait()),
        ]
        try:
            done, _ = await asyncio.wait({machine, *others}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            # First nobody decides anything more, then the members stop.
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
            machine.cancel()
            await asyncio.gather(machine, return_exceptions=True)
        for task in done:
            if not task.cancelled() and (failure := task.exception()) is not None:
                raise failure

    def status(self) -> Object:
        """What `theblock status` and the waiting of `theblock up` look at."""
        return {
            "namespace": self._namespace,
            "uptime_seconds": int(time.monotonic() - self._started),
            "resources": [
                _resource_line(found) for kind in OUR_KINDS for found in self._store.select(kind, self._namespace)
            ],
            "members": self._members(),
            "visits": dict(self._meter.visits()),
        }

    def _members(self) -> list[Object]:
        restarts = self._machine.restarts()
        lines = []
        for pod in self._store.select("Pod", self._namespace):
            member = pod["metadata"]["name"].removesuffix("-0")
            status = pod.get("status", {})
            ready = any(row["type"] == "Ready" and row["status"] == "True" for row in status.get("conditions", ()))
            lines.append(
                {
                    "name": member,
                    "phase": status.get("phase", "Pending"),
                    "ready": ready,
                    "restarts": restarts.get(member, 0),
                    "address": status.get("podIP", ""),
                }
            )
        return lines

    async def _keep_context(self) -> None:
        while True:
            context.write(self._home, self._store, self._namespace, self._book.layout().addresses)
            await asyncio.sleep(CONTEXT_S)

    async def _serve_metrics(self) -> None:
        """Serve the operator's own figures once there is a network, on the last address of its part."""
        from theblock_operator.serve import serve

        host = await self._wait_operator_host()

        try:
            async with serve(host, Ports().metrics, self._metrics, sick=lambda: None, unready=lambda: None):
                await asyncio.Event().wait()
        except OSError as failed:
            # Figures are worth less than the network: it goes on without them.
            log.error("no metrics at %s: %s", host, failed)
            await asyncio.Event().wait()

    async def _wait_operator_host(self) -> str:
        async with contextlib.aclosing(self._store.watch("Network", self._namespace)) as news:
            async for change in news:
                if change.type == "ADDED":
                    self._book.layout()
                    host = self._book.operator_address(change.object["metadata"]["name"])
                    assert host is not None
                    return host
        raise AssertionError("a watch has no end")


def _resource_line(found: Object) -> Object:
    meta, status = found["metadata"], found.get("status", {})
    ready: Object = next((row for row in status.get("conditions", ()) if row["type"] == "Ready"), {})
    is_fresh = status.get("observedGeneration") == meta.get("generation")
    return {
        "kind": found["kind"],
        "name": meta["name"],
        "ready": ready.get("status", "Unknown") if is_fresh else "Unknown",
        "reason": ready.get("reason", "NotYetObserved") if is_fresh else "NotYetObserved",
        "message": ready.get("message", ""),
        "deleting": "deletionTimestamp" in meta,
    }
