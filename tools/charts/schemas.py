"""Schemas of everything that charts may render: Kubernetes' own, as they come with `kubernetes-validate`, and ours.

Each is written out whole, so that other programs can read it; unknown fields are refused.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema_rs
import kubernetes_validate
from theblock_operator.chart_values import as_json_schema
from theblock_operator.kinds import KINDS
from theblock_operator.kinds.kind import GROUP, VERSION
from theblock_operator.schema import render_crd

from tools.charts.rendering import Object

KUBERNETES = "v1.35.0"
BUNDLED = Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema" / f"{KUBERNETES}-local-strict"
FOREIGN_GROUPS = ("monitoring.coreos.com/",)
"""Kinds of others, whose schemas are nowhere here: their objects are not checked, and that is said."""


def is_foreign(object_: Object) -> bool:
    return str(object_["apiVersion"]).startswith(FOREIGN_GROUPS)


def find_problems(object_: Object) -> Iterator[str]:
    """What the API server would refuse, each with its path."""
    schema = schema_of(object_["apiVersion"], object_["kind"])
    if schema is None:
        yield f"no schema for {object_['apiVersion']} {object_['kind']}"
        return
    for error in jsonschema_rs.validator_for(schema).iter_errors(object_):
        path = ".".join(str(step) for step in error.instance_path) or "(root)"
        yield f"{path}: {error.message}"


def write(objects: Iterable[Object], folder: Path) -> str:
    """Write the schemas of these objects for kubeconform; returns the location to give it."""
    for api_version, kind in sorted({(object_["apiVersion"], object_["kind"]) for object_ in objects}):
        schema = schema_of(api_version, kind)
        if schema is not None:
            (folder / f"{_file(api_version, kind)}.json").write_text(json.dumps(schema))
    return str(folder / "{{ .ResourceKind }}{{ .KindSuffix }}.json")


@cache
def schema_of(api_version: str, kind: str) -> Object | None:
    if api_version == f"{GROUP}/{VERSION}":
        return _own(kind)
    path = BUNDLED / f"{_file(api_version, kind)}.json"
    return _whole(json.loads(path.read_text())) if path.exists() else None


def _own(name: str) -> Object | None:
    """A kind of ours, as its CRD says; CEL rules are the API server's."""
    for kind in KINDS:
        if kind.name == name:
            root = render_crd(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
            return as_json_schema({**root, "required": ["apiVersion", "kind", "metadata", "spec"]})
    return None


def _file(api_version: str, kind: str) -> str:
    """`apps/v1` `Deployment` -> deployment-apps-v1; only the first label of a group counts."""
    group, _, version = api_version.rpartition("/")
    return "-".join(part for part in (kind.lower(), group.partition(".")[0], version) if part)


def _whole(schema: Object) -> Object:
    """The schema with all that it refers to inside itself."""
    definitions = _definitions()
    needed: set[str] = set()
    waiting = list(_references(schema))
    while waiting:
        name = waiting.pop()
        if name not in needed:
            needed.add(name)
            waiting += _references(definitions[name])
    made: Object = _localise(schema)
    return {**made, "$defs": {name: _localise(definitions[name]) for name in sorted(needed)}}


@cache
def _definitions() -> Object:
    found: Object = json.loads((BUNDLED / "_definitions.json").read_text())["$defs"]
    return found


def _references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        for key, value in part.items():
            if key == "$ref" and isinstance(value, str):
                yield value.rpartition("/")[2]
            else:
                yield from _references(value)
    elif isinstance(part, list):
        for value in part:
            yield from _references(value)


def _localise(part: Any) -> Any:
    if isinstance(part, dict):
        return {
            key: f"#/$defs/{value.rpartition('/')[2]}" if key == "$ref" and isinstance(value, str) else _localise(value)
            for key, value in part.items()
        }
    return [_localise(value) for value in part] if isinstance(part, list) else part
