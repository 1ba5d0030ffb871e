"""`tb-cli storage`: objects in, objects out."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from theblock_node.cli import keyfiles
from theblock_node.cli.app import App
from theblock_node.cli.finding import Unusable
from theblock_node.cli.forms import HEX
from theblock_node.cli.frame import Group, Leaf, acts

if TYPE_CHECKING:
    from typing import BinaryIO

    from theblock_node.client.storage import StorageClient

PIECE_BYTES = 256 * 1024
GET_TRIES = 3


@click.group(cls=Group, domain="storage", no_args_is_help=True)
def storage() -> None:
    """Objects on storage providers, and the market for the room."""


@storage.command(cls=Leaf)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--key-out", type=click.Path(path_type=Path), help="New file for the content key.  [FILE.key]")
@click.option("--data-shards", type=click.IntRange(0, 255), default=0, help="Shards that suffice; the provider's own.")
@click.option("--parity-shards", type=click.IntRange(0, 255), default=0, help="Further ones; the provider's own.")
@click.option("--retention-blocks", type=click.IntRange(0), default=0, help="How long it is kept; the provider's own.")
@acts
async def put(
    app: App, file: Path, key_out: Path | None, data_shards: int, parity_shards: int, retention_blocks: int
) -> None:
    """Store FILE: encrypted, erasure-coded, spread over providers and anchored on the chain.

    The content key that opens it goes into a new file of mode 0600; nobody else keeps it.
    """
    key_file = key_out or file.with_name(file.name + ".key")
    if key_file.exists():
        raise Unusable(f"{key_file} is there already, and a key is never overwritten", "give --key-out another name")
    async with app.storage() as client:
        stored = await client.put(
            _size(file),
            lambda: _pieces(file),
            data_shards=data_shards,
            parity_shards=parity_shards,
            retention_blocks=retention_blocks,
            deadline_s=max(app.choices.timeout, 600.0),
        )
    keyfiles.write_secret(key_file, stored.content_key)
    told = {"manifest_id": stored.manifest_id, "contract_id": stored.contract_id, "content_key_file": str(key_file)}
    app.show({**told, "providers": list(stored.providers)})


@storage.command(cls=Leaf)
@click.argument("manifest", type=HEX, metavar="MANIFEST")
@click.option(
    "--key", "--content-key", "key", required=True, metavar="FILE|-", help="File with the content key that `put` wrote."
)
@click.option("-o", "--out", required=True, metavar="FILE|-", help="Where the bytes go.")
@acts
async def get(app: App, manifest: str, key: str, out: str) -> None:
    """Read an object back; a file appears only once it is whole."""
    content_key = keyfiles.read_seed(key)
    async with app.storage() as client:
        if out == "-":
            size = await _fetch(client, manifest, content_key, sys.stdout.buffer)
            sys.stdout.buffer.flush()
            app.note(f"{size} bytes")
            return
        size = await _fetch_file(client, manifest, content_key, Path(out))
    app.show({"manifest_id": manifest, "file": out, "size": str(size)})


async def _fetch_file(client: StorageClient, manifest: str, content_key: bytes, target: Path) -> int:
    """Write an object beside ``target`` and put it there when it is whole; begins again where a provider is lost."""
    from theblock_node.client.errors import UnavailableError

    part = target.with_name(f".{target.name}.part")
    try:
        for left in reversed(range(GET_TRIES)):
            try:
                with part.open("wb") as file:
                    size = await _fetch(client, manifest, content_key, file)
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(part, target)
                return size
            except UnavailableError:
                if not left:
                    raise
        raise AssertionError("the last try returns or raises")
    finally:
        part.unlink(missing_ok=True)


async def _fetch(client: StorageClient, manifest: str, content_key: bytes, file: BinaryIO) -> int:
    size = 0
    async for piece in client.get(manifest, content_key):
        file.write(piece)
        size += len(piece)
    return size


def _size(file: Path) -> int:
    return file.stat().st_size


def _pieces(file: Path) -> Iterator[bytes]:
    with file.open("rb") as source:
        while piece := source.read(PIECE_BYTES):
            yield piece


@storage.command("list", cls=Leaf)
@click.option("--provider", default="", metavar="ID", help="Only what this provider holds.")
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True)
@acts
async def list_objects(app: App, provider: str, limit: int) -> None:
    """Objects that are anchored on the chain."""
    async with app.chain() as chain:
        page = await chain.query("storage.contracts", {"provider_id": provider, "after": None, "limit": limit})
    app.show(page, text=page["contracts"])
