"""The kopf glue: kopf watches our six kinds and tells `Cache`, nothing else. Kopf never writes an object of ours.

There are `on.event` handlers only, so kopf keeps no finalizer, no annotation and no progress. A sweep compares with
plain lists now and then: it finds what went while a watch was away, and a watch that has gone deaf.
"""

from __future__ import annotations

import asyncio
import datetime
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

import kopf

from theblock_operator.access import Access
from theblock_operator.api import OUR_KINDS, REST, ApiError, NotFound, key_of
from theblock_operator.cache import Cache, Key
from theblock_operator.names import GROUP
from theblock_operator.observed import Object

log = logging.getLogger(__name__)
VERSION = "v1alpha1"
SYNC_S = 60.0
LOOK_S = 0.1
SWEEP_S = 300.0
GRACE_S = 5.0
DEAF_SWEEPS = 2
TOKEN_S = 300
"""Kopf asks for credentials again after this time: a service account's token changes."""


class WatchDeaf(Exception):
    """The API server has news that the watch did not bring; only a new process is sure to hear again."""


class Lister(Protocol):
    """What is needed of an API server."""

    async def get(self, kind: str, namespace: str, name: str) -> Object: ...

    async def list(self, kind: str, namespace: str) -> list[Object]: ...

    async def is_established(self, crd: str) -> bool: ...


def registry(cache: Cache, access: Access) -> kopf.OperatorRegistry:
    """Handlers that do one thing."""
    made = kopf.OperatorRegistry()

    @kopf.on.login(registry=made)
    async def login(**_: Any) -> kopf.ConnectionInfo:
        return connection(access)

    for kind in OUR_KINDS:
        kopf.on.event(GROUP, VERSION, REST[kind].plural, registry=made)(_teller(cache, kind))
    return made


def _teller(cache: Cache, kind: str) -> Callable[..., Awaitable[None]]:
    async def tell(event: Any, **_: Any) -> None:
        object_ = dict(event["object"])
        if event["type"] == "DELETED":
            cache.drop(kind, object_)
        else:
            cache.put(kind, object_)

    return tell


def connection(access: Access) -> kopf.ConnectionInfo:
    """Our way to the API server in kopf's words; good for a while, then asked for again."""
    until = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=TOKEN_S)
    return kopf.ConnectionInfo(
        server=access.server,
        ca_data=access.authority.encode() or None,
        token=access.read_token() or None,
        certificate_data=access.certificate.encode() or None,
        private_key_data=access.key.encode() or None,
        default_namespace=access.namespace,
        expiration=until if access.token_file is not None else None,
    )


def settings() -> kopf.OperatorSettings:
    made = kopf.OperatorSettings()
    made.posting.enabled = False
    made.peering.standalone = True
    # The kinds are there before kopf starts, and the operator may list neither them nor namespaces.
    made.scanning.disabled = True
    made.process.ultimate_exiting_timeout = 30
    return made


async def run(cache: Cache, access: Access, namespaces: Sequence[str], started: Callable[[], None]) -> None:
    """Let kopf watch until cancelled. ``started`` is called when kopf has put its signal handlers in place of ours."""
    existing = asyncio.all_tasks()
    tasks = await kopf.spawn_tasks(
        registry=registry(cache, access),
        settings=settings(),
        namespaces=list(namespaces),
        standalone=True,
    )
    started()
    await kopf.run_tasks(tasks, ignored=existing)
    raise WatchDeaf("kopf ended")


async def wait_kinds(api: Lister, retry_s: float = 2.0) -> None:
    """Return once the API server serves all six kinds."""
    missing = [f"{REST[kind].plural}.{GROUP}" for kind in OUR_KINDS]
    while missing:
        try:
            missing = [name for name in missing if not await api.is_established(name)]
        except ApiError as failed:
            log.warning("the API server does not answer yet: %s", failed)
        if missing:
            log.warning("waiting for %s", ", ".join(missing))
            await asyncio.sleep(retry_s)


async def wait_told(api: Lister, cache: Cache, namespaces: Sequence[str], timeout_s: float = SYNC_S) -> None:
    """Return once everything of our kinds that the API server lists has been told to ``cache``."""
    async with asyncio.timeout(timeout_s):
        for kind in OUR_KINDS:
            for namespace in namespaces:
                for object_ in await api.list(kind, namespace):
                    await _wait_one(api, cache, (kind, *key_of(object_)))


async def _wait_one(api: Lister, cache: Cache, key: Key) -> None:
    while cache.get(*key) is None:
        try:
            await api.get(*key)
        except NotFound:
            return
        await asyncio.sleep(LOOK_S)


class Sweep:
    """Compares what was told with what is, every now and then."""

    def __init__(self, api: Lister, cache: Cache, namespaces: Sequence[str], *, grace_s: float = GRACE_S) -> None:
        self._api = api
        self._cache = cache
        self._namespaces = namespaces
        self._grace_s = grace_s
        self._behind: dict[Key, tuple[str, int]] = {}
        """Key -> the version that a sweep brought in place of the watch, and how many sweeps in a row did."""

    async def run(self, every_s: float = SWEEP_S) -> None:
        while True:
            await asyncio.sleep(every_s)
            try:
                await self.once()
            except ApiError as failed:
                log.warning("the sweep was put off: %s", failed)

    async def once(self) -> None:
        newer: dict[Key, tuple[str, Object]] = {}
        for kind in OUR_KINDS:
            for namespace in self._namespaces:
                told = {key_of(held): held for held in self._cache.select(kind, namespace)}
                listed = {key_of(object_): object_ for object_ in await self._api.list(kind, namespace)}
                for gone in told.keys() - listed.keys():
                    await self._drop_if_gone((kind, *gone), told[gone])
                for where, object_ in listed.items():
                    had = _version(told.get(where))
                    if had != _version(object_):
                        newer[(kind, *where)] = (had, object_)
        if newer:
            # News may be on its way.
            await asyncio.sleep(self._grace_s)
        self._bring(newer)

    def _bring(self, newer: dict[Key, tuple[str, Object]]) -> None:
        """Tell what the watch still has not told; `WatchDeaf` if that was so the last time too."""
        behind: dict[Key, tuple[str, int]] = {}
        for key, (had, object_) in newer.items():
            if _version(self._cache.get(*key)) != had:
                continue
            brought, count = self._behind.get(key, ("", 0))
            count = count + 1 if brought == had else 1
            if count >= DEAF_SWEEPS:
                raise WatchDeaf(f"{key[0]} {key[1]}/{key[2]}: the watch has brought nothing for {count} sweeps")
            behind[key] = (_version(object_), count)
            self._cache.put(key[0], object_)
        self._behind = behind

    async def _drop_if_gone(self, key: Key, told: Object) -> None:
        try:
            await self._api.get(*key)
        except NotFound:
            self._cache.drop(key[0], told)


def _version(object_: Object | None) -> str:
    return "" if object_ is None else str(object_["metadata"].get("resourceVersion", ""))
