"""Gas, the base fee and its per-block nudge (EIP-1559)."""

from __future__ import annotations

from theblock_node.core.domain import Param

TARGET_GAS = Param(
    "target_gas_per_block",
    default=1_000_000,
    min=100_000,
    max=100_000_000,
    unit="gas",
    presets={"devnet": 200_000, "minimal": 100_000},
)
MIN_BASE_FEE = Param("min_base_fee", default=10, min=8, max=10**9, unit="nBLOCK/gas")
ELASTICITY = 2
"""The block gas limit is this many times the target."""
CHANGE_DENOMINATOR = 8


def compute_base_fee(previous: int, gas_used: int, *, target: int, floor: int) -> int:
    """The base fee of the next block: up to 1/8 up or down, never below ``floor`` (EIP-1559)."""
    if gas_used == target:
        return previous
    if gas_used > target:
        return previous + max(previous * (gas_used - target) // target // CHANGE_DENOMINATOR, 1)
    return max(previous - previous * (target - gas_used) // target // CHANGE_DENOMINATOR, floor)
