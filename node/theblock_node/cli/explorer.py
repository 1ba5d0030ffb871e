"""`tb-cli explorer`: what looks after an explorer's database."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from theblock_node.cli.app import App
from theblock_node.cli.finding import Unusable
from theblock_node.cli.forms import read_file
from theblock_node.cli.frame import Group, Leaf, acts

if TYPE_CHECKING:
    from theblock_node.client.chain import ChainClient
    from theblock_node.services.explorer.database import Database


@click.group(cls=Group, no_args_is_help=True)
def explorer() -> None:
    """The explorer's database."""


@explorer.command("sync-proofs", cls=Leaf)
@click.option("--db", required=True, metavar="PATH|DSN|@FILE", help="SQLite file, or PostgreSQL; @FILE holds its DSN.")
@click.option("--url", metavar="HOST:PORT", help="A validator, as --endpoint names it; http:// may stand before it.")
@click.option("--limit", type=click.IntRange(1, 256), default=32, show_default=True, help="Resolutions of one page.")
@acts
async def sync_proofs(app: App, db: str, url: str | None, limit: int) -> None:
    """Copy how slices of compute jobs ended, with their proofs, each verified again here.

    It goes on where it stopped, a page in each transaction; running it twice changes nothing.
    """
    import sqlite3

    import psycopg

    from theblock_node.services.explorer import proofs
    from theblock_node.services.explorer.database import OtherDatabase, adopt

    if url is not None:
        app.choices.endpoint = (url.removeprefix("http://").rstrip("/"),)
    database = _open(db)
    try:
        async with app.chain() as client:
            if not await database.hold():
                raise Unusable("another writes to that database", "an explorer that runs on it copies proofs itself")
            await adopt(database, (await client.tip()).genesis_hash)
            chain = _Final(client)
            copied = await proofs.copy_history(chain, database, proofs.Keys(chain), limit)
    except OtherDatabase as other:
        raise Unusable(f"--db: {other}", "give another one; nothing was changed") from other
    except (sqlite3.Error, psycopg.Error) as failed:
        raise Unusable(f"--db: {type(failed).__name__}, {str(failed)[:120]}", "check that database") from failed
    finally:
        await database.close()
    app.show({"entries": copied.entries, "proofs": copied.proofs, "last_sequence": str(copied.mark)})


class _Final:
    """The chain as it is final."""

    def __init__(self, client: ChainClient) -> None:
        self._client = client

    async def query(self, name: str, request: dict[str, Any]) -> dict[str, Any]:
        return await self._client.query(name, request, final=True)


def _open(text: str) -> Database:
    import sqlite3

    from theblock_node.services.explorer.database import BadConnectionString, PostgresDatabase, SqliteDatabase

    try:
        name = read_file(text[1:]).decode().strip() if text.startswith("@") else text
        if name.startswith(("postgres://", "postgresql://")) or ("=" in name and not Path(name).exists()):
            return PostgresDatabase(name)
        return SqliteDatabase(Path(name))
    except (ValueError, BadConnectionString, sqlite3.Error) as wrong:
        raise Unusable(f"--db: {wrong}", "give a path, or a DSN as in postgresql://user@host/name") from wrong
