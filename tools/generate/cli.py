"""What `tb-cli` offers: the catalogue that it reads instead of importing the protocol, and its reference for people."""

from __future__ import annotations

import ast
import inspect
import json
import re
import textwrap
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from theblock_node.core import codec
from theblock_node.core.domains import DOMAINS

ROOT = Path(__file__).resolve().parents[2]
CATALOGUE = "node/theblock_node/cli/catalogue.json"
REFERENCE = "docs/cli.md"
_MONEY = frozenset({"amount", "bond", "stake", "price"})
_FORMS = {"bool": "flag", "str": "text", "fixed": "hex", "bytes": "hex", "enum": "choice"}


def render_catalogue() -> dict[str, str]:
    domains: dict[str, list[dict[str, Any]]] = {}
    for domain in DOMAINS:
        calls = [_call(name, spec.doc, spec.type, False) for name, spec in domain.commands.items()]
        queries = [
            _call(name, spec.doc or spec.request.__doc__ or "", spec.request, True)
            for name, spec in domain.queries.items()
        ]
        if calls or queries:
            domains[domain.name] = [*calls, *queries]
    params = [
        {
            "name": param.name,
            "domain": domain.name,
            "default": param.default,
            "min": param.min,
            "max": param.max,
            "unit": param.unit,
            "presets": dict(param.presets),
        }
        for domain in DOMAINS
        for param in domain.params
    ]
    return {CATALOGUE: json.dumps({"domains": domains, "params": params}, indent=1) + "\n"}


def render_reference() -> dict[str, str]:
    """Every command with its help, from the command line itself."""
    import click
    from theblock_node.cli.main import cli
    from theblock_node.cli.reference import INTRODUCTION

    lines = [*INTRODUCTION.splitlines(), ""]

    def describe(command: click.Command, parent: click.Context | None, path: str) -> None:
        context = click.Context(command, info_name=path.rpartition(" ")[2], parent=parent, terminal_width=110)
        context.max_content_width = 110
        lines.extend(
            [f"{'#' * min(2 + path.count(' '), 4)} `{path}`", "", "```", *_own_help(command, context), "```", ""]
        )
        if isinstance(command, click.Group):
            for name in command.list_commands(context):
                found = command.get_command(context, name)
                assert found is not None
                describe(found, context, f"{path} {name}")

    describe(cli, None, "tb-cli")
    return {REFERENCE: "\n".join(lines)}


def _own_help(command: Any, context: Any) -> list[str]:
    """The help of a command; the options that all share are only told of the whole and of the first that signs."""
    lines = [line.rstrip() for line in command.get_help(context).splitlines()]
    sections = [at for at, line in enumerate(lines) if line in ("Signing:", "Network:")]
    if context.parent is None or not sections or context.command_path == "tb-cli tx send":
        return lines
    names = " and ".join(lines[at].removesuffix(":").lower() for at in sections)
    return [*lines[: sections[0]], f"Also the {names} options."]


def _call(name: str, doc: str, record: type, is_query: bool) -> dict[str, Any]:
    docs = _field_docs(record)
    kinds = dict(codec.kind_of(record).parts)
    rows = [_field(each, kinds[each.name], docs.get(each.name, ""), is_query) for each in fields(record)]
    default = f"Read `{name}`." if is_query else f"Submit `{name}`."
    return {"name": name, "doc": _sentence(doc, default), "is_query": is_query, "fields": rows}


def _field(each: Any, kind: Any, doc: str, is_query: bool) -> dict[str, Any]:
    name = each.name.rstrip("_")
    is_nullable = kind.tag == "option"
    inner = kind.parts[0] if is_nullable else kind
    is_list = inner.tag in ("list", "set") and _form(name, inner.parts[0]) != "json"
    part = inner.parts[0] if is_list else inner
    default = _default(each, kind)
    if is_query and default is None and not is_nullable:
        default = _nothing(name, part)
    made: dict[str, Any] = {
        "name": name,
        "form": _form(name, part),
        "doc": doc,
        "is_required": not is_nullable and default is None,
        "is_list": is_list,
        "is_nullable": is_nullable,
        "default": default,
    }
    if part.tag == "int":
        made |= {"low": part.source.low, "high": part.source.high}
    if part.tag == "enum":
        made["choices"] = list(part.source.__members__)
    return made


def _form(name: str, kind: Any) -> str:
    if kind.tag == "int":
        is_money = kind.source.name == "u64" and not _MONEY.isdisjoint(name.split("_"))
        return "amount" if is_money else "integer"
    return _FORMS.get(kind.tag, "json")


def _default(each: Any, kind: Any) -> Any:
    if each.default is MISSING or each.default is None:
        return None
    if kind.tag == "int" and kind.source.size >= 8:
        return str(each.default)
    return each.default


def _nothing(name: str, kind: Any) -> Any:
    """What stands for "all" or "the usual" in a query, where it is so."""
    if kind.tag == "int" and name in ("limit", "before"):
        return 0
    if kind.tag in ("str", "bytes") and kind.pattern is None and (kind.length is None or kind.length.min == 0):
        return "" if name in ("after", "provider_id") else None
    return None


def _field_docs(record: type) -> dict[str, str]:
    """What stands under the fields of a dataclass."""
    found = {}
    body = ast.parse(textwrap.dedent(inspect.getsource(record))).body[0]
    assert isinstance(body, ast.ClassDef)
    for field, note in zip(body.body, body.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and _is_text(note):
            found[field.target.id] = _sentence(note.value.value, "")  # type: ignore[attr-defined]
    return found


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _sentence(doc: str, default: str) -> str:
    text = " ".join(doc.split()).replace("``", "`")
    if not text or re.match(r"^\w+\(", text):
        return default
    return text.split(". ")[0].rstrip(".") + "."
