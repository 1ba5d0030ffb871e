"""What the controller answers to the command `theblock`: the verbs, over the store."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from theblock_operator.api import OUR_KINDS, REST, ApiError
from theblock_operator.embedded import admission
from theblock_operator.embedded.control import Refusal
from theblock_operator.embedded.store import Store
from theblock_operator.kinds import KINDS
from theblock_operator.observed import Object

MANAGER = "theblock-cli"
OBJECTS_MAX = 500
WRITABLE = (*OUR_KINDS, "Secret", "ConfigMap")
"""What people apply; everything else is the operator's."""
SHORT = {"po": "Pod", "sts": "StatefulSet", "pvc": "PersistentVolumeClaim", "cm": "ConfigMap", "svc": "Service"}


class Desk:
    """One method for each verb; each either answers or raises `Refusal`."""

    def __init__(self, store: Store, namespace: str, *, status: Callable[[], Object], stop: Callable[[], None]) -> None:
        self._store = store
        self._namespace = namespace
        self._status = status
        self._stop = stop
        self._verbs: dict[str, Callable[..., Awaitable[Any]]] = {
            "apply": self._apply,
            "get": self._get,
            "delete": self._delete,
            "scale": self._scale,
            "status": self._tell_status,
            "stop": self._end,
        }

    async def answer(self, verb: str, arguments: dict[str, Any]) -> Any:
        """The answer to one request; what the store refuses is told with its field paths."""
        if verb not in self._verbs:
            raise Refusal("UnknownVerb", f"{verb}: known are {', '.join(sorted(self._verbs))}")
        try:
            return await self._verbs[verb](**arguments)
        except TypeError as wrong:
            raise Refusal("Malformed", f"{verb}: {wrong}") from wrong
        except admission.Refused as refused:
            raise Refusal(refused.reason, refused.message, refused.faults) from refused
        except ApiError as failed:
            raise Refusal(failed.reason, failed.message) from failed

    async def _apply(self, objects: list[Object], dry_run: bool = False) -> list[dict[str, str]]:
        """All of them, or none where one is refused by its schema: they are looked at before the first is stored."""
        if len(objects) > OBJECTS_MAX:
            raise Refusal("TooMany", f"{len(objects)} objects; at most {OBJECTS_MAX} at once")
        placed = [self._place(object_) for object_ in objects]
        faults: list[tuple[str, str]] = []
        for object_ in placed:
            faults += self._faults(object_)
        if faults:
            raise Refusal("Invalid", "nothing was applied", faults)
        told = []
        for object_ in placed:
            kind, name = object_["kind"], object_["metadata"]["name"]
            before = self._store.peek(kind, self._namespace, name)
            result = "created" if before is None else "unchanged"
            if not dry_run:
                after = await self._store.apply(object_, manager=MANAGER)
                if before is not None and _differs(before, after):
                    result = "configured"
            told.append({"kind": kind, "name": name, "result": result})
        return told

    async def _get(self, kind: str, name: str | None = None) -> list[Object]:
        if kind == "all":
            return [object_ for known in OUR_KINDS for object_ in await self._store.list(known, self._namespace)]
        found = find_kind(kind)
        namespace = self._namespace if REST[found].namespaced else ""
        objects = [await self._store.get(found, namespace, name)] if name else await self._store.list(found, namespace)
        return [_without_secrets(object_) for object_ in objects]

    async def _delete(self, kind: str, name: str) -> dict[str, str]:
        found = find_kind(kind)
        if found not in (*OUR_KINDS, "Pod", "PersistentVolumeClaim"):
            raise Refusal("Forbidden", f"{found} objects are the operator's; delete the resource that they belong to")
        object_ = await self._store.get(found, self._namespace, name)
        await self._store.delete(found, self._namespace, name, uid=object_["metadata"]["uid"])
        return {"kind": found, "name": name}

    async def _scale(self, kind: str, name: str, replicas: int) -> dict[str, Any]:
        found = find_kind(kind)
        patch = admission.scale_patch(found, replicas)
        before = await self._store.get(found, self._namespace, name)
        await self._store.patch(found, self._namespace, name, patch)
        return {"kind": found, "name": name, "from": before["spec"]["replicas"], "to": replicas}

    async def _tell_status(self) -> Object:
        return self._status()

    async def _end(self) -> str:
        self._stop()
        return "stopping"

    def _place(self, object_: Any) -> Object:
        """A manifest in the namespace of this run; refuses what nobody may apply here."""
        if not isinstance(object_, dict) or not isinstance(object_.get("metadata", {}), dict):
            raise Refusal("Malformed", "a manifest is an object with apiVersion, kind, metadata and spec")
        kind = object_.get("kind")
        if kind not in WRITABLE:
            raise Refusal("Invalid", f"kind: {kind!r}; known here are {', '.join(WRITABLE)}")
        meta = {"namespace": self._namespace, **object_.get("metadata", {})}
        if meta["namespace"] != self._namespace:
            raise Refusal(
                "Invalid",
                f"metadata.namespace: this run has the one namespace {self._namespace}, not {meta['namespace']};"
                " use another folder (--home) for another namespace",
            )
        return {**object_, "metadata": meta}

    def _faults(self, object_: Object) -> list[tuple[str, str]]:
        if object_["kind"] not in OUR_KINDS:
            return []
        name = str(object_["metadata"].get("name", ""))
        try:
            admission.admit(object_, self._store.peek(object_["kind"], self._namespace, name))
        except admission.Refused as refused:
            return [(f"{object_['kind'].lower()}/{name} {path}", message) for path, message in refused.faults]
        return []


def find_kind(word: str) -> str:
    """The kind that a word of the command line means: its name, plural, singular or short name."""
    wanted = word.lower()
    for kind in KINDS:
        if wanted in (kind.name.lower(), kind.plural, kind.short_name):
            return kind.name
    for name, rest in REST.items():
        if wanted in (name.lower(), rest.plural):
            return name
    if wanted in SHORT:
        return SHORT[wanted]
    known = ", ".join(f"{kind.plural} ({kind.short_name})" for kind in KINDS)
    raise Refusal("NotFound", f"there is no kind {word}; known are {known}, pods, events and others of Kubernetes")


def _differs(before: Object, after: Object) -> bool:
    return bool(
        before.get("spec") != after.get("spec")
        or before.get("data") != after.get("data")
        or before["metadata"].get("annotations") != after["metadata"].get("annotations")
        or before["metadata"].get("labels") != after["metadata"].get("labels")
    )


def _without_secrets(object_: Object) -> Object:
    """What is shown of a Secret: its keys, not what they hold."""
    if object_["kind"] != "Secret":
        return object_
    return {**object_, "data": {name: f"({len(value)} characters)" for name, value in object_.get("data", {}).items()}}
