"""One command for every call and query: its fields become options, its help is the domain's own words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from theblock_node.cli import forms
from theblock_node.cli.app import App
from theblock_node.cli.catalogue import Call, Field
from theblock_node.cli.frame import Leaf, acts, network_options, signing_options
from theblock_node.cli.submitting import submit

PREFIX = "field_"
"""Before the names of fields, so that none is ever that of a shared option."""
_NETWORK = frozenset(text for option in network_options() for text in option.opts)
_SIGNING = frozenset(text for option in signing_options() for text in option.opts)


def make_command(call: Call) -> Leaf:
    """The command of a call or query."""
    taken = _NETWORK if call.is_query else _NETWORK | _SIGNING
    options = [make_option(field, taken) for field in call.fields]
    if call.is_query:
        options.append(click.Option(["--final"], is_flag=True, help="Read what is final; without it, the head."))

    @acts
    async def run(app: App, **given: Any) -> None:
        final = bool(given.pop("final", False))
        arguments = collect(call, given)
        async with app.chain() as chain:
            if call.is_query:
                app.show(await chain.query(call.name, arguments, final=final))
            else:
                app.show(await submit(app, chain, call.name, arguments))

    return Leaf(call.verb, callback=run, params=options, help=call.doc, signs=not call.is_query)


def make_option(field: Field, taken: frozenset[str]) -> click.Option:
    """The option of a field; where its own name is ``taken`` it is the call's."""
    name = field.name.replace("_", "-")
    if f"--{name}" in taken:
        name = f"call-{name}"
    attributes: dict[str, Any] = {"help": _help(field)}
    if field.form == "flag":
        attributes |= {"default": None, "required": field.is_required}
        return click.Option(
            [f"--{name}/--{'off' if name == 'on' else f'no-{name}'}", PREFIX + field.name], **attributes
        )
    attributes |= {"type": _form(field), "metavar": _metavar(field)}
    attributes |= {"multiple": True} if field.is_list else {"required": field.is_required}
    return click.Option([f"--{name}", PREFIX + field.name], **attributes)


def collect(call: Call, given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments as JSON; what was not given is null, its default, or left to the codec."""
    arguments: dict[str, Any] = {}
    for field in call.fields:
        value = given[PREFIX + field.name]
        if field.is_list:
            arguments[field.name] = list(value)
        elif value is not None or field.is_nullable:
            arguments[field.name] = value
        elif field.default is not None:
            arguments[field.name] = field.default
    return arguments


def _form(field: Field) -> click.ParamType[Any]:
    match field.form:
        case "amount":
            return forms.AMOUNT
        case "integer":
            return forms.WholeForm(field.low, field.high)
        case "hex":
            return forms.HEX
        case "choice":
            return click.Choice(field.choices, case_sensitive=False)
        case "json":
            return forms.JSON
    return click.STRING


def _metavar(field: Field) -> str | None:
    return {"hex": "HEX|@FILE", "json": "JSON|@FILE", "amount": "AMOUNT"}.get(field.form)


def _help(field: Field) -> str:
    notes = []
    if field.is_list:
        notes.append("may be repeated")
    if field.form == "amount":
        notes.append("nBLOCK, or as 1.5BLOCK")
    if field.is_nullable:
        notes.append("may be left out")
    if field.default not in (None, ""):
        notes.append(f"default {field.default}")
    shown = f"[{'; '.join(notes)}]" if notes else ""
    return f"{field.doc} {shown}".strip()
