"""The pool beside the chain: decode and check what comes in, admit it, pass it on, forget what was executed.

Everything here runs between two awaits: the pool and the head it is checked against never move apart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from theblock_node.clock import Clock
from theblock_node.core import tx as txs
from theblock_node.core.domain import Registry
from theblock_node.core.domains import accounts
from theblock_node.core.errors import InvalidTx
from theblock_node.core.state import View
from theblock_node.core.tx import CheckedTx
from theblock_node.services.mempool.pool import Account, Entry, Pool


@dataclass(frozen=True, slots=True)
class Head:
    """What the next block builds on."""

    view: View
    height: int
    base_fee: int
    """Of the next block."""
    gas_max: int


def compute_spending(arguments: Any) -> int:
    """What a call is known to take from its sender beside the fee; others are left to their rule."""
    if isinstance(arguments, accounts.Transfer):
        return arguments.amount_consumer + arguments.amount_industrial
    return 0


class Mempool:
    def __init__(
        self,
        pool: Pool,
        *,
        registry: Registry,
        chain_id: int,
        head: Callable[[], Head],
        clock: Clock,
        admitted: Callable[[Entry], None],
    ) -> None:
        self._pool = pool
        self._registry = registry
        self._chain_id = chain_id
        self._head = head
        self._clock = clock
        self._admitted = admitted

    def __len__(self) -> int:
        return len(self._pool)

    def __contains__(self, tx_id: object) -> bool:
        return tx_id in self._pool

    @property
    def size(self) -> int:
        return self._pool.size

    def submit(self, data: bytes) -> bytes:
        """Admit an envelope and pass it on; its id. Refused with the check's own code."""
        return self._admit(data, self._head()).tx.id

    def submit_many(self, batch: Iterable[bytes]) -> list[bytes | InvalidTx]:
        """The id or the refusal of each."""
        answers: list[bytes | InvalidTx] = []
        for data in batch:
            try:
                answers.append(self.submit(data))
            except InvalidTx as refused:
                answers.append(refused)
        return answers

    def pending_nonce(self, address: str) -> int:
        """The last nonce in use: executed, or waiting without a gap."""
        return self._pool.pending_nonce(address, accounts.get_nonce(self._head().view, address))

    def select(self, *, bytes_max: int, count_max: int) -> list[CheckedTx]:
        """What the next block should hold, in order."""
        head = self._head()
        return self._pool.select(
            lambda sender: accounts.get_nonce(head.view, sender),
            base_fee=head.base_fee,
            gas_max=head.gas_max,
            bytes_max=bytes_max,
            count_max=count_max,
        )

    def drop(self, tx_id: bytes) -> None:
        """Forget a transaction that turned out not to be executable, and what depends on it."""
        entry = self._pool.get(tx_id)
        if entry is not None:
            self._pool.drop(entry)

    def head_moved(self, *, undone: Iterable[bytes], senders: Iterable[str]) -> None:
        """After the head changed: take back ``undone`` envelopes, settle ``senders`` whose transactions executed."""
        head = self._head()
        for sender in senders:
            self._pool.settle(sender, accounts.get_nonce(head.view, sender))
        for data in undone:
            try:
                self._admit(data, head)
            except InvalidTx:
                continue  # The new branch holds it already, or it no longer fits.
        self._pool.expire(height=head.height, now_ms=self._clock.now_ms())

    def _admit(self, data: bytes, head: Head) -> Entry:
        tx = txs.decode(data, self._registry, chain_id=self._chain_id, gas_max=head.gas_max)
        found = head.view.get(accounts.ACCOUNTS, tx.payload.from_)
        entry = self._pool.admit(
            tx,
            data,
            None if found is None else Account(found.balance, found.nonce),
            spends=compute_spending(tx.arguments),
            base_fee=head.base_fee,
            height=head.height,
            now_ms=self._clock.now_ms(),
            check_signature=txs.check_signature,
        )
        self._admitted(entry)
        return entry
