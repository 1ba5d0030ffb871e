"""What people see of an answer: names and values, and a table for rows that are alike."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

INDENT = "  "
NOTHING = "(none)"


def to_json(document: Any) -> str:
    """One JSON document on one line."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))


def to_text(document: Any) -> str:
    """The same for people."""
    return "\n".join(_lines(document, ""))


def _lines(value: Any, indent: str) -> list[str]:
    if isinstance(value, Mapping):
        return _pairs(value, indent)
    if isinstance(value, list | tuple):
        return _rows(value, indent)
    return [indent + _scalar(value)]


def _pairs(pairs: Mapping[str, Any], indent: str) -> list[str]:
    if not pairs:
        return [indent + NOTHING]
    width = max(len(name) for name, value in pairs.items() if not _has_parts(value)) if not _all_parts(pairs) else 0
    lines = []
    for name, value in pairs.items():
        if _has_parts(value):
            lines += [f"{indent}{name}", *_lines(value, indent + INDENT)]
        else:
            shown = NOTHING if isinstance(value, list | tuple | Mapping) else _scalar(value)
            lines.append(f"{indent}{name.ljust(width)}  {shown}".rstrip())
    return lines


def _rows(rows: Sequence[Any], indent: str) -> list[str]:
    if not rows:
        return [indent + NOTHING]
    if not all(isinstance(row, Mapping) for row in rows):
        return [line for row in rows for line in _lines(row, indent)]
    columns = [name for name in rows[0] if not any(_has_parts(row.get(name)) for row in rows)]
    if len(columns) < len(rows[0]):
        # Rows with parts of their own do not fit in a table.
        return [line for row in rows for line in [*_pairs(row, indent), ""]][:-1]
    return _table(columns, [[_scalar(row.get(name)) for name in columns] for row in rows], indent)


def _table(columns: Sequence[str], cells: Sequence[Sequence[str]], indent: str) -> list[str]:
    widths = [max(len(name), *(len(row[at]) for row in cells)) for at, name in enumerate(columns)]
    shown = [list(columns), *cells]
    return [
        (indent + INDENT.join(text.ljust(width) for text, width in zip(row, widths, strict=True))).rstrip()
        for row in shown
    ]


def _has_parts(value: Any) -> bool:
    return isinstance(value, Mapping | list | tuple) and len(value) > 0


def _all_parts(pairs: Mapping[str, Any]) -> bool:
    return all(_has_parts(value) for value in pairs.values())


def _scalar(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple | Mapping):
        return NOTHING
    return str(value)
