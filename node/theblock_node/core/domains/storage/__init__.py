"""Storage: providers pledge bytes, hold shards of objects, and prove it at times that nobody can foresee."""

from theblock_node.core.domains.storage import queries, rules
from theblock_node.core.domains.storage.records import domain

__all__ = ["domain", "queries", "rules"]
