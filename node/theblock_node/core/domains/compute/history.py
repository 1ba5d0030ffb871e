"""How slices ended for their providers: what is taken of a bond, and the rows that say so for a while."""

from __future__ import annotations

from dataclasses import replace

from theblock_node.core.domain import Context
from theblock_node.core.domains.compute.records import (
    HISTORY,
    HISTORY_BLOCKS,
    HISTORY_SPAN,
    JOBS,
    PROOFS_KEPT_MAX,
    HistorySpan,
    Job,
    Outcome,
    Reason,
    Resolution,
    Slice,
    domain,
)
from theblock_node.core.numeric import BPS
from theblock_node.core.proofs.bundle import ProofBundle
from theblock_node.core.state import View

LATE_BPS_A_MINUTE = 1000
MINUTE_BLOCKS = 60
PRUNED_A_BLOCK_MAX = 256
"""What is left of a crowded block waits for the next."""


def compute_late_penalty(bond: int, late_blocks: int) -> int:
    """What of ``bond`` a delivery after the deadline costs, rounded up."""
    return min(bond, -(-bond * LATE_BPS_A_MINUTE * late_blocks // (MINUTE_BLOCKS * BPS)))


def get_span(view: View) -> HistorySpan:
    return view.get(HISTORY_SPAN, None) or HistorySpan(1, 1, 1)


def record(
    ctx: Context,
    job: Job,
    piece: Slice,
    outcome: Outcome,
    reason: Reason,
    *,
    burned: int,
    refunded: int,
    payout: int,
    bundle: ProofBundle | None = None,
) -> None:
    """Add a row about a slice that ends; the bundle is kept while the job has room for it."""
    kept = bundle if job.proofs_kept < PROOFS_KEPT_MAX else None
    if kept is not None:
        ctx.draft.put(JOBS, job.job_id, replace(job, proofs_kept=job.proofs_kept + 1))
    span = get_span(ctx.draft)
    row = Resolution(
        1,
        span.following,
        job.job_id,
        piece.index,
        piece.provider_id,
        job.buyer,
        outcome,
        reason,
        burned,
        refunded,
        payout,
        job.deadline_height,
        ctx.height,
        kept,
    )
    ctx.draft.put(HISTORY, row.sequence, row)
    ctx.draft.put(HISTORY_SPAN, None, replace(span, following=span.following + 1))


@domain.begin_block
def prune(ctx: Context) -> None:
    """Drop the rows that are too old, a bounded number in each block."""
    span = get_span(ctx.draft)
    oldest = ctx.height - ctx.param(HISTORY_BLOCKS)
    first = span.first
    while first < min(span.following, span.first + PRUNED_A_BLOCK_MAX):
        row = ctx.draft.get(HISTORY, first)
        assert row is not None
        if row.resolved_height > oldest:
            break
        ctx.draft.delete(HISTORY, first)
        first += 1
    if first != span.first:
        ctx.draft.put(HISTORY_SPAN, None, replace(span, first=first))
