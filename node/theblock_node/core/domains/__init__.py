"""The subjects of the chain: the one list, in the order in which their block hooks run."""

from theblock_node.core.domain import Registry
from theblock_node.core.domains import accounts, bridge, compute, energy, escrow, storage, supply, validators

DOMAINS = (
    supply.domain,
    accounts.domain,
    escrow.domain,
    validators.domain,
    storage.domain,
    compute.domain,
    energy.domain,
    bridge.domain,
)
REGISTRY = Registry(DOMAINS)
