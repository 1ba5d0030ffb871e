"""The service `Chain`: translates between messages and the chain service; decides nothing."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator
from typing import Any

import orjson

from theblock_node.core import codec
from theblock_node.core.address import parse_address
from theblock_node.core.block import TxEvent
from theblock_node.core.domain import Reading, Registry
from theblock_node.core.domains import accounts
from theblock_node.core.errors import InvalidRecord, InvalidTx
from theblock_node.core.transition import get_gas_limit
from theblock_node.pb.theblock.v1 import chain_pb2, chain_pb2_grpc
from theblock_node.rpc import domains
from theblock_node.rpc.errors import refusal
from theblock_node.rpc.server import Service, seconds_left
from theblock_node.services.chain.service import (
    ChainService,
    Committed,
    HistoryPruned,
    Strength,
    TxState,
    TxStatus,
)

BATCH_MAX = 1000
BLOCKS_MAX = 1000
HEADERS_MAX = 10_000
STREAMS_MAX = 256
"""Event streams at once."""
WAIT_SHARE = 0.9
"""How much of a call's time is waited; the rest is for the answer."""
NEWS_KEPT = 64
"""Committed blocks whose message is kept for the other readers."""
_STATES = {
    TxState.UNKNOWN: chain_pb2.TX_STATE_UNSPECIFIED,
    TxState.PENDING: chain_pb2.TX_STATE_PENDING,
    TxState.SUCCEEDED: chain_pb2.TX_STATE_SUCCESS,
    TxState.FAILED: chain_pb2.TX_STATE_FAILED,
}


class ChainBackend(domains.Backend):
    """The chain service as the typed services of the domains want it."""

    def __init__(self, chain: ChainService) -> None:
        self._chain = chain

    async def submit(self, envelope: bytes) -> bytes:
        return self._chain.submit(envelope)

    def reading(self, *, final: bool) -> Reading:
        return self._chain.reading(Strength.FINAL if final else Strength.HEAD)

    def next_nonce(self, address: str) -> int:
        return self._chain.pending_nonce(address) + 1

    def base_fee(self) -> int:
        return self._chain.tip().base_fee


class ChainServicer(chain_pb2_grpc.ChainServicer):
    def __init__(self, chain: ChainService, registry: Registry) -> None:
        self._chain = chain
        self._registry = registry
        self._streams = 0
        self._news: OrderedDict[bytes, chain_pb2.Committed] = OrderedDict()

    def service(self) -> Service:
        return Service("theblock.v1.Chain", lambda server: chain_pb2_grpc.add_ChainServicer_to_server(self, server))

    async def Submit(self, request: chain_pb2.SubmitRequest, context: Any) -> chain_pb2.SubmitResponse:
        tx_id = self._chain.submit(request.envelope)
        status = self._chain.status(tx_id)
        if request.wait != chain_pb2.WAIT_UNSPECIFIED:
            limit_s = seconds_left(context) * WAIT_SHARE
            status = await self._wait(tx_id, final=request.wait == chain_pb2.WAIT_FINAL, limit_s=limit_s)
        return chain_pb2.SubmitResponse(tx_id=tx_id, status=_status(status))

    async def SubmitBatch(
        self, requests: AsyncIterator[chain_pb2.SubmitBatchRequest], context: Any
    ) -> AsyncIterator[chain_pb2.SubmitBatchResponse]:
        async for request in requests:
            if len(request.envelopes) > BATCH_MAX:
                raise refusal("envelopes", f"at most {BATCH_MAX}")
            outcomes = []
            for outcome in self._chain.submit_many(request.envelopes):
                if isinstance(outcome, InvalidTx):
                    outcomes.append(chain_pb2.SubmitOutcome(refusal=outcome.code))
                else:
                    outcomes.append(chain_pb2.SubmitOutcome(tx_id=outcome))
            yield chain_pb2.SubmitBatchResponse(outcomes=outcomes)

    async def GetTxStatus(self, request: chain_pb2.GetTxStatusRequest, context: Any) -> chain_pb2.GetTxStatusResponse:
        if len(request.tx_id) != 32:
            raise refusal("tx_id", "32 bytes")
        return _status(self._chain.status(request.tx_id))

    async def GetAccount(self, request: chain_pb2.GetAccountRequest, context: Any) -> chain_pb2.GetAccountResponse:
        parse_address(request.address)
        reading = self._chain.reading()
        account = accounts.get_account(reading.view, request.address)
        return chain_pb2.GetAccountResponse(
            address=request.address,
            balance=account.balance,
            nonce=account.nonce,
            next_nonce=self._chain.pending_nonce(request.address) + 1,
            height=reading.height,
        )

    async def GetTip(self, request: chain_pb2.GetTipRequest, context: Any) -> chain_pb2.GetTipResponse:
        tip = self._chain.tip()
        reading = self._chain.reading()
        return chain_pb2.GetTipResponse(
            height=tip.height,
            block_id=tip.block_id,
            finalized_height=tip.finalized_height,
            finalized_id=tip.finalized_id,
            timestamp_ms=tip.timestamp_ms,
            genesis_hash=tip.genesis_hash,
            chain_id=tip.chain_id,
            base_fee=tip.base_fee,
            gas_limit=get_gas_limit(reading.view, reading.chain),
        )

    async def GetBlock(self, request: chain_pb2.GetBlockRequest, context: Any) -> chain_pb2.GetBlockResponse:
        by_id = request.WhichOneof("by") == "id"
        height = self._chain.height_of(request.id) if by_id else request.height
        data = None if height is None else self._chain.block_at(height)
        if data is None:
            raise InvalidRecord("block.not_found", height=height, id=request.id.hex())
        return chain_pb2.GetBlockResponse(block=data, id=self._chain.committed(int(height or 0)).block_id)

    async def Blocks(self, request: chain_pb2.BlocksRequest, context: Any) -> AsyncIterator[chain_pb2.BlocksResponse]:
        last = min(self._chain.tip().height, request.from_height + min(request.limit or BLOCKS_MAX, BLOCKS_MAX) - 1)
        for height in range(request.from_height, last + 1):
            data = self._chain.block_at(height)
            if data is not None:
                yield chain_pb2.BlocksResponse(block=data)

    async def Headers(
        self, request: chain_pb2.HeadersRequest, context: Any
    ) -> AsyncIterator[chain_pb2.HeadersResponse]:
        limit = min(request.limit or HEADERS_MAX, HEADERS_MAX)
        last = min(self._chain.tip().height, request.from_height + limit - 1)
        for height in range(request.from_height, last + 1):
            if self._chain.block_at(height) is None:
                continue
            block = self._chain.chain.store.block(height)
            yield chain_pb2.HeadersResponse(header=codec.encode(block.header), signature=block.leader_sig or b"")

    async def Events(self, request: chain_pb2.EventsRequest, context: Any) -> AsyncIterator[chain_pb2.EventsResponse]:
        if self._streams >= STREAMS_MAX:
            raise InvalidRecord("rpc.too_many_streams", max=STREAMS_MAX)
        strength = Strength.FINAL if request.strength == chain_pb2.STRENGTH_FINAL else Strength.HEAD
        self._streams += 1
        try:
            async for news in self._chain.events(request.after_height, strength):
                if isinstance(news, Committed):
                    yield chain_pb2.EventsResponse(committed=self._committed(news))
                else:
                    reverted = chain_pb2.Reverted(height=news.height - 1)
                    yield chain_pb2.EventsResponse(reverted=reverted)
        except HistoryPruned as pruned:
            raise InvalidRecord("chain.history_pruned", base_height=pruned.base_height) from pruned
        finally:
            self._streams -= 1

    async def Proof(self, request: chain_pb2.ProofRequest, context: Any) -> chain_pb2.ProofResponse:
        proved = self._chain.prove(request.table, request.key)
        return chain_pb2.ProofResponse(
            height=proved.height,
            state_root=proved.state_root,
            value=proved.value or b"",
            present=proved.value is not None,
            proof=codec.encode(proved.proof),
        )

    async def Query(self, request: chain_pb2.QueryRequest, context: Any) -> chain_pb2.QueryResponse:
        try:
            asked = orjson.loads(request.request_json or "{}")
        except orjson.JSONDecodeError as wrong:
            raise refusal("request_json", str(wrong)) from wrong
        if not isinstance(asked, dict):
            raise refusal("request_json", "an object")
        final = request.strength == chain_pb2.STRENGTH_FINAL
        reading = self._chain.reading(Strength.FINAL if final else Strength.HEAD)
        reply = domains.answer(self._registry, reading, request.name, asked)
        return chain_pb2.QueryResponse(response_json=orjson.dumps(reply).decode(), height=reading.height)

    async def _wait(self, tx_id: bytes, *, final: bool, limit_s: float) -> TxStatus:
        """The status once the transaction stands, or the last known when the time is over."""
        try:
            async with asyncio.timeout(limit_s):
                async for _ in self._chain.events(self._chain.tip().height - 1, Strength.HEAD):
                    status = self._chain.status(tx_id)
                    stands = status.state in (TxState.SUCCEEDED, TxState.FAILED)
                    if status.state is TxState.UNKNOWN or (stands and (status.final or not final)):
                        return status
        except TimeoutError:
            pass  # The caller asked to wait; what is known now is the honest answer.
        return self._chain.status(tx_id)

    def _committed(self, news: Committed) -> chain_pb2.Committed:
        known = self._news.get(news.block_id)
        if known is None:
            known = self._news[news.block_id] = self._translate(news)
            if len(self._news) > NEWS_KEPT:
                self._news.popitem(last=False)
        return known

    def _translate(self, news: Committed) -> chain_pb2.Committed:
        return chain_pb2.Committed(
            height=news.height,
            block_id=news.block_id,
            timestamp_ms=news.timestamp_ms,
            txs=[
                chain_pb2.TxOutcome(
                    tx_id=outcome.tx_id,
                    index=outcome.index,
                    call=outcome.call,
                    sender=outcome.sender,
                    error_code=outcome.error_code,
                    events=[self._event(event) for event in outcome.events],
                )
                for outcome in news.outcomes
            ],
            events=[self._event(event) for event in news.block_events],
        )

    def _event(self, event: TxEvent) -> chain_pb2.Event:
        record: Any = codec.decode(self._registry.event_types[event.name], event.data)
        return chain_pb2.Event(name=event.name, json=orjson.dumps(codec.to_json(record)).decode())


def _status(status: TxStatus) -> chain_pb2.GetTxStatusResponse:
    return chain_pb2.GetTxStatusResponse(
        state=_STATES[status.state],
        height=status.height,
        index=status.index,
        error_code=status.error_code,
        final=status.final,
    )
