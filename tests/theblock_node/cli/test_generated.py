"""The tree of commands: whole, without clashes, and equal to what the chain declares."""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner
from theblock_node.cli import catalogue
from theblock_node.cli.frame import Leaf
from theblock_node.cli.generated import collect, make_command
from theblock_node.cli.main import cli
from theblock_node.core import codec
from theblock_node.core.domains import REGISTRY

from tools.generate import cli as generator

CATALOGUE = catalogue.load()
CALLS = [call for calls in CATALOGUE.domains.values() for call in calls]
SHARED = {"endpoint", "ca", "tls_name", "context", "output", "timeout", "key", "wait", "tip", "memo", "dry_run"}


def walk(command: click.Command = cli, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    context = click.Context(command)
    yield path, command
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from walk(found, (*path, name))


TREE = dict(walk())


def test_the_catalogue_is_what_the_domains_declare():
    names = {call.name: call for call in CALLS}
    assert set(names) == {*REGISTRY.commands, *REGISTRY.queries}
    for name, spec in REGISTRY.commands.items():
        parts = codec.kind_of(spec.type).parts
        assert [field.name for field in names[name].fields] == [part.rstrip("_") for part, _ in parts]
    assert {param.name for param in CATALOGUE.params} == set(REGISTRY.params)


def test_the_catalogue_and_the_reference_are_up_to_date():
    for name, text in {**generator.render_catalogue(), **generator.render_reference()}.items():
        assert (generator.ROOT / name).read_text() == text, f"{name}: run `make generate`"


def test_every_call_and_query_has_a_command():
    for call in CALLS:
        assert (call.name.partition(".")[0], call.verb) in TREE, call.name


@pytest.mark.parametrize("path", list(TREE), ids=" ".join)
def test_every_command_has_help(path):
    result = CliRunner().invoke(cli, [*path, "--help"], prog_name="tb-cli")

    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith(f"Usage: {' '.join(('tb-cli', *path))}")
    assert TREE[path].help


@pytest.mark.parametrize("path", [path for path, command in TREE.items() if isinstance(command, Leaf)], ids=" ".join)
def test_every_command_gives_json(path):
    assert "output" in {param.name for param in TREE[path].params}


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.name)
def test_a_generated_command_clashes_with_no_shared_option(call):
    names = [name for param in make_command(call).params for name in param.opts]
    assert len(names) == len(set(names))


def test_a_field_that_is_called_like_a_shared_option_is_the_calls():
    (call,) = [call for call in CALLS if call.name == "compute.submit_slice"]
    assert "output" in SHARED & {field.name for field in call.fields}
    options = {param.name: param.opts for param in make_command(call).params}
    assert (options["field_output"], options["output"]) == (["--call-output"], ["--output"])


@pytest.mark.parametrize("call", [call for call in CALLS if call.name in REGISTRY.commands], ids=lambda call: call.name)
def test_what_is_typed_becomes_the_record(call):
    """Every option filled in, by its form, is a JSON form that the codec takes."""
    spec = REGISTRY.commands[call.name]
    kinds = {name.rstrip("_"): kind for name, kind in codec.kind_of(spec.type).parts}
    given = {}
    for field in call.fields:
        if field.form == "json" or kinds[field.name].pattern or kinds[field.name].tag == "option":
            return  # Its parts have their own rules; the calls on a chain cover these.
        value = example(field, kinds[field.name])
        given[f"field_{field.name}"] = (value,) if field.is_list else value
    record = codec.from_json(spec.type, collect(call, given))
    assert isinstance(record, spec.type)


def example(field: catalogue.Field, kind: object) -> object:
    part = kind.parts[0] if field.is_list else kind
    match field.form:
        case "hex":
            return "ab" * (part.source if part.tag == "fixed" else 4)
        case "choice":
            return field.choices[0]
        case "flag":
            return True
        case "amount":
            return "5"
        case "integer":
            return 5
    return "text"


def test_what_is_missing_is_told_with_its_option():
    result = CliRunner().invoke(cli, ["energy", "top-up-stake", "--amount", "1"], prog_name="tb-cli")
    assert result.exit_code == 2
    assert "--provider-id" in result.stderr
    assert "tb-cli energy top-up-stake --help" in result.stderr


@pytest.mark.parametrize("arguments", [["nonsense"], ["energy", "nonsense"], ["status", "--nonsense"], ["blocks", "x"]])
def test_what_is_not_there_is_a_usage_error(arguments):
    result = CliRunner().invoke(cli, arguments, prog_name="tb-cli")
    assert result.exit_code == 2
    assert result.stderr.startswith("tb-cli: ")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_a_completion_script(shell):
    result = CliRunner().invoke(cli, ["completion", shell], prog_name="tb-cli")
    assert result.exit_code == 0
    assert "_TB_CLI_COMPLETE" in result.stdout


def test_another_shell_has_none():
    assert CliRunner().invoke(cli, ["completion", "tcsh"], prog_name="tb-cli").exit_code == 2
