"""The `Api` over files: what an API server and its garbage collector do for the operator, in one folder.

All objects are in memory and each stands in a file of its own, written before anybody is told. Watches are within the
process. Our six kinds pass `admit` first, as they would pass the schema and the CEL rules of their CRDs.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
import uuid
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from theblock_operator.api import OUR_KINDS, REST, Change, Conflict, Invalid, NotFound, Unavailable, key_of
from theblock_operator.embedded import merging
from theblock_operator.names import FIELD_MANAGER
from theblock_operator.observed import Object
from theblock_operator.status import rfc3339

WATCH_QUEUE_MAX = 10_000
"""Changes that a watch may be behind; one further and it is cut, and its reader lists anew."""
OBJECT_SIZE_MAX = 1024 * 1024
EVENTS_MAX = 1000
"""Of the Events the oldest are dropped, as a cluster does after an hour."""
SERVER_FIELDS = ("uid", "resourceVersion", "generation", "creationTimestamp", "deletionTimestamp", "managedFields")
LOOSE = frozenset({"Pod", "Event"})
"""Kinds whose files need not survive the machine: they are not synced to disk."""
GRACEFUL = frozenset({"Pod"})
"""Deleting these asks whoever runs them, who deletes them for good with no grace."""
WITHOUT_GENERATION = frozenset({"ConfigMap", "Secret", "Event", "Node", "Pod", "Service", "ServiceAccount"})
T = TypeVar("T")
Key = tuple[str, str, str]
Admit = Callable[[Object, Object | None], Object]
"""The object with defaults filled in; raises `Invalid`. The second is what stood there before."""


class Store:
    """Owned by one event loop; two stores over one folder are kept apart by the lock of the run."""

    def __init__(self, folder: Path, *, admit: Admit, now: Callable[[], int] = lambda: int(time.time())) -> None:
        self._folder = folder
        self._admit = admit
        self._now = now
        self._objects: dict[Key, Object] = {}
        self._applied: dict[Key, dict[str, Object]] = {}
        """By manager: what it applied last."""
        self._watches: dict[tuple[str, str], list[asyncio.Queue[Change | None]]] = {}
        self._version = 0

    def load(self) -> None:
        """Read everything that the folder holds; a file that cannot be read is the world's failure, and raised."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for left in self._folder.glob("*/*/*.new"):
            left.unlink()
        for path in sorted(self._folder.glob("*/*/*.json")):
            record = msgspec.json.decode(path.read_bytes())
            object_ = record["object"]
            key = (object_["kind"], *key_of(object_))
            self._objects[key] = object_
            self._applied[key] = record["applied"]
            self._version = max(self._version, int(object_["metadata"]["resourceVersion"]))

    # The verbs of `Api`.

    async def get(self, kind: str, namespace: str, name: str) -> Object:
        return _copy(self._find(kind, namespace, name))

    async def list(self, kind: str, namespace: str) -> list[Object]:
        return [_copy(object_) for object_ in self.select(kind, namespace)]

    async def create(self, object_: Object) -> Object:
        return self._create(object_, {})

    async def apply(self, object_: Object, *, manager: str = FIELD_MANAGER) -> Object:
        wanted = _checked(object_)
        key = (wanted["kind"], *key_of(wanted))
        mine = _without_server_fields(wanted)
        current = self._objects.get(key)
        if current is None:
            return self._create(object_, {manager: mine})
        by_manager = self._applied[key]
        others = [tree for other, tree in by_manager.items() if other != manager]
        made = merging.apply(current, mine, by_manager.get(manager), others)
        return self._replace(key, made, {**by_manager, manager: mine})

    async def apply_status(self, kind: str, namespace: str, name: str, status: Object) -> Object:
        key = (kind, namespace, name)
        current = self._find(*key)
        if current.get("status") == status:
            return _copy(current)
        return self._write(key, {**current, "status": _copy(status)}, self._applied[key], "MODIFIED")

    async def patch(self, kind: str, namespace: str, name: str, patch: Object) -> Object:
        key = (kind, namespace, name)
        current = self._find(*key)
        _require_uid(current, patch.get("metadata", {}).get("uid"))
        wanted = patch
        if kind == "Secret":
            wanted = merging.encode_secret({**patch, "kind": kind})
        made = merging.merge_patch(current, _without_server_fields(wanted))
        return self._replace(key, made, self._applied[key])

    async def delete(self, kind: str, namespace: str, name: str, *, uid: str, grace_seconds: int | None = None) -> None:
        key = (kind, namespace, name)
        current = self._objects.get(key)
        if current is None:
            return
        _require_uid(current, uid)
        self._delete(key, grace_seconds)

    async def watch(self, kind: str, namespace: str) -> AsyncGenerator[Change, None]:
        queue: asyncio.Queue[Change | None] = asyncio.Queue(WATCH_QUEUE_MAX)
        where = self._watches.setdefault((kind, namespace), [])
        where.append(queue)
        try:
            for object_ in self.select(kind, namespace):
                yield Change("ADDED", _copy(object_))
            yield Change("SYNCED", {})
            while (change := await queue.get()) is not None:
                yield change
            raise Unavailable(410, "Expired", f"the watch of {kind} fell behind")
        finally:
            if queue in where:
                where.remove(queue)

    # For the parts of the run that stand in for Kubernetes' own controllers.

    def peek(self, kind: str, namespace: str, name: str) -> Object | None:
        """The object as it lies there: to read, never to change."""
        return self._objects.get((kind, namespace, name))

    def select(self, kind: str, namespace: str | None = None) -> Sequence[Object]:
        """All objects of a kind, to read; None: of every namespace."""
        return [
            object_
            for (found, where, _), object_ in sorted(self._objects.items())
            if found == kind and namespace in (None, where)
        ]

    def collect(self) -> None:
        """Delete what has owners of which none is left, as after a crash in the middle of it."""
        for object_ in list(self._objects.values()):
            self._collect(object_)

    # How each is done.

    def _create(self, object_: Object, applied: Mapping[str, Object]) -> Object:
        made = _checked(object_)
        key = (made["kind"], *key_of(made))
        if key in self._objects:
            raise Conflict(409, "AlreadyExists", f"{made['kind']} {key[2]} exists")
        if made["kind"] in OUR_KINDS:
            made = self._admit({name: value for name, value in made.items() if name != "status"}, None)
        meta = {
            **_without_server_fields(made)["metadata"],
            "uid": str(uuid.uuid4()),
            "creationTimestamp": rfc3339(self._now()),
        }
        if made["kind"] not in WITHOUT_GENERATION:
            meta["generation"] = 1
        stored = self._write(key, {**made, "metadata": meta}, dict(applied), "ADDED")
        if made["kind"] == "Event":
            self._drop_old_events()
        self._collect(self._objects.get(key, stored))
        return stored

    def _replace(self, key: Key, made: Object, applied: dict[str, Object]) -> Object:
        """Put ``made`` in the place of what is there, if it differs and may."""
        current = self._objects[key]
        if key[0] in OUR_KINDS:
            made = self._admit({**made, "status": current.get("status", {})}, current)
            if not made["status"]:
                del made["status"]
        _check_immutable(current, made)
        if made == current and applied == self._applied[key]:
            return _copy(current)
        if key[0] not in WITHOUT_GENERATION and made.get("spec") != current.get("spec"):
            meta = {**made["metadata"], "generation": current["metadata"].get("generation", 1) + 1}
            made = {**made, "metadata": meta}
        if made["metadata"].get("deletionTimestamp") and not made["metadata"].get("finalizers"):
            self._objects[key] = made
            self._remove(key)
            return _copy(made)
        return self._write(key, made, applied, "MODIFIED")

    def _delete(self, key: Key, grace_seconds: int | None) -> None:
        current = self._objects[key]
        meta = current["metadata"]
        is_asked = key[0] in GRACEFUL and grace_seconds != 0
        if not meta.get("finalizers") and not is_asked:
            self._remove(key)
        elif not meta.get("deletionTimestamp"):
            told: Object = {"deletionTimestamp": rfc3339(self._now())}
            if is_asked:
                grace = current.get("spec", {}).get("terminationGracePeriodSeconds", 30)
                told["deletionGracePeriodSeconds"] = grace if grace_seconds is None else grace_seconds
            if "generation" in meta:
                told["generation"] = meta["generation"] + 1
            self._write(key, {**current, "metadata": {**meta, **told}}, self._applied[key], "MODIFIED")

    def _remove(self, key: Key) -> None:
        gone = self._objects.pop(key)
        self._applied.pop(key)
        self._path(key).unlink(missing_ok=True)
        self._version += 1
        last = {**gone, "metadata": {**gone["metadata"], "resourceVersion": str(self._version)}}
        self._tell(key, Change("DELETED", last))
        for other in [object_ for object_ in self._objects.values() if _owned_by(object_, gone["metadata"]["uid"])]:
            self._collect(other)

    def _collect(self, object_: Object) -> None:
        owners = object_["metadata"].get("ownerReferences") or ()
        key = (object_["kind"], *key_of(object_))
        if not owners or key not in self._objects:
            return
        alive = any(
            (found := self._objects.get((owner["kind"], key[1], owner["name"]))) is not None
            and found["metadata"]["uid"] == owner["uid"]
            for owner in owners
        )
        if not alive:
            self._delete(key, None)

    def _drop_old_events(self) -> None:
        events = sorted(self.select("Event"), key=lambda event: int(event["metadata"]["resourceVersion"]))
        for old in events[: max(0, len(events) - EVENTS_MAX)]:
            self._remove(("Event", *key_of(old)))

    def _find(self, kind: str, namespace: str, name: str) -> Object:
        found = self._objects.get((kind, namespace, name))
        if found is None:
            raise NotFound(404, "NotFound", f"there is no {kind} {name}")
        return found

    def _write(self, key: Key, object_: Object, applied: dict[str, Object], change: str) -> Object:
        self._version += 1
        meta = {**object_["metadata"], "resourceVersion": str(self._version)}
        stored = _copy({**object_, "metadata": meta})
        data = msgspec.json.encode({"object": stored, "applied": applied})
        if len(data) > 2 * OBJECT_SIZE_MAX:
            raise Invalid(422, "Invalid", f"{key[0]} {key[2]} is larger than {OBJECT_SIZE_MAX} bytes")
        path = self._path(key)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _write_file(path, data, sync=key[0] not in LOOSE)
        self._objects[key] = stored
        self._applied[key] = applied
        self._tell(key, Change(change, stored))
        return _copy(stored)

    def _path(self, key: Key) -> Path:
        return self._folder / REST[key[0]].plural / (key[1] or "-") / f"{key[2]}.json"

    def _tell(self, key: Key, change: Change) -> None:
        for queue in list(self._queues(key)):
            try:
                queue.put_nowait(Change(change.type, _copy(change.object)))
            except asyncio.QueueFull:
                self._cut(key, queue)

    def _queues(self, key: Key) -> Iterator[asyncio.Queue[Change | None]]:
        yield from self._watches.get((key[0], key[1]), ())

    def _cut(self, key: Key, queue: asyncio.Queue[Change | None]) -> None:
        """End a watch whose reader does not keep up."""
        self._watches[(key[0], key[1])].remove(queue)
        while True:
            with contextlib.suppress(asyncio.QueueFull):
                queue.put_nowait(None)
                return
            queue.get_nowait()


def _checked(object_: Object) -> Object:
    """A copy that has what every object needs, Secrets in their stored form."""
    kind = object_.get("kind", "")
    rest = REST.get(kind)
    if rest is None:
        raise Invalid(422, "Invalid", f"kind: there is no {kind or 'object without a kind'} here")
    if object_.get("apiVersion") != rest.api_version:
        raise Invalid(422, "Invalid", f"apiVersion: must be {rest.api_version} for {kind}")
    meta = object_.get("metadata") or {}
    name, namespace = meta.get("name"), meta.get("namespace", "")
    if not isinstance(name, str) or not _is_file_name(name):
        raise Invalid(422, "Invalid", "metadata.name: a name of lower case letters, digits, '-' and '.'")
    if rest.namespaced != bool(namespace) or (namespace and not _is_file_name(namespace)):
        raise Invalid(422, "Invalid", "metadata.namespace: must name a namespace, and only where there are some")
    return merging.encode_secret(_copy(object_))


def _is_file_name(name: str) -> bool:
    allowed = set("abcdefghijklmnopqrstuvwxyz0123456789-.")
    return 0 < len(name) <= 253 and set(name) <= allowed and name[0] not in "-." and name[-1] not in "-."


def _without_server_fields(object_: Object) -> Object:
    """What a client may say; of `status` it says nothing here."""
    kept = {name: value for name, value in object_.items() if name != "status"}
    if "metadata" in kept:
        meta = kept["metadata"]
        kept["metadata"] = {name: value for name, value in meta.items() if name not in SERVER_FIELDS}
    return kept


def _require_uid(current: Object, uid: str | None) -> None:
    if uid is not None and current["metadata"]["uid"] != uid:
        name = current["metadata"]["name"]
        raise Conflict(409, "Conflict", f"{current['kind']} {name} is another one now: its uid is not {uid}")


def _check_immutable(current: Object, made: Object) -> None:
    if current["kind"] not in ("ConfigMap", "Secret") or not current.get("immutable"):
        return
    for field in ("data", "binaryData", "immutable"):
        if current.get(field) != made.get(field):
            raise Invalid(422, "Invalid", f"{field}: {current['kind']} {current['metadata']['name']} is immutable")


def _owned_by(object_: Object, uid: str) -> bool:
    return any(owner["uid"] == uid for owner in object_["metadata"].get("ownerReferences") or ())


def _copy(value: T) -> T:
    copied: T = msgspec.json.decode(msgspec.json.encode(value))
    return copied


def _write_file(path: Path, data: bytes, *, sync: bool) -> None:
    """Whole or not at all, for nobody but us to read."""
    temp = path.with_name(path.name + ".new")
    with open(os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        if sync:
            os.fsync(file.fileno())
    os.replace(temp, path)
