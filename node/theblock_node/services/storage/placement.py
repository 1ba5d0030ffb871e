"""Which providers hold which slots of an object: pure, and the same for the same offers and seed.

Losing a few providers or a region shall never lose data: the policy `default` caps what each may hold and refuses
where that cannot be; `relaxed`, for networks with few providers, spreads as evenly as it can.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from theblock_node.core.domains.storage.records import GIB, REPUTATION_MIN_FOR_NEW, Provider
from theblock_node.core.errors import InvalidRecord
from theblock_node.core.numeric import PPM
from theblock_node.core.proofs import retrieval

DEFAULT = "default"
RELAXED = "relaxed"
TOLERATED_PROVIDERS = 2
"""So many may be lost at once under `default`, where there is parity enough."""
REGIONS_ENOUGH = 3


@dataclass(frozen=True, slots=True)
class Offer:
    """A provider that takes shards now."""

    provider_id: str
    region: str
    free_bytes: int
    capacity_bytes: int
    free_bond: int
    price_per_block: int
    reputation: int


@dataclass(frozen=True, slots=True)
class Need:
    """What an object asks of those who hold it."""

    data: int
    parity: int
    slot_bytes: int
    """Of one slot over all chunks."""
    retention_blocks: int
    collateral_bps: int

    @property
    def n(self) -> int:
        return self.data + self.parity


def make_offers(
    providers: Iterable[Provider], reachable: Iterable[str], *, excluded: Iterable[str] = ()
) -> list[Offer]:
    """Those who may be given shards: on the chain, open, of good name, and known to be there."""
    there = set(reachable) - set(excluded)
    return [
        Offer(
            row.provider_id,
            row.region,
            row.capacity_bytes - row.used_bytes,
            row.capacity_bytes,
            row.bond - row.locked,
            row.price_per_block,
            row.reputation,
        )
        for row in sorted(providers, key=lambda row: row.provider_id)
        if row.provider_id in there
        and not row.maintenance
        and not row.retired
        and row.reputation >= REPUTATION_MIN_FOR_NEW
        and row.capacity_bytes > row.used_bytes
    ]


def compute_collateral(offer: Offer, need: Need, slots: int) -> int:
    """What a provider must have free of its bond, at most, to take so many slots."""
    price = -(-offer.price_per_block * need.slot_bytes * slots // GIB)
    return price * need.retention_blocks * need.collateral_bps // 10_000


def compute_deposit(assigned: Mapping[str, Sequence[int]], offers: Iterable[Offer], need: Need) -> int:
    """What the owner pays for the whole time."""
    by_name = {offer.provider_id: offer for offer in offers}
    price = sum(
        -(-by_name[name].price_per_block * need.slot_bytes * len(slots) // GIB) for name, slots in assigned.items()
    )
    return price * need.retention_blocks


def plan_placement(
    offers: Sequence[Offer],
    need: Need,
    *,
    policy: str,
    seed: bytes,
    placed: Mapping[str, Sequence[int]] | None = None,
) -> dict[str, tuple[int, ...]]:
    """Slots for each provider; those ``placed`` stay where they are. Refuses where there is no room for all."""
    placed = placed or {}
    open_slots = sorted(set(range(need.n)) - {slot for slots in placed.values() for slot in slots})
    known = {offer.provider_id: offer for offer in offers}
    held = Counter({name: len(slots) for name, slots in placed.items()})
    regions = Counter({known[name].region: 0 for name in known})
    for name, slots in placed.items():
        if name in known:
            regions[known[name].region] += len(slots)
    region_cap = _region_cap(len(regions), need, policy)
    order = _rank(offers, seed)
    result = {name: list(slots) for name, slots in placed.items()}
    for slot in open_slots:
        free = [
            offer
            for offer in order
            if held[offer.provider_id] < _provider_cap(offer, need, policy) and regions[offer.region] < region_cap
        ]
        if not free:
            raise InvalidRecord("storage.insufficient_providers", providers=len(offers), slots=need.n, policy=policy)
        chosen = min(free, key=lambda offer: held[offer.provider_id])
        held[chosen.provider_id] += 1
        regions[chosen.region] += 1
        result.setdefault(chosen.provider_id, []).append(slot)
    return {name: tuple(sorted(slots)) for name, slots in sorted(result.items())}


def choose_target(
    offers: Sequence[Offer], need: Need, *, slots: int, held: Mapping[str, int], policy: str, seed: bytes
) -> str | None:
    """Who takes over ``slots`` of an object whose other slots are ``held``; None where nobody may."""
    able = [offer for offer in _rank(offers, seed) if _fits(offer, need, slots)]
    free = [offer for offer in able if policy == RELAXED or held.get(offer.provider_id, 0) + slots <= _cap(need)]
    if not free:
        return None
    return min(free, key=lambda offer: held.get(offer.provider_id, 0)).provider_id


def _rank(offers: Sequence[Offer], seed: bytes) -> list[Offer]:
    """By weighted rendezvous: room and reputation count, and each object sees another order."""

    def key(offer: Offer) -> tuple[int, str]:
        name = offer.provider_id.encode()
        drawn = retrieval.digest("theblock/storage/place/v1", seed + struct.pack("<I", len(name)) + name)
        share = offer.free_bytes * PPM // max(1, offer.capacity_bytes)
        weight = max(1, share * offer.reputation // 1000)
        # The smallest of draws divided by weights, without floats: later draws of heavier offers come earlier.
        return int.from_bytes(drawn[:8], "little") // weight, offer.provider_id

    return sorted(offers, key=key)


def _fits(offer: Offer, need: Need, slots: int) -> bool:
    return need.slot_bytes * slots <= offer.free_bytes and compute_collateral(offer, need, slots) <= offer.free_bond


def _cap(need: Need) -> int:
    return max(1, need.parity // TOLERATED_PROVIDERS)


def _provider_cap(offer: Offer, need: Need, policy: str) -> int:
    """How many slots of the object it may hold, by policy, room and bond."""
    limit = need.n if policy == RELAXED else _cap(need)
    room = offer.free_bytes // max(1, need.slot_bytes)
    most = min(limit, room)
    while most and compute_collateral(offer, need, most) > offer.free_bond:
        most -= 1
    return most


def _region_cap(regions: int, need: Need, policy: str) -> int:
    """With one region there is nothing to spread over; with two, each may hold twice the parity."""
    if policy == RELAXED or regions <= 1:
        return need.n
    return need.parity if regions >= REGIONS_ENOUGH else 2 * need.parity
