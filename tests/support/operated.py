"""The operator's own controller over the embedded store, visit by visit; calls are counted, any may be made to fail."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import yaml
from theblock_operator.api import OUR_KINDS, WATCHED, ApiError, Change, key_of
from theblock_operator.cache import Key
from theblock_operator.controller import Controller, Settings
from theblock_operator.embedded import admission
from theblock_operator.embedded.store import Admit, Store
from theblock_operator.reconcile import Visit

STARTER = Path(__file__).resolve().parents[2] / "examples" / "starter" / "starter.yaml"
NAMESPACE = "theblock"
WRITES = ("create", "apply", "apply_status", "patch", "delete")
Object = dict[str, Any]


class CountedApi:
    """An `Api` that is another one, counted: `calls` holds (verb, kind, name) in order."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.calls: list[tuple[str, str, str]] = []
        self.failing: Callable[[str, str, str], ApiError | None] = lambda verb, kind, name: None
        """Says with what a call fails."""

    async def get(self, kind: str, namespace: str, name: str) -> Object:
        self._note("get", kind, name)
        return await self._store.get(kind, namespace, name)

    async def list(self, kind: str, namespace: str) -> list[Object]:
        self._note("list", kind, "")
        return await self._store.list(kind, namespace)

    async def create(self, object_: Object) -> Object:
        self._note("create", object_["kind"], object_["metadata"]["name"])
        return await self._store.create(object_)

    async def apply(self, object_: Object) -> Object:
        self._note("apply", object_["kind"], object_["metadata"]["name"])
        return await self._store.apply(object_)

    async def apply_status(self, kind: str, namespace: str, name: str, status: Object) -> Object:
        self._note("apply_status", kind, name)
        return await self._store.apply_status(kind, namespace, name, status)

    async def patch(self, kind: str, namespace: str, name: str, patch: Object) -> Object:
        self._note("patch", kind, name)
        return await self._store.patch(kind, namespace, name, patch)

    async def delete(self, kind: str, namespace: str, name: str, *, uid: str, grace_seconds: int | None = None) -> None:
        self._note("delete", kind, name)
        await self._store.delete(kind, namespace, name, uid=uid, grace_seconds=grace_seconds)

    def watch(self, kind: str, namespace: str) -> AsyncIterator[Change]:
        return self._store.watch(kind, namespace)

    def writes(self) -> list[tuple[str, str, str]]:
        return [call for call in self.calls if call[0] in WRITES]

    def _note(self, verb: str, kind: str, name: str) -> None:
        self.calls.append((verb, kind, name))
        failure = self.failing(verb, kind, name)
        if failure is not None:
            raise failure


class Visits:
    """Where visits are counted: by kind and result."""

    def __init__(self) -> None:
        self.counted: Counter[tuple[str, str]] = Counter()

    def visited(self, kind: str, result: str, seconds: float) -> None:
        self.counted[kind, result] += 1


class Operated:
    """A store, a controller over it, and a clock that begins now, for certificates' sake, and that the test moves."""

    def __init__(
        self,
        folder: Path,
        *,
        admit: Admit = admission.admit,
        monotonic: Callable[[], float] | None = None,
        figures_s: float | None = None,
    ) -> None:
        self.seconds = 0.0
        self._start_s = int(time.time())
        self.store = Store(folder / "store", admit=admit, now=self.now)
        self.store.load()
        self.api = CountedApi(self.store)
        self.visits = Visits()
        settings = Settings(
            run_dir=folder / "run", images=("node:1", "prover:1"), watches_nodes=False, figures_s=figures_s
        )
        self.controller = Controller(
            self.api, settings, meter=self.visits, monotonic=monotonic or (lambda: 1000.0 + self.seconds), now=self.now
        )

    def now(self) -> int:
        return self._start_s + int(self.seconds)

    async def apply_starter(self, *kinds: str) -> None:
        """The resources of these kinds, as a user applies them."""
        for body in yaml.safe_load_all(STARTER.read_text()):
            if body["kind"] in kinds:
                await self.store.apply(body, manager="user")

    def tell(self) -> None:
        """What watches would tell: everything that is, and what is no more."""
        cache = self.controller.cache
        for kind in (*WATCHED, *OUR_KINDS):
            there = {key_of(object_): object_ for object_ in self.store.select(kind)}
            for held in cache.all(kind):
                if key_of(held) not in there:
                    cache.drop(kind, held)
            for object_ in there.values():
                cache.put(kind, object_)

    async def visit(self, kind: str, name: str) -> Visit:
        """One visit with all news heard before it."""
        self.tell()
        return await self.controller.reconciler.visit((kind, NAMESPACE, name))

    async def settle(self, *keys: Key, limit: int = 40) -> None:
        """Visit in turns until a whole round writes nothing."""
        for _ in range(limit):
            before = len(self.api.writes())
            for kind, _, name in keys:
                await self.visit(kind, name)
            if len(self.api.writes()) == before:
                return
        raise AssertionError(f"still written after {limit} rounds: {self.api.writes()[-10:]}")

    async def read(self, kind: str, name: str) -> Object:
        return await self.store.get(kind, NAMESPACE, name)

    def events(self, reason: str = "") -> list[str]:
        """The notes of Events, in order."""
        found = sorted(self.store.select("Event"), key=lambda event: int(event["metadata"]["resourceVersion"]))
        return [event["note"] for event in found if reason in ("", event["reason"])]


def failing_first(
    verb: str, kind: str, failure: ApiError, *, count: int = 1
) -> Callable[[str, str, str], ApiError | None]:
    """The first ``count`` such calls fail, every later one does not."""
    left = itertools.chain(itertools.repeat(failure, count), itertools.repeat(None))
    return lambda called, of, name: next(left) if (called, of) == (verb, kind) else None
