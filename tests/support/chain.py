"""A chain in memory for tests of rules: keys by name, blocks on demand, every block also replayed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from theblock_node.core import codec, header, transition, tx
from theblock_node.core.address import address_of
from theblock_node.core.block import Attestation, Block, Body, Evidence, Header, attestation_digest, block_id
from theblock_node.core.crypto import SigningKey, blake3
from theblock_node.core.domain import Event, Reading, Registry
from theblock_node.core.domains import REGISTRY, accounts, escrow, supply, validators
from theblock_node.core.genesis import build, parse
from theblock_node.core.state import State
from theblock_node.core.transition import Applied

GENESIS_SECONDS = 1_790_000_000


def key_of(name: str) -> SigningKey:
    """The key that a test calls ``name``; the same every time."""
    return SigningKey.from_seed(blake3(name.encode()))


def address(name: str) -> str:
    return address_of(key_of(name).public_key)


def registration(owner: str, name: str, *, chain_id: int = 1_000_002, bls: bytes = bytes(48)) -> validators.Register:
    """What ``owner`` sends to own the identity of a validator's key."""
    key = key_of(name)
    digest = validators.register_digest(chain_id, address(owner), bytes(48))
    return validators.Register(key.public_key, bls, bytes(96), key.sign(digest))


def genesis_document(
    *,
    validators_count: int = 4,
    preset: str = "minimal",
    funded: dict[str, int] | None = None,
    params: dict[str, int] | None = None,
    stake: int = 10**12,
    overrides: dict[str, int] | None = None,
) -> dict[str, Any]:
    funded = {"alice": 10**15, "bob": 10**15, "owner": 10**16, **(funded or {})}
    chain_ids = {"mainnet": 1, "devnet": 1_000_001, "minimal": 1_000_002}
    return {
        "version": 1,
        "preset": preset,
        "chain_id": chain_ids[preset],
        "overrides": {name: str(value) for name, value in (overrides or {}).items()},
        "params": {name: str(value) for name, value in (params or {}).items()},
        "time_seconds": GENESIS_SECONDS,
        "allocations": [{"address": address(name), "amount": str(amount)} for name, amount in funded.items()],
        "funder": None,
        "validators": [
            {"name": f"v-{at}", "public_key": key_of(f"v-{at}").public_key.hex(), "owner": address("owner"),
             "stake": str(stake)}
            for at in range(validators_count)
        ],
    }  # fmt: skip


class Chain:
    """A chain that a test drives block by block; all validators vote unless told otherwise."""

    def __init__(self, registry: Registry = REGISTRY, **options: Any) -> None:
        self.document = genesis_document(**options)
        self.genesis = parse(json.dumps(self.document).encode())
        self.params = self.genesis.chain
        self.registry = registry
        self.state, first = build(self.genesis)
        self.blocks: list[Block] = [first]
        self.applied: list[Applied] = []
        self._named = {f"v-{at}": key_of(f"v-{at}") for at in range(64)}
        self.keys = {key.public_key: key for key in self._named.values()}
        self._votes: list[Attestation] = []

    @property
    def tip(self) -> Block:
        return self.blocks[-1]

    @property
    def height(self) -> int:
        return self.tip.header.height

    def nonce(self, name: str) -> int:
        return accounts.get_nonce(self.state, address(name))

    def balance(self, name: str) -> int:
        return accounts.get_balance(self.state, address(name))

    def tx(self, name: str, call: str, arguments: Any, *, nonce: int | None = None, **changes: Any) -> tx.TxEnvelope:
        """A signed envelope around a call, with room for any fee."""
        key = key_of(name)
        payload = {
            "version": 3,
            "chain_id": self.params.chain_id,
            "from_": address(name),
            "nonce": self.nonce(name) + 1 if nonce is None else nonce,
            "lane": tx.FeeLane.CONSUMER,
            "max_fee": 10**9,
            "tip": 0,
            "pct": 100,
            "gas_limit": transition.get_gas_limit(self.state, self.params),
            "expires_at_height": 0,
            "memo": b"",
            "call": call,
            "data": codec.encode(arguments),
            **changes,
        }
        return tx.sign(tx.TxPayload(**payload), key)

    def check(self, envelope: tx.TxEnvelope) -> tx.CheckedTx:
        gas_max = transition.get_gas_limit(self.state, self.params)
        data = codec.encode(envelope)
        return tx.decode(data, self.registry, chain_id=self.params.chain_id, gas_max=gas_max)

    def propose(
        self,
        *envelopes: tx.TxEnvelope,
        slots: int = 1,
        votes: bool | Sequence[Attestation] = True,
        evidence: Sequence[Evidence] = (),
        may_leave_out: bool = False,
    ) -> tuple[Block, Applied]:
        """A sealed block on the tip, not yet taken.

        ``slots`` says how long after the tip it comes; ``votes`` whether those of all validators are in it, or which;
        ``may_leave_out`` whether it is fine that a transaction has no place in it.
        """
        parent = self.tip.header
        slot = parent.slot + slots
        timestamp_ms = GENESIS_SECONDS * 1000 + slot * self.params.block_time_ms
        proposer, _ = header.get_proposers(self.state, self.params, parent.height + 1, slot)
        proposal = transition.propose_block(
            self.state,
            parent,
            [self.check(envelope) for envelope in envelopes],
            timestamp_ms=timestamp_ms,
            proposer=proposer,
            attestations=(self._votes if votes else []) if isinstance(votes, bool) else votes,
            evidence=evidence,
            chain=self.params,
            registry=self.registry,
        )
        assert may_leave_out or not proposal.left_out, [str(reason) for _, reason in proposal.left_out]
        return self.seal(proposal.header, proposal.body), proposal.applied

    def seal(self, header: Header, body: Body) -> Block:
        """The block with its proposer's signature, whatever it says."""
        return Block(header, body, self.keys[header.proposer].sign(block_id(header)))

    def take(self, block: Block) -> Applied:
        """Check and apply a block as any node would."""
        header.check_header(
            block.header, block.leader_sig, self.tip.header, self.state, self.params,
            now_ms=block.header.timestamp_ms,
        )  # fmt: skip
        applied = transition.apply_block(self.state, self.tip.header, block, chain=self.params, registry=self.registry)
        self.state.commit(applied.changes)
        self.blocks.append(block)
        self.applied.append(applied)
        self._votes = self._vote(block) if block.header.height % self.params.macro_interval == 0 else []
        return applied

    def block(
        self,
        *envelopes: tx.TxEnvelope,
        slots: int = 1,
        votes: bool | Sequence[Attestation] = True,
        evidence: Sequence[Evidence] = (),
        may_leave_out: bool = False,
    ) -> Applied:
        made, _ = self.propose(*envelopes, slots=slots, votes=votes, evidence=evidence, may_leave_out=may_leave_out)
        return self.take(made)

    def run(self, count: int, *, votes: bool = True) -> None:
        for _ in range(count):
            self.block(votes=votes)

    def run_to(self, height: int, *, votes: bool = True) -> None:
        self.run(height - self.height, votes=votes)

    def call(self, name: str, call: str, arguments: Any, **changes: Any) -> Applied:
        """One block with one call; its receipt is the last of `Applied.receipts`."""
        return self.block(self.tx(name, call, arguments, **changes))

    def ok(self, name: str, call: str, arguments: Any, **changes: Any) -> list[Any]:
        """As `call`, which must succeed; returns the records that it told."""
        applied = self.call(name, call, arguments, **changes)
        assert applied.receipts[-1].error_code == "", applied.receipts[-1].error_code
        return [event.record for event in applied.tx_events[-1]]

    def refused(self, name: str, call: str, arguments: Any, **changes: Any) -> str:
        """As `call`, which must be refused; returns the code."""
        return self.call(name, call, arguments, **changes).receipts[-1].error_code

    def query(self, name: str, request: Any) -> Any:
        spec = self.registry.queries[name]
        reading = Reading(self.state, self.params, self.height, self.tip.header.timestamp_ms)
        return spec.function(reading, request)

    def events(self, name: str) -> list[Any]:
        """Every record told under a name so far, block events included."""
        told: list[Event] = []
        for applied in self.applied:
            told.extend(applied.block_events)
            for events in applied.tx_events:
                told.extend(events)
        return [event.record for event in told if event.name == name]

    def replay(self) -> State:
        """A fresh state from the genesis and every block."""
        state, first = build(self.genesis)
        parent = first.header
        for block in self.blocks[1:]:
            applied = transition.apply_block(state, parent, block, chain=self.params, registry=self.registry)
            state.commit(applied.changes)
            parent = block.header
        return state

    def vote(self, name: str, source: tuple[int, bytes], target: tuple[int, bytes]) -> Attestation:
        """A validator's signed vote, whether or not it makes sense."""
        key = key_of(name)
        blank = Attestation(key.public_key, *source, *target, bytes(64))
        return replace(blank, signature=key.sign(attestation_digest(self.params.chain_id, blank)))

    def money(self) -> int:
        """All that exists: balances, bonds on their way in or out, escrow."""
        balances = sum(account.balance for _, account in self.state.items(accounts.ACCOUNTS))
        roles = [held for _, stake in self.state.items(validators.STAKES) for held in stake.roles]
        bonds = sum(held.bonded + sum(part.amount for part in held.unbonding) for held in roles)
        return balances + bonds + sum(entry.amount for _, entry in self.state.items(escrow.ENTRIES))

    def minted(self) -> int:
        """What should exist: all that was ever minted less what was burned."""
        found = supply.get_supply(self.state)
        return found.emission - found.burned

    def _vote(self, target: Block) -> list[Attestation]:
        source = validators.get_consensus(self.state).justified
        members = validators.get_set(self.state, target.header.height // self.params.epoch_blocks).members
        names = {key.public_key: name for name, key in self._named.items()}
        span = (source.height, source.hash), (target.header.height, target.id)
        return [self.vote(names[member.id], *span) for member in members]
