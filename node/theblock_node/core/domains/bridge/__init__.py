"""Bridge: relayers show this chain the headers of others, and it checks their work itself."""

from theblock_node.core.domains.bridge import queries, rules
from theblock_node.core.domains.bridge.records import domain

__all__ = ["domain", "queries", "rules"]
