"""The kinds as CustomResourceDefinitions, and the operator's rights as RBAC.

`python -m theblock_operator.schema [--check]`. A CRD is made from a kind's spec class alone: fields, defaults, bounds,
and the rules as CEL. Writes `crds/*.yaml`, the same into the chart, and the chart's roles.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import yaml
from msgspec import UNSET, inspect

from theblock_operator import chart_values, custom_metrics, metrics_api
from theblock_operator.custom_metrics import METRICS
from theblock_operator.kinds import BY_NAME, KINDS
from theblock_operator.kinds.kind import GROUP, VERSION, Kind, Rule
from theblock_operator.observed import Object

ROOT = Path(__file__).resolve().parents[2]
HEADER = "# Written by `python -m theblock_operator.schema`: change the kinds, not this file.\n"
MESSAGE_MAX = 1024
STRING_MAX = 1024
"""Of strings in status."""


def main(arguments: list[str]) -> int:
    stale = [path for path, text in render_files() if not path.exists() or path.read_text() != text]
    if "--check" in arguments:
        for path in stale:
            print(f"{path.relative_to(ROOT)} is not what the kinds say: run python -m theblock_operator.schema")
        return 1 if stale else 0
    for path, text in render_files():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for path in stale:
        print(f"wrote {path.relative_to(ROOT)}")
    return 0


def render_files() -> Iterator[tuple[Path, str]]:
    chart = ROOT / "charts" / "theblock-operator"
    for kind in KINDS:
        text = HEADER + dump(render_crd(kind))
        yield ROOT / "crds" / f"{kind.plural}.yaml", text
        yield chart / "crds" / f"{kind.plural}.yaml", text
    yield chart / "files" / "namespace-rules.yaml", HEADER + dump({"rules": namespace_rules()})
    yield (
        chart / "files" / "cluster-rules.yaml",
        HEADER + dump({"rules": cluster_rules(), "nodes": node_rules(), "metrics": metrics_rules()}),
    )
    yield chart / "files" / "people-rules.yaml", HEADER + dump(people_rules())
    yield ROOT / "charts" / "theblock-network" / "values.schema.json", json.dumps(values_schema(), indent=1) + "\n"


def dump(document: Any) -> str:
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True)


class _Dumper(yaml.SafeDumper):
    """Writes equal parts out each time: anchors would make the file depend on what is shared in memory."""

    def ignore_aliases(self, data: object) -> bool:
        return True


# CRDs.


def render_crd(kind: Kind) -> Object:
    version: Object = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "subresources": _subresources(kind),
        "additionalPrinterColumns": [_column(column) for column in kind.columns],
        "schema": {"openAPIV3Schema": _root(kind)},
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": kind.name,
                "listKind": f"{kind.name}List",
                "plural": kind.plural,
                "singular": kind.singular,
                "shortNames": [kind.short_name],
                "categories": ["theblock"],
            },
            "versions": [version],
        },
    }


def _subresources(kind: Kind) -> Object:
    if not kind.scalable:
        return {"status": {}}
    scale = {
        "specReplicasPath": ".spec.replicas",
        "statusReplicasPath": ".status.replicas",
        "labelSelectorPath": ".status.selector",
    }
    return {"status": {}, "scale": scale}


def _column(column: Any) -> Object:
    entry: Object = {"name": column.name, "type": column.type, "jsonPath": column.path}
    return {**entry, "priority": 1} if column.wide else entry


def _root(kind: Kind) -> Object:
    spec = spec_schema(kind)
    status = _struct(inspect.type_info(kind.status), with_defaults=False)
    status["properties"] = {
        "observedGeneration": {"type": "integer", "format": "int64"},
        "conditions": _conditions(),
        **status["properties"],
    }
    root: Object = {
        "type": "object",
        "description": str(sys.modules[_module(kind)].__doc__).strip().split("\n")[0],
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": spec,
            "status": status,
        },
    }
    rules = [_rule(rule) for rule in kind.rules if rule.at == "root"]
    return {**root, "x-kubernetes-validations": rules}


def _module(kind: Kind) -> str:
    known = {"Network": "network", "Validator": "validator", "StorageProvider": "storage_provider"}
    known |= {"ComputeProvider": "compute_provider", "EnergyOracle": "energy_oracle", "Bridge": "bridge"}
    return f"theblock_operator.kinds.{known[kind.name]}"


def spec_schema(kind: Kind) -> Object:
    """The schema of `.spec`, with every rule at its place."""
    schema = _struct(inspect.type_info(kind.spec), with_defaults=True)
    for rule in kind.rules:
        if rule.at != "root" and rule.cel:
            place = _find(schema, rule.at)
            place.setdefault("x-kubernetes-validations", []).append(_rule(rule))
    return schema


def _find(schema: Object, at: str) -> Object:
    place = schema
    for step in at.split(".")[1:]:
        name, each, _ = step.partition("[*]")
        place = place["properties"][name]
        if each:
            place = place["items"]
    return place


def _rule(rule: Rule) -> Object:
    return {"rule": rule.cel, "message": rule.message}


def _conditions() -> Object:
    text = {"type": "string", "maxLength": 316}
    item = {
        "type": "object",
        "required": ["type", "status", "reason", "message", "lastTransitionTime"],
        "properties": {
            "type": text,
            "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
            "reason": text,
            "message": {"type": "string", "maxLength": MESSAGE_MAX},
            "observedGeneration": {"type": "integer", "format": "int64"},
            "lastTransitionTime": {"type": "string", "format": "date-time"},
        },
    }
    return {
        "type": "array",
        "maxItems": 32,
        "items": item,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
    }


def _schema(kind_of: Any, *, with_defaults: bool) -> Object:
    """One type as structural OpenAPI."""
    extra: Mapping[str, Any] = {}
    described: Object = {}
    while isinstance(kind_of, inspect.Metadata):
        extra = {**(kind_of.extra or {}), **extra}
        described = {**(kind_of.extra_json_schema or {}), **described}
        kind_of = kind_of.type
    match kind_of:
        case inspect.BoolType():
            schema: Object = {"type": "boolean"}
        case inspect.IntType():
            schema = {"type": "integer", "format": "int64"}
            schema |= _bounds(minimum=kind_of.ge, maximum=kind_of.le)
        case inspect.StrType():
            schema = {"type": "string"}
            longest = kind_of.max_length if kind_of.max_length is not None else STRING_MAX
            schema |= _bounds(minLength=kind_of.min_length, maxLength=longest, pattern=kind_of.pattern)
        case inspect.LiteralType():
            schema = {"type": "string", "enum": list(kind_of.values)}
        case inspect.VarTupleType():
            items = _schema(kind_of.item_type, with_defaults=with_defaults)
            schema = {"type": "array", "items": items}
            longest = kind_of.max_length if kind_of.max_length is not None else 64
            schema |= _bounds(minItems=kind_of.min_length, maxItems=longest)
            schema |= _list_type(extra)
        case inspect.DictType():
            values = _schema(kind_of.value_type, with_defaults=with_defaults)
            schema = {"type": "object", "additionalProperties": values}
            schema |= _bounds(maxProperties=kind_of.max_length if kind_of.max_length is not None else 32)
        case inspect.StructType():
            schema = _struct(kind_of, with_defaults=with_defaults)
        case _:
            raise AssertionError(f"no structural schema for {kind_of}")
    return {**described, **schema}


def _bounds(**values: Any) -> Object:
    return {name: value for name, value in values.items() if value is not None}


def _list_type(extra: Mapping[str, Any]) -> Object:
    if extra.get("list_type") == "map":
        return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [extra["list_key"]]}
    return {"x-kubernetes-list-type": extra.get("list_type", "atomic")}


def _struct(kind_of: Any, *, with_defaults: bool) -> Object:
    properties: Object = {}
    required = []
    for field in kind_of.fields:
        schema = _schema(field.type, with_defaults=with_defaults)
        default = _default(field)
        if field.required:
            required.append(field.encode_name)
        elif with_defaults and default is not UNSET:
            schema["default"] = default
        properties[field.encode_name] = schema
    made: Object = {"type": "object", "properties": properties}
    return {"type": "object", "required": required, "properties": properties} if required else made


def _default(field: Any) -> Any:
    """What the API server fills in, whole: it tries the rules on a default before it fills in what is inside."""
    value = field.default_factory() if field.default_factory is not msgspec.NODEFAULT else field.default
    return UNSET if value is UNSET or value is msgspec.NODEFAULT else msgspec.to_builtins(value)


def values_schema() -> Object:
    """Of the network chart: its values are named after the kinds, in the plural."""
    members = {f"{kind.name[0].lower()}{kind.name[1:]}s": spec_schema(kind) for kind in KINDS if kind.name != "Network"}
    return chart_values.render(spec_schema(BY_NAME["Network"]), members)


# RBAC (resources.md 11).


def namespace_rules() -> list[Object]:
    plurals = [kind.plural for kind in KINDS]
    return [
        _allow([GROUP], plurals, "get list watch patch"),
        _allow([GROUP], [f"{plural}/status" for plural in plurals], "patch"),
        _allow([GROUP], [f"{plural}/finalizers" for plural in plurals], "update"),
        _allow(["apps"], ["statefulsets/finalizers"], "update"),
        _allow(["apps"], ["statefulsets"], "get list watch create patch delete"),
        _allow([""], ["configmaps", "services", "serviceaccounts"], "get list watch create patch delete"),
        _allow(["policy"], ["poddisruptionbudgets"], "get list watch create patch delete"),
        _allow(["networking.k8s.io"], ["networkpolicies"], "get list watch create patch delete"),
        _allow([""], ["pods"], "get list watch delete"),
        _allow([""], ["persistentvolumeclaims"], "get list watch patch delete"),
        _allow([""], ["secrets"], "get create patch"),
        _allow(["events.k8s.io"], ["events"], "create patch"),
        _allow(["coordination.k8s.io"], ["leases"], "create"),
        {**_allow(["coordination.k8s.io"], ["leases"], "get update"), "resourceNames": ["theblock-operator"]},
    ]


def cluster_rules() -> list[Object]:
    names = [f"{kind.plural}.{GROUP}" for kind in KINDS]
    # Only read by name, once at start: a list could not be restricted to names.
    rule = _allow(["apiextensions.k8s.io"], ["customresourcedefinitions"], "get")
    return [{**rule, "resourceNames": names}]


def node_rules() -> list[Object]:
    return [_allow([""], ["nodes"], "get list watch")]


def metrics_rules() -> list[Object]:
    """For the metrics API: to say by which authority it is known."""
    rule = _allow(["apiregistration.k8s.io"], ["apiservices"], "get patch")
    return [{**rule, "resourceNames": [metrics_api.API_SERVICE]}]


def people_rules() -> Object:
    plurals = [kind.plural for kind in KINDS]
    scales = [f"{kind.plural}/scale" for kind in KINDS if kind.scalable]
    return {
        "view": [_allow([GROUP], [*plurals, *scales], "get list watch")],
        "edit": [_allow([GROUP], plurals, "get list watch create update patch delete deletecollection")]
        + [_allow([GROUP], scales, "get update patch")],
        "metrics": [
            _allow(["custom.metrics.k8s.io"], [f"{custom_metrics.RESOURCE}/{name}" for name in METRICS], "get")
        ],
    }


def _allow(groups: list[str], resources: list[str], verbs: str) -> Object:
    return {"apiGroups": groups, "resources": resources, "verbs": verbs.split()}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
