"""What a command acts through: the network that was found, clients of it, the key that signs, what is printed.

Whatever is slow to import (the protocol, gRPC) is imported when it is needed, so that help and completion are quick.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from theblock_node.cli import failures, finding, keyfiles, output
from theblock_node.cli.finding import Flags, Member, Network, Unusable

if TYPE_CHECKING:
    from theblock_node.client.chain import ChainClient
    from theblock_node.client.channel import Channels, ClientTls, Endpoint
    from theblock_node.client.storage import StorageClient
    from theblock_node.client.wallet import Wallet

KEY_VARIABLE = "TB_KEY"
TIMEOUT_S = 60.0


@dataclass(slots=True)
class Choices:
    """What the shared options say."""

    endpoint: tuple[str, ...] = ()
    ca: str | None = None
    tls_name: str | None = None
    context: str | None = None
    output: str = "text"
    timeout: float = TIMEOUT_S
    key: str | None = None
    wait: str = "final"
    tip: str = "0"
    memo: str = ""
    dry_run: bool = False


class App:
    """One run of the command line."""

    def __init__(self) -> None:
        self.choices = Choices()
        self._network: Network | None = None
        self._asked: list[str] = []

    @property
    def network(self) -> Network:
        if self._network is None:
            choices = self.choices
            flags = Flags(choices.endpoint, choices.ca, choices.tls_name, choices.context)
            self._network = finding.find(flags, os.environ)
        return self._network

    @property
    def is_json(self) -> bool:
        return self.choices.output == "json"

    def show(self, document: Any, *, text: Any = None) -> None:
        """Print an answer; ``text`` is what people see of it, where that is less."""
        if self.is_json:
            click.echo(output.to_json(document))
        else:
            click.echo(output.to_text(document if text is None else text))

    def note(self, text: str) -> None:
        """Say something beside the answer."""
        click.echo(f"tb-cli: {text}", err=True)

    @asynccontextmanager
    async def chain(self) -> AsyncIterator[ChainClient]:
        """A client of the validators."""
        from theblock_node.client.chain import ChainClient

        endpoints, names = self.endpoints(self.network.of_role(finding.VALIDATOR), "validator")
        client = ChainClient(endpoints, self.tls(), names=names.get)
        try:
            yield client
        finally:
            await client.close()

    @asynccontextmanager
    async def storage(self) -> AsyncIterator[StorageClient]:
        """A client of the storage providers."""
        from theblock_node.client.storage import StorageClient

        endpoints, names = self.endpoints(self.network.of_role("storage_provider"), "storage provider")
        client = StorageClient(endpoints, self.tls(), names=names.get)
        try:
            yield client
        finally:
            await client.close()

    @asynccontextmanager
    async def member(self, member: Member, tls: ClientTls | None) -> AsyncIterator[Channels]:
        """Channels to one member."""
        from theblock_node.client.channel import Channels

        endpoints, names = self.endpoints([member], "member")
        channels = Channels(endpoints, tls, names=names.get)
        try:
            yield channels
        finally:
            await channels.close()

    def endpoints(self, members: Sequence[Member], what: str) -> tuple[list[Endpoint], dict[Endpoint, str | None]]:
        """Where the members listen, and what their certificates are for."""
        from theblock_node.client.channel import Endpoint

        if not members:
            raise Unusable(f"no {what} is known ({self.network.source})", "name one with --endpoint")
        self._asked = [member.address for member in members]
        named = {Endpoint(member.host, member.port): member.tls_name for member in members}
        return list(named), named

    def tls(self) -> ClientTls | None:
        """For the public ports."""
        from theblock_node.client.channel import ClientTls

        return ClientTls(self.network.ca) if self.network.ca else None

    def admin_tls(self, certificate: str | None, key: str | None) -> ClientTls:
        """For what only an administrator may ask."""
        from theblock_node.client.channel import ClientTls

        given = (Path(certificate), Path(key)) if certificate and key else self.network.admin
        if given is None or self.network.ca is None:
            raise Unusable(
                "this takes an administrator's certificate",
                "give --admin-cert, --admin-key and --ca, or a context with `admin`",
            )
        return ClientTls(self.network.ca, *given)

    def wallet(self) -> Wallet:
        """The key that signs."""
        from theblock_node.client.wallet import Wallet

        return Wallet(self._seed())

    def explain(self, failed: BaseException) -> failures.Failure | None:
        """What to tell of an error; None for one of our own making."""
        if isinstance(failed, click.ClickException):
            return failures.misused(failed.format_message().rstrip("."), _usage_hint(failed))
        if isinstance(failed, Unusable):
            return failures.misused(str(failed), failed.todo)
        from theblock_node.client.errors import RefusedError, UnavailableError
        from theblock_node.core.errors import InvalidBlock, ProtocolError

        if isinstance(failed, RefusedError):
            return failures.refused(failed.code, str(failed), failed.facts)
        if isinstance(failed, UnavailableError):
            return failures.unavailable(str(failed), ", ".join(self._asked[:4]))
        if isinstance(failed, ProtocolError):
            # A block or proof came from a member; anything else of ours is what was typed.
            code = failures.EXIT_REFUSED if isinstance(failed, InvalidBlock) else failures.EXIT_USAGE
            return failures.refused(failed.code, "", failed.facts, exit_code=code)
        if isinstance(failed, TimeoutError):
            return failures.late(str(failed) or "no answer")
        if isinstance(failed, OSError):
            return failures.misused(f"{failed.filename or 'file'}: {failed.strerror}", "check that file")
        return None

    def _seed(self) -> bytes:
        chosen = self.choices.key or os.environ.get(KEY_VARIABLE)
        if chosen is None:
            funder = self.network.funder
            if funder is None:
                raise Unusable(
                    "no key to sign with", "give --key FILE or set TB_KEY; `tb-cli keys generate FILE` makes one"
                )
            self.note(f"signing with the network's funder, {funder}")
            chosen = str(funder)
        if chosen != "-" and Path(chosen).exists() and keyfiles.is_open_to_others(Path(chosen)):
            self.note(f"{chosen} can be read by others; chmod 600 it")
        return keyfiles.read_seed(chosen)


def _usage_hint(failed: click.ClickException) -> str:
    context = getattr(failed, "ctx", None)
    return f"see `{context.command_path} --help`" if context else "see `tb-cli --help`"
