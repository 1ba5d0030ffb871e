"""Compute: buyers post work, providers with a bond are assigned slices of it, results are checked and paid."""

from theblock_node.core.domains.compute import circuits, queries, rules
from theblock_node.core.domains.compute.records import domain

__all__ = ["circuits", "domain", "queries", "rules"]
