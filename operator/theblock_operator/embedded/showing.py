"""Objects as people read them: tables with the columns of the CRDs, YAML, JSON, descriptions, logs."""

from __future__ import annotations

import json
import re
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from theblock_operator.kinds import BY_NAME
from theblock_operator.kinds.kind import Column
from theblock_operator.observed import Object
from theblock_operator.status import parse_rfc3339

FOLLOW_S = 0.2
_FILTER = re.compile(r"\?\(@\.(\w+)==['\"]([^'\"]*)['\"]\)")


def render(objects: Sequence[Object], output: str, *, is_single: bool) -> str:
    match output:
        case "json" | "yaml":
            return dump(objects[0] if is_single else {"apiVersion": "v1", "kind": "List", "items": objects}, output)
        case "name":
            return "\n".join(f"{one['kind'].lower()}/{one['metadata']['name']}" for one in objects)
    if not objects:
        return "there are none"
    kinds = list(dict.fromkeys(one["kind"] for one in objects))
    blocks = [_kind_table([one for one in objects if one["kind"] == kind], kind, output, len(kinds)) for kind in kinds]
    return "\n\n".join(blocks)


def dump(document: Any, output: str) -> str:
    if output == "json":
        return json.dumps(document, indent=2)
    return yaml.safe_dump(document, sort_keys=False, width=120, allow_unicode=True).rstrip("\n")


def _kind_table(objects: Sequence[Object], kind: str, output: str, kinds: int) -> str:
    columns = _columns(kind, is_wide=output == "wide")
    prefix = f"{kind.lower()}/" if kinds > 1 else ""
    rows = [["NAME", *(column.name.upper() for column in columns)]]
    for one in objects:
        rows.append([prefix + one["metadata"]["name"], *(_cell(one, column) for column in columns)])
    return table(rows)


_PLAIN = (Column("Age", ".metadata.creationTimestamp", "date"),)
_POD = (
    Column("Ready", '.status.conditions[?(@.type=="Ready")].status'),
    Column("Phase", ".status.phase"),
    Column("Restarts", ".status.containerStatuses[0].restartCount", "integer"),
    Column("Address", ".status.podIP"),
    *_PLAIN,
)


def _columns(kind: str, *, is_wide: bool) -> Sequence[Column]:
    if kind not in BY_NAME:
        return _POD if kind == "Pod" else _PLAIN
    return [column for column in BY_NAME[kind].columns if is_wide or not column.wide]


def _cell(object_: Object, column: Column) -> str:
    value = look_up(object_, column.path)
    if value is None:
        return "-"
    if column.type == "date":
        return age(int(time.time()) - parse_rfc3339(value))
    return str(value)


def look_up(object_: Any, path: str) -> Any:
    """What a printer column's path names: fields, indices, and a filter by one field; None if there is nothing."""
    found = object_
    for step in re.findall(r"\.(\w+)|\[(.+?)\](?=\.|$|\[)", path):
        field, index = step
        if field:
            found = found.get(field) if isinstance(found, dict) else None
        elif (match := _FILTER.fullmatch(index)) is not None:
            rows = found if isinstance(found, list) else []
            found = next((row for row in rows if row.get(match[1]) == match[2]), None)
        elif isinstance(found, list):
            found = found[int(index)] if int(index) < len(found) else None
        if found is None:
            return None
    return found


def age(seconds: int) -> str:
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "m")):
        if seconds >= 2 * size:
            return f"{seconds // size}{unit}"
    return f"{max(seconds, 0)}s"


def table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[index]) for row in rows) for index in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def describe(found: Object, events: Iterable[Object]) -> str:
    meta, status = found["metadata"], found.get("status", {})
    lines = [f"{found['kind']} {meta['name']}  (namespace {meta['namespace']}, generation {meta.get('generation', 1)})"]
    if "deletionTimestamp" in meta:
        lines.append(f"deleting since {meta['deletionTimestamp']}, held by {', '.join(meta.get('finalizers', ()))}")
    for name, value in (meta.get("annotations") or {}).items():
        lines.append(f"annotation {name}: {value}")
    lines += ["", "spec:", _indent(dump(found.get("spec", {}), "yaml"))]
    rest = {name: value for name, value in status.items() if name not in ("conditions", "members")}
    if rest:
        lines += ["", "status:", _indent(dump(rest, "yaml"))]
    if status.get("conditions"):
        rows = [["CONDITION", "STATUS", "REASON", "MESSAGE"]]
        rows += [[row["type"], row["status"], row["reason"], row.get("message", "")] for row in status["conditions"]]
        lines += ["", table(rows)]
    if status.get("members"):
        rows = [["MEMBER", "STATE", "REASON"]]
        rows += [[row["name"], row["state"], row.get("reason", "")] for row in status["members"]]
        lines += ["", table(rows)]
    lines += ["", render_events(events_of(events, found["kind"], meta["name"]))]
    return "\n".join(lines)


def events_of(events: Iterable[Object], kind: str, name: str | None) -> list[Object]:
    from theblock_operator.embedded.desk import find_kind

    wanted = find_kind(kind)
    return [
        event for event in events if event["regarding"]["kind"] == wanted and name in (None, event["regarding"]["name"])
    ]


def render_events(events: Iterable[Object]) -> str:
    ordered = sorted(events, key=lambda event: (event["eventTime"], int(event["metadata"]["resourceVersion"])))
    if not ordered:
        return "no events"
    now = int(time.time())
    rows = [["AGE", "TYPE", "REASON", "OBJECT", "MESSAGE"]]
    for event in ordered:
        subject = f"{event['regarding']['kind'].lower()}/{event['regarding']['name']}"
        when = age(now - parse_rfc3339(event["metadata"]["creationTimestamp"]))
        rows.append([when, event["type"], event["reason"], subject, event["note"]])
    return table(rows)


def render_status(told: Object) -> str:
    resources = [["RESOURCE", "READY", "REASON", "MESSAGE"]]
    for row in told["resources"]:
        reason = f"{row['reason']} (deleting)" if row["deleting"] else row["reason"]
        message = "" if row["ready"] == "True" else row["message"]
        resources.append([f"{row['kind'].lower()}/{row['name']}", row["ready"], reason, message])
    members = [["MEMBER", "PHASE", "READY", "RESTARTS", "ADDRESS"]]
    for row in told["members"]:
        ready = "yes" if row["ready"] else "no"
        members.append([row["name"], row["phase"], ready, str(row["restarts"]), row["address"]])
    visits = ", ".join(f"{name} {count}" for name, count in told["visits"].items())
    head = f"namespace {told['namespace']}, up for {age(told['uptime_seconds'])}"
    return "\n\n".join([head, table(resources), table(members), f"visits: {visits or 'none yet'}"])


def tail(path: Path, lines: int, *, follow: bool) -> Iterator[str]:
    """The last lines of a log; with ``follow`` whatever comes, also after it was cut short."""
    with path.open(errors="replace") as file:
        yield from deque(file, maxlen=lines)
        while follow:
            text = file.read()
            if text:
                yield text
            elif path.stat().st_size < file.tell():
                file.seek(0)
            else:
                time.sleep(FOLLOW_S)


def _indent(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())
