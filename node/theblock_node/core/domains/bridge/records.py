"""What the bridge keeps in the state, asks for and tells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from theblock_node.core.address import Address
from theblock_node.core.domain import Domain, Param
from theblock_node.core.numeric import BLOCK, U8, U32, U64, Bytes32, Height, MaxLen, Pattern

ChainId = Annotated[str, MaxLen(64, min=1), Pattern(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")]
RelayerId = Annotated[str, MaxLen(63), Pattern(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")]
Asset = Annotated[str, MaxLen(16), Pattern(r"[A-Za-z0-9]{1,16}")]
ProfileName = Annotated[str, MaxLen(16), Pattern(r"tbpow/1|bitcoin/1")]
HeaderBytes = Annotated[bytes, MaxLen(256)]
HEADERS_MAX = 100
"""Headers in one call."""
HEADERS_KEPT = 4032
"""How far below the tip headers are kept, branches included."""
BRANCHES_MAX = 256
"""Headers at one height."""
PAGE_MAX = 1000
LEAF_BYTES_MAX = 400_000
"""The largest transaction that Bitcoin's nodes pass on, and some."""

MIN_BOND = Param("bridge_min_bond", default=50 * BLOCK, min=0, max=10**6 * BLOCK, unit="nBLOCK")
UNBOND_BLOCKS = Param(
    "bridge_unbond_blocks", default=1_209_600, min=1, max=10**7, unit="blocks", presets={"devnet": 60, "minimal": 8}
)

domain = Domain("bridge", service="Bridge", params=(MIN_BOND, UNBOND_BLOCKS))


@dataclass(frozen=True, slots=True)
class Relayer:
    version: U8
    relayer: RelayerId
    owner: Address
    member_key: Bytes32
    """Its account submits headers."""
    asset: Asset
    bond: U64
    headers_submitted: U64
    retired: bool
    unbonding_until: Height
    registered_height: Height


@dataclass(frozen=True, slots=True)
class LightClient:
    """What this chain knows of a foreign one."""

    version: U8
    chain_id: ChainId
    profile: ProfileName
    checkpoint_height: U64
    checkpoint_hash: Bytes32
    tip_height: U64
    tip_hash: Bytes32
    tip_work: Bytes32
    """Cumulative from the checkpoint, big-endian."""
    last_reorg_depth: U32
    updated_height: Height
    limit_bits: U32
    """The easiest that its difficulty can become; 0 until the checkpoint's header was shown."""


@dataclass(frozen=True, slots=True)
class HeaderRecord:
    version: U8
    hash: Bytes32
    parent: Bytes32
    height: U64
    bits: U32
    cumulative_work: Bytes32
    timestamp: U64
    merkle_root: Bytes32
    period_time: U64
    recent: Annotated[tuple[U64, ...], MaxLen(11)]
    submitted_by: RelayerId | None
    """None for the checkpoint."""
    included_height: Height


@dataclass(frozen=True, slots=True)
class BestRow:
    version: U8
    hash: Bytes32


@dataclass(frozen=True, slots=True)
class Branches:
    """All headers at a height, in the order in which they came."""

    version: U8
    hashes: Annotated[tuple[Bytes32, ...], MaxLen(BRANCHES_MAX)]


@dataclass(frozen=True, slots=True)
class MemberRef:
    version: U8
    relayer: RelayerId


@dataclass(frozen=True, slots=True)
class Due:
    """Relayers whose bond returns at a height."""

    version: U8
    items: Annotated[tuple[RelayerId, ...], MaxLen(65_536)]


RELAYERS = domain.table("bridge/relayer", RelayerId, Relayer)
MEMBERS = domain.table("bridge/member", Address, MemberRef)
CLIENTS = domain.table("bridge/client", ChainId, LightClient)
HEADERS = domain.table("bridge/header", tuple[ChainId, Bytes32], HeaderRecord)
BEST = domain.table("bridge/best", tuple[ChainId, U64], BestRow)
BRANCHES = domain.table("bridge/branch", tuple[ChainId, U64], Branches)
DUE = domain.table("bridge/due", U64, Due)


@dataclass(frozen=True, slots=True)
class RegisterRelayer:
    """Become a relayer of an asset, or raise its bond."""

    relayer: RelayerId
    member_key: Bytes32
    asset: Asset
    bond: U64


@dataclass(frozen=True, slots=True)
class RetireRelayer:
    """Leave; the bond returns after the unbonding time."""

    relayer: RelayerId


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A header that is taken on trust, as the first that a relayer shows; everything after it is checked."""

    height: U64
    hash: Bytes32


@dataclass(frozen=True, slots=True)
class StartLightClient:
    """Begin to follow a foreign chain, once; without a checkpoint from its genesis, where that is known."""

    chain_id: ChainId
    profile: ProfileName
    checkpoint: Checkpoint | None


@dataclass(frozen=True, slots=True)
class SubmitHeader:
    """One foreign header."""

    chain_id: ChainId
    header: HeaderBytes


@dataclass(frozen=True, slots=True)
class SubmitHeaders:
    """Foreign headers in order; from the first bad one on nothing is taken."""

    chain_id: ChainId
    headers: Annotated[tuple[HeaderBytes, ...], MaxLen(HEADERS_MAX, min=1)]


@domain.event
@dataclass(frozen=True, slots=True)
class RelayerRegistered:
    relayer: RelayerId
    owner: Address
    asset: Asset
    bond: U64


@domain.event
@dataclass(frozen=True, slots=True)
class RelayerRetired:
    relayer: RelayerId
    unbonding_until: Height


@domain.event
@dataclass(frozen=True, slots=True)
class BondReleased:
    relayer: RelayerId
    amount: U64


@domain.event
@dataclass(frozen=True, slots=True)
class LightClientStarted:
    chain_id: ChainId
    profile: ProfileName
    height: U64
    hash: Bytes32


@domain.event
@dataclass(frozen=True, slots=True)
class HeadersAccepted:
    chain_id: ChainId
    relayer: RelayerId
    count: U32
    first_height: U64
    tip_height: U64
    tip_hash: Bytes32


@domain.event
@dataclass(frozen=True, slots=True)
class HeaderRefused:
    """The rest of a batch was not taken."""

    chain_id: ChainId
    relayer: RelayerId
    index: U32
    code: Annotated[str, MaxLen(80)]


@domain.event
@dataclass(frozen=True, slots=True)
class Reorganised:
    chain_id: ChainId
    depth: U32
    tip_height: U64
    tip_hash: Bytes32


@dataclass(frozen=True, slots=True)
class ListRelayers:
    pass


@dataclass(frozen=True, slots=True)
class RelayerPage:
    relayers: Annotated[tuple[Relayer, ...], MaxLen(PAGE_MAX)]


@dataclass(frozen=True, slots=True)
class ListClients:
    pass


@dataclass(frozen=True, slots=True)
class ClientPage:
    clients: Annotated[tuple[LightClient, ...], MaxLen(PAGE_MAX)]


@dataclass(frozen=True, slots=True)
class ListHeaders:
    """At most ``limit`` headers (0: 100) of the best chain, down from ``from_height`` (none: the tip)."""

    chain_id: ChainId
    from_height: U64 | None = None
    limit: U32 = 0


@dataclass(frozen=True, slots=True)
class HeaderPage:
    client: LightClient | None
    headers: Annotated[tuple[HeaderRecord, ...], MaxLen(PAGE_MAX)]


@dataclass(frozen=True, slots=True)
class GetInclusion:
    """Ask whether a leaf (for `bitcoin/1` a transaction's bytes without witness) stands in a foreign block."""

    chain_id: ChainId
    header: Bytes32
    leaf: Annotated[bytes, MaxLen(LEAF_BYTES_MAX)]
    index: U32
    count: U32
    path: Annotated[tuple[Bytes32, ...], MaxLen(64)]


@dataclass(frozen=True, slots=True)
class Inclusion:
    height: U64
    confirmations: U64
    """Headers of the best chain from this one on; 0 where it is on another branch."""
