"""Chain parameters: fixed at genesis by a preset and its overrides; two nodes of one chain may not differ in them.

What a vote can change is a `domain.Param` in the state; what nodes may differ in is `config`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from theblock_node.core.errors import InvalidRecord


@dataclass(frozen=True, slots=True)
class ChainParams:
    """Numbers of one chain. Times in ms, sizes in bytes, spans in blocks unless the name says otherwise."""

    preset: str
    chain_id: int
    block_time_ms: int = 1000
    """Length of a slot."""
    leader_timeout_ms: int = 600
    """When the second in line may propose, counted from the start of the slot."""
    epoch_blocks: int = 120
    """The validator set is fixed for an epoch."""
    macro_interval: int = 100
    """Every so many blocks one is a checkpoint that validators attest."""
    initial_base_fee: int = 350
    """nBLOCK per gas."""
    block_bytes_max: int = 16 * 2**20
    block_txs_max: int = 2048
    evidence_max_age_epochs: int = 5040
    future_ms_max: int = 2000
    """How far ahead of a node's clock a block may be."""


PRESETS: Mapping[str, ChainParams] = {
    "mainnet": ChainParams("mainnet", 1),
    "devnet": ChainParams(
        "devnet",
        1_000_001,
        epoch_blocks=30,
        macro_interval=2,
        block_bytes_max=4 * 2**20,
        block_txs_max=512,
        evidence_max_age_epochs=20,
    ),
    "minimal": ChainParams(
        "minimal",
        1_000_002,
        epoch_blocks=8,
        macro_interval=4,
        block_bytes_max=2**20,
        block_txs_max=64,
        evidence_max_age_epochs=2,
    ),
}
BOUNDS: Mapping[str, tuple[int, int]] = {
    "block_time_ms": (100, 60_000),
    "leader_timeout_ms": (100, 900),
    "epoch_blocks": (2, 10_000),
    "macro_interval": (2, 1000),
    "initial_base_fee": (8, 10**9),
    "block_bytes_max": (2**16, 16 * 2**20),
    "block_txs_max": (1, 65_536),
    "evidence_max_age_epochs": (1, 50_000),
    "future_ms_max": (100, 60_000),
}
"""Smallest and largest value of each parameter that a Network may override."""


def chain_params(
    preset: str, *, chain_id: int | None = None, overrides: Mapping[str, int] | None = None
) -> ChainParams:
    """The parameters of ``preset`` with ``overrides``; refuses unknown names and values out of bounds."""
    if preset not in PRESETS:
        raise InvalidRecord("genesis.unknown_preset", preset=preset)
    chosen = PRESETS[preset] if chain_id is None else replace(PRESETS[preset], chain_id=chain_id)
    for name, value in sorted((overrides or {}).items()):
        if name not in BOUNDS:
            raise InvalidRecord("genesis.unknown_parameter", name=name)
        low, high = BOUNDS[name]
        if not low <= value <= high:
            raise InvalidRecord("genesis.parameter_bounds", name=name, value=value, min=low, max=high)
    assert all(field.name in BOUNDS or field.name in ("preset", "chain_id") for field in fields(ChainParams))
    changes: dict[str, Any] = dict(overrides or {})
    return replace(chosen, **changes)
