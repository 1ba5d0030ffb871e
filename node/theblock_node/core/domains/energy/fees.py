"""The fee law: dearer when supply is used up and at the evening peak, cheaper with many sellers."""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt

COSINE = (
    1000000, 965926, 866025, 707107, 500000, 258819, 0, -258819, -500000, -707107, -866025, -965926,
    -1000000, -965926, -866025, -707107, -500000, -258819, 0, 258819, 500000, 707107, 866025, 965926,
)  # fmt: skip
"""round(cos(pi * hours / 12) * 10^6)."""


@dataclass(frozen=True, slots=True)
class FeeLaw:
    base_bps: int
    min_bps: int
    max_bps: int
    target_ppm: int
    gain_milli: int
    liquidity_cap_ppm: int
    amplitude_ppm: int
    peak_hour: int


def compute_fee_bps(law: FeeLaw, *, capacity_wh: int, used_wh: int, sellers: int, hour: int) -> int:
    """Basis points of a settlement's cost, rounded to the nearest within the bounds."""
    used = 0 if capacity_wh == 0 else used_wh * 1_000_000 // capacity_wh
    congestion = _clamp(1_000_000 + (used - law.target_ppm) * law.gain_milli // 1000, 500_000, 2_000_000)
    liquidity = 1_000_000 - min(isqrt(sellers * 10**10), law.liquidity_cap_ppm)
    daytime = 1_000_000 + law.amplitude_ppm * COSINE[(hour - law.peak_hour) % 24] // 1_000_000
    raw = (law.base_bps * congestion * liquidity * daytime + 5 * 10**17) // 10**18
    return _clamp(raw, law.min_bps, law.max_bps)


def _clamp(value: int, low: int, high: int) -> int:
    return max(low, min(high, value))
