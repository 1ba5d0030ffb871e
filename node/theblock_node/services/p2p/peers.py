"""Whom to dial and when, who is banned, and how much a peer may say. Pure: time and chance are handed in."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from random import Random

BACKOFF_FIRST_MS = 500
BACKOFF_MAX_MS = 20_000
BAN_MS = 60_000
SCORE_BAN = 100
SCORE_FORGIVEN_PER_MINUTE = 40
BANS_MAX = 1024


@dataclass(frozen=True, slots=True, order=True)
class PeerAddress:
    """Where a peer is said to listen."""

    host: str
    port: int
    public_key: bytes | None
    """None where only an address is known."""


def parse_peers(data: bytes, *, own_key: bytes, bootstrap: tuple[str, ...]) -> list[PeerAddress]:
    """The validators of ``peers.json`` but ourselves, and the further ``host:port``; ValueError for another shape."""
    document = json.loads(data)
    found = [
        PeerAddress(str(entry["host"]), int(entry["p2p"]), bytes.fromhex(entry["peer_id"]))
        for entry in document["peers"]
        if entry["role"] == "validator"
    ]
    for text in bootstrap:
        host, _, port = text.rpartition(":")
        found.append(PeerAddress(host, int(port), None))
    return sorted(
        {address for address in found if address.public_key != own_key},
        key=lambda address: (address.host, address.port, address.public_key or b""),
    )


def compute_backoff_ms(failures: int, chance: Random) -> int:
    """How long to wait after so many failures in a row: doubling, capped, ±20 %."""
    base = min(BACKOFF_FIRST_MS << min(failures, 10), BACKOFF_MAX_MS)
    return base * chance.randint(80, 120) // 100


@dataclass(slots=True)
class Bucket:
    """Tokens that refill with time; `take` says whether there were enough."""

    rate_per_s: int
    burst: int
    tokens: float = field(init=False)
    at_ms: int = 0

    def __post_init__(self) -> None:
        self.tokens = self.burst

    def take(self, amount: int, now_ms: int) -> bool:
        gained = (now_ms - self.at_ms) * self.rate_per_s / 1000
        self.tokens = min(self.burst, self.tokens + max(0.0, gained))
        self.at_ms = now_ms
        if amount > self.tokens:
            return False
        self.tokens -= amount
        return True


@dataclass(slots=True)
class Conduct:
    """How a peer has behaved, by public key; outlives its sessions."""

    score: int = 0
    at_ms: int = 0
    banned_until_ms: int = 0


@dataclass(slots=True)
class Book:
    """The conduct of peers, bounded."""

    _conduct: dict[bytes, Conduct] = field(default_factory=dict)

    def is_banned(self, public_key: bytes, now_ms: int) -> bool:
        found = self._conduct.get(public_key)
        return found is not None and now_ms < found.banned_until_ms

    def penalize(self, public_key: bytes, points: int, now_ms: int) -> bool:
        """Count against a peer; whether that bans it."""
        conduct = self._conduct.pop(public_key, None) or Conduct(at_ms=now_ms)
        forgiven = (now_ms - conduct.at_ms) * SCORE_FORGIVEN_PER_MINUTE // 60_000
        conduct.score = max(0, conduct.score - forgiven) + points
        conduct.at_ms = now_ms
        self._conduct[public_key] = conduct
        if len(self._conduct) > BANS_MAX:
            del self._conduct[next(iter(self._conduct))]  # Insertion order: the one that was quiet longest.
        if conduct.score < SCORE_BAN:
            return False
        conduct.score = 0
        conduct.banned_until_ms = now_ms + BAN_MS
        return True
