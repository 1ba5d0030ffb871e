"""What writing to an object means, as an API server has it: apply, merge patch, Secrets' `stringData`.

Lists are replaced whole. One who applies owns the fields that were named; what the next apply of the same manager no
longer names goes, unless another manager named it too.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from typing import Any

from theblock_operator.observed import Object

Path = tuple[str, ...]


def merge_patch(target: Any, patch: Any) -> Any:
    """RFC 7396: null removes, objects merge, everything else replaces."""
    if not isinstance(patch, Mapping):
        return patch
    made: Object = dict(target) if isinstance(target, Mapping) else {}
    for name, value in patch.items():
        if value is None:
            made.pop(name, None)
        else:
            made[name] = merge_patch(made.get(name), value)
    return made


def apply(current: Object, applied: Object, before: Object | None, others: Iterable[Object]) -> Object:
    """``current`` after a manager applied ``applied``, having applied ``before`` the last time."""
    merged: Object = _overlay(current, applied)
    if before is None:
        return merged
    kept = {path for other in others for path in _leaves(other)} | set(_leaves(applied))
    for path in _leaves(before):
        if not any(path == other[: len(path)] or other == path[: len(other)] for other in kept):
            merged = _without(merged, path)
    return merged


def encode_secret(object_: Object) -> Object:
    """`stringData` becomes part of `data`, in base64."""
    if object_["kind"] != "Secret" or "stringData" not in object_:
        return object_
    plain = {name: base64.b64encode(text.encode()).decode() for name, text in object_["stringData"].items()}
    rest = {name: value for name, value in object_.items() if name != "stringData"}
    return {**rest, "data": {**(object_.get("data") or {}), **plain}}


def _overlay(current: Any, applied: Any) -> Any:
    if not (isinstance(current, Mapping) and isinstance(applied, Mapping)):
        return applied
    made = dict(current)
    for name, value in applied.items():
        made[name] = _overlay(made[name], value) if name in made else value
    return made


def _leaves(tree: Object, at: Path = ()) -> Iterable[Path]:
    """Paths of values that are no objects; an empty object is a value."""
    for name, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(dict(value), (*at, name))
        else:
            yield (*at, name)


def _without(tree: Object, path: Path) -> Object:
    """``tree`` lacking what stands at ``path``, and objects that are left empty by that."""
    name, rest = path[0], path[1:]
    if name not in tree:
        return tree
    inner = tree[name]
    if rest and isinstance(inner, Mapping):
        left = _without(dict(inner), rest)
        if left:
            return {**tree, name: left}
    return {key: value for key, value in tree.items() if key != name}
