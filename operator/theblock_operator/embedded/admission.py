"""What an API server does with our six kinds before it stores them: the schema, the defaults, the rules.

The schema is the CRD's own, so that a manifest is refused here exactly where a cluster would refuse it; the CEL rules
are evaluated by their twins (`kinds/kind.py`). Every fault is told at once, each with the path of its field.
"""

from __future__ import annotations

import copy
import difflib
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import msgspec

from theblock_operator.api import OUR_GROUP, Invalid
from theblock_operator.kinds import BY_NAME
from theblock_operator.kinds.kind import Kind, places
from theblock_operator.observed import Object
from theblock_operator.schema import spec_schema

FAULTS_MAX = 20
META_FIELDS = {
    "name": str,
    "namespace": str,
    "labels": dict,
    "annotations": dict,
    "finalizers": list,
    "ownerReferences": list,
    "uid": str,
    "resourceVersion": str,
    "generation": int,
    "creationTimestamp": str,
    "deletionTimestamp": str,
    "deletionGracePeriodSeconds": int,
    "managedFields": list,
}
TOP_FIELDS = ("apiVersion", "kind", "metadata", "spec", "status")
TYPES = {"object": dict, "array": list, "string": str, "integer": int, "boolean": bool}


class Refused(Invalid):
    """An object breaks the schema or a rule; ``faults`` are (path, what is wrong and what to do)."""

    def __init__(self, kind: str, name: str, faults: list[tuple[str, str]]) -> None:
        told = "; ".join(f"{path}: {message}" for path, message in faults[:FAULTS_MAX])
        super().__init__(422, "Invalid", f"{kind} {name} is invalid: {told}")
        self.faults = faults


def admit(object_: Object, before: Object | None) -> Object:
    """``object_`` with its defaults; `Refused` with every fault that is found. ``before``: what it replaces."""
    kind = BY_NAME[object_["kind"]]
    name = str(object_.get("metadata", {}).get("name", ""))
    faults = list(_envelope_faults(object_))
    spec = object_.get("spec", {})
    schema = _schema_of(kind.name)
    if "spec" not in object_:
        faults.append(("spec", "is required"))
    filled = fill(schema, spec) if isinstance(spec, dict) else spec
    faults += check(schema, filled, "spec")
    if not faults:
        faults += _rule_faults(kind, {**object_, "spec": filled}, before)
    if faults:
        raise Refused(kind.name, name, faults)
    return {**object_, "spec": filled}


def scale_patch(kind: str, replicas: int) -> Object:
    """What a write to the subresource `/scale` changes."""
    if kind not in BY_NAME or not BY_NAME[kind].scalable:
        raise Invalid(422, "Invalid", f"{kind} has no replicas of its own to scale")
    return {"spec": {"replicas": replicas}}


def fill(schema: Object, value: Any) -> Any:
    """``value`` with the defaults of all fields that are absent, at every depth."""
    match value:
        case dict():
            properties = schema.get("properties")
            if properties is None:
                inner = schema.get("additionalProperties", {})
                return {name: fill(inner, item) for name, item in value.items()}
            made = dict(value)
            for name, field in properties.items():
                if name not in made and "default" in field:
                    made[name] = copy.deepcopy(field["default"])
                if name in made:
                    made[name] = fill(field, made[name])
            return made
        case list():
            return [fill(schema.get("items", {}), item) for item in value]
    return value


def check(schema: Object, value: Any, path: str) -> Iterator[tuple[str, str]]:
    """Everything about ``value`` that its schema refuses."""
    wanted = TYPES[schema["type"]]
    if not isinstance(value, wanted) or (wanted is int and isinstance(value, bool)):
        yield path, f"must be of type {schema['type']}, not {_type_of(value)}"
        return
    match value:
        case dict():
            yield from _check_object(schema, value, path)
        case list():
            yield from _check_list(schema, value, path)
        case str():
            yield from _check_text(schema, value, path)
        case int() if wanted is int:
            if value < schema.get("minimum", value):
                yield path, f"must be at least {schema['minimum']}, not {value}"
            if value > schema.get("maximum", value):
                yield path, f"must be at most {schema['maximum']}, not {value}"


def _check_object(schema: Object, value: Object, path: str) -> Iterator[tuple[str, str]]:
    for name in schema.get("required", ()):
        if name not in value:
            yield f"{path}.{name}", "is required"
    properties = schema.get("properties")
    if properties is None:
        if len(value) > schema.get("maxProperties", len(value)):
            yield path, f"must have at most {schema['maxProperties']} entries, not {len(value)}"
        for name, item in value.items():
            yield from check(schema["additionalProperties"], item, f"{path}.{name}")
        return
    for name, item in value.items():
        if name not in properties:
            yield f"{path}.{name}", _unknown(name, properties)
        else:
            yield from check(properties[name], item, f"{path}.{name}")


def _check_list(schema: Object, value: list[Any], path: str) -> Iterator[tuple[str, str]]:
    if len(value) < schema.get("minItems", 0):
        yield path, f"must have at least {schema['minItems']} items, not {len(value)}"
    if len(value) > schema.get("maxItems", len(value)):
        yield path, f"must have at most {schema['maxItems']} items, not {len(value)}"
        return
    for index, item in enumerate(value):
        yield from check(schema["items"], item, f"{path}[{index}]")
    yield from _check_distinct(schema, value, path)


def _check_distinct(schema: Object, value: list[Any], path: str) -> Iterator[tuple[str, str]]:
    keys = schema.get("x-kubernetes-list-map-keys")
    seen: list[Any] = []
    for index, item in enumerate(value):
        if schema.get("x-kubernetes-list-type") == "map" and keys and isinstance(item, dict):
            identity, at = item.get(keys[0]), f"{path}[{index}].{keys[0]}"
        elif schema.get("x-kubernetes-list-type") == "set":
            identity, at = item, f"{path}[{index}]"
        else:
            return
        if identity in seen:
            yield at, f"stands there twice: {identity}"
        seen.append(identity)


def _check_text(schema: Object, value: str, path: str) -> Iterator[tuple[str, str]]:
    if "enum" in schema and value not in schema["enum"]:
        yield path, f"must be one of {', '.join(schema['enum'])}, not {_short(value)}"
    if len(value) < schema.get("minLength", 0):
        yield path, f"must have at least {schema['minLength']} characters"
    if len(value) > schema.get("maxLength", len(value)):
        yield path, f"must have at most {schema['maxLength']} characters, not {len(value)}"
    elif "pattern" in schema and re.search(schema["pattern"], value) is None:
        yield path, f"must look like {schema['pattern']}, not {_short(value)}"


def _envelope_faults(object_: Object) -> Iterator[tuple[str, str]]:
    if object_.get("apiVersion") != OUR_GROUP:
        yield "apiVersion", f"must be {OUR_GROUP}"
    for name in object_:
        if name not in TOP_FIELDS:
            yield name, _unknown(name, dict.fromkeys(TOP_FIELDS))
    meta = object_.get("metadata", {})
    for name, value in meta.items():
        if name not in META_FIELDS:
            yield f"metadata.{name}", _unknown(name, META_FIELDS)
        elif not isinstance(value, META_FIELDS[name]):
            yield f"metadata.{name}", f"must be of type {META_FIELDS[name].__name__}"
    for field in ("labels", "annotations"):
        found = meta.get(field)
        for name, value in found.items() if isinstance(found, dict) else ():
            if not isinstance(value, str):
                yield f"metadata.{field}.{name}", f"must be of type string, not {_type_of(value)}"


def _rule_faults(kind: Kind, object_: Object, before: Object | None) -> Iterator[tuple[str, str]]:
    """Faults of an object that fits the schema."""
    name = object_["metadata"].get("name", "")
    for rule in kind.rules:
        if rule.at == "root" and rule.holds is not None and not rule.holds(name):
            yield "metadata.name", rule.message
    try:
        spec = msgspec.convert(object_["spec"], kind.spec)
    except msgspec.ValidationError as refused:
        yield "spec", str(refused)
        return
    for rule in kind.rules:
        if rule.at != "root" and rule.holds is not None:
            yield from ((path, rule.message) for path, value in places(rule.at, spec) if not rule.holds(value))
    if before is None:
        return
    try:
        old = msgspec.convert(before["spec"], kind.spec)
    except msgspec.ValidationError:
        return  # Stored under another version of the kind: what it was cannot bind what it becomes.
    yield from ((refusal.path, refusal.message) for refusal in kind.check_change(old, spec))


@cache
def _schema_of(kind: str) -> Object:
    schema: Object = msgspec.json.decode(msgspec.json.encode(spec_schema(BY_NAME[kind])))
    return schema


def _unknown(name: str, known: Mapping[str, Any]) -> str:
    near = next((other for other in known if other.lower() == name.lower()), None)
    if near is None:
        near = next(iter(difflib.get_close_matches(name, list(known), 1)), None)
    return f"unknown field; did you mean {near}?" if near else f"unknown field; known are {', '.join(sorted(known))}"


def _type_of(value: Any) -> str:
    if value is None:
        return "null"
    return next((name for name, found in TYPES.items() if type(value) is found), type(value).__name__)


def _short(value: str) -> str:
    return repr(value if len(value) <= 60 else value[:57] + "...")
