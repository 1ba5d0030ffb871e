"""The only module that talks to the API server: `Api` for Kubernetes, over plain HTTP calls.

Every call has a deadline, every list comes in pages. A watch begins with a list, goes on from where it was when the
server ends it, and is taken for dead when nothing is heard for longer than the server's bookmarks are apart.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping
from types import TracebackType
from typing import Any, Protocol

import aiohttp
import orjson

from theblock_operator.access import Access, AccessError
from theblock_operator.api import (
    REST,
    ApiError,
    Change,
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    Unavailable,
)
from theblock_operator.names import FIELD_MANAGER
from theblock_operator.observed import Object

log = logging.getLogger(__name__)
STATUS_MANAGER = f"{FIELD_MANAGER}-status"
APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
CALL_S = 15.0
CONNECT_S = 5.0
PARALLEL = 16
"""Calls at a time, watches apart."""
TRIES = 4
RETRY_AFTER_MAX_S = 10.0
PAGE = 500
PAGES_MAX = 200
WATCH_S = (240, 360)
"""So long the server is asked to keep a watch, at random, so that they do not all end together."""
WATCH_SILENT_S = 150.0
"""Bookmarks come about once a minute: a watch that says nothing for longer is dead."""
LINE_MAX_BYTES = 16 * 1024 * 1024
CHUNK_BYTES = 64 * 1024
OTHER_UID = "metadata.uid: Invalid value"
NOT_IN_SCHEMA = "field not declared in schema"
Objects = list[Object]


class Meter(Protocol):
    """Where figures about calls go."""

    def called(self, verb: str, code: str) -> None:
        """``code``: the HTTP status, or ``none`` where nobody answered."""
        ...

    def wrote(self, kind: str) -> None: ...


class Cluster:
    """Owned by one event loop; `async with` opens and closes the connections."""

    def __init__(
        self,
        access: Access,
        *,
        meter: Meter,
        monotonic: Callable[[], float] = time.monotonic,
        chance: random.Random | None = None,
        watch_silent_s: float = WATCH_SILENT_S,
    ) -> None:
        self._access = access
        self._meter = meter
        self._monotonic = monotonic
        self._chance = chance or random.Random()
        self._watch_silent_s = watch_silent_s
        self._slots = asyncio.Semaphore(PARALLEL)
        self._session: aiohttp.ClientSession | None = None
        self._heard: dict[tuple[str, str], float] = {}

    async def __aenter__(self) -> Cluster:
        context = self._access.ssl_context()
        connector = aiohttp.TCPConnector(ssl=context if context is not None else True, limit=0)
        self._session = aiohttp.ClientSession(connector=connector, json_serialize=_dump)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    # Api.

    async def get(self, kind: str, namespace: str, name: str) -> Object:
        return _named(kind, await self._call("get", "GET", path(kind, namespace, name)))

    async def list(self, kind: str, namespace: str) -> list[Object]:
        found, _ = await self._list(kind, namespace)
        return found

    async def select(self, kind: str, namespace: str, labels: str) -> Objects:
        """Those that a label selector selects, as the API server reads it."""
        found, _ = await self._list(kind, namespace, {"labelSelector": labels} if labels else {})
        return found

    async def create(self, object_: Object) -> Object:
        kind, namespace, _ = _where(object_)
        return await self._write("create", "POST", kind, path(kind, namespace), object_, manager=FIELD_MANAGER)

    async def apply(self, object_: Object) -> Object:
        kind, namespace, name = _where(object_)
        at = path(kind, namespace, name)
        return await self._write("apply", "PATCH", kind, at, object_, manager=FIELD_MANAGER, content=APPLY)

    async def apply_status(self, kind: str, namespace: str, name: str, status: Object) -> Object:
        body = {
            "apiVersion": REST[kind].api_version,
            "kind": kind,
            "metadata": {"name": name, "namespace": namespace},
            "status": status,
        }
        at = path(kind, namespace, name, "status")
        return await self._write("apply", "PATCH", kind, at, body, manager=STATUS_MANAGER, content=APPLY)

    async def patch(self, kind: str, namespace: str, name: str, patch: Object) -> Object:
        at = path(kind, namespace, name)
        return await self._write("patch", "PATCH", kind, at, patch, manager=FIELD_MANAGER, content=MERGE)

    async def replace(self, object_: Object) -> Object:
        """Put an object in place of the one whose resource version it carries; `Conflict` if that has moved."""
        kind, namespace, name = _where(object_)
        at = path(kind, namespace, name)
        return await self._write("update", "PUT", kind, at, object_, manager=FIELD_MANAGER)

    async def delete(self, kind: str, namespace: str, name: str, *, uid: str, grace_seconds: int | None = None) -> None:
        options: Object = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Background",
            "preconditions": {"uid": uid},
        }
        if grace_seconds is not None:
            options["gracePeriodSeconds"] = grace_seconds
        self._meter.wrote(kind)
        try:
            await self._call("delete", "DELETE", path(kind, namespace, name), body=options)
        except NotFound:
            return

    async def watch(self, kind: str, namespace: str) -> AsyncIterator[Change]:
        found, version = await self._list(kind, namespace)
        self._hear(kind, namespace)
        for object_ in found:
            yield Change("ADDED", object_)
        yield Change("SYNCED", {})
        cuts = 0
        while True:
            try:
                async for type_, object_ in self._stream(kind, namespace, version):
                    self._hear(kind, namespace)
                    version = object_["metadata"]["resourceVersion"]
                    cuts = 0
                    if type_ != "BOOKMARK":
                        yield Change(type_, _named(kind, object_))
            except Unavailable as cut:
                # Once it may be an accident of the connection, and we know where we were.
                cuts += 1
                if cuts > 1:
                    raise
                log.debug("the watch of %s was cut and goes on: %s", kind, cut)

    def watch_age(self) -> float:
        """Seconds since anything, a bookmark included, was heard of the watch that is silent longest."""
        return max((self._monotonic() - heard for heard in self._heard.values()), default=0.0)

    async def is_established(self, crd: str) -> bool:
        """Whether a CustomResourceDefinition is there and served."""
        try:
            found = await self._call("get", "GET", f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{crd}")
        except NotFound:
            return False
        conditions = found.get("status", {}).get("conditions", ())
        return any(row["type"] == "Established" and row["status"] == "True" for row in conditions)

    # Calls.

    async def _write(
        self,
        verb: str,
        method: str,
        kind: str,
        at: str,
        body: Object,
        *,
        manager: str,
        content: str = "application/json",
    ) -> Object:
        params = {"fieldManager": manager, "fieldValidation": "Strict"}
        if content == APPLY:
            params["force"] = "true"
        self._meter.wrote(kind)
        return _named(kind, await self._call(verb, method, at, params=params, body=body, content=content))

    async def _list(self, kind: str, namespace: str, selection: Mapping[str, str] | None = None) -> tuple[Objects, str]:
        """All objects, and the version as of which they are all."""
        found: Objects = []
        params = {"limit": str(PAGE), **(selection or {})}
        for _ in range(PAGES_MAX):
            page = await self._call("list", "GET", path(kind, namespace), params=params)
            found += [_named(kind, object_) for object_ in page.get("items") or ()]
            going_on = page["metadata"].get("continue")
            if not going_on:
                return found, page["metadata"]["resourceVersion"]
            params["continue"] = going_on
        raise Unavailable(0, "TooMany", f"more than {PAGES_MAX * PAGE} objects of {kind}")

    async def _call(
        self,
        verb: str,
        method: str,
        at: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Object | None = None,
        content: str = "application/json",
    ) -> Object:
        data = None if body is None else orjson.dumps(body)
        timeout = aiohttp.ClientTimeout(total=CALL_S, sock_connect=CONNECT_S)
        for attempt in range(TRIES):
            try:
                async with (
                    self._slots,
                    self._open().request(
                        method,
                        self._access.server + at,
                        params=params,
                        data=data,
                        headers=self._headers(content),
                        timeout=timeout,
                    ) as answer,
                ):
                    raw = await answer.read()
            except (aiohttp.ClientError, TimeoutError) as failed:
                self._meter.called(verb, "none")
                raise Unavailable(0, "NoAnswer", f"{method} {at}: {failed or type(failed).__name__}") from failed
            self._meter.called(verb, str(answer.status))
            if answer.status < 300:
                return _parse(raw, at)
            if answer.status == 429 and attempt < TRIES - 1:
                await asyncio.sleep(self._retry_after(answer.headers.get("Retry-After"), attempt))
                continue
            if answer.status == 401 and attempt == 0:
                continue  # The token was renewed between its reading and its use.
            raise refusal(answer.status, raw, f"{method} {at}")
        raise AssertionError("the last try returns or raises")

    async def _stream(self, kind: str, namespace: str, version: str) -> AsyncIterator[tuple[str, Object]]:
        """Lines of a watch until the server ends it."""
        params = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": str(self._chance.randint(*WATCH_S)),
        }
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=self._watch_silent_s)
        at = path(kind, namespace)
        try:
            async with self._open().get(
                self._access.server + at, params=params, headers=self._headers("application/json"), timeout=timeout
            ) as answer:
                self._meter.called("watch", str(answer.status))
                if answer.status != 200:
                    raise refusal(answer.status, await answer.read(), f"watch {at}")
                async for line in _lines(answer.content):
                    event = _parse(line, at)
                    if event["type"] == "ERROR":
                        status = event["object"]
                        raise refusal(int(status.get("code", 500)), line, f"watch {at}", status)
                    yield event["type"], event["object"]
        except (aiohttp.ClientError, TimeoutError) as failed:
            self._meter.called("watch", "none")
            raise Unavailable(0, "WatchCut", f"watch {at}: {failed or type(failed).__name__}") from failed

    def _open(self) -> aiohttp.ClientSession:
        assert self._session is not None, "calls are made inside `async with`"
        return self._session

    def _headers(self, content: str) -> dict[str, str]:
        headers = {"Accept": "application/json", "Content-Type": content, "User-Agent": FIELD_MANAGER}
        try:
            token = self._access.read_token()
        except AccessError as failed:
            raise Unavailable(0, "NoToken", str(failed)) from failed
        return {**headers, "Authorization": f"Bearer {token}"} if token else headers

    def _retry_after(self, asked: str | None, attempt: int) -> float:
        """What the server asks for, within bounds, and a little more, so that not all come back together."""
        wait = float(asked) if asked and asked.isdecimal() else 0.5 * 2.0**attempt
        return min(RETRY_AFTER_MAX_S, wait) * (1 + self._chance.random() / 4)

    def _hear(self, kind: str, namespace: str) -> None:
        self._heard[(kind, namespace)] = self._monotonic()


def path(kind: str, namespace: str, name: str = "", subresource: str = "") -> str:
    """Where a kind, an object, or a part of one lives; an empty namespace means all of them."""
    rest = REST[kind]
    root = "/api/v1" if rest.api_version == "v1" else f"/apis/{rest.api_version}"
    scope = f"/namespaces/{namespace}" if rest.namespaced and namespace else ""
    return root + scope + "".join(f"/{part}" for part in (rest.plural, name, subresource) if part)


def refusal(code: int, raw: bytes, what: str, status: Object | None = None) -> ApiError:
    """The typed error for an answer that is none of success."""
    if status is None:
        try:
            status = json.loads(raw)
        except ValueError:
            status = {}
        if not isinstance(status, dict):
            status = {}
    reason = str(status.get("reason") or code)
    message = f"{what}: {status.get('message') or raw[:200].decode(errors='replace')}"
    if code == 500 and NOT_IN_SCHEMA in message:
        # Server-side apply answers an unknown field of a built-in kind so; trying again would not help.
        return Invalid(code, reason, message)
    if code == 422 and OTHER_UID in message:
        # A patch names the uid that it is meant for; a newer object of the same name has another.
        return Conflict(code, reason, message)
    if code >= 500 or code == 429:
        return Unavailable(code, reason, message)
    known = {400: Invalid, 401: Forbidden, 403: Forbidden, 404: NotFound, 409: Conflict, 422: Invalid}
    return known.get(code, ApiError)(code, reason, message)


def _where(object_: Object) -> tuple[str, str, str]:
    meta = object_["metadata"]
    return object_["kind"], meta.get("namespace", ""), meta["name"]


def _named(kind: str, object_: Object) -> Object:
    """Items of a list do not say what they are."""
    object_.setdefault("apiVersion", REST[kind].api_version)
    object_.setdefault("kind", kind)
    return object_


def _parse(raw: bytes, at: str) -> Object:
    try:
        parsed: Object = orjson.loads(raw)
    except orjson.JSONDecodeError as wrong:
        raise Unavailable(0, "BadAnswer", f"{at}: {wrong}") from wrong
    return parsed


def _dump(value: Any) -> str:
    return orjson.dumps(value).decode()


async def _lines(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Whole lines, however they are cut on their way."""
    held = b""
    async for chunk in content.iter_chunked(CHUNK_BYTES):
        held += chunk
        *whole, held = held.split(b"\n")
        for line in whole:
            if line.strip():
                yield line
        if len(held) > LINE_MAX_BYTES:
            raise Unavailable(0, "TooLarge", "an event of a watch is too large")
