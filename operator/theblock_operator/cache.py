"""What was last told of objects: filled by watches, read by every visit instead of asking the API server."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping

from theblock_operator import names
from theblock_operator.api import OUR_KINDS, Api, ApiError, key_of
from theblock_operator.observed import Object

log = logging.getLogger(__name__)
RETRY_S = (0.5, 1, 2, 5, 10)
INDEXED = (names.RESOURCE, names.NETWORK)
"""Labels by which every visit selects: found without a look at what belongs to others."""
Key = tuple[str, str, str]
"""(kind, namespace, name) of one of our resources."""


class Cache:
    """Objects by kind, namespace and name; `changed` is called with the keys of resources that a change concerns."""

    def __init__(self, changed: Callable[[Key], None], now: Callable[[], float]) -> None:
        self._objects: dict[str, dict[tuple[str, str], Object]] = {}
        self._index: dict[tuple[str, str, str, str], dict[tuple[str, str], Object]] = {}
        """(kind, namespace, label, value) -> the objects that carry it, for labels that are indexed; "" for all."""
        self._changed = changed
        self._now = now
        self._synced: dict[tuple[str, str], asyncio.Event] = {}
        self._heard: dict[tuple[str, str], float] = {}
        self._down_since: dict[tuple[str, str], float] = {}

    def get(self, kind: str, namespace: str, name: str) -> Object | None:
        return self._objects.get(kind, {}).get((namespace, name))

    def select(self, kind: str, namespace: str, labels: Mapping[str, str] | None = None) -> Iterator[Object]:
        """Objects of a namespace that carry all of ``labels``."""
        wanted = dict(labels or {})
        label = next((label for label in INDEXED if label in wanted), "")
        among = self._index.get((kind, namespace, label, wanted.pop(label, "")), {})
        for object_ in list(among.values()):
            found = object_["metadata"].get("labels", {})
            if all(found.get(key) == value for key, value in wanted.items()):
                yield object_

    def within(self, kind: str, namespace: str) -> Mapping[tuple[str, str], Object]:
        """All objects of a kind in a namespace, by (namespace, name)."""
        return self._index.get((kind, namespace, "", ""), {})

    def all(self, kind: str) -> list[Object]:
        """Objects of a kind in every namespace."""
        return list(self._objects.get(kind, {}).values())

    def put(self, kind: str, object_: Object) -> None:
        before = self._objects.setdefault(kind, {}).get(key_of(object_))
        self._objects[kind][key_of(object_)] = object_
        places = set(_places(kind, object_))
        if before is not None:
            # It keeps its place in the order where it stays: what is rendered from all must not change with each news.
            self._unindex(key_of(object_), set(_places(kind, before)) - places)
        for place in places:
            self._index.setdefault(place, {})[key_of(object_)] = object_
        if before is None or before["metadata"].get("resourceVersion") != object_["metadata"].get("resourceVersion"):
            self._tell(kind, object_, before)

    def drop(self, kind: str, object_: Object) -> None:
        before = self._objects.get(kind, {}).pop(key_of(object_), None)
        if before is not None:
            self._unindex(key_of(object_), _places(kind, before))
            self._tell(kind, object_, before)

    async def follow(self, api: Api, kind: str, namespace: str) -> None:
        """Keep objects of a kind in step with the API server, until cancelled; cut watches begin anew."""
        where, failures = (kind, namespace), 0
        self._synced.setdefault(where, asyncio.Event())
        while True:
            try:
                seen: set[tuple[str, str]] = set()
                async for change in api.watch(kind, namespace):
                    self._heard[where] = self._now()
                    self._down_since.pop(where, None)
                    failures = 0
                    if change.type == "SYNCED":
                        self._forget_unseen(kind, namespace, seen)
                        self._synced[where].set()
                    elif change.type == "DELETED":
                        self.drop(kind, change.object)
                    else:
                        seen.add(key_of(change.object))
                        self.put(kind, change.object)
            except ApiError as failed:
                self._down_since.setdefault(where, self._now())
                level = logging.DEBUG if failures == 0 else logging.WARNING
                log.log(level, "the watch of %s ended: %s", kind, failed)
            await asyncio.sleep(RETRY_S[min(failures, len(RETRY_S) - 1)])
            failures += 1

    async def wait_synced(self, kinds: Iterable[str], namespaces: Iterable[str], timeout_s: float) -> None:
        """Return once everything that exists was told; `TimeoutError` otherwise."""
        async with asyncio.timeout(timeout_s):
            for kind in kinds:
                for namespace in namespaces:
                    await self._synced.setdefault((kind, namespace), asyncio.Event()).wait()

    def is_synced(self) -> bool:
        """Everything that is followed was told once."""
        return bool(self._synced) and all(synced.is_set() for synced in self._synced.values())

    def silent_since(self) -> float | None:
        """Since when a watch has been down, of the one that is down longest."""
        return min(self._down_since.values(), default=None)

    def watch_age(self) -> float:
        """Seconds since the watch that is silent longest was heard."""
        return max((self._now() - heard for heard in self._heard.values()), default=0.0)

    def _forget_unseen(self, kind: str, namespace: str, seen: set[tuple[str, str]]) -> None:
        for where in [at for at in self._objects.get(kind, {}) if at[0] == namespace and at not in seen]:
            self.drop(kind, self._objects[kind][where])

    def _unindex(self, key: tuple[str, str], places: Iterable[tuple[str, str, str, str]]) -> None:
        for place in places:
            carrying = self._index[place]
            del carrying[key]
            if not carrying:
                del self._index[place]

    def _tell(self, kind: str, object_: Object, before: Object | None) -> None:
        namespace, name = key_of(object_)
        if kind in OUR_KINDS:
            self._changed((kind, namespace, name))
            network = name if kind == "Network" else object_.get("spec", {}).get("network", "")
            # What a Network offers concerns all that name it, and the other way round, but a status does not.
            if before is None or _differs(kind, before, object_):
                for other in OUR_KINDS:
                    for (where, near), found in list(self._objects.get(other, {}).items()):
                        names_it = near if other == "Network" else found.get("spec", {}).get("network", "")
                        if where == namespace and names_it == network:
                            self._changed((other, where, near))
            return
        labels = object_["metadata"].get("labels", {})
        if names.RESOURCE in labels and names.KIND in labels:
            self._changed((labels[names.KIND], namespace, labels[names.RESOURCE]))


def _places(kind: str, object_: Object) -> Iterator[tuple[str, str, str, str]]:
    """Where an object stands in the index."""
    labels, namespace = object_["metadata"].get("labels") or {}, key_of(object_)[0]
    yield kind, namespace, "", ""
    for label in INDEXED:
        if label in labels:
            yield kind, namespace, label, labels[label]


def _differs(kind: str, before: Object, after: Object) -> bool:
    """Whether others need to look: another spec, its deletion, or a genesis that was sealed."""
    if before["metadata"].get("generation") != after["metadata"].get("generation"):
        return True
    if before["metadata"].get("deletionTimestamp") != after["metadata"].get("deletionTimestamp"):
        return True
    fields = ("genesisSha256", "genesisHash") if kind == "Network" else ()
    return any(before.get("status", {}).get(name) != after.get("status", {}).get(name) for name in fields)
