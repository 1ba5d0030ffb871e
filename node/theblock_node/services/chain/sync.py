"""What to ask whom in order to catch up, and what to answer. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

LOCATOR_DENSE = 10
LOCATOR_MAX = 64
BLOCKS_MAX = 128
ANSWER_BYTES_MAX = 2 * 2**20
SNAPSHOT_BEHIND = 4096
"""Blocks behind from which on a snapshot is asked for first."""


@dataclass(frozen=True, slots=True)
class PeerTip:
    """What a peer last said of its head; claims, until its blocks have come."""

    key: bytes
    height: int
    block_id: bytes


def make_locator(head: int, base: int, id_at: Callable[[int], bytes]) -> list[bytes]:
    """Ids from the head down to the lowest kept block: ten in a row, then ever further apart."""
    heights: list[int] = []
    step, height = 1, head
    while height > base and len(heights) < LOCATOR_MAX - 1:
        heights.append(height)
        if len(heights) >= LOCATOR_DENSE:
            step *= 2
        height -= step
    return [id_at(height) for height in [*heights, base]]


def find_start(locator: Sequence[bytes], height_of: Callable[[bytes], int | None]) -> int | None:
    """The height of the first id that stands in our chain."""
    for block_id in locator[:LOCATOR_MAX]:
        height = height_of(block_id)
        if height is not None:
            return height
    return None


def choose_peer(tips: Sequence[PeerTip], has: Callable[[bytes], bool], *, above: int) -> PeerTip | None:
    """Whom to ask: the highest whose head we lack; the smaller key where they are equal.

    A head at or below ours counts too: its branch may have the votes. ``above`` is what is final here.
    """
    lacking = [tip for tip in tips if tip.height > above and not has(tip.block_id)]
    return min(lacking, key=lambda tip: (-tip.height, tip.key), default=None)


def is_in_sync(head: int, tips: Sequence[PeerTip], *, slack: int = 2) -> bool:
    """Whether no peer is known to be more than ``slack`` blocks ahead."""
    return all(tip.height <= head + slack for tip in tips)
