"""Energy: what meters measure becomes credits, signed by oracles; buyers settle them.

The modules are listed in the order in which users see their calls.
"""

from theblock_node.core.domains.energy import providers, rounds, settlement, disputes, queries, rules  # noqa: I001
from theblock_node.core.domains.energy.records import domain

__all__ = ["disputes", "domain", "providers", "queries", "rounds", "rules", "settlement"]
