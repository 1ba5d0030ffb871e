"""Commands, groups and the options that all of them share, so that `--output json` may stand anywhere.

A shared option's value goes into the run's `Choices`; what stands nearer to the command wins over what stands
before it. `Root.main` is the one place where an error becomes a line and an exit code.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any

import click

from theblock_node.cli import catalogue, failures
from theblock_node.cli.app import App
from theblock_node.cli.forms import AMOUNT

WAITS = ("none", "committed", "final")
Command = Callable[..., Coroutine[Any, Any, None]]


class Shared(click.Option):
    """An option whose value goes into `Choices`, under a heading of its own in the help."""

    def __init__(self, heading: str, *declarations: str, **attributes: Any) -> None:
        self.heading = heading
        super().__init__(declarations, expose_value=False, callback=_choose, **attributes)


def _choose(context: click.Context, param: click.Parameter, value: Any) -> None:
    choices = context.ensure_object(App).choices
    if value not in (None, (), False):
        setattr(choices, str(param.name), value)


def network_options() -> list[click.Parameter]:
    where = "Network"
    return [
        Shared(
            where, "--endpoint", multiple=True, metavar="HOST:PORT", help="A member's public port; may be repeated."
        ),
        Shared(where, "--ca", metavar="FILE", help="Authority of the members' certificates; without it, no TLS."),
        Shared(where, "--tls-name", metavar="NAME", help="What the certificates are for, where it is not the host."),
        Shared(where, "--context", metavar="FILE", help="Context file; TB_CONTEXT, then ./build/up/context.json."),
        Shared(where, "--output", type=click.Choice(["text", "json"]), help="For people, or one JSON document."),
        Shared(where, "--timeout", type=click.FloatRange(0.1, 86_400), metavar="SECONDS", help="How long to wait; 60."),
    ]


def signing_options() -> list[click.Parameter]:
    what = "Signing"
    return [
        Shared(
            what, "--key", metavar="FILE|-", help="File with the seed that signs; TB_KEY, then the context's funder."
        ),
        Shared(what, "--wait", type=click.Choice(WAITS), help="Until when to wait; final."),
        Shared(what, "--tip", type=AMOUNT, help="Paid on top of the base fee."),
        Shared(what, "--memo", metavar="TEXT", help="Stands in the transaction, for everybody to read."),
        Shared(what, "--dry-run", is_flag=True, help="Sign and print the envelope; send nothing."),
    ]


class Leaf(click.Command):
    """A command that talks with the network; ``signs`` says that it sends a transaction."""

    def __init__(
        self,
        name: str | None,
        *,
        signs: bool = False,
        asks: bool = True,
        params: Sequence[click.Parameter] = (),
        **attributes: Any,
    ) -> None:
        shared = [*(signing_options() if signs else []), *(network_options() if asks else output_option())]
        super().__init__(name, params=[*params, *shared], **attributes)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        _format_sections(self.get_params(ctx), ctx, formatter)


class Group(click.Group):
    """The commands of one subject: those written by hand, and one for every other call and query of its domain."""

    def __init__(self, *args: Any, domain: str | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.domain = domain

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*self.commands, *(call.verb for call in self._calls())})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in self.commands:
            return self.commands[cmd_name]
        from theblock_node.cli.generated import make_command

        found = next((call for call in self._calls() if call.verb == cmd_name), None)
        return None if found is None else make_command(found)

    def _calls(self) -> Iterable[catalogue.Call]:
        return catalogue.load().domains.get(self.domain, ()) if self.domain else ()


class Root(click.Group):
    """The whole: groups that were added, and one for every domain that has none of its own."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*self.commands, *catalogue.load().domains})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in self.commands or cmd_name not in catalogue.load().domains:
            return self.commands.get(cmd_name)
        return Group(cmd_name, domain=cmd_name, help=f"Calls and queries of {cmd_name}.", no_args_is_help=True)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        _format_sections(self.get_params(ctx), ctx, formatter)
        self.format_commands(ctx, formatter)

    def main(self, *args: Any, **extra: Any) -> Any:
        """Run; every failure is one line on standard error and an exit code."""
        app = extra.setdefault("obj", App())
        extra["standalone_mode"] = False
        # What gRPC would log stands in our own line already.
        os.environ.setdefault("GRPC_VERBOSITY", "NONE")
        try:
            code = super().main(*args, **extra)
            sys.stdout.flush()
        except (KeyboardInterrupt, click.Abort):
            code = failures.EXIT_INTERRUPTED
        except BrokenPipeError:
            # Whoever read has seen enough; what is still buffered has nowhere to go.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            code = 0
        except click.exceptions.NoArgsIsHelpError as nothing:
            nothing.show()
            code = nothing.exit_code
        except Exception as failed:
            failure = app.explain(failed)
            if failure is None:
                raise
            click.echo(failure.line, err=True)
            code = failure.code
        sys.exit(code if isinstance(code, int) else 0)


def acts(work: Command) -> Callable[..., None]:
    """Run ``work(app, …)`` in an event loop of its own."""

    @functools.wraps(work)
    def run(*args: Any, **kwargs: Any) -> None:
        import asyncio

        asyncio.run(work(click.get_current_context().ensure_object(App), *args, **kwargs))

    return run


def output_option() -> list[click.Parameter]:
    return [option for option in network_options() if option.name == "output"]


def _format_sections(params: Iterable[click.Parameter], ctx: click.Context, formatter: click.HelpFormatter) -> None:
    sections: dict[str, list[tuple[str, str]]] = {"Options": []}
    for param in params:
        record = param.get_help_record(ctx)
        if record is not None:
            sections.setdefault(getattr(param, "heading", "Options"), []).append(record)
    for heading, records in sections.items():
        if records:
            with formatter.section(heading):
                formatter.write_dl(records)
