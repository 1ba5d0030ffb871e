"""Which message was seen before, and who has it already. Pure and bounded."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from theblock_node.core import crypto

TTL_MS = 600_000
CAPACITY = 16_384


def message_id(topic: int, body: bytes) -> bytes:
    return crypto.blake3(b"theblock/gossip-id/v1" + bytes([topic]) + bytes(4) + body)[:20]


@dataclass(slots=True)
class Seen:
    """Messages of the last minutes and the peers that are known to have each."""

    ttl_ms: int = TTL_MS
    capacity: int = CAPACITY
    _entries: OrderedDict[bytes, tuple[int, set[bytes]]] = field(default_factory=OrderedDict)

    def __len__(self) -> int:
        return len(self._entries)

    def note(self, identity: bytes, peer: bytes | None, now_ms: int) -> bool:
        """``peer`` (None: ourselves) has the message; whether it is new to us."""
        while self._entries:
            oldest, (at_ms, _) = next(iter(self._entries.items()))
            if now_ms - at_ms <= self.ttl_ms and len(self._entries) <= self.capacity:
                break
            del self._entries[oldest]
        known = self._entries.get(identity)
        if known is None:
            self._entries[identity] = (now_ms, set() if peer is None else {peer})
            return True
        if peer is not None:
            known[1].add(peer)
        return False

    def holders(self, identity: bytes) -> set[bytes]:
        known = self._entries.get(identity)
        return set() if known is None else known[1]
