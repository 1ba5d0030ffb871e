"""The chain as a client sees it: submit, wait, ask, follow."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from theblock_node.client.channel import DEADLINE_S, Channels, ClientTls, Endpoint
from theblock_node.client.errors import RefusedError, UnavailableError
from theblock_node.client.wallet import SignedCall, Wallet
from theblock_node.pb.theblock.v1 import chain_pb2, chain_pb2_grpc

RESUME_S = (0.2, 0.5, 1, 2, 5)
POLL_S = 0.5
NONCE_TRIES = 5


@dataclass(frozen=True, slots=True)
class Tip:
    height: int
    block_id: str
    finalized_height: int
    timestamp_ms: int
    genesis_hash: str
    chain_id: int
    base_fee: int


@dataclass(frozen=True, slots=True)
class TxStatus:
    """``state`` is unknown, pending, success or failed."""

    state: str
    height: int = 0
    index: int = 0
    error_code: str = ""
    final: bool = False


@dataclass(frozen=True, slots=True)
class Account:
    address: str
    balance: int
    nonce: int
    next_nonce: int


@dataclass(frozen=True, slots=True)
class Event:
    name: str
    json: str

    @property
    def record(self) -> dict[str, Any]:
        return orjson.loads(self.json)  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True)
class TxOutcome:
    tx_id: str
    index: int
    call: str
    sender: str
    error_code: str
    events: tuple[Event, ...]


@dataclass(frozen=True, slots=True)
class Committed:
    height: int
    block_id: str
    timestamp_ms: int
    txs: tuple[TxOutcome, ...]
    events: tuple[Event, ...]
    """Of the block itself."""

    def all_events(self) -> list[Event]:
        return [*self.events, *(event for tx in self.txs for event in tx.events)]


@dataclass(frozen=True, slots=True)
class Reverted:
    """Blocks above ``height`` no longer stand."""

    height: int


_STATES = {
    chain_pb2.TX_STATE_UNSPECIFIED: "unknown",
    chain_pb2.TX_STATE_PENDING: "pending",
    chain_pb2.TX_STATE_SUCCESS: "success",
    chain_pb2.TX_STATE_FAILED: "failed",
}


class ChainClient:
    """Talks to whichever of the given validators answers."""

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        tls: ClientTls | None,
        *,
        names: Callable[[Endpoint], str | None] = lambda _endpoint: None,
    ) -> None:
        self.channels = Channels(endpoints, tls, names=names)

    async def close(self) -> None:
        await self.channels.close()

    async def tip(self) -> Tip:
        got = await self._ask("GetTip", chain_pb2.GetTipRequest())
        return Tip(
            got.height,
            got.block_id.hex(),
            got.finalized_height,
            got.timestamp_ms,
            got.genesis_hash.hex(),
            got.chain_id,
            got.base_fee,
        )

    async def submit(self, envelope: bytes) -> str:
        """Hand over a signed envelope; returns the id, hex."""
        got = await self._ask("Submit", chain_pb2.SubmitRequest(envelope=envelope))
        return str(got.tx_id.hex())

    async def status(self, tx_id: str) -> TxStatus:
        got = await self._ask("GetTxStatus", chain_pb2.GetTxStatusRequest(tx_id=bytes.fromhex(tx_id)))
        return TxStatus(_STATES[got.state], got.height, got.index, got.error_code, got.final)

    async def wait(self, tx_id: str, *, final: bool, timeout_s: float = 60.0) -> TxStatus:
        """The status once the transaction stands in a (final) block; `TimeoutError` if it does not in time."""
        async with asyncio.timeout(timeout_s):
            while True:
                status = await self.status(tx_id)
                if status.state in ("success", "failed") and (status.final or not final):
                    return status
                await asyncio.sleep(POLL_S)

    async def account(self, address: str) -> Account:
        got = await self._ask("GetAccount", chain_pb2.GetAccountRequest(address=address))
        return Account(got.address, got.balance, got.nonce, got.next_nonce)

    async def query(
        self, name: str, request: Mapping[str, Any] | None = None, *, final: bool = False
    ) -> dict[str, Any]:
        return (await self.query_at(name, request, final=final))[1]

    async def query_at(
        self, name: str, request: Mapping[str, Any] | None = None, *, final: bool = False
    ) -> tuple[int, dict[str, Any]]:
        """The height of the block that the reply is true of, and the reply."""
        strength = chain_pb2.STRENGTH_FINAL if final else chain_pb2.STRENGTH_HEAD
        asked = chain_pb2.QueryRequest(
            name=name, request_json=orjson.dumps(dict(request or {})).decode(), strength=strength
        )
        got = await self._ask("Query", asked)
        return got.height, orjson.loads(got.response_json)

    async def block(self, height: int) -> bytes:
        """Canonical bytes of a block."""
        got = await self._ask("GetBlock", chain_pb2.GetBlockRequest(height=height))
        return bytes(got.block)

    async def send(self, wallet: Wallet, call: str, arguments: Any, *, memo: bytes = b"", tip: int = 0) -> SignedCall:
        """Sign a call with the next nonce and submit it; a nonce that somebody else took is tried anew."""
        last: RefusedError | None = None
        for _ in range(NONCE_TRIES):
            chain, account = await asyncio.gather(self.tip(), self.account(wallet.address))
            signed = wallet.sign_call(
                call,
                arguments,
                chain_id=chain.chain_id,
                nonce=account.next_nonce,
                base_fee=chain.base_fee,
                memo=memo,
                tip=tip,
            )
            try:
                await self.submit(signed.envelope)
            except RefusedError as refused:
                if "nonce" not in refused.code and "duplicate" not in refused.code:
                    raise
                last = refused
                continue
            return signed
        assert last is not None
        raise last

    async def call(
        self, wallet: Wallet, call: str, arguments: Any, *, final: bool = False, timeout_s: float = 60.0
    ) -> tuple[str, TxStatus]:
        """`send`, and wait until it stands; a failed transaction raises its refusal."""
        signed = await self.send(wallet, call, arguments)
        tx_id = signed.tx_id.hex()
        status = await self.wait(tx_id, final=final, timeout_s=timeout_s)
        if status.state == "failed":
            raise RefusedError(status.error_code, f"{call} failed: {status.error_code}", {"tx_id": tx_id})
        return tx_id, status

    async def events(self, after: int, *, final: bool) -> AsyncIterator[Committed | Reverted]:
        """What happened above ``after`` and what comes, without an end; resumes where it was cut."""
        cursor, failures = after, 0
        while True:
            try:
                async for news in self.events_until_cut(cursor, final=final):
                    failures = 0
                    cursor = news.height
                    yield news
            except UnavailableError:
                pass  # Another endpoint is asked from the same cursor.
            await asyncio.sleep(RESUME_S[min(failures, len(RESUME_S) - 1)])
            failures += 1

    async def events_until_cut(self, after: int, *, final: bool) -> AsyncIterator[Committed | Reverted]:
        """The same from one node, until it is cut: for who must see that the next one may follow another branch."""
        strength = chain_pb2.STRENGTH_FINAL if final else chain_pb2.STRENGTH_HEAD
        request = chain_pb2.EventsRequest(after_height=after, strength=strength)
        async for got in self.channels.stream(
            lambda channel: chain_pb2_grpc.ChainStub(channel).Events(request, wait_for_ready=False)
        ):
            if got.WhichOneof("news") == "reverted":
                yield Reverted(got.reverted.height)
            else:
                yield _committed(got.committed)

    async def _ask(self, method: str, request: Any, deadline_s: float = DEADLINE_S) -> Any:
        def act(channel: Any, timeout: float) -> Any:
            return getattr(chain_pb2_grpc.ChainStub(channel), method)(request, timeout=timeout)

        return await self.channels.call(act, deadline_s=deadline_s)


def _committed(got: chain_pb2.Committed) -> Committed:
    return Committed(
        got.height,
        got.block_id.hex(),
        got.timestamp_ms,
        tuple(
            TxOutcome(tx.tx_id.hex(), tx.index, tx.call, tx.sender, tx.error_code, _told(tx.events)) for tx in got.txs
        ),
        _told(got.events),
    )


def _told(events: Any) -> tuple[Event, ...]:
    return tuple(Event(event.name, event.json) for event in events)
