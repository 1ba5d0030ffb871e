"""The kinds that there are: the one list."""

from __future__ import annotations

from theblock_operator.kinds import bridge, compute_provider, energy_oracle, network, storage_provider, validator
from theblock_operator.kinds.kind import Kind

KINDS: tuple[Kind, ...] = (
    network.KIND,
    validator.KIND,
    storage_provider.KIND,
    compute_provider.KIND,
    energy_oracle.KIND,
    bridge.KIND,
)
BY_NAME = {kind.name: kind for kind in KINDS}
