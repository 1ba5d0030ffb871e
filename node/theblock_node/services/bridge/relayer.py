"""Which headers to submit next: decisions over what the chain has and what the source shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from theblock_node.core.domains.bridge import pow as work
from theblock_node.core.domains.bridge.pow import Before, Profile
from theblock_node.core.domains.bridge.records import HeaderRecord, LightClient
from theblock_node.core.errors import InvalidTx

BATCH = 100
REST_BLOCKS_MAX = 64
OTHER_REASONS = frozenset({"bridge.not_owner", "bridge.unknown_chain"})
"""Refusals of ours that say nothing about a header."""
TURN_BLOCKS = 10
"""After so many blocks without progress a member does what is another's turn."""


@dataclass(frozen=True, slots=True)
class Batch:
    first: int
    count: int


def plan_batch(base: int, source_tip: int, *, ordinal: int, members: int, idle_blocks: int) -> Batch | None:
    """Say which headers above ``base`` this member submits now; None if it is not its turn, or there are none.

    Batches are the same for all members, and go round by their heights.
    """
    first = base + 1
    if first > source_tip:
        return None
    number = first // BATCH
    if number % members != ordinal and idle_blocks < TURN_BLOCKS:
        return None
    return Batch(first, min((number + 1) * BATCH, source_tip + 1) - first)


def to_before(row: HeaderRecord) -> Before:
    """What the header after one that the chain has depends on."""
    return Before(row.hash, row.height, row.bits, row.period_time, row.recent)


def find_base(best: Sequence[HeaderRecord], shown: Mapping[int, bytes]) -> Before | None:
    """The youngest header of the chain's that the source has too; ``shown`` are the source's hashes by height."""
    return next((to_before(row) for row in best if shown.get(row.height) == row.hash), None)


def check_batch(client: LightClient, base: Before | None, batch: Sequence[bytes], *, now_seconds: int) -> Before | None:
    """Check headers as the chain will; returns what comes after them. Without a base the first is the checkpoint's."""
    profile, limit_bits = Profile(client.profile), client.limit_bits
    for data in batch:
        header = work.parse_header(profile, client.chain_id, data)
        if base is None:
            if header.hash != client.checkpoint_hash:
                raise InvalidTx("bridge.checkpoint_mismatch", hash=header.hash.hex())
            work.check_work(header)
            limit_bits = work.limit_of(profile, header.bits)
            base = work.begin(header, client.checkpoint_height)
        else:
            work.check_header(profile, header, base, limit_bits=limit_bits, now_seconds=now_seconds)
            base = work.follow(base, header)
    return base


def hash_headers(client: LightClient, first: int, headers: Sequence[bytes]) -> dict[int, bytes]:
    """Hashes by height of what a source shows."""
    profile = Profile(client.profile)
    return {first + at: work.parse_header(profile, client.chain_id, data).hash for at, data in enumerate(headers)}


def is_about_headers(code: str) -> bool:
    """Whether a refusal says that the source is bad."""
    return code.startswith("bridge.") and code not in OTHER_REASONS


def compute_rest_blocks(tries: int) -> int:
    """How many blocks to wait after so many failures in a row; a refused transaction costs its fee each time."""
    return min(REST_BLOCKS_MAX, 1 << min(tries, 16))
