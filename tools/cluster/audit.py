"""What the API server's audit log says of who wrote what: the independent witness of the operator's restraint."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

WRITES = frozenset({"create", "update", "patch", "delete", "deletecollection"})


@dataclass(frozen=True)
class Call:
    user: str
    verb: str
    resource: str
    """The plural, with the subresource where there is one: `pods`, `pods/exec`."""
    namespace: str
    name: str
    code: int
    at: datetime.datetime

    @property
    def is_write(self) -> bool:
        return self.verb in WRITES


def read_calls(path: Path) -> Iterator[Call]:
    """Every call logged, the oldest first; the log that was rotated away last comes before the present one."""
    older = sorted(path.parent.glob(f"{path.stem}-*{path.suffix}"))
    for file in [*older, path]:
        if file.exists():
            with file.open(encoding="utf-8") as lines:
                yield from parse(lines)


def parse(lines: Iterable[str]) -> Iterator[Call]:
    for line in lines:
        if not line.endswith("\n"):
            return  # The last line is being written.
        call = _call(json.loads(line))
        if call is not None:
            yield call


def _call(event: dict[str, Any]) -> Call | None:
    """None for what is no call of a resource, and for the start of a watch that is logged again at its end."""
    reference = event.get("objectRef")
    if reference is None or event["stage"] == "ResponseStarted":
        return None
    parts = [reference.get("resource", ""), reference.get("subresource", "")]
    return Call(
        user=event["user"].get("username", ""),
        verb=event["verb"],
        resource="/".join(part for part in parts if part),
        namespace=reference.get("namespace", ""),
        name=reference.get("name", ""),
        code=event.get("responseStatus", {}).get("code", 0),
        at=datetime.datetime.fromisoformat(event["requestReceivedTimestamp"]),
    )
