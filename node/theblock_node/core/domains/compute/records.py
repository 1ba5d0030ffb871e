"""What the compute market keeps in the state, asks for and tells."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated

from theblock_node.core.address import Address
from theblock_node.core.domain import Domain, Param
from theblock_node.core.domains.compute.prices import WINDOW
from theblock_node.core.numeric import U8, U16, U32, U64, Bytes32, Height, MaxLen, Pattern
from theblock_node.core.proofs.bundle import PUBLIC_INPUTS_MAX, Backend, ProofBundle
from theblock_node.core.proofs.gpu_hash import OPENINGS, HashAlgorithm, HashOpening

ProviderId = Annotated[str, MaxLen(63), Pattern(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")]
SLICES_MAX = 64
REPUTATION_MAX = 1000
SLICE_PENALTY = 20
INPUT_BYTES_MAX = 2**14
VERIFYING_KEY_BYTES_MAX = 2**16
PROOFS_KEPT_MAX = 16
"""Bundles of one job in the history."""
CIRCUIT_PAGE_MAX = 100
HISTORY_PAGE, HISTORY_PAGE_MAX = 25, 256

BOND_BPS = Param("compute_bond_bps", default=2000, min=0, max=10_000, unit="bps")
SLASH_BURN_BPS = Param("compute_slash_burn_bps", default=5000, min=0, max=10_000, unit="bps")
GRACE_BLOCKS = Param("compute_grace_blocks", default=60, min=0, max=10_000, unit="blocks", presets={"minimal": 2})
ACCEPT_BLOCKS = Param("compute_accept_blocks", default=10, min=1, max=1000, unit="blocks")
LANE_CAP = Param("compute_lane_cap", default=1024, min=1, max=65_536, unit="jobs")
MATCHES_PER_BLOCK = Param("compute_matches_per_block", default=128, min=1, max=4096, unit="slices")
STARVATION_BLOCKS = Param("compute_starvation_blocks", default=30, min=1, max=3600, unit="blocks")
UNBOND_BLOCKS = Param(
    "compute_unbond_blocks", default=604_800, min=1, max=10_000_000, unit="blocks", presets={"devnet": 60, "minimal": 8}
)
SLASHING_ENABLED = Param("compute_sla_slashing_enabled", default=1, min=0, max=1)
VERIFY_UNITS = Param("compute_verify_units_per_block", default=64, min=1, max=4096, unit="units")
HISTORY_BLOCKS = Param("compute_sla_history_blocks", default=2_592_000, min=1, max=31_536_000, unit="blocks")
ALLOW_DEV_CIRCUITS = Param("allow_dev_circuits", default=0, min=0, max=1, presets={"devnet": 1, "minimal": 1})
ALLOW_UNBOUND_CIRCUITS = Param("allow_unbound_circuits", default=0, min=0, max=1, presets={"devnet": 1, "minimal": 1})

domain = Domain(
    "compute",
    service="ComputeMarket",
    params=(
        BOND_BPS,
        SLASH_BURN_BPS,
        GRACE_BLOCKS,
        ACCEPT_BLOCKS,
        LANE_CAP,
        MATCHES_PER_BLOCK,
        STARVATION_BLOCKS,
        UNBOND_BLOCKS,
        SLASHING_ENABLED,
        VERIFY_UNITS,
        HISTORY_BLOCKS,
        ALLOW_DEV_CIRCUITS,
        ALLOW_UNBOUND_CIRCUITS,
    ),
)


class Lane(IntEnum):
    CONSUMER = 0
    INDUSTRIAL = 1


class SliceStatus(IntEnum):
    OPEN = 0
    ASSIGNED = 1
    SETTLED = 2
    VIOLATED = 3
    CANCELLED = 4


class DueKind(IntEnum):
    SLICE = 0
    BOND = 1


class CircuitState(IntEnum):
    """Only the way down: new jobs need ACTIVE, and a revoked circuit settles no proof any more."""

    ACTIVE = 0
    DEPRECATED = 1
    REVOKED = 2


class Outcome(IntEnum):
    """How a provider's time with a slice ended."""

    COMPLETED = 0
    CANCELLED = 1
    VIOLATED = 2


class Reason(IntEnum):
    NONE = 0
    LATE = 1
    """Delivered within grace."""
    DEADLINE_MISSED = 2
    CIRCUIT_REVOKED = 3
    DECLINED = 4


@dataclass(frozen=True, slots=True)
class HashWork:
    """Digests: ``slice_count`` slices of ``digests_per_slice`` each, over consecutive messages of ``seed``."""

    algorithm: HashAlgorithm
    seed: Bytes32
    slice_count: U8
    digests_per_slice: U32


@dataclass(frozen=True, slots=True)
class PublicInputs:
    """Public inputs as a proof shows them, in the circuit's order: without the outputs before them, and without ctx."""

    values: Annotated[tuple[Bytes32, ...], MaxLen(PUBLIC_INPUTS_MAX)]
    """Little-endian."""


@dataclass(frozen=True, slots=True)
class SnarkWork:
    """Proofs of a circuit: a slice for each of ``inputs``."""

    circuit_hash: Bytes32
    inputs: Annotated[tuple[Annotated[bytes, MaxLen(INPUT_BYTES_MAX, 1)], ...], MaxLen(SLICES_MAX, 1)]
    """The circuit's inputs as JSON, `{"signal": "decimal"}`, without `ctx`; whoever proves them sees them."""
    public_inputs: Annotated[tuple[PublicInputs, ...], MaxLen(SLICES_MAX)] = ()
    """What each proof must show; without them a proof of other inputs of the circuit is as good."""


@dataclass(frozen=True, slots=True)
class CircuitWork:
    """Proofs of a circuit, whose inputs lie in rows of their own."""

    circuit_hash: Bytes32


@dataclass(frozen=True, slots=True)
class HashOutput:
    root: Bytes32
    openings: Annotated[tuple[HashOpening, ...], MaxLen(OPENINGS)]


@dataclass(frozen=True, slots=True)
class ObjectRef:
    """A file in the storage market that anyone may read: its content key is told."""

    manifest_id: Bytes32
    content_key: Bytes32
    size: U64


@dataclass(frozen=True, slots=True)
class Ceremony:
    """How a proving key was made, so that no one party knows how to forge."""

    ptau_hash: Bytes32
    contributions: U32
    transcript_hash: Bytes32


@dataclass(frozen=True, slots=True)
class Provider:
    """Who computes. ``bond`` lies in escrow; ``locked`` of it vouches for assigned slices."""

    version: U8
    provider_id: ProviderId
    owner: Address
    member_key: Bytes32
    """Its account submits results."""
    bond: U64
    locked: U64
    running: U32
    settled: U64
    violated: U64
    reputation: U16
    retired: bool
    unbonding_until: Height
    registered_height: Height


@dataclass(frozen=True, slots=True)
class Offer:
    """Units that a provider sells in a lane; refilled at every epoch."""

    version: U8
    provider_id: ProviderId
    lane: Lane
    price_per_unit: U64
    units_per_epoch: U64
    bond_per_unit: U64
    epoch: U64
    units_sold: U64
    """In ``epoch``."""
    placed_height: Height


@dataclass(frozen=True, slots=True)
class Job:
    """A buyer's work, cut into equal slices; what it may cost lies in escrow."""

    version: U8
    job_id: Bytes32
    buyer: Address
    lane: Lane
    work: HashWork | CircuitWork
    slice_count: U8
    units_per_slice: U64
    max_price_per_unit: U64
    escrowed: U64
    placed_height: Height
    deadline_height: Height
    open_slices: U8
    """Neither assigned nor ended."""
    live_slices: U8
    """Not ended."""
    proofs_kept: U8
    """Bundles in the history."""


@dataclass(frozen=True, slots=True)
class Slice:
    version: U8
    job_id: Bytes32
    index: U8
    status: SliceStatus
    provider_id: Annotated[str, MaxLen(63)]
    """Empty while open."""
    price_per_unit: U64
    bond: U64
    assigned_height: Height
    ended_height: Height
    root: Bytes32
    """The output of a hash slice, zero until settled."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """Index row: a slice that a provider has still to deliver."""

    version: U8
    assigned_height: Height


@dataclass(frozen=True, slots=True)
class PriceBoard:
    """What a lane's last matches cost a unit, weighed by reputation, oldest first."""

    version: U8
    prices: Annotated[tuple[U64, ...], MaxLen(WINDOW)]


@dataclass(frozen=True, slots=True)
class OpenJob:
    """Index row: a job with unassigned slices."""

    version: U8
    max_price_per_unit: U64
    placed_height: Height


@dataclass(frozen=True, slots=True)
class DueItem:
    kind: DueKind
    job_id: Bytes32
    """Zero for a bond."""
    provider_id: Annotated[str, MaxLen(63)]


@dataclass(frozen=True, slots=True)
class Due:
    version: U8
    items: Annotated[tuple[DueItem, ...], MaxLen(65_536)]


@dataclass(frozen=True, slots=True)
class SliceInput:
    """What a slice of proving proves; gone when the slice ends."""

    version: U8
    inputs: Annotated[bytes, MaxLen(INPUT_BYTES_MAX)]
    public_inputs: PublicInputs | None


@dataclass(frozen=True, slots=True)
class Circuit:
    """What is proved under one name, with the key that decides; none of it ever changes but the state."""

    version: U8
    circuit_hash: Bytes32
    r1cs_hash: Bytes32
    zkey_hash: Bytes32
    wasm_hash: Bytes32
    zkey_object: ObjectRef | None
    wasm_object: ObjectRef | None
    key_hash: Bytes32
    public_count: U32
    output_count: U32
    """Outputs are the first public inputs."""
    domain_size: U32
    ctx_index: U32 | None
    """The public input that ties a proof to its slice; None for an unbound circuit."""
    ceremony: Ceremony | None
    """None for a key made for development."""
    owner: Address
    state: CircuitState
    registered_height: Height


@dataclass(frozen=True, slots=True)
class CircuitKey:
    """The verifying key in canonical form."""

    version: U8
    verifying_key: Annotated[bytes, MaxLen(VERIFYING_KEY_BYTES_MAX)]


@dataclass(frozen=True, slots=True)
class Statement:
    """What was proved once by an unbound circuit, and so never again."""

    version: U8
    job_id: Bytes32
    index: U8
    height: Height


@dataclass(frozen=True, slots=True)
class Resolution:
    """How a slice ended for its provider."""

    version: U8
    sequence: U64
    """Counts up from 1."""
    job_id: Bytes32
    index: U8
    provider_id: ProviderId
    buyer: Address
    outcome: Outcome
    reason: Reason
    burned: U64
    """Of the bond."""
    refunded: U64
    """What the buyer got back: of the payment, and of the bond."""
    payout: U64
    deadline_height: Height
    resolved_height: Height
    bundle: ProofBundle | None
    """None for hash slices, and after the first proofs of a job."""


@dataclass(frozen=True, slots=True)
class HistorySpan:
    """The resolutions that are kept: from ``first``, and before ``following``."""

    version: U8
    first: U64
    following: U64


PROVIDERS = domain.table("compute_market/provider", ProviderId, Provider)
OFFERS = domain.table("compute_market/offer", tuple[Lane, ProviderId], Offer)
JOBS = domain.table("compute_market/job", Bytes32, Job)
SLICES = domain.table("compute_market/slice", tuple[Bytes32, U8], Slice)
ASSIGNMENTS = domain.table("compute_market/assignment", tuple[ProviderId, Bytes32, U8], Assignment)
BOARDS = domain.table("compute_market/lane", Lane, PriceBoard)
OPEN_JOBS = domain.table("compute_market/open", tuple[Lane, Bytes32], OpenJob)
DUE = domain.table("compute_market/due", U64, Due)
INPUTS = domain.table("compute_market/input", tuple[Bytes32, U8], SliceInput)
CIRCUITS = domain.table("compute_market/circuit", Bytes32, Circuit)
CIRCUIT_KEYS = domain.table("compute_market/circuit_key", Bytes32, CircuitKey)
STATEMENTS = domain.table("compute_market/statement", Bytes32, Statement)
HISTORY = domain.table("compute_market/sla", U64, Resolution)
HISTORY_SPAN = domain.table("compute_market/sla_span", None, HistorySpan)


# What can be asked of it.


@dataclass(frozen=True, slots=True)
class RegisterProvider:
    """Become a provider, or raise the bond of one."""

    provider_id: ProviderId
    member_key: Bytes32
    bond: U64


@dataclass(frozen=True, slots=True)
class PostOffer:
    """Sell units in a lane; replaces the provider's offer there. Price 0 is at market, and takes any job."""

    provider_id: ProviderId
    lane: Lane
    price_per_unit: U64
    units_per_epoch: U64
    bond_per_unit: U64


@dataclass(frozen=True, slots=True)
class WithdrawOffer:
    """Take every offer of a provider off the book; assigned slices go on."""

    provider_id: ProviderId


@dataclass(frozen=True, slots=True)
class RetireProvider:
    """Leave, once nothing is assigned and nothing offered; the bond returns after the unbonding time."""

    provider_id: ProviderId


@dataclass(frozen=True, slots=True)
class PostJob:
    """Ask for work, which is cut into equal slices."""

    lane: Lane
    work: HashWork | SnarkWork
    max_price_per_unit: U64
    deadline_blocks: U32


@dataclass(frozen=True, slots=True)
class CancelJob:
    """Take back the slices that nobody was assigned yet."""

    job_id: Bytes32


@dataclass(frozen=True, slots=True)
class SubmitSlice:
    """Deliver a slice; one that does not pass the checks changes nothing but the sender's balance."""

    job_id: Bytes32
    index: U8
    output: HashOutput | ProofBundle


@dataclass(frozen=True, slots=True)
class DeclineSlice:
    """Give back a slice that cannot be delivered: free soon after its assignment, later for half of its bond."""

    job_id: Bytes32
    index: U8


@dataclass(frozen=True, slots=True)
class RegisterCircuit:
    """Give a circuit its verifying key, for good: hashes are BLAKE3 of files, and the circuit's is its wasm's."""

    circuit_hash: Bytes32
    r1cs_hash: Bytes32
    zkey_hash: Bytes32
    wasm_hash: Bytes32
    zkey_object: ObjectRef | None
    wasm_object: ObjectRef | None
    verifying_key: Annotated[bytes, MaxLen(VERIFYING_KEY_BYTES_MAX)]
    """In canonical form."""
    output_count: U32
    domain_size: U32
    ctx_index: U32 | None
    """Counts public inputs, outputs among them, from 0."""
    ceremony: Ceremony | None


@dataclass(frozen=True, slots=True)
class SetCircuitState:
    """Take a circuit out of use; there is no way back."""

    circuit_hash: Bytes32
    state: CircuitState


# What it tells.


@domain.event
@dataclass(frozen=True, slots=True)
class ProviderRegistered:
    provider_id: ProviderId
    owner: Address
    bond: U64


@domain.event
@dataclass(frozen=True, slots=True)
class OfferPosted:
    provider_id: ProviderId
    lane: Lane
    price_per_unit: U64
    units_per_epoch: U64


@domain.event
@dataclass(frozen=True, slots=True)
class OfferWithdrawn:
    provider_id: ProviderId


@domain.event
@dataclass(frozen=True, slots=True)
class ProviderRetired:
    provider_id: ProviderId
    unbonding_until: Height


@domain.event
@dataclass(frozen=True, slots=True)
class BondReleased:
    provider_id: ProviderId
    owner: Address
    amount: U64


@domain.event
@dataclass(frozen=True, slots=True)
class JobPosted:
    job_id: Bytes32
    buyer: Address
    lane: Lane
    slice_count: U8
    units_per_slice: U64
    max_price_per_unit: U64
    deadline_height: Height


@domain.event
@dataclass(frozen=True, slots=True)
class JobAssigned:
    job_id: Bytes32
    index: U8
    provider_id: ProviderId
    price_per_unit: U64


@domain.event
@dataclass(frozen=True, slots=True)
class SliceSettled:
    job_id: Bytes32
    index: U8
    provider_id: ProviderId
    root: Bytes32
    payout: U64


@domain.event
@dataclass(frozen=True, slots=True)
class SliceViolated:
    job_id: Bytes32
    index: U8
    provider_id: ProviderId
    slashed: U64


@domain.event
@dataclass(frozen=True, slots=True)
class SliceLate:
    """A slice was settled after its deadline."""

    job_id: Bytes32
    index: U8
    provider_id: ProviderId
    late_blocks: U64
    slashed: U64


@domain.event
@dataclass(frozen=True, slots=True)
class SliceReleased:
    """A slice ended undelivered, without a violation."""

    job_id: Bytes32
    index: U8
    provider_id: ProviderId
    reason: Reason
    slashed: U64


@domain.event
@dataclass(frozen=True, slots=True)
class ProofSettled:
    """Told after `SliceSettled` of the same slice."""

    job_id: Bytes32
    index: U8
    provider_id: ProviderId
    circuit_hash: Bytes32
    fingerprint: Bytes32
    statement_id: Bytes32
    backend: Backend
    latency_ms: U32


@domain.event
@dataclass(frozen=True, slots=True)
class CircuitRegistered:
    circuit_hash: Bytes32
    owner: Address
    key_hash: Bytes32


@domain.event
@dataclass(frozen=True, slots=True)
class CircuitStateChanged:
    circuit_hash: Bytes32
    state: CircuitState


@domain.event
@dataclass(frozen=True, slots=True)
class JobCancelled:
    job_id: Bytes32
    slices: U8
    refunded: U64


@domain.event
@dataclass(frozen=True, slots=True)
class JobEnded:
    job_id: Bytes32


# What can be read.


@dataclass(frozen=True, slots=True)
class ListProviders:
    """At most ``limit`` providers (0: 1000) after the id ``after``."""

    after: Annotated[str, MaxLen(63)]
    limit: U32


@dataclass(frozen=True, slots=True)
class ProviderPage:
    providers: Annotated[tuple[Provider, ...], MaxLen(1000)]
    offers: Annotated[tuple[Offer, ...], MaxLen(2000)]


@dataclass(frozen=True, slots=True)
class GetJob:
    job_id: Bytes32


@dataclass(frozen=True, slots=True)
class JobReply:
    job: Job | None
    slices: Annotated[tuple[Slice, ...], MaxLen(SLICES_MAX)]


@dataclass(frozen=True, slots=True)
class ListJobs:
    """The youngest ``limit`` jobs (0: 100)."""

    limit: U32


@dataclass(frozen=True, slots=True)
class JobPage:
    jobs: Annotated[tuple[Job, ...], MaxLen(1000)]


@dataclass(frozen=True, slots=True)
class GetPriceBoard:
    lane: Lane


@dataclass(frozen=True, slots=True)
class PriceBoardReply:
    """What units of a lane cost of late, in nBLOCK; all of it zero before its first match."""

    count: U32
    """Matches that it is made of."""
    last: U64
    low: U64
    """The lower quarter."""
    median: U64
    high: U64
    market_price: U64
    """Of an offer at market, now."""


@dataclass(frozen=True, slots=True)
class ListAssignments:
    """Slices that a provider has still to deliver."""

    provider_id: ProviderId


@dataclass(frozen=True, slots=True)
class AssignmentPage:
    jobs: Annotated[tuple[Job, ...], MaxLen(1000)]
    slices: Annotated[tuple[Slice, ...], MaxLen(1000)]


@dataclass(frozen=True, slots=True)
class GetSliceInput:
    job_id: Bytes32
    index: U8


@dataclass(frozen=True, slots=True)
class SliceInputReply:
    inputs: Annotated[bytes, MaxLen(INPUT_BYTES_MAX)] | None
    """None when the slice has ended, or is none of proving."""


@dataclass(frozen=True, slots=True)
class ListCircuits:
    """At most ``limit`` circuits (0: 100) after the hash ``after``, hex of 32 bytes, or empty."""

    after: Annotated[bytes, MaxLen(32)]
    limit: U32


@dataclass(frozen=True, slots=True)
class CircuitPage:
    circuits: Annotated[tuple[Circuit, ...], MaxLen(CIRCUIT_PAGE_MAX)]


@dataclass(frozen=True, slots=True)
class GetCircuit:
    circuit_hash: Bytes32


@dataclass(frozen=True, slots=True)
class CircuitReply:
    circuit: Circuit | None
    verifying_key: Annotated[bytes, MaxLen(VERIFYING_KEY_BYTES_MAX)]
    """In canonical form; empty where there is no circuit."""


@dataclass(frozen=True, slots=True)
class ListSlaHistory:
    """The youngest ``limit`` resolutions (0: 25, at most 256) below the sequence number ``before`` (0: all)."""

    limit: U32
    before: U64


@dataclass(frozen=True, slots=True)
class SlaHistoryPage:
    entries: Annotated[tuple[Resolution, ...], MaxLen(HISTORY_PAGE_MAX)]
    """Youngest first; fewer than asked for where they would be too much for one answer."""
    before: U64
    """For the next page; 0 after the last."""
