"""What was checked before, signatures and proofs: once at the door is enough."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

from theblock_node.core import codec, crypto
from theblock_node.core.block import Header
from theblock_node.core.domain import Context, Meter, Registry
from theblock_node.core.domains.compute.records import SubmitSlice
from theblock_node.core.errors import InvalidRecord, InvalidTx
from theblock_node.core.params import ChainParams
from theblock_node.core.proofs import bundle as bundles
from theblock_node.core.proofs.bundle import ProofBundle
from theblock_node.core.state import Draft, State
from theblock_node.core.tx import CheckedTx

CAPACITY = 65_536
PROOFS_CAPACITY = 4096


class Verified:
    """Remembers envelopes, signature included, so that another signature under the same id is checked again."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._seen: OrderedDict[bytes, None] = OrderedDict()

    def add(self, tx: CheckedTx) -> None:
        self._seen[_digest(tx)] = None
        if len(self._seen) > self._capacity:
            self._seen.popitem(last=False)

    def __call__(self, tx: CheckedTx) -> bool:
        return _digest(tx) in self._seen


class Proofs:
    """Verifies proofs, and remembers those that held: what a block does is the same with or without the memory."""

    def __init__(self, capacity: int = PROOFS_CAPACITY, *, clock_s: Callable[[], float] = time.perf_counter) -> None:
        self._capacity = capacity
        self._clock_s = clock_s
        self.took_ms: Callable[[float], None] = lambda _ms: None
        """Told how long each verification took, whatever it found."""
        self._held: OrderedDict[bytes, None] = OrderedDict()
        self._meter, self._meter_height = Meter(), 0

    def __call__(self, bundle: ProofBundle, verifying_key: bytes) -> None:
        """Refuse a proof that does not hold."""
        name = _name_proof(bundle, verifying_key)
        if name in self._held:
            return
        began_s = self._clock_s()
        try:
            bundles.verify(bundle, verifying_key)
        finally:
            self.took_ms((self._clock_s() - began_s) * 1000)
        self._held[name] = None
        if len(self._held) > self._capacity:
            self._held.popitem(last=False)

    def look_ahead(self, tx: CheckedTx, state: State, head: Header, *, chain: ChainParams, registry: Registry) -> None:
        """Verify the proof in ``tx`` before a block does, if it may be delivered now: its rule is run, for nothing.

        Of each head only as much as a block may hold, so that nobody makes a node verify all day.
        """
        if not isinstance(tx.arguments, SubmitSlice) or not isinstance(tx.arguments.output, ProofBundle):
            return
        if head.height != self._meter_height:
            self._meter, self._meter_height = Meter(), head.height
        sender = tx.payload.from_
        ctx = Context(
            Draft(state), chain, head.height + 1, head.timestamp_ms, sender, tx.id, check_proof=self, meter=self._meter
        )
        try:
            registry.commands[tx.payload.call].rule(ctx, tx.arguments)
        except (InvalidTx, InvalidRecord):
            return  # Whether it stands is for the block to say.


def _name_proof(bundle: ProofBundle, verifying_key: bytes) -> bytes:
    """All that the answer follows from."""
    size = len(verifying_key).to_bytes(4, "little")
    return crypto.blake3(b"".join((size, verifying_key, bundle.proof, *bundle.public_inputs)))


def _digest(tx: CheckedTx) -> bytes:
    return crypto.blake3(codec.encode(tx.envelope))
