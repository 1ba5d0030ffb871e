"""The schema of the values of `charts/theblock-network`: the specs of the kinds, one of each under its name.

Helm checks values against it before anything reaches an API server; the rules in CEL remain the API server's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from theblock_operator.observed import Object

LABEL = "^[a-z]([-a-z0-9]*[a-z0-9])?$"
DROPPED = frozenset({"default", "format"})
RESOURCES_MAX = 64


def render(network_spec: Object, member_specs: Mapping[str, Object]) -> Object:
    """``member_specs``: the schema of a kind's spec by the name of its values (`storageProviders`)."""
    properties: Object = {
        "global": {"type": "object"},
        "network": _closed(
            {"name": {"type": "string", "maxLength": 40, "pattern": LABEL}, "spec": as_json_schema(network_spec)},
            required=["name", "spec"],
        ),
        **{name: _resources(spec) for name, spec in member_specs.items()},
        "commonLabels": _strings(),
        "commonAnnotations": _strings(),
        "resources": _closed({"enabled": {"type": "boolean"}}),
        "postgres": _postgres(),
    }
    return {"$schema": "http://json-schema.org/draft-07/schema#", **_closed(properties, required=["network"])}


def as_json_schema(schema: Object) -> Object:
    """A structural schema as JSON Schema that refuses unknown fields, as a strict API server does."""
    made: Object = {}
    for key, value in schema.items():
        if key in DROPPED or key.startswith("x-kubernetes-"):
            continue
        if key == "properties":
            made[key] = {name: as_json_schema(part) for name, part in value.items()}
        elif key in ("items", "additionalProperties") and isinstance(value, dict):
            made[key] = as_json_schema(value)
        else:
            made[key] = value
    if "properties" in made:
        made.setdefault("additionalProperties", False)
    return made


def _resources(spec: Object) -> Object:
    """Resources of a kind: their specs by name, null where one of the defaults is not wanted."""
    own = {**spec, "properties": {name: part for name, part in spec["properties"].items() if name != "network"}}
    required = [name for name in spec.get("required", ()) if name != "network"]
    own = {**own, "required": required} if required else {key: part for key, part in own.items() if key != "required"}
    return {
        "type": "object",
        "maxProperties": RESOURCES_MAX,
        "propertyNames": {"maxLength": 40, "pattern": LABEL},
        "additionalProperties": {**as_json_schema(own), "type": ["object", "null"]},
    }


def _postgres() -> Object:
    text: Object = {"type": "string", "maxLength": 253}
    word: Object = {"type": "string", "pattern": "^[a-z][a-z0-9_]{0,62}$"}
    return _closed(
        {
            "enabled": {"type": "boolean"},
            "image": {"type": "string", "minLength": 1, "maxLength": 512},
            "pullPolicy": {"enum": ["Always", "IfNotPresent", "Never"]},
            "name": {"type": "string", "maxLength": 52, "pattern": "^([a-z]([-a-z0-9]*[a-z0-9])?)?$"},
            "database": word,
            "user": word,
            # It becomes part of an address, as it stands.
            "password": {"type": "string", "maxLength": 128, "pattern": "^[A-Za-z0-9._~-]*$"},
            "userId": {"type": "integer", "minimum": 1, "maximum": 2**31 - 1},
            "storage": _closed(
                {"size": {"type": "string", "pattern": "^[1-9][0-9]{0,5}(Mi|Gi|Ti)$"}, "className": text}
            ),
            "resources": {"type": "object"},
            "nodeSelector": _strings(),
            "tolerations": {"type": "array", "maxItems": 32},
            "networkPolicy": _closed({"enabled": {"type": "boolean"}}),
        }
    )


def _strings() -> Object:
    return {"type": "object", "maxProperties": 32, "additionalProperties": {"type": "string"}}


def _closed(properties: Mapping[str, Any], *, required: Sequence[str] = ()) -> Object:
    made: Object = {"type": "object", "additionalProperties": False, "properties": dict(properties)}
    return {**made, "required": list(required)} if required else made
