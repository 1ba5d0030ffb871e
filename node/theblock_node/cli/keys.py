"""`tb-cli keys`: seeds in files that only their owner reads."""

from __future__ import annotations

from pathlib import Path

import click

from theblock_node.cli import keyfiles
from theblock_node.cli.app import App
from theblock_node.cli.frame import Group, Leaf, acts


@click.group(cls=Group, no_args_is_help=True)
def keys() -> None:
    """Make, take in and look at key files: the hex of a 32-byte Ed25519 seed."""


@keys.command(cls=Leaf, asks=False)
@click.argument("file", type=click.Path(path_type=Path))
@acts
async def generate(app: App, file: Path) -> None:
    """Make a key in a new FILE of mode 0600, and print its address."""
    from theblock_node.client import keys as made

    _keep(app, file, made.generate_seed())


@keys.command("import", cls=Leaf, asks=False)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--from", "source", default="-", metavar="FILE|-", help="Where the hex of the seed is; standard input.")
@acts
async def import_key(app: App, file: Path, source: str) -> None:
    """Take a seed in hex from standard input (or a file) into a new FILE of mode 0600."""
    _keep(app, file, keyfiles.read_seed(source))


@keys.command(cls=Leaf, asks=False)
@click.argument("file")
@acts
async def show(app: App, file: str) -> None:
    """Print the address and the public key of a key FILE, never the seed."""
    app.show(_describe(file, keyfiles.read_seed(file)))


def _keep(app: App, file: Path, seed: bytes) -> None:
    keyfiles.write_secret(file, seed)
    app.show(_describe(str(file), seed))


def _describe(file: str, seed: bytes) -> dict[str, str]:
    from theblock_node.client import keys as made

    public_key = made.public_key(seed)
    return {"file": file, "address": made.address(public_key), "public_key": public_key.hex()}
