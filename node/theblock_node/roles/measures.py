"""What members measure: their facts at each scrape, and for those who keep the chain what its final blocks tell."""

from __future__ import annotations

import asyncio
from typing import Any

import theblock_node
from theblock_node.config import Config
from theblock_node.core import codec
from theblock_node.core.block import TxEvent
from theblock_node.core.domain import Registry
from theblock_node.core.proofs.bundle import ProofBundle
from theblock_node.roles.assembly import ValidatorNode
from theblock_node.rpc import domains
from theblock_node.rpc.node import Facts
from theblock_node.services.chain.service import ChainService, Committed, HistoryPruned, Strength, TxOutcome
from theblock_node.telemetry.from_events import SIGNATURE_CODES, BlockTold, EventCounter, TxTold
from theblock_node.telemetry.registry import MemberFacts, Metrics

GOSSIP = ("gossip_messages_total", "Messages of sessions, by direction and kind", ("direction", "message"))
SUBMIT_READING, SUBMIT_SLICE = "energy.submit_reading", "compute.submit_slice"


def describe_member(config: Config, facts: Facts) -> MemberFacts:
    """The facts of a member as its metrics show them."""
    return MemberFacts(
        role=config.role,
        member=config.member,
        network=config.network,
        version=theblock_node.VERSION,
        height=facts.height,
        finalized_height=facts.finalized_height,
        peers=len(facts.peers),
        is_ready=facts.ready,
        is_in_sync=facts.in_sync,
        is_draining=facts.drained.requested,
        signer_state=facts.signer.state if facts.signer else None,
        signer_floor_slot=facts.signer.floor_slot if facts.signer else 0,
        details=facts.details,
    )


def measure_validator(node: ValidatorNode, registry: Registry, metrics: Metrics) -> None:
    """Have the gauges of a validator set at each scrape, and its verifications of proofs timed."""
    node.proofs.took_ms = metrics.proof_verification.observe

    def look() -> None:
        facts = node.service.facts()
        metrics.mempool_size.set(facts.pool)
        metrics.set_running("chain_blocks_made_total", "Blocks that it made", (), {(): facts.blocks_made})
        metrics.set_running("chain_turns_missed_total", "Turns in which it made none", (), {(): facts.turns_missed})
        metrics.set_running(*GOSSIP, node.messages)
        state = domains.answer(registry, node.service.reading(Strength.HEAD), "energy.market_state", {})
        totals = state["totals"]
        metrics.energy_providers.set(int(totals["providers"]))
        metrics.energy_pending.set(int(totals["pending_credits_wh"]))
        metrics.energy_receipts.set(int(totals["next_receipt"]))
        metrics.energy_disputes.set(int(totals["open_disputes"]))

    metrics.on_scrape(look)


async def count_final_blocks(service: ChainService, registry: Registry, metrics: Metrics) -> None:
    """Count what becomes final from now on, until cancelled."""
    counter = EventCounter(metrics)
    while True:
        try:
            async for news in service.events(service.tip().finalized_height, Strength.FINAL):
                if isinstance(news, Committed):
                    counter.take(read_block(news, registry, service))
        except HistoryPruned:
            # It began anew at a snapshot; what lies between was counted by others.
            await asyncio.sleep(0)


def read_block(news: Committed, registry: Registry, service: ChainService) -> BlockTold:
    """What a final block tells, with records in their JSON form."""
    told = [*news.block_events, *(event for outcome in news.outcomes for event in outcome.events)]
    return BlockTold(
        news.height,
        news.timestamp_ms,
        tuple(_read_outcome(each, registry, service, news.height) for each in news.outcomes),
        tuple((event.name, _read_record(event, registry)) for event in told),
    )


def _read_record(event: TxEvent, registry: Registry) -> dict[str, Any]:
    record: Any = codec.decode(registry.event_types[event.name], event.data)
    found: dict[str, Any] = codec.to_json(record)
    return found


def _read_outcome(outcome: TxOutcome, registry: Registry, service: ChainService, height: int) -> TxTold:
    """How a transaction ended, and what of its arguments is counted."""
    call, code = outcome.call, outcome.error_code
    is_reading = call == SUBMIT_READING and code in SIGNATURE_CODES
    if not is_reading and not (call == SUBMIT_SLICE and code):
        return TxTold(call, code)
    payload = service.chain.store.block(height).body.transactions[outcome.index].payload
    arguments = registry.decode_arguments(call, payload.data)
    if is_reading:
        return TxTold(call, code, str(arguments.provider_id))
    return TxTold(call, code, has_proof=isinstance(arguments.output, ProofBundle))
