"""`theblock`: the network as local processes, from the same manifests as in a cluster.

Each command asks the controller (`control.py`); `up` starts it first. What takes long to import is imported where it
is used, so that every command starts at once.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import click

from theblock_operator.embedded.control import ControlError, NotRunning, call
from theblock_operator.embedded.places import Home

EXIT_REFUSED = 1
EXIT_NOT_READY = 3
EXIT_NOT_RUNNING = 4
OUTPUTS = click.Choice(["table", "wide", "yaml", "json", "name"])


def main() -> None:
    """The entry point: errors become one line that says what to do."""
    try:
        cli(standalone_mode=False)
    except NotRunning:
        _fail("nothing is running here: start it with `theblock up -f examples/starter`", EXIT_NOT_RUNNING)
    except ControlError as refused:
        click.echo(f"theblock: {refused.message}", err=True)
        for path, message in refused.faults if refused.reason == "Invalid" else ():
            click.echo(f"  {path}: {message}", err=True)
        sys.exit(EXIT_REFUSED)
    except TimeoutError:
        _fail("the controller does not answer: see build/up/logs/controller.log", EXIT_NOT_RUNNING)
    except click.exceptions.Abort:
        _fail("interrupted", 130)
    except click.ClickException as wrong:
        wrong.show()
        sys.exit(wrong.exit_code)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--home",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("build/up"),
    show_default=True,
    help="The folder of the run: state, keys, logs.",
)
@click.pass_context
def cli(context: click.Context, home: Path) -> None:
    """Run a network of theblock as local processes, declared by the same manifests as in a cluster."""
    context.obj = Home(home.resolve())


@cli.command()
@click.option("-f", "--filename", "paths", type=click.Path(path_type=Path), multiple=True, required=True)
@click.option("--timeout", "timeout_s", default=180.0, show_default=True, help="Seconds to wait until all is ready.")
@click.option("--subnet", default=77, show_default=True, type=click.IntRange(1, 254), help="127.<subnet>.*.* is used.")
@click.pass_obj
def up(home: Home, paths: tuple[Path, ...], timeout_s: float, subnet: int) -> None:
    """Start what the manifests declare, wait until it is ready, and say where to look."""
    from theblock_operator.embedded import manifests, starting

    began = time.monotonic()
    objects = manifests.read(paths)
    starting.ensure_controller(home, manifests.namespace_of(objects), subnet, say=click.echo)
    _say_applied(call(home.control, "apply", objects=objects))
    is_ready = starting.wait_ready(home, timeout_s, began=began, say=click.echo)
    click.echo(starting.summary(home))
    if not is_ready:
        _fail(f"not everything is ready after {timeout_s:.0f} s; it goes on: `theblock status`", EXIT_NOT_READY)


@cli.command()
@click.pass_obj
def down(home: Home) -> None:
    """Stop everything; state and keys stay."""
    from theblock_operator.embedded import starting

    click.echo(starting.stop_controller(home))


@cli.command()
@click.option("-f", "--filename", "paths", type=click.Path(path_type=Path), multiple=True, required=True)
@click.option("--dry-run", is_flag=True, help="Only check, and say what would happen.")
@click.pass_obj
def apply(home: Home, paths: tuple[Path, ...], dry_run: bool) -> None:
    """Create or change resources as the manifests say."""
    from theblock_operator.embedded import manifests

    _say_applied(call(home.control, "apply", objects=manifests.read(paths), dry_run=dry_run))


@cli.command()
@click.argument("kind", default="all")
@click.argument("name", required=False)
@click.option("-o", "--output", type=OUTPUTS, default="table")
@click.pass_obj
def get(home: Home, kind: str, name: str | None, output: str) -> None:
    """Show resources: `get`, `get validators`, `get sp storage -o yaml`."""
    from theblock_operator.embedded import showing

    kind, name = _kind_and_name(kind, name)
    objects = call(home.control, "get", kind=kind, name=name)
    click.echo(showing.render(objects, output, is_single=name is not None))


@cli.command()
@click.argument("kind")
@click.argument("name", required=False)
@click.pass_obj
def describe(home: Home, kind: str, name: str | None) -> None:
    """Show one resource in full: spec, conditions, members, events."""
    from theblock_operator.embedded import showing

    kind, name = _kind_and_name(kind, name)
    if name is None:
        raise click.UsageError("say which: `theblock describe validator/validators`")
    [found] = call(home.control, "get", kind=kind, name=name)
    events = call(home.control, "get", kind="Event")
    click.echo(showing.describe(found, events))


@cli.command()
@click.argument("target")
@click.option("--replicas", required=True, type=click.IntRange(0, 1000))
@click.pass_obj
def scale(home: Home, target: str, replicas: int) -> None:
    """Change how many members a resource has: `scale storageprovider/storage --replicas 5`."""
    kind, name = _kind_and_name(target, None)
    if name is None:
        raise click.UsageError("say kind/name: `theblock scale storageprovider/storage --replicas 5`")
    told = call(home.control, "scale", kind=kind, name=name, replicas=replicas)
    click.echo(f"{told['kind'].lower()}/{told['name']} scaled from {told['from']} to {told['to']}")


@cli.command()
@click.argument("kind", required=False)
@click.argument("name", required=False)
@click.option("-f", "--filename", "paths", type=click.Path(path_type=Path), multiple=True)
@click.option("--wait", "wait_s", default=0.0, help="Seconds to wait until it is gone.")
@click.pass_obj
def delete(home: Home, kind: str | None, name: str | None, paths: tuple[Path, ...], wait_s: float) -> None:
    """Delete a resource, or those of a file; members leave the chain first."""
    from theblock_operator.embedded import manifests, starting

    targets = [(one["kind"], one["metadata"]["name"]) for one in manifests.read(paths)] if paths else []
    if kind is not None:
        kind, name = _kind_and_name(kind, name)
        if name is None:
            raise click.UsageError("say which: `theblock delete storageprovider/storage`")
        targets.append((kind, name))
    if not targets:
        raise click.UsageError("say what: kind/name, or -f FILE")
    for one, called in targets:
        told = call(home.control, "delete", kind=one, name=called)
        click.echo(f"{told['kind'].lower()}/{told['name']} is being deleted")
    if wait_s and not starting.wait_gone(home, targets, wait_s):
        _fail(f"still there after {wait_s:.0f} s: `theblock describe` says why", EXIT_NOT_READY)


@cli.command()
@click.argument("member")
@click.option("-f", "--follow", is_flag=True, help="Go on with what is written from now.")
@click.option("-c", "--container", default="node", show_default=True)
@click.option("--tail", "lines", default=100, show_default=True, type=click.IntRange(0, 100_000))
@click.pass_obj
def logs(home: Home, member: str, follow: bool, container: str, lines: int) -> None:
    """Show what a member logged; `controller` is the controller itself."""
    from theblock_operator.embedded import showing

    path = home.log if member == "controller" else home.member_log(member, container)
    if not path.exists():
        known = sorted(folder.name for folder in (home.root / "logs").glob("*/"))
        raise click.UsageError(f"{member} has no log of {container}; there are: {', '.join(known) or 'none'}")
    for text in showing.tail(path, lines, follow=follow):
        click.echo(text, nl=False)


@cli.command()
@click.argument("target", required=False)
@click.option("-o", "--output", type=click.Choice(["table", "json", "yaml"]), default="table")
@click.pass_obj
def events(home: Home, target: str | None, output: str) -> None:
    """Show what happened to resources: `events`, `events validator/validators`."""
    from theblock_operator.embedded import showing

    found = call(home.control, "get", kind="Event")
    if target is not None:
        kind, name = _kind_and_name(target, None)
        found = showing.events_of(found, kind, name)
    click.echo(showing.render_events(found) if output == "table" else showing.dump(found, output))


@cli.command()
@click.option("-o", "--output", type=click.Choice(["table", "json", "yaml"]), default="table")
@click.pass_obj
def status(home: Home, output: str) -> None:
    """Show whether everything runs, member by member."""
    from theblock_operator.embedded import showing

    told = call(home.control, "status")
    click.echo(showing.render_status(told) if output == "table" else showing.dump(told, output))


def _kind_and_name(kind: str, name: str | None) -> tuple[str, str | None]:
    """`kind/name` or `kind name`."""
    first, slash, rest = kind.partition("/")
    return (first, rest) if slash and name is None else (kind, name)


def _say_applied(told: list[dict[str, str]]) -> None:
    for line in told:
        click.echo(f"{line['kind'].lower()}/{line['name']} {line['result']}")


def _fail(message: str, code: int) -> None:
    click.echo(f"theblock: {message}", err=True)
    sys.exit(code)


if __name__ == "__main__":
    main()
