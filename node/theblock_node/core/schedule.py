"""In which order waiting transactions are offered to a block: fair between lanes, by tip within a lane.

Lanes get shares of the block; what a lane leaves over goes to the others. Transactions of one sender keep their
nonce order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice

from theblock_node.core.tx import CheckedTx, FeeLane

SHARES: Mapping[FeeLane, int] = {
    FeeLane.TREASURY: 2,
    FeeLane.PRIORITY: 4,
    FeeLane.INDUSTRIAL: 7,
    FeeLane.CONSUMER: 7,
}
"""How many of each lane come in one round, first lane first."""


def order(waiting: Iterable[CheckedTx]) -> list[CheckedTx]:
    """``waiting`` in the order in which a block should try them."""
    by_tip = _by_tip(waiting)
    lanes = {lane: iter([tx for tx in by_tip if tx.payload.lane is lane]) for lane in SHARES}
    ordered: list[CheckedTx] = []
    while len(ordered) < len(by_tip):
        for lane, share in SHARES.items():
            ordered.extend(islice(lanes[lane], share))
    return _keep_nonces(ordered)


def _by_tip(waiting: Iterable[CheckedTx]) -> list[CheckedTx]:
    return sorted(waiting, key=lambda tx: (-tx.payload.tip, tx.id))


def _keep_nonces(ordered: list[CheckedTx]) -> list[CheckedTx]:
    """The same places for each sender, filled by ascending nonce."""
    by_sender: dict[str, list[CheckedTx]] = {}
    for tx in ordered:
        by_sender.setdefault(tx.payload.from_, []).append(tx)
    queues = {
        sender: iter(sorted(txs, key=lambda tx: (tx.payload.nonce, -tx.payload.tip, tx.id)))
        for sender, txs in by_sender.items()
    }
    return [next(queues[tx.payload.from_]) for tx in ordered]
