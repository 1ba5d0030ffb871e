"""What the energy market does by itself at the beginning of a block."""

from __future__ import annotations

from theblock_node.core.domain import Context
from theblock_node.core.domains.energy import disputes, providers, rounds, standing
from theblock_node.core.domains.energy import records as r
from theblock_node.core.domains.energy.records import domain


@domain.begin_block
def fall_due(ctx: Context) -> None:
    """Expire the credits, close the rounds and disputes, and pay back the stakes of this height."""
    for item in standing.DUE.take(ctx.draft, ctx.height):
        match item.kind:
            case r.DueKind.CREDIT:
                rounds.expire_credit(ctx, item.id)
            case r.DueKind.ROUND:
                rounds.evaluate_rounds(ctx, item.name)
            case r.DueKind.STAKE:
                providers.release_stake(ctx, item.name)
            case r.DueKind.DISPUTE:
                dispute = ctx.draft.get(r.DISPUTES, item.number)
                if dispute is not None and dispute.state is r.DisputeState.OPEN:
                    disputes.close_dispute(ctx, dispute, None, "", "nobody decided in time")
