"""What the explorer lists beside blocks and transactions: which rows, from where, in which columns. Only tables.

A view reads either events, which the explorer keeps, or a query of the chain, which says what stands now.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal[
    "text",
    "hex",
    "address",
    "tx",
    "block",
    "job",
    "amount",
    "wh",
    "bytes",
    "seconds",
    "bps",
    "flag",
    "list",
    "share",
    "stake",
    "work",
]


@dataclass(frozen=True, slots=True)
class Column:
    key: str
    title: str
    kind: Kind = "text"


@dataclass(frozen=True, slots=True)
class EventView:
    """Events by name, newest first; their columns are fields of the records, `height` and `tx_id` besides."""

    path: str
    title: str
    names: tuple[str, ...]
    columns: tuple[Column, ...]


@dataclass(frozen=True, slots=True)
class TableView:
    """A list in the reply of a query."""

    path: str
    title: str
    query: str
    rows: str
    """The field of the reply."""
    columns: tuple[Column, ...]
    request: Mapping[str, Any] = field(default_factory=dict)


View = EventView | TableView
C = Column
PROVIDER = C("provider_id", "Provider")
OWNER = C("owner", "Owner", "address")
EVENT_HEAD = (C("height", "Block", "block"),)
EVENT_TAIL = (C("tx_id", "Transaction", "tx"),)

PROVIDERS: dict[str, TableView] = {
    "validators": TableView(
        "providers/validators",
        "Validators",
        "validators.stakes",
        "stakes",
        (C("validator", "Validator", "hex"), OWNER, C("roles", "Bonded", "stake"),
         C("jailed_until", "Jailed until"), C("tombstoned", "Tombstoned", "flag")),
    ),
    "storage": TableView(
        "providers/storage",
        "Storage providers",
        "storage.providers",
        "providers",
        (PROVIDER, OWNER, C("region", "Region"), C("capacity_bytes", "Capacity", "bytes"),
         C("used_bytes", "Used", "bytes"), C("price_per_block", "Price per block", "amount"),
         C("bond", "Bond", "amount"), C("reputation", "Reputation", "bps"), C("proof_successes", "Proofs"),
         C("proof_failures", "Missed"), C("maintenance", "Maintenance", "flag"), C("retired", "Retired", "flag")),
        {"after": "", "limit": 0},
    ),
    "compute": TableView(
        "providers/compute",
        "Compute providers",
        "compute.providers",
        "providers",
        (PROVIDER, OWNER, C("bond", "Bond", "amount"), C("locked", "Locked", "amount"), C("running", "Running"),
         C("settled", "Settled"), C("violated", "Violated"), C("reputation", "Reputation", "bps"),
         C("retired", "Retired", "flag")),
        {"after": "", "limit": 0},
    ),
    "energy": TableView(
        "providers/energy",
        "Energy providers",
        "energy.providers",
        "providers",
        (PROVIDER, OWNER, C("jurisdiction", "Place"), C("state", "State"), C("capacity_wh", "Capacity", "wh"),
         C("price_per_kwh", "Price per kWh", "amount"), C("total_delivered_wh", "Delivered", "wh"),
         C("staked", "Stake", "amount"), C("credits", "Credits"), C("oracles", "Oracles", "list"),
         C("last_seen_height", "Last seen", "block")),
        {"after": "", "limit": 0},
    ),
    "bridge": TableView(
        "providers/bridge",
        "Bridge relayers",
        "bridge.relayers",
        "relayers",
        (C("relayer", "Relayer"), OWNER, C("asset", "Asset"), C("bond", "Bond", "amount"),
         C("headers_submitted", "Headers"), C("registered_height", "Since", "block"), C("retired", "Retired", "flag")),
    ),
}  # fmt: skip
"""By the kind of provider."""

_LISTS: tuple[View, ...] = (
    *PROVIDERS.values(),
    EventView(
        "energy/readings",
        "Readings",
        ("energy.reading_submitted",),
        (*EVENT_HEAD, PROVIDER, C("oracle_id", "Oracle"), C("meter_address", "Meter"),
         C("total_wh", "Meter total", "wh"), C("timestamp", "Read at (UTC)", "seconds"),
         C("nonce", "Nonce"), *EVENT_TAIL),
    ),
    EventView(
        "energy/receipts",
        "Receipts",
        ("energy.settled",),
        (*EVENT_HEAD, C("seq", "Receipt"), C("buyer", "Buyer", "address"), C("provider_id", "Seller"),
         C("wh", "Energy", "wh"), C("price_paid", "Paid", "amount"), C("treasury_fee", "Fee", "amount"),
         C("fee_bps", "Rate", "bps"), *EVENT_TAIL),
    ),
    TableView(
        "energy/credits",
        "Credits",
        "energy.credits",
        "credits",
        (C("credit_id", "Credit", "hex"), PROVIDER, C("amount_wh", "Left", "wh"), C("created_wh", "Created", "wh"),
         C("created_height", "In block", "block"), C("expires_height", "Expires at height"),
         C("frozen_by", "Frozen by")),
        {"provider_id": "", "limit": 0},
    ),
    TableView(
        "energy/disputes",
        "Disputes",
        "energy.disputes",
        "disputes",
        (C("id", "Dispute"), PROVIDER, C("kind", "Kind"), C("state", "State"), C("outcome", "Outcome"),
         C("reporter", "Reporter", "address"), C("bond", "Bond", "amount"), C("opened_height", "Opened", "block"),
         C("deadline_height", "Deadline at height"), C("reason", "Reason")),
        {"open_only": False},
    ),
    EventView(
        "energy/slashes",
        "Slashes",
        ("energy.slashed",),
        (*EVENT_HEAD, C("seq", "Slash"), PROVIDER, C("amount", "Amount", "amount"), C("reason", "Reason"), *EVENT_TAIL),
    ),
    TableView(
        "compute/jobs",
        "Jobs",
        "compute.jobs",
        "jobs",
        (C("job_id", "Job", "job"), C("buyer", "Buyer", "address"), C("lane", "Lane"), C("work", "Workload", "work"),
         C("slice_count", "Slices"), C("open_slices", "Open"), C("live_slices", "Live"),
         C("max_price_per_unit", "Price limit", "amount"), C("escrowed", "Escrowed", "amount"),
         C("placed_height", "Placed", "block"), C("deadline_height", "Deadline at height")),
        {"limit": 100},
    ),
    EventView(
        "compute/work",
        "Work",
        ("compute.job_assigned", "compute.slice_settled", "compute.slice_violated"),
        (*EVENT_HEAD, C("name", "What"), C("job_id", "Job", "job"), C("index", "Slice"), PROVIDER,
         C("payout", "Paid", "amount"), C("slashed", "Slashed", "amount"), *EVENT_TAIL),
    ),
    TableView(
        "storage/objects",
        "Objects",
        "storage.contracts",
        "contracts",
        (C("manifest_id", "Object", "hex"), OWNER, C("status", "Status"), C("original_bytes", "Size", "bytes"),
         C("data", "Code", "share"), C("providers", "Held by", "list"), C("deposit", "Deposit", "amount"),
         C("paid", "Paid", "amount"), C("start_height", "Since", "block")),
        {"provider_id": "", "after": None, "limit": 100},
    ),
    EventView(
        "storage/proofs",
        "Proofs",
        ("storage.challenge_answered", "storage.challenge_missed", "storage.shard_lost"),
        (*EVENT_HEAD, C("name", "What"), C("contract_id", "Contract", "hex"), PROVIDER, C("epoch", "Epoch"),
         C("paid", "Paid", "amount"), C("slashed", "Slashed", "amount"), *EVENT_TAIL),
    ),
    TableView(
        "bridge/clients",
        "Foreign chains",
        "bridge.clients",
        "clients",
        (C("chain_id", "Chain"), C("profile", "Profile"), C("checkpoint_height", "From height"),
         C("tip_height", "Tip height"), C("tip_hash", "Tip", "hex"), C("last_reorg_depth", "Last reorganisation"),
         C("updated_height", "Updated", "block")),
    ),
    TableView(
        "bridge/headers",
        "Headers",
        "bridge.headers",
        "headers",
        (C("height", "Height"), C("hash", "Header", "hex"), C("timestamp", "Time (UTC)", "seconds"),
         C("bits", "Bits"), C("merkle_root", "Merkle root", "hex"), C("submitted_by", "Relayer"),
         C("included_height", "In block", "block")),
        {"from_height": None, "limit": 100},
    ),
    EventView(
        "bridge/batches",
        "Batches",
        ("bridge.headers_accepted", "bridge.reorganised", "bridge.header_refused"),
        (*EVENT_HEAD, C("name", "What"), C("chain_id", "Chain"), C("relayer", "Relayer"), C("count", "Headers"),
         C("first_height", "From"), C("tip_height", "Tip"), C("tip_hash", "Tip hash", "hex"), *EVENT_TAIL),
    ),
)  # fmt: skip

VIEWS = {view.path: view for view in _LISTS}
"""By their path; the part before the slash is the group under which they are shown."""

GROUPS = ("providers", "energy", "compute", "storage", "bridge")
BRIDGE_HEADERS = "bridge/headers"


def tabs_of(path: str) -> list[tuple[str, str]]:
    """(path, title) of the views beside ``path``, its own included."""
    group = path.partition("/")[0]
    beside = [(view.path, view.title) for view in VIEWS.values() if view.path.partition("/")[0] == group]
    return [*beside, ("proofs", "Proofs")] if group == "compute" else beside
