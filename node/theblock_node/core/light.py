"""Follow a chain without its state: headers, the votes that make one of them final, and proofs of rows under it.

A client starts from a genesis document, or from a final header and its validator set that somebody it trusts told
it, and goes from one final checkpoint to a later one. Who proposed is not checked, since two thirds of the
validators vouch for the block; what they vouch for is. Where the set has changed, a third of the trusted set must
be among the voters too, so a set made up by a minority is not believed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from theblock_node.core import codec, crypto, merkle
from theblock_node.core import genesis as genesis_documents
from theblock_node.core.block import MAGIC, Attestation, Header, SignedHeader, attestation_digest, block_id
from theblock_node.core.consensus import finality
from theblock_node.core.domains import validators
from theblock_node.core.domains.validators import ValidatorSet
from theblock_node.core.errors import InvalidBlock, InvalidRecord
from theblock_node.core.header import VERSION
from theblock_node.core.params import ChainParams
from theblock_node.core.state import Table

V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Trust:
    """What a client believes: a final header, and the last validator set that it learned."""

    header: Header
    set: ValidatorSet


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the state, None where there is none, and its proof."""

    value: bytes | None
    proof: merkle.Proof


@dataclass(frozen=True, slots=True)
class Update:
    """Headers after the trusted one, without gaps, up to the checkpoint that the votes are for."""

    headers: tuple[SignedHeader, ...]
    votes: tuple[Attestation, ...]
    """From the checkpoint before the last header to the last header."""
    set_row: Row | None
    """The set of the last header's epoch under its state root; None if that is the trusted one."""


def trust_genesis(document: bytes) -> Trust:
    state, block = genesis_documents.build(genesis_documents.parse(document))
    return Trust(block.header, validators.get_set(state, 0))


def advance(trust: Trust, update: Update, chain: ChainParams) -> Trust:
    """Believe the checkpoint before the last header, which the votes make final; refuses what does not show it."""
    check_headers(trust.header, update.headers, chain)
    target = update.headers[-1].header
    final_height = target.height - chain.macro_interval
    if target.height % chain.macro_interval or final_height <= trust.header.height:
        raise InvalidBlock("light.header", height=target.height, reason="not a checkpoint above the next")
    final = update.headers[final_height - trust.header.height - 1].header
    members = _find_set(trust, target, update.set_row, chain)
    voters = _find_voters(update.votes, final, target, chain)
    if not finality.is_decided(voters, dict(members.weights())):
        raise InvalidBlock("light.votes", height=final_height, voters=len(voters))
    if members != trust.set:
        _check_overlap(trust.set, voters)
    return Trust(final, members)


def check_headers(parent: Header, headers: Sequence[SignedHeader], chain: ChainParams) -> None:
    """Refuse headers that do not follow each other, the first following ``parent``, each signed by its proposer."""
    if not headers:
        raise InvalidBlock("light.header", reason="none")
    for signed in headers:
        header = signed.header
        if (header.magic, header.version, header.chain_id) != (MAGIC, VERSION, chain.chain_id):
            raise InvalidBlock("light.header", height=header.height, reason="of another chain")
        if header.parent != block_id(parent) or header.height != parent.height + 1:
            raise InvalidBlock("light.header", height=header.height, reason="not the next")
        if header.slot <= parent.slot or header.timestamp_ms <= parent.timestamp_ms:
            raise InvalidBlock("light.header", height=header.height, reason="not after its parent")
        parent = header
    items = [(signed.header.proposer, block_id(signed.header), signed.signature) for signed in headers]
    if not all(crypto.verify_batch(items)):
        raise InvalidBlock("light.header", reason="bad signature")


def check_row(header: Header, table: Table[Any, V], key: Any, row: Row) -> V | None:
    """The value of a row after ``header``, None if there is none; refuses what the proof does not show."""
    path = table.path(key, table.encode_key(key))
    if not merkle.verify(header.state_root, path, row.value, row.proof):
        raise InvalidBlock("light.proof", table=table.name, height=header.height)
    if row.value is None:
        return None
    try:
        return codec.decode(table.value_type, row.value)
    except InvalidRecord as refused:
        raise InvalidBlock("light.proof", table=table.name, cause=refused.code) from refused


def _find_set(trust: Trust, target: Header, row: Row | None, chain: ChainParams) -> ValidatorSet:
    epoch = target.height // chain.epoch_blocks
    found = trust.set if row is None else check_row(target, validators.SETS, epoch, row)
    if found is None or found.epoch != epoch:
        raise InvalidBlock("light.set", epoch=epoch, reason="not shown")
    return found


def _find_voters(votes: Iterable[Attestation], final: Header, target: Header, chain: ChainParams) -> set[bytes]:
    """Who signed the link from ``final`` to ``target``."""
    wanted = (final.height, block_id(final), target.height, block_id(target))
    linked = [
        vote for vote in votes if (vote.source_height, vote.source_hash, vote.target_height, vote.target_hash) == wanted
    ]
    verdicts = crypto.verify_batch(
        [(vote.validator, attestation_digest(chain.chain_id, vote), vote.signature) for vote in linked]
    )
    return {vote.validator for vote, holds in zip(linked, verdicts, strict=True) if holds}


def _check_overlap(trusted: ValidatorSet, voters: set[bytes]) -> None:
    weights = dict(trusted.weights())
    if 3 * finality.weigh(voters, weights) <= sum(weights.values()):
        raise InvalidBlock("light.set", epoch=trusted.epoch, reason="too few of the trusted set vouch for the new")
