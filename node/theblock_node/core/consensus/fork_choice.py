"""Which of several heads a node follows."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TipMeta:
    """What counts of a head: its justified checkpoint, then the weight of its chain, then its height."""

    height: int
    weight: int
    tip_hash: bytes
    checkpoint_height: int

    def key(self) -> tuple[int, int, int, bytes]:
        return self.checkpoint_height, self.weight, self.height, self.tip_hash


def choose(tips: Iterable[TipMeta], descends_from_finalized: Callable[[TipMeta], bool]) -> TipMeta | None:
    """The best head that does not contradict what this node has finalised."""
    standing = [tip for tip in tips if descends_from_finalized(tip)]
    return max(standing, key=TipMeta.key, default=None)
