"""How fast a validator set may change: so much of its weight an epoch, so that the old set still vouches for the new.

A light client and a node that was away follow the chain from set to set; each must overlap with the one before.
"""

from __future__ import annotations

from collections.abc import Mapping

from theblock_node.core import crypto


def limit(
    before: Mapping[bytes, int], wanted: Mapping[bytes, int], weight_max: int, *, seed: bytes
) -> dict[bytes, int]:
    """``before`` on its way to ``wanted``: changes that together weigh up to ``weight_max``, but always one.

    A change is a member's coming, going or new weight, and is made whole. Their order is drawn from ``seed``, so
    whoever waits has its turn at random and not by its id.
    """
    changed = [member for member in sorted({*before, *wanted}) if before.get(member, 0) != wanted.get(member, 0)]
    weights, moved = dict(before), 0
    for member in sorted(changed, key=lambda one: crypto.blake3(b"TBCHURN" + seed + one)):
        weight = wanted.get(member, 0)
        moved += abs(weight - before.get(member, 0))
        if moved > weight_max and weights != before:
            break
        weights[member] = weight
    return {member: weight for member, weight in weights.items() if weight}
