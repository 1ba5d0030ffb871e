"""One container as a process: started under its member's lock, probed, stopped, and remembered how it ended."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import grpc
from grpc_health.v1 import health_pb2

from theblock_operator.embedded import files, pods
from theblock_operator.embedded.places import Home
from theblock_operator.embedded.spawning import Program, Spawner, SpawnerLost
from theblock_operator.observed import Object

log = logging.getLogger(__name__)
PROBE_S = 0.5
"""Between looks at the health of a process that is not ready; one that is ready is asked as its probe says."""
PROBE_DEADLINE_S = 2.0
LOCK_WAIT_S = 10.0
"""So long a process of an earlier run has after SIGTERM before it is killed."""
KILLED_WAIT_S = 5.0
STEP_S = 0.05
_CHECK = "/grpc.health.v1.Health/Check"


@dataclass(frozen=True, slots=True)
class Probes:
    """The probes of a container; None: it has none and is ready once it runs."""

    port: int
    period_s: float
    failures_max: int


def read_probes(container: Object) -> Probes | None:
    readiness = container.get("readinessProbe")
    if readiness is None:
        return None
    return Probes(
        readiness["grpc"]["port"], float(readiness.get("periodSeconds", 10)), readiness.get("failureThreshold", 3)
    )


class Process:
    """The process of one container, over all its restarts. ``wake`` is set whenever something about it changed."""

    def __init__(
        self,
        home: Home,
        member: str,
        container: Object,
        *,
        wake: asyncio.Event,
        spawner: Callable[[], Spawner | None],
    ) -> None:
        self.name: str = container["name"]
        self.restarts = 0
        self._home = home
        self._member = member
        self._container = container
        self._probes = read_probes(container)
        self._wake = wake
        self._spawner = spawner
        self._process: Program | None = None
        self._watching: asyncio.Task[None] | None = None
        self._started = 0.0
        self._started_unix = 0
        self._ended_unix = 0
        self._exit_code: int | None = None
        self._due = 0.0
        self._ready = False
        self._answered: float | None = None
        """When its health service last answered; None: not yet in this run."""

    @property
    def runs(self) -> bool:
        return self._process is not None

    def seen(self) -> pods.Container:
        return pods.Container(
            self.name,
            runs=self.runs,
            restarts=self.restarts,
            started=self._started_unix,
            ended=self._ended_unix,
            exit_code=self._exit_code,
            ready=self._ready,
            due=time.monotonic() >= self._due,
            dead=self.runs and self._answered is not None and time.monotonic() - self._answered > pods.LIVENESS_S,
        )

    async def start(self, host: str) -> None:
        """Start it, once no process of an earlier run is left."""
        lock = await self._take_lock()
        log_path = self._home.member_log(self._member, self.name)
        log_path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if self._exit_code is not None:
            self.restarts += 1
        output = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            spawner = self._spawner()
            if spawner is None:
                raise SpawnerLost("the spawner does not run")
            module, arguments = self._program()
            self._process = await spawner.start(
                module,
                arguments,
                name=self._member,
                folder=self._home.member(self._member),
                environment={"TMPDIR": str(self._home.member(self._member) / "tmp")},
                output=output,
                held=(lock,),
            )
            files.write_holder(lock, self._process.pid)
        finally:
            # The child has them now: the lock is free when the last process of this container is gone.
            os.close(lock)
            os.close(output)
        self._started, self._started_unix = time.monotonic(), int(time.time())
        self._ready, self._answered = False, None
        self._watching = asyncio.create_task(self._watch(self._process, host))

    async def stop(self, grace_s: float) -> None:
        """SIGTERM; after the grace SIGKILL. Returns when it is gone."""
        process, watching = self._process, self._watching
        if process is None or watching is None:
            return
        process.signal(signal.SIGTERM if grace_s > 0 else signal.SIGKILL)
        done, _ = await asyncio.wait({watching}, timeout=max(grace_s, 0.0) or KILLED_WAIT_S)
        if not done:
            log.warning("%s/%s did not stop within %.0f s and is killed", self._member, self.name, grace_s)
            process.signal(signal.SIGKILL)
        await watching

    async def _watch(self, process: Program, host: str) -> None:
        """Probe it while it runs; then note how it ended."""
        probing = asyncio.create_task(self._probe(host))
        try:
            code = await process.wait()
        finally:
            probing.cancel()
            await asyncio.gather(probing, return_exceptions=True)
        ran_s = time.monotonic() - self._started
        self._process, self._watching = None, None
        self._ready, self._answered = False, None
        self._exit_code = code if code >= 0 else 128 - code
        self._ended_unix = int(time.time())
        restarts = 0 if ran_s >= pods.SETTLED_S else self.restarts
        self._due = time.monotonic() + pods.back_off_s(restarts, ran_s)
        log.info("%s/%s ended with %d after %.1f s", self._member, self.name, self._exit_code, ran_s)
        self._wake.set()

    async def _probe(self, host: str) -> None:
        probes = self._probes
        if probes is None:
            self._ready = True
            self._wake.set()
            return
        async with grpc.aio.insecure_channel(f"{host}:{probes.port}", options=_PROBE_OPTIONS) as channel:
            failures = 0
            while True:
                readiness = await _ask(channel, "readiness")
                failures = 0 if readiness else failures + 1
                if readiness is not None:
                    # Silence counts from the first answer on: before, it is starting and has the time it needs.
                    self._answered = time.monotonic()
                ready = bool(readiness) or (self._ready and failures < probes.failures_max)
                if ready != self._ready:
                    self._ready = ready
                    self._wake.set()
                await asyncio.sleep(probes.period_s if self._ready else PROBE_S)

    async def _take_lock(self) -> int:
        """The container's lock; what holds it is a process of a run that was killed, and is ended first."""
        path = self._home.root / "locks" / f"{self._member}.{self.name}"
        for number, wait_s in ((signal.SIGTERM, LOCK_WAIT_S), (signal.SIGKILL, KILLED_WAIT_S)):
            lock = files.try_lock(path)
            if lock is not None:
                return lock
            left = files.holder(path)
            log.warning("%s/%s: process %s of an earlier run is sent %s", self._member, self.name, left, number.name)
            if left is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(left, number)
            ends = time.monotonic() + wait_s
            while time.monotonic() < ends:
                await asyncio.sleep(STEP_S)
                lock = files.try_lock(path)
                if lock is not None:
                    return lock
        raise BlockingIOError(f"{path} is held by a process that cannot be ended")

    def _program(self) -> tuple[str, list[str]]:
        """Module and arguments of a command such as `python -m theblock_node validator --config FILE`."""
        python, flag, module, *arguments = self._container["command"]
        assert (python, flag) == ("python", "-m"), self._container["command"]
        return module, [self._translate(word) for word in arguments]

    def _translate(self, word: str) -> str:
        return str(self._home.translate(self._member, word)) if word.startswith("/") else word


_PROBE_OPTIONS = (("grpc.initial_reconnect_backoff_ms", 250), ("grpc.max_reconnect_backoff_ms", 500))


async def _ask(channel: Any, service: str) -> bool | None:
    """Whether a service is healthy; None: nobody answered."""
    check = channel.unary_unary(
        _CHECK,
        request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
        response_deserializer=health_pb2.HealthCheckResponse.FromString,
    )
    try:
        reply = await check(health_pb2.HealthCheckRequest(service=service), timeout=PROBE_DEADLINE_S)
    except grpc.aio.AioRpcError as failed:
        return False if failed.code() == grpc.StatusCode.NOT_FOUND else None
    return bool(reply.status == health_pb2.HealthCheckResponse.SERVING)
