"""An API server of a dictionary that minds versions, for what several replicas write."""

from __future__ import annotations

import copy
from typing import Any

from theblock_operator.api import Conflict, Invalid, NotFound

Object = dict[str, Any]


class Versioned:
    def __init__(self, *objects: Object) -> None:
        self.objects = {(o["kind"], o["metadata"].get("namespace", ""), o["metadata"]["name"]): o for o in objects}
        self.writes: list[tuple[str, str, str]] = []
        """(verb, kind, name) in order."""
        for object_ in objects:
            object_["metadata"].setdefault("resourceVersion", "1")

    async def get(self, kind: str, namespace: str, name: str) -> Object:
        found = self.objects.get((kind, namespace, name))
        if found is None:
            raise NotFound(404, "NotFound", name)
        return copy.deepcopy(found)

    async def select(self, kind: str, namespace: str, labels: str) -> list[Object]:
        """Equality alone."""
        pairs = [part.split("=") for part in labels.split(",") if part]
        if any(len(pair) != 2 for pair in pairs):
            raise Invalid(400, "BadRequest", f"unable to parse requirement: {labels}")
        among = [o for (of, where, _), o in self.objects.items() if (of, where) == (kind, namespace)]
        return [o for o in among if all(o["metadata"].get("labels", {}).get(key) == value for key, value in pairs)]

    async def create(self, object_: Object) -> Object:
        meta = object_["metadata"]
        key = (object_["kind"], meta["namespace"], meta["name"])
        if key in self.objects:
            raise Conflict(409, "AlreadyExists", meta["name"])
        self.objects[key] = {**object_, "metadata": {**meta, "resourceVersion": "1"}}
        self.writes.append(("create", object_["kind"], meta["name"]))
        return await self.get(*key)

    async def patch(self, kind: str, namespace: str, name: str, patch: Object) -> Object:
        current = await self.get(kind, namespace, name)
        version = current["metadata"]["resourceVersion"]
        if patch.get("metadata", {}).get("resourceVersion", version) != version:
            raise Conflict(409, "Conflict", name)
        for part, fields in patch.items():
            current[part] = {**current.get(part, {}), **fields}
        current["metadata"]["resourceVersion"] = str(int(version) + 1)
        self.objects[kind, namespace, name] = current
        self.writes.append(("patch", kind, name))
        return copy.deepcopy(current)
