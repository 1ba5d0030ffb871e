"""Stands in for the StatefulSet controller and the kubelet: each member one pod, each container one process.

    machine = Machine(store, home, ...)
    await machine.run()          until cancelled; then every process is stopped

What should happen is decided in `pods.py`; here it is done, member by member, each in a task of its own that is woken
when something about it changes. A member's processes hold its lock, so that a key never has two.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import time
from collections.abc import Callable, Mapping

from theblock_operator import keys
from theblock_operator.api import ApiError, NotFound
from theblock_operator.embedded import files, pods
from theblock_operator.embedded.containers import Process
from theblock_operator.embedded.places import Home
from theblock_operator.embedded.spawning import Launched, Spawner, launch, open_spawner
from theblock_operator.embedded.store import Store
from theblock_operator.observed import Object

log = logging.getLogger(__name__)
WATCHED = ("StatefulSet", "Pod", "PersistentVolumeClaim", "ConfigMap", "Secret")
SPAWNER_AGAIN_S = 1.0
LOOK_S = 1.0
"""A member is looked at so often whatever happens: back-offs end, probes are due."""
LOGS_S = 10.0
STOP_ALL_S = 20.0
"""So long all members together have to stop when the run ends."""


class Machine:
    """All members of the run. Owned by one event loop."""

    def __init__(
        self,
        store: Store,
        home: Home,
        namespace: str,
        *,
        address: Callable[[str], str | None],
        spawner: Launched,
    ) -> None:
        """``spawner`` is the first; where it ends, another is launched."""
        self._store = store
        self._home = home
        self._namespace = namespace
        self._address = address
        self._members: dict[str, _Member] = {}
        self._tasks: asyncio.TaskGroup | None = None
        self._launched = spawner
        self._spawner: Spawner | None = None

    async def run(self) -> None:
        """Keep every member as its objects say, until cancelled; then stop all of them and return."""
        await self._register()
        spawning = asyncio.create_task(self._keep_spawner())
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                for kind in WATCHED:
                    tasks.create_task(self._follow(kind))
                tasks.create_task(self._bound_logs())
        finally:
            await asyncio.gather(*(member.stop(STOP_ALL_S) for member in self._members.values()))
            spawning.cancel()
            await asyncio.gather(spawning, return_exceptions=True)

    def restarts(self) -> Mapping[str, int]:
        """How often the containers of each member were started again."""
        return {name: member.restarts() for name, member in self._members.items()}

    async def _register(self) -> None:
        """Tell of the machine, and that no pod of an earlier run is ready."""
        await self._store.apply(pods.render_machine())
        await self._store.apply_status("Node", "", pods.MACHINE, dict(pods.MACHINE_STATUS))
        for pod in self._store.select("Pod", self._namespace):
            idle = [pods.Container(one["name"], runs=False) for one in pod["spec"]["containers"]]
            status = pods.render_status(pod, idle, address="", missing="", now=int(time.time()))
            await self._store.apply_status("Pod", self._namespace, pod["metadata"]["name"], status)

    async def _keep_spawner(self) -> None:
        while True:
            async with open_spawner(self._launched) as spawner:
                self._spawner = spawner
                for member in self._members.values():
                    member.wake.set()
                await spawner.lost.wait()
                self._spawner = None
            log.error("the spawner ended, and its members with it; both start again")
            await asyncio.sleep(SPAWNER_AGAIN_S)
            self._launched = launch()

    async def _follow(self, kind: str) -> None:
        while True:
            try:
                async for change in self._store.watch(kind, self._namespace):
                    if change.type != "SYNCED":
                        self._wake(kind, change.object)
            except ApiError as failed:
                log.warning("the watch of %s ended: %s", kind, failed)

    def _wake(self, kind: str, object_: Object) -> None:
        """Wake the member whose object changed, or those that mount it."""
        if kind not in ("ConfigMap", "Secret"):
            name = pods.member_of(object_)
            if name is not None:
                self._member(name).wake.set()
            return
        for member in self._members.values():
            if (kind, object_["metadata"]["name"]) in member.mounted:
                member.wake.set()

    def _member(self, name: str) -> _Member:
        if name not in self._members:
            assert self._tasks is not None
            member = _Member(
                self._store, self._home, self._namespace, name, address=self._address, spawner=lambda: self._spawner
            )
            self._members[name] = member
            self._tasks.create_task(member.run())
        return self._members[name]

    async def _bound_logs(self) -> None:
        while True:
            await asyncio.sleep(LOGS_S)
            for path in [self._home.log, *(self._home.root / "logs").glob("*/*.log")]:
                files.shorten_log(path)


class _Member:
    """One member: its objects, files, processes. Only its own task acts, one step after the other."""

    def __init__(
        self,
        store: Store,
        home: Home,
        namespace: str,
        name: str,
        *,
        address: Callable[[str], str | None],
        spawner: Callable[[], Spawner | None],
    ) -> None:
        self._store = store
        self._home = home
        self._namespace = namespace
        self._name = name
        self._address = address
        self._spawner = spawner
        self._processes: dict[str, Process] = {}
        self._pod_uid = ""
        self.wake = asyncio.Event()
        self.mounted: set[tuple[str, str]] = set()

    async def run(self) -> None:
        while True:
            self.wake.clear()
            try:
                await self._visit()
            except (ApiError, OSError, keys.BadKey):
                # A full disk, or an object that changed under our hands: the next look sees what is.
                log.exception("%s: a step failed", self._name)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.wake.wait(), LOOK_S)

    async def stop(self, grace_s: float) -> None:
        await asyncio.gather(*(process.stop(grace_s) for process in self._processes.values()))

    def restarts(self) -> int:
        return sum(process.restarts for process in self._processes.values())

    async def _visit(self) -> None:
        while steps := pods.plan(scene := self._scene()):
            await self._tell(scene)
            for step in steps:
                await self._do(scene, step)
        await self._tell(scene)

    def _scene(self) -> pods.Scene:
        """What there is now; the files of the pod are brought up to date on the way."""
        pod = self._store.peek("Pod", self._namespace, f"{self._name}-0")
        missing = ""
        if pod is not None and not pods.is_deleting(pod):
            self._take(pod)
            missing = self._put_files(pod)
        return pods.Scene(
            self._name,
            self._store.peek("StatefulSet", self._namespace, self._name),
            pod,
            self._store.peek("PersistentVolumeClaim", self._namespace, f"data-{self._name}-0"),
            [process.seen() for process in self._processes.values()],
            missing,
        )

    def _take(self, pod: Object) -> None:
        """Begin anew with a pod that is another one than before, once nothing of the old one runs."""
        if pod["metadata"]["uid"] == self._pod_uid or any(one.runs for one in self._processes.values()):
            return
        self._pod_uid = pod["metadata"]["uid"]
        shutil.rmtree(self._home.member(self._name) / "etc", ignore_errors=True)
        self._processes = {
            container["name"]: Process(self._home, self._name, container, wake=self.wake, spawner=self._spawner)
            for container in pod["spec"]["containers"]
        }

    def _put_files(self, pod: Object) -> str:
        """Bring mounted files up to date; what is missing, or nothing."""
        self.mounted = {(mount.kind, mount.name) for mount in pods.mounts_of(pod)}
        for mount in pods.mounts_of(pod):
            found = self._store.peek(mount.kind, self._namespace, mount.name)
            if found is None:
                return f"{mount.kind} {mount.name} is not there"
            try:
                content = pods.files_of(mount, keys.data_of(found))
            except KeyError as absent:
                return f"{mount.kind} {mount.name} has no key {absent.args[0]}"
            files.put_folder(self._home.translate(self._name, mount.path), content)
        for path in pods.folders_of(pod):
            self._home.translate(self._name, path).mkdir(parents=True, exist_ok=True, mode=0o700)
        if self._spawner() is None:
            return "the spawner does not run"
        return "" if self._address(self._name) else "no loopback address is free"

    async def _do(self, scene: pods.Scene, step: pods.Step) -> None:
        where = (self._namespace, f"{self._name}-0")
        match step:
            case pods.MakeClaim(object_) | pods.MakePod(object_):
                await self._store.create(object_)
            case pods.DeletePod():
                assert scene.pod is not None
                await self._store.delete("Pod", *where, uid=scene.pod["metadata"]["uid"])
            case pods.RemovePod():
                assert scene.pod is not None
                if not pods.is_on_claim(scene.pod):
                    shutil.rmtree(self._home.claim(self._name), ignore_errors=True)
                shutil.rmtree(self._home.member(self._name), ignore_errors=True)
                await self._store.delete("Pod", *where, uid=scene.pod["metadata"]["uid"], grace_seconds=0)
            case pods.RemoveClaim():
                assert scene.claim is not None
                shutil.rmtree(self._home.claim(self._name), ignore_errors=True)
                patch = {"metadata": {"finalizers": None, "uid": scene.claim["metadata"]["uid"]}}
                await self._store.patch("PersistentVolumeClaim", self._namespace, f"data-{self._name}-0", patch)
            case pods.Start(container):
                host = self._address(self._name)
                assert host is not None
                await self._processes[container].start(host)
            case pods.Stop(grace_s, container):
                chosen = [one for name, one in self._processes.items() if container in (None, name)]
                await asyncio.gather(*(process.stop(grace_s) for process in chosen))

    async def _tell(self, scene: pods.Scene) -> None:
        """Write the pod's status where it differs."""
        pod = self._store.peek("Pod", self._namespace, f"{self._name}-0")
        if pod is None or scene.pod is None or pod["metadata"]["uid"] != scene.pod["metadata"]["uid"]:
            return
        status = pods.render_status(
            pod,
            [process.seen() for process in self._processes.values()],
            address=self._address(self._name) or "",
            missing=scene.missing,
            now=int(time.time()),
        )
        with contextlib.suppress(NotFound):
            await self._store.apply_status("Pod", self._namespace, pod["metadata"]["name"], status)
