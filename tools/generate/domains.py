"""A domain's dataclasses as a typed proto, as JSON schemas, and its params as a table.

The proto carries the JSON form of a record field by field: wide integers as uint64, byte strings as hex text,
enums by name. So one mapping (`rpc/domains.py`) serves every typed service. Field numbers follow declaration
order: fields are only appended.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from theblock_node.core import codec
from theblock_node.core.domain import CommandSpec, Domain, QuerySpec, snake
from theblock_node.core.domains import DOMAINS

Files = dict[str, str]
WIDE = {"u64": "uint64", "i64": "int64", "u128": "string"}


def render() -> Files:
    """Path -> content of everything made from the domains."""
    files = {f"proto/theblock/{d.name}/v1/{d.name}.proto": _proto(d) for d in DOMAINS if d.commands or d.queries}
    files.update(_schemas())
    files["docs/spec/params.md"] = _params()
    files["docs/spec/calls.md"] = _calls()
    return files


# --- protos


def _proto(domain: Domain) -> str:
    messages = _Messages()
    rpcs: list[str] = []
    for command in domain.commands.values():
        rpcs += _rpc(command.type.__name__, _sentence(command.doc, f"Submits `{command.name}`."))
        messages.add_command(command)
    for query in domain.queries.values():
        rpcs += _rpc(query.request.__name__, _sentence(query.doc, f"Reads `{query.name}`."))
        messages.add_query(query)
    package = f"theblock.{domain.name}.v1"
    service = domain.service
    head = [
        'syntax = "proto3";',
        "",
        f"// Made from `core/domains`: the calls and queries of {domain.name}.",
        f"package {package};",
        "",
    ]
    if messages.uses_struct:
        head += ['import "google/protobuf/struct.proto";', ""]
    return "\n".join(
        [*head, f"// Calls and queries of {domain.name}.", f"service {service} {{", *rpcs, "}", *messages.lines, ""]
    )


def _rpc(name: str, doc: str) -> list[str]:
    return [f"  // {doc}", f"  rpc {name}({name}Request) returns ({name}Response);"]


class _Messages:
    """Writes each record once, in the order in which it is first needed."""

    def __init__(self) -> None:
        self._known: set[str] = set()
        self.lines: list[str] = []
        self.uses_struct = False

    def add_command(self, spec: CommandSpec) -> None:
        name = spec.type.__name__
        arguments = self._message(codec.kind_of(spec.type))
        self._write(
            f"{name}Request",
            f"Arguments of `{spec.name}`, or a signed transaction that carries them.",
            [
                (
                    "Arguments; read when `tx` is empty, and the answer is then the unsigned payload.",
                    arguments,
                    "arguments",
                ),
                ("Canonical bytes of a signed envelope whose call is this one.", "bytes", "tx"),
                ("Sender of the unsigned payload.", "string", "from_address"),
            ],
        )
        self._write(
            f"{name}Response",
            f"What became of `{spec.name}`.",
            [
                ("Id of the transaction, hex.", "string", "tx_id"),
                ("Canonical bytes of the payload to sign, when there was no `tx`.", "bytes", "unsigned_payload"),
            ],
        )

    def add_query(self, spec: QuerySpec) -> None:
        self._record(f"{spec.request.__name__}Request", f"Request of `{spec.name}`.", codec.kind_of(spec.request))
        self._record(f"{spec.request.__name__}Response", f"Answer of `{spec.name}`.", codec.kind_of(spec.reply))

    def _message(self, kind: Any) -> str:
        name: str = kind.source.__name__
        if name not in self._known:
            self._known.add(name)
            self._record(name, _sentence(kind.source.__doc__, f"{name}."), kind)
        return name

    def _record(self, name: str, doc: str, kind: Any) -> None:
        rows = [("", self._type(part), field.rstrip("_")) for field, part in kind.parts]
        self._write(name, doc, rows)

    def _one_of(self, kind: Any) -> str:
        """A message for a union, with a field for each of its records; `rpc/domains.py` names them the same."""
        names = [part.source.__name__ for part in kind.parts]
        name = "Or".join(names)
        if name not in self._known:
            self._known.add(name)
            rows = [(self._message(part), snake(part.source.__name__)) for part in kind.parts]
            fields = [f"    {message} {field} = {number};" for number, (message, field) in enumerate(rows, start=1)]
            doc = f"Either {' or '.join(f'`{each}`' for each in names)}."
            self.lines += ["", f"// {doc}", f"message {name} {{", "  oneof kind {", *fields, "  }", "}"]
        return name

    def _write(self, name: str, doc: str, rows: list[tuple[str, str, str]]) -> None:
        self.lines += ["", f"// {doc}", f"message {name} {{"]
        for number, (comment, kind, field) in enumerate(rows, start=1):
            if comment:
                self.lines.append(f"  // {comment}")
            self.lines.append(f"  {kind} {field} = {number};")
        self.lines.append("}")

    def _type(self, kind: Any) -> str:
        match kind.tag:
            case "int":
                return WIDE.get(kind.source.name, "int32" if kind.source.signed else "uint32")
            case "bool":
                return "bool"
            case "option":
                inner = self._type(kind.parts[0])
                return inner if kind.parts[0].tag in ("struct", "union") else f"optional {inner}"
            case "list" | "set":
                return f"repeated {self._type(kind.parts[0])}"
            case "struct":
                return self._message(kind)
            case "union":
                return self._one_of(kind)
            case "map" | "tuple":
                self.uses_struct = True
                return "google.protobuf.Struct" if kind.tag != "tuple" else "google.protobuf.ListValue"
            case _:
                return "string"


# --- JSON schemas


def _schemas() -> Files:
    files = {}
    for domain in DOMAINS:
        for spec in domain.commands.values():
            files[f"docs/spec/{spec.name}.schema.json"] = _schema_file(spec.name, spec.type)
        for query in domain.queries.values():
            files[f"docs/spec/query.{query.name}.schema.json"] = _schema_file(query.name, query.request)
            files[f"docs/spec/answer.{query.name}.schema.json"] = _schema_file(query.name, query.reply)
        for record, name in domain.events.items():
            files[f"docs/spec/event.{name}.schema.json"] = _schema_file(name, record)
    return files


def _schema_file(name: str, record: type) -> str:
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": name,
        "description": _sentence(record.__doc__, name),
        **_schema(codec.kind_of(record)),
    }
    return json.dumps(schema, indent=1, sort_keys=True) + "\n"


def _schema(kind: Any) -> dict[str, Any]:
    match kind.tag:
        case "int" if kind.source.size >= 8:
            return {"type": "string", "pattern": "^-?[0-9]{1,39}$" if kind.source.signed else "^[0-9]{1,39}$"}
        case "int":
            return {"type": "integer", "minimum": kind.source.low, "maximum": kind.source.high}
        case "bool":
            return {"type": "boolean"}
        case "fixed":
            return {"type": "string", "pattern": f"^[0-9a-f]{{{2 * kind.source}}}$"}
        case "bytes":
            made: dict[str, Any] = {"type": "string", "pattern": "^([0-9a-f]{2})*$"}
            return made | ({"maxLength": 2 * kind.length.max} if kind.length else {})
        case "str":
            made = {"type": "string"}
            if kind.length:
                made |= {"minLength": kind.length.min, "maxLength": kind.length.max}
            return made | ({"pattern": f"^(?:{kind.pattern.text})$"} if kind.pattern else {})
        case "enum":
            return {"type": "string", "enum": list(kind.source.__members__)}
        case "option":
            return {"anyOf": [_schema(kind.parts[0]), {"type": "null"}]}
        case "list" | "set":
            made = {"type": "array", "items": _schema(kind.parts[0])}
            return made | ({"minItems": kind.length.min, "maxItems": kind.length.max} if kind.length else {})
        case "tuple":
            return {"type": "array", "prefixItems": [_schema(part) for part in kind.parts], "items": False}
        case "map":
            return {"type": "object", "additionalProperties": _schema(kind.parts[1])}
        case "union":
            return {"anyOf": [_variant(part) for part in kind.parts]}
        case "struct":
            names = [name.rstrip("_") for name, _ in kind.parts]
            properties = {name.rstrip("_"): _schema(part) for name, part in kind.parts}
            return {"type": "object", "properties": properties, "required": names, "additionalProperties": False}
    return {"type": "null"}


def _variant(kind: Any) -> dict[str, Any]:
    made = _schema(kind)
    made["properties"]["type"] = {"const": kind.source.__name__}
    made["required"].insert(0, "type")
    return made


# --- tables for people


def _params() -> str:
    rows = ["# Params", "", "Numbers that a vote can change; made from their declarations.", ""]
    rows += [
        "| name | domain | default | min | max | unit | devnet | minimal |",
        "|---|---|---:|---:|---:|---|---:|---:|",
    ]
    for domain in DOMAINS:
        for param in domain.params:
            values = (param.default, param.min, param.max, param.unit)
            first = (param.first_value("devnet"), param.first_value("minimal"))
            rows.append(
                f"| `{param.name}` | {domain.name} | " + " | ".join(str(value) for value in (*values, *first)) + " |"
            )
    return "\n".join([*rows, ""])


def _calls() -> str:
    rows = ["# Calls, queries and events", "", "Made from the domains.", ""]
    for domain in DOMAINS:
        rows += [f"## {domain.name}", ""]
        rows += [f"- call `{name}`: {_sentence(spec.doc, '')}" for name, spec in domain.commands.items()]
        rows += [f"- query `{name}`: {_sentence(spec.doc, '')}" for name, spec in domain.queries.items()]
        rows += [f"- event `{name}`" for name in domain.events.values()]
        rows.append("")
    return "\n".join(_trimmed(rows))


def _trimmed(rows: list[str]) -> Iterator[str]:
    for row in rows:
        yield row.rstrip().removesuffix(":")


def _sentence(doc: str | None, default: str) -> str:
    """The first sentence of a docstring on one line; a dataclass without one has its signature there."""
    text = " ".join((doc or "").split())
    if not text or re.match(r"^\w+\(", text):
        return default
    return text.split(". ")[0].rstrip(".") + "."
