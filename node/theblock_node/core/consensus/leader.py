"""Who may propose in a slot: drawn by stake, with a second in line for when the first is silent.

The draw is independent for each slot (not a ring of turns), so nobody has long runs. The second is drawn among
the others; it may propose once ``leader_timeout_ms`` of the slot have passed, and its block weighs less.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from theblock_node.core import crypto

LEADER_WEIGHT = 2
SECOND_WEIGHT = 1
"""What a block adds to the weight of its chain."""

Weights = Sequence[tuple[bytes, int]]
"""(validator id, weight) by ascending id."""


def draw_leader(beacon: bytes, epoch: int, slot: int, weights: Weights) -> bytes:
    """The validator whose slot it is; ``weights`` must have a positive sum."""
    seed = crypto.blake3(b"TBLEADER" + beacon + struct.pack("<Q", epoch))
    return _draw(b"TBSLOT", seed, slot, weights)


def draw_second(beacon: bytes, epoch: int, slot: int, weights: Weights) -> bytes | None:
    """The validator that may step in; None where there is only one."""
    first = draw_leader(beacon, epoch, slot, weights)
    others = [(validator, weight) for validator, weight in weights if validator != first]
    if sum(weight for _, weight in others) == 0:
        return None
    seed = crypto.blake3(b"TBLEADER" + beacon + struct.pack("<Q", epoch))
    return _draw(b"TBSECOND", seed, slot, others)


def _draw(tag: bytes, seed: bytes, slot: int, weights: Weights) -> bytes:
    total = sum(weight for _, weight in weights)
    assert total > 0
    point = int.from_bytes(crypto.blake3(tag + seed + struct.pack("<Q", slot)), "big") % total
    for validator, weight in weights:
        if point < weight:
            return validator
        point -= weight
    raise AssertionError("the point lies below the total")
