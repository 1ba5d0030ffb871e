"""Words of the chain that the operator uses: commands, queries and their fields, once, so that they can be followed.

The forms are those of the domains' JSON: wide integers are strings, bytes are hex, choices are names in capitals.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from theblock_operator.observed import Object, Observed

ROLES = ("VALIDATOR", "GATEWAY", "STORAGE", "EXEC", "COMPUTE", "ENERGY", "BRIDGE")
"""By number."""
VALIDATOR = 0
NO_BLS_PUBKEY = "00" * 48
NO_BLS_POP = "00" * 96

VALIDATORS_REGISTER = "validators.register"
VALIDATORS_BOND = "validators.bond"
VALIDATORS_UNBOND = "validators.unbond"
VALIDATORS_STAKES = "validators.stakes"
VALIDATORS_SET = "validators.set"

STORAGE_REGISTER = "storage.register_provider"
STORAGE_MAINTENANCE = "storage.set_maintenance"
STORAGE_RETIRE = "storage.retire_provider"
STORAGE_PROVIDERS = "storage.providers"

COMPUTE_REGISTER = "compute.register_provider"
COMPUTE_OFFER = "compute.post_offer"
COMPUTE_WITHDRAW = "compute.withdraw_offer"
COMPUTE_RETIRE = "compute.retire_provider"
COMPUTE_PROVIDERS = "compute.providers"

ENERGY_REGISTER = "energy.register_provider"
ENERGY_UPDATE = "energy.update_provider"
ENERGY_ROTATE = "energy.rotate_provider_key"
ENERGY_DEREGISTER = "energy.deregister_provider"
ENERGY_TOP_UP = "energy.top_up_stake"
ENERGY_RETIRE_KEY = "energy.retire_provider_key"
ENERGY_PROVIDERS = "energy.providers"
ENERGY_PROVIDER = "energy.provider"
ENERGY_MARKET = "energy.market_state"
ENERGY_DISPUTES = "energy.disputes"

BRIDGE_REGISTER = "bridge.register_relayer"
BRIDGE_RETIRE = "bridge.retire_relayer"
BRIDGE_START = "bridge.start_light_client"
BRIDGE_RELAYERS = "bridge.relayers"
BRIDGE_HEADERS = "bridge.headers"


def rows(observed: Observed, query: str, field: str) -> Iterator[Object]:
    yield from observed.chain.records.get(query, {}).get(field, ())


def row_of(observed: Observed, query: str, field: str, id_field: str, wanted: str) -> Object | None:
    return next((row for row in rows(observed, query, field) if row.get(id_field) == wanted), None)


def number(row: Object, field: str) -> int:
    """A wide or narrow integer; 0 where the row does not have it."""
    return int(row.get(field) or 0)


def same(row: Object, terms: dict[str, Any]) -> bool:
    """The row has these terms, whichever form its integers take."""
    return all(str(row.get(field)) == str(value) for field, value in terms.items())
