"""What is to be done so that every slot of every object stands somewhere: pure.

Called once in a while by `duties` with what the chain says of one object. Nothing is planned on anybody's word but
the chain's: a slot is lost when the chain counts it so, and moved when its holder is leaving there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from theblock_node.core.domains.storage.records import Contract, Replica, ReplicaStatus
from theblock_node.core.proofs import retrieval
from theblock_node.services.storage import placement
from theblock_node.services.storage.placement import Need, Offer

BACK_OFF_BLOCKS = 10
BACK_OFF_BLOCKS_MAX = 3600
TAKE_OVER_ROUNDS = 2
"""A repair that its first leader has not done in so many rounds is done by the next."""


@dataclass(frozen=True, slots=True)
class Reclaim:
    """Take back own slots that were counted lost, since all their shards are still here."""

    slots: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Move:
    """Hand slots of ``source`` to ``target``; read from disk where they are here, else rebuilt from others."""

    source: str
    target: str
    slots: tuple[int, ...]


Job = Reclaim | Move


@dataclass(frozen=True, slots=True)
class Health:
    """How an object stands."""

    held: int
    """Slots that somebody holds."""
    n: int
    data: int

    @property
    def is_whole(self) -> bool:
        return self.held == self.n

    @property
    def is_unrecoverable(self) -> bool:
        return self.held < self.data


def judge_health(contract: Contract, replicas: Sequence[Replica]) -> Health:
    held = {slot for row in replicas if row.status is ReplicaStatus.HELD for slot in row.slots}
    return Health(len(held), contract.n, contract.data)


def plan_repair(
    contract: Contract,
    replicas: Sequence[Replica],
    offers: Sequence[Offer],
    *,
    me: str,
    has_own: bool,
    is_leaving: bool,
    policy: str,
    collateral_bps: int,
    rounds: int,
) -> Job | None:
    """The next job of ``me`` for one object, if there is one.

    ``has_own`` says whether all shards of its own slots are on this disk; ``rounds`` how often this object was
    already found in need of repair.
    """
    lost = [row for row in replicas if row.status is ReplicaStatus.LOST]
    own = next((row for row in replicas if row.provider_id == me), None)
    if own is not None and own.status is ReplicaStatus.LOST and has_own and not is_leaving:
        return Reclaim(own.slots)
    if own is not None and own.status is ReplicaStatus.HELD and is_leaving:
        return _plan_move(contract, replicas, offers, own, me=me, policy=policy, collateral_bps=collateral_bps)
    if not lost or judge_health(contract, replicas).is_unrecoverable:
        return None
    rank = rank_leader(contract, replicas, me)
    if rank is None or rounds <= rank * TAKE_OVER_ROUNDS:
        return None
    for source in lost:
        job = _plan_move(contract, replicas, offers, source, me=me, policy=policy, collateral_bps=collateral_bps)
        if job is not None:
            return job
    return None


def rank_leader(contract: Contract, replicas: Sequence[Replica], me: str) -> int | None:
    """The place of ``me`` in the order in which the holders take over a repair; None for who holds nothing."""
    holders = [row.provider_id for row in replicas if row.status is ReplicaStatus.HELD]
    if me not in holders:
        return None
    holders.sort(key=lambda name: retrieval.digest("theblock/storage/leader/v1", contract.contract_id + name.encode()))
    return holders.index(me)


def compute_back_off_blocks(failures: int) -> int:
    """How long an object is left alone after its repair has failed so many times."""
    return min(BACK_OFF_BLOCKS * 2 ** min(failures - 1, 16), BACK_OFF_BLOCKS_MAX) if failures else 0


def _plan_move(
    contract: Contract,
    replicas: Sequence[Replica],
    offers: Sequence[Offer],
    source: Replica,
    *,
    me: str,
    policy: str,
    collateral_bps: int,
) -> Move | None:
    count = len(source.slots)
    need = Need(contract.data, contract.parity, -(-source.size // count), contract.retention_blocks, collateral_bps)
    held = {row.provider_id: len(row.slots) for row in replicas if row.status is ReplicaStatus.HELD}
    able = [offer for offer in offers if offer.provider_id != source.provider_id]
    target = placement.choose_target(
        able, need, slots=count, held=held, policy=policy, seed=contract.contract_id + source.provider_id.encode()
    )
    return None if target is None else Move(source.provider_id, target, source.slots)
