"""What oracles sign, and when what they say agrees: pure functions over values."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from theblock_node.core import crypto
from theblock_node.core.domains.energy.records import Entry, Provider

PLAUSIBLE_PPM = 1_500_000
"""Of the capacity, for each hour that has begun."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A round as it stands: the median and who agrees with it."""

    median_wh: int
    agreeing: tuple[Entry, ...]
    outliers: tuple[Entry, ...]
    agree_ppm: int
    timestamp: int


def digest(domain: str, body: bytes) -> bytes:
    return crypto.blake3(_text(domain) + body)


def reading_body(
    chain_id: int, provider_id: str, meter_address: str, total_wh: int, timestamp: int, nonce: int
) -> bytes:
    numbers = struct.pack("<QQQ", total_wh, timestamp, nonce)
    return struct.pack("<I", chain_id) + _text(provider_id) + _text(meter_address) + numbers


def attestation_message(body: bytes, oracle_id: str) -> bytes:
    """What an oracle signs of a reading."""
    return digest("theblock/energy/attestation/v1", body + _text(oracle_id))


def compute_credit_id(body: bytes) -> bytes:
    """The name of the energy that a reading proves, over the aggregated values."""
    return digest("theblock/energy/reading/v1", body)


def possession_message(chain_id: int, provider_id: str, oracle_id: str, key_version: int, key: bytes) -> bytes:
    """What a new key signs to show that its oracle holds it."""
    body = (
        struct.pack("<I", chain_id) + _text(provider_id) + _text(oracle_id) + struct.pack("<II", key_version, len(key))
    )
    return digest("theblock/energy/key-pop/v1", body + key)


def compute_delta_max(provider: Provider, timestamp: int) -> int:
    """Wh by which the register may have risen from the last final reading until ``timestamp``."""
    elapsed = timestamp - provider.last_timestamp if provider.last_timestamp else 0
    return provider.capacity_wh * PLAUSIBLE_PPM // 1_000_000 * (1 + elapsed // 3600)


def judge_round(
    entries: Sequence[Entry], *, last_wh: int, oracle_count: int, deviation_ppm: int, floor_wh: int
) -> Verdict:
    """Lower median of what was said, and who stands within the tolerance of it."""
    ordered = sorted(entries, key=lambda entry: (entry.total_wh, entry.oracle_id))
    median = ordered[(len(ordered) - 1) // 2].total_wh
    delta = max(0, median - last_wh)
    tolerance = max(floor_wh, delta * deviation_ppm // 1_000_000)
    agreeing = tuple(entry for entry in ordered if abs(entry.total_wh - median) <= tolerance)
    outliers = tuple(entry for entry in ordered if entry not in agreeing)
    times = sorted(entry.timestamp for entry in agreeing)
    share = len(agreeing) * 1_000_000 // max(1, oracle_count)
    return Verdict(median, agreeing, outliers, share, times[(len(times) - 1) // 2])


def _text(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<I", len(data)) + data
