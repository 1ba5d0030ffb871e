"""The one function that says what a block does, and its twin that builds one.

    apply_block(state, block) -> Applied        refuses a block that breaks a rule; changes nothing itself
    propose_block(state, ...) -> Proposal       takes what it can of the offered transactions

Order inside a block: the parent is noted as a checkpoint, domains' begin hooks, evidence, votes, transactions,
domains' end hooks, the next base fee. A transaction whose rule refuses is FAILED: it pays and its nonce is used,
but nothing else of it stays. One that may not even pay makes the block invalid.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from theblock_node.core import codec, crypto, fees, merkle
from theblock_node.core import tx as txs
from theblock_node.core.address import address_of
from theblock_node.core.block import (
    MAGIC,
    ZERO,
    Attestation,
    Block,
    Body,
    Evidence,
    Header,
    TxEvent,
    TxReceipt,
    block_id,
    tx_root,
)
from theblock_node.core.domain import CheckProof, Context, Event, Meter, Registry, get_param
from theblock_node.core.domains import accounts, supply, validators
from theblock_node.core.errors import InvalidBlock, InvalidRecord, InvalidTx, ProtocolError
from theblock_node.core.header import VERSION, compute_slot
from theblock_node.core.params import ChainParams
from theblock_node.core.proofs import bundle
from theblock_node.core.state import Changes, Draft, State, View
from theblock_node.core.tx import CheckedTx

SUCCESS, FAILED = 0, 1


@dataclass(frozen=True, slots=True)
class Applied:
    """What a block does to the state, and what it tells."""

    changes: Changes
    txs: tuple[CheckedTx, ...]
    receipts: tuple[TxReceipt, ...]
    block_events: tuple[Event, ...]
    tx_events: tuple[tuple[Event, ...], ...]
    """Of each transaction, in order; empty for one that failed."""
    tree: merkle.Tree
    """Of the state after the block."""


@dataclass(frozen=True, slots=True)
class Proposal:
    header: Header
    """To be signed over its id."""
    body: Body
    applied: Applied
    left_out: tuple[tuple[CheckedTx, ProtocolError], ...]
    """Offered transactions that can not stand in this block, with the reason."""


def get_gas_limit(view: View, chain: ChainParams) -> int:
    """Most gas that a block, and so a transaction, may use."""
    return fees.ELASTICITY * get_param(view, fees.TARGET_GAS, chain.preset)


def apply_block(
    state: State,
    parent: Header,
    block: Block,
    *,
    chain: ChainParams,
    registry: Registry,
    is_verified: Callable[[CheckedTx], bool] = lambda _tx: False,
    check_proof: CheckProof = bundle.verify,
) -> Applied:
    """Return what ``block`` does to ``state``, which is its parent's; change nothing.

    The header itself must have passed `header.check_header`. ``is_verified`` names transactions whose signature
    was checked before; ``check_proof`` may remember proofs.
    """
    checked = _check_body(state, block, chain, registry, is_verified)
    run = _Run(state, parent, block.header.timestamp_ms, block.header.proposer, chain, registry, check_proof)
    run.begin(block.body.evidence, block.body.attestations)
    for tx in checked:
        try:
            run.execute(tx)
        except InvalidTx as refused:
            raise InvalidBlock("block.tx", cause=refused.code, tx_id=tx.id.hex(), **refused.facts) from refused
    applied = run.finish()
    for name, value in run.roots(applied).items():
        if getattr(block.header, name) != value:
            code = "block.state_root" if name in ("state_root", "shard_roots_root", "gas_used") else "block.root"
            raise InvalidBlock(code, field=name)
    return applied


def propose_block(
    state: State,
    parent: Header,
    offered: Iterable[CheckedTx],
    *,
    timestamp_ms: int,
    proposer: bytes,
    attestations: Sequence[Attestation],
    evidence: Sequence[Evidence],
    chain: ChainParams,
    registry: Registry,
    check_proof: CheckProof = bundle.verify,
) -> Proposal:
    """Build a block on ``parent``, whose state is ``state``, from as much of ``offered`` as fits.

    Signatures of ``offered`` must have been checked. Votes and evidence that the chain would refuse are left out.
    """
    run = _Run(state, parent, timestamp_ms, proposer, chain, registry, check_proof)
    votes, proofs = run.begin_with_what_holds(evidence, attestations)
    taken: list[CheckedTx] = []
    left_out: list[tuple[CheckedTx, ProtocolError]] = []
    seen: set[bytes] = set()
    for tx in offered:
        if len(taken) >= chain.block_txs_max:
            break
        if tx.id in seen or run.size + tx.size > chain.block_bytes_max // 2 or run.gas_used + tx.gas > run.gas_limit:
            continue
        try:
            run.execute(tx)
        except ProtocolError as refused:
            left_out.append((tx, refused))
            continue
        seen.add(tx.id)
        taken.append(tx)
    applied = run.finish()
    body = Body(1, tuple(tx.envelope for tx in taken), evidence=tuple(proofs), attestations=tuple(votes))
    justified = validators.get_consensus(state).justified
    slot = compute_slot(supply.get_origin_ms(state), timestamp_ms, chain)
    blank = blank_header(chain, parent.height + 1, block_id(parent), timestamp_ms, slot)
    header = replace(
        blank,
        proposer=proposer,
        base_fee=run.base_fee,
        checkpoint_height=justified.height,
        checkpoint_hash=justified.hash,
        **run.roots(applied),
    )
    return Proposal(header, body, applied, tuple(left_out))


def blank_header(chain: ChainParams, height: int, parent: bytes, timestamp_ms: int, slot: int) -> Header:
    """A header whose roots, proposer and fees are still to be filled in."""
    return Header(
        magic=MAGIC,
        version=VERSION,
        chain_id=chain.chain_id,
        height=height,
        slot=slot,
        parent=parent,
        checkpoint_height=0,
        checkpoint_hash=ZERO,
        timestamp_ms=timestamp_ms,
        proposer=ZERO,
        difficulty=0,
        retune_hint=0,
        base_fee=chain.initial_base_fee,
        tx_root=ZERO,
        receipts_root=ZERO,
        state_root=ZERO,
        shard_roots_root=ZERO,
        economics_hash=ZERO,
        blob_root=ZERO,
        xshard_root=ZERO,
        read_root=ZERO,
        poh_hash=ZERO,
        poh_ticks=0,
        vdf_commit=ZERO,
        vdf_output_hash=ZERO,
        gas_used=0,
        nonce=0,
    )


def shard_roots_root(tree: merkle.Tree) -> bytes:
    """The list root over (shard, its subtree's root), ascending."""
    prefixes = [struct.pack(">H", shard) for shard in tree.shards()]
    return merkle.list_root([prefix[::-1] + tree.subtree_root(prefix) for prefix in prefixes])


def check_includable(view: View, tx: CheckedTx, *, height: int, base_fee: int) -> int:
    """The fee in full of a transaction that may stand in the block at ``height``; refuses others."""
    payload = tx.payload
    if payload.expires_at_height and payload.expires_at_height < height:
        raise InvalidTx("tx.expired", expires_at_height=payload.expires_at_height, height=height)
    account = accounts.get_account(view, payload.from_)
    if payload.nonce != account.nonce + 1:
        raise InvalidTx("tx.bad_nonce", nonce=payload.nonce, expected=account.nonce + 1)
    fee = tx.gas * base_fee + payload.tip
    if fee > payload.max_fee:
        raise InvalidTx("tx.fee_below_base", max_fee=payload.max_fee, needed=fee)
    if account.balance < fee:
        raise InvalidTx("tx.insufficient_balance", balance=account.balance, needed=fee)
    return fee


class _Run:
    """One block in the making: a draft over the parent's state and what has been told so far."""

    def __init__(
        self,
        state: State,
        parent: Header,
        timestamp_ms: int,
        proposer: bytes,
        chain: ChainParams,
        registry: Registry,
        check_proof: CheckProof,
    ) -> None:
        self._state = state
        self._check_proof = check_proof
        self._meter = Meter()
        self._chain = chain
        self._registry = registry
        self._draft = Draft(state)
        self._parent = parent
        self._parent_id = block_id(parent)
        self._proposer = address_of(proposer)
        self._height = parent.height + 1
        self._timestamp_ms = timestamp_ms
        self._txs: list[CheckedTx] = []
        self._receipts: list[TxReceipt] = []
        self._encoded: list[bytes] = []
        """The receipts' bytes."""
        self._tx_events: list[tuple[Event, ...]] = []
        self._block_events: list[Event] = []
        self._burned = 0
        self._tips = 0
        self._beacon = validators.get_set(state, self._height // chain.epoch_blocks).beacon
        self.base_fee = supply.get_base_fee(state, chain.initial_base_fee)
        self.gas_limit = get_gas_limit(state, chain)
        self.gas_used = 0
        self.size = 0

    def begin(self, evidence: Iterable[Evidence], attestations: Iterable[Attestation]) -> None:
        self._hooks_begin()
        for proof in evidence:
            self._tell(self._draft, lambda ctx, proof=proof: validators.punish(ctx, proof, self._proposer))  # type: ignore[misc]
        for vote in attestations:
            self._tell(self._draft, lambda ctx, vote=vote: validators.count_attestation(ctx, vote))  # type: ignore[misc]

    def begin_with_what_holds(
        self, evidence: Iterable[Evidence], attestations: Iterable[Attestation]
    ) -> tuple[list[Attestation], list[Evidence]]:
        """As `begin`, leaving out what would be refused."""
        self._hooks_begin()
        proofs = [
            proof
            for proof in evidence
            if self._try(lambda ctx, proof=proof: validators.punish(ctx, proof, self._proposer))  # type: ignore[misc]
        ]
        votes = [
            vote
            for vote in attestations
            if self._try(lambda ctx, vote=vote: validators.count_attestation(ctx, vote))  # type: ignore[misc]
        ]
        return votes, proofs

    def execute(self, tx: CheckedTx) -> None:
        """Run one transaction; refuses one that may not stand here, and then nothing has happened."""
        payload = tx.payload
        if self.gas_used + tx.gas > self.gas_limit:
            raise InvalidTx("tx.gas_limit", block_gas_limit=self.gas_limit)
        fee = check_includable(self._draft, tx, height=self._height, base_fee=self.base_fee)
        account = accounts.get_account(self._draft, payload.from_)
        paid = replace(account, balance=account.balance - fee, nonce=payload.nonce)
        self._draft.put(accounts.ACCOUNTS, payload.from_, paid)
        self._burned += fee - payload.tip
        self._tips += payload.tip
        self.gas_used += tx.gas
        self.size += tx.size

        draft = Draft(self._draft)
        events: tuple[Event, ...] = ()
        try:
            events = self._run_rule(tx, draft)
            receipt = self._receipt(tx, fee, events)
            encoded = codec.encode(receipt)
        except (InvalidTx, InvalidRecord) as refused:
            events = ()
            receipt = replace(self._receipt(tx, fee, events), status=FAILED, error_code=refused.code)
            encoded = codec.encode(receipt)
        else:
            self._draft.absorb(draft)
        self._txs.append(tx)
        self._tx_events.append(events)
        self._receipts.append(receipt)
        self._encoded.append(encoded)

    def _run_rule(self, tx: CheckedTx, draft: Draft) -> tuple[Event, ...]:
        """Do in ``draft`` what the call says, and return what it tells; what could not be stored is refused here."""
        ctx = self._context(draft, tx.payload.from_, tx.id)
        self._registry.commands[tx.payload.call].rule(ctx, tx.arguments)
        draft.check()
        return tuple(self._registry.event_of(record) for record in ctx.events)

    def _receipt(self, tx: CheckedTx, fee: int, events: tuple[Event, ...]) -> TxReceipt:
        consumer, industrial = txs.decompose(tx.payload.pct, fee)
        return TxReceipt(
            version=1,
            tx_id=tx.id,
            block_height=self._height,
            index=len(self._receipts),
            status=SUCCESS,
            error_code="",
            gas_used=tx.gas,
            base_fee_paid=fee - tx.payload.tip,
            tip_paid=tx.payload.tip,
            fee_consumer=consumer,
            fee_industrial=industrial,
            rebate_used=0,
            logs=(),
            events=tuple(TxEvent(event.name, codec.encode(event.record)) for event in events),
            contract=None,
            output_hash=ZERO,
        )

    def finish(self) -> Applied:
        if self._burned:
            supply.burn(self._draft, self._burned)
        if self._tips:
            accounts.credit(self._draft, self._proposer, self._tips)
        for domain in self._registry.domains:
            for hook in domain.end_hooks:
                self._tell(self._draft, hook)
        target = get_param(self._draft, fees.TARGET_GAS, self._chain.preset)
        floor = get_param(self._draft, fees.MIN_BASE_FEE, self._chain.preset)
        following = fees.compute_base_fee(self.base_fee, self.gas_used, target=target, floor=floor)
        self._draft.put(supply.FEES, None, supply.Fees(1, following))
        changes = self._draft.changes()
        return Applied(
            changes,
            tuple(self._txs),
            tuple(self._receipts),
            tuple(self._block_events),
            tuple(self._tx_events),
            self._state.tree_with(changes),
        )

    def roots(self, applied: Applied) -> dict[str, Any]:
        """The fields of the header that say what the block did."""
        return {
            "tx_root": tx_root([tx.id for tx in self._txs]),
            "receipts_root": merkle.list_root(self._encoded),
            "state_root": applied.tree.root,
            "shard_roots_root": shard_roots_root(applied.tree),
            "gas_used": self.gas_used,
        }

    def _hooks_begin(self) -> None:
        validators.note_checkpoint(self._draft, self._chain, self._parent.height, self._parent_id)
        for domain in self._registry.domains:
            for hook in domain.begin_hooks:
                self._tell(self._draft, hook)

    def _context(self, draft: Draft, sender: str, tx_id: bytes) -> Context:
        return Context(
            draft,
            self._chain,
            self._height,
            self._timestamp_ms,
            sender,
            tx_id,
            parent=self._parent_id,
            beacon=self._beacon,
            check_proof=self._check_proof,
            meter=self._meter,
        )

    def _tell(self, draft: Draft, act: Callable[[Context], None]) -> None:
        ctx = self._context(draft, "", ZERO)
        act(ctx)
        self._block_events.extend(self._registry.event_of(record) for record in ctx.events)

    def _try(self, act: Callable[[Context], None]) -> bool:
        draft = Draft(self._draft)
        ctx = self._context(draft, "", ZERO)
        try:
            act(ctx)
        except ProtocolError:
            return False
        self._draft.absorb(draft)
        self._block_events.extend(self._registry.event_of(record) for record in ctx.events)
        return True


def _check_body(
    state: State, block: Block, chain: ChainParams, registry: Registry, is_verified: Callable[[CheckedTx], bool]
) -> list[CheckedTx]:
    envelopes = block.body.transactions
    if len(envelopes) > chain.block_txs_max:
        raise InvalidBlock("block.size", transactions=len(envelopes), max=chain.block_txs_max)
    gas_max = get_gas_limit(state, chain)
    checked: list[CheckedTx] = []
    for envelope in envelopes:
        size = len(codec.encode(envelope))
        try:
            checked.append(txs.check(envelope, size, registry, chain_id=chain.chain_id, gas_max=gas_max))
        except InvalidTx as refused:
            raise InvalidBlock("block.tx", cause=refused.code, **refused.facts) from refused
    ids = [tx.id for tx in checked]
    if len(set(ids)) != len(ids):
        raise InvalidBlock("block.dup_tx")
    if block.header.tx_root != tx_root(ids):
        raise InvalidBlock("block.root", field="tx_root")
    fresh = [tx for tx in checked if not is_verified(tx)]
    verdicts = crypto.verify_batch([txs.signature_item(tx) for tx in fresh])
    for tx, verdict in zip(fresh, verdicts, strict=True):
        if not verdict:
            raise InvalidBlock("block.tx", cause="tx.bad_signature", tx_id=tx.id.hex())
    return checked
