"""What is seen of the world at one visit, as values: the only thing that kinds decide from.

`cluster.py` and `chain.py` (or the embedded run) fill these records; `kinds/` read them. Two sorts of absence are
kept apart everywhere: *there is none* (a field is None, a mapping has no entry) and *nobody answered* (the source
stands in `Observed.silences`). A decision that destroys anything may rest on the first only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

Object = dict[str, Any]
"""A Kubernetes object, or a part of one."""

API = "api"
"""The source that lists the objects; nothing else in a record can be trusted while it is silent."""
CHAIN = "chain"
NODES = "nodes"
"""Silent also when the operator may not read nodes (chart value `rbac.nodes: false`)."""
SILENCE_SECONDS = 30
"""So long a source may be silent before conditions say so."""


@dataclass(frozen=True, slots=True)
class Resource:
    """One of our six kinds, as stored."""

    kind: str
    namespace: str
    name: str
    uid: str
    generation: int
    created: int
    """Unix seconds; of two that claim a name the older keeps it (ties: by uid)."""
    spec: Object
    status: Object = field(default_factory=dict)
    """As last written; read back for transition times and for what was recorded once (genesis), never for a state."""
    annotations: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    finalizers: tuple[str, ...] = ()
    deleting: bool = False
    deleting_since: int | None = None


class KeyRef(NamedTuple):
    """A seed in a Secret."""

    secret: str
    field: str


@dataclass(frozen=True, slots=True)
class Key:
    """What may be told of a seed."""

    public_key: str
    """Hex."""
    address: str
    peer_id: str = ""
    ok: bool = True
    """Seed and public part belong together."""
    used_on: str = ""
    """Annotation `theblock.dev/used-on`: SHA-256 of the genesis document on which the key has signed."""
    fence: Fence | None = None


@dataclass(frozen=True, slots=True)
class Fence:
    """The annotations `theblock.dev/fencing-epoch`, `-volume`, `-resource`, `-pod` of a member's key Secret.

    The epoch belongs to one volume of one resource: another volume, or another resource of that name, needs a higher.
    """

    epoch: int
    volume_uid: str
    """Empty until the first volume was seen."""
    resource_uid: str
    forced_pod: str = ""
    """Uid of the last pod for whose forced replacement the epoch was raised."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """A TLS Secret of a member."""

    not_before: int
    not_after: int
    fingerprint: str
    issuer: str
    """Fingerprint of the authority that signed it."""


@dataclass(frozen=True, slots=True)
class Authority:
    """The Secret `<network>-ca`."""

    fingerprint: str
    not_after: int
    phase: Literal["Settled", "Trust", "Issue", "Retire"] = "Settled"
    phase_since: int = 0
    next_fingerprint: str | None = None


@dataclass(frozen=True, slots=True)
class Workload:
    """The StatefulSet of one member (embedded: its process entry)."""

    uid: str
    revision: str
    """Annotation `theblock.dev/revision` of the template."""
    replicas: int
    created: int
    annotations: Mapping[str, str] = field(default_factory=dict)
    image: str = ""
    deleting: bool = False


@dataclass(frozen=True, slots=True)
class Pod:
    """A member's pod (embedded: its process)."""

    uid: str
    created: int
    revision: str = ""
    phase: str = "Running"
    ready: bool = False
    ready_since: int = 0
    """When `ready` last changed."""
    node: str = ""
    """Empty while not scheduled."""
    unschedulable_since: int | None = None
    trouble: Literal["", "ImagePullFailed", "CrashLooping"] = ""
    """What the kubelet says of a container that does not run."""
    exit_code: int | None = None
    """Of the last ended run of container `node`; 78 is a genesis that is not the pinned one, or a bad config."""
    node_lost: bool = False
    """Its node does not answer: the pod may still run and sign."""
    deleting: bool = False


@dataclass(frozen=True, slots=True)
class Volume:
    """The claim `data-<member>-0`."""

    name: str
    uid: str
    size_bytes: int
    """Requested."""
    deleting: bool = False


@dataclass(frozen=True, slots=True)
class Signer:
    floor_slot: int = 0
    fencing_epoch: int = 0
    state: str = "active"
    """active, waiting, missing, fenced, in_use_elsewhere"""


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """The answer of `Node.GetStatus` of a member."""

    role: str
    version: str = ""
    genesis_hash: str = ""
    height: int = 0
    finalized_height: int = 0
    peers: int = 0
    in_sync: bool = False
    signer: Signer = Signer()
    cert_not_after: int = 0
    cert_fingerprint: str = ""
    quic_address: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)
    """`details_json`, per role, see `DETAILS` of each kind; and of the drain: draining, drained, drain_left."""


@dataclass(frozen=True, slots=True)
class MemberFacts:
    """What is seen of one member: its objects by name, its certificate, its own answer."""

    name: str
    ordinal: int
    workload: Workload | None = None
    pod: Pod | None = None
    volume: Volume | None = None
    certificate: Certificate | None = None
    status: NodeStatus | None = None
    """None: it did not answer (or there is no pod)."""
    silent_since: int | None = None
    """Since when a pod that exists has not answered."""

    @property
    def draining_since(self) -> int | None:
        """Unix seconds; None: it is not draining."""
        since = self.workload.annotations.get("theblock.dev/draining-since") if self.workload is not None else None
        return int(since) if since else None


@dataclass(frozen=True, slots=True)
class Account:
    balance: int
    nonce: int = 0


@dataclass(frozen=True, slots=True)
class Stake:
    """What an identity has bonded in one role; an identity without bonds has one row, of role 0 and amount 0."""

    id: str
    """Hex public key."""
    role: int
    amount: int
    owner: str = ""
    jailed: bool = False
    tombstoned: bool = False
    unbonding: int = 0
    slashed: int = 0
    unbonding_until: int = 0
    """Epoch in which the last of it is released."""


@dataclass(frozen=True, slots=True)
class Seat:
    """One validator of the current set."""

    id: str
    weight: int
    voted: bool = True
    """For one of the last three checkpoints."""


@dataclass(frozen=True, slots=True)
class ValidatorSet:
    epoch: int
    seats: tuple[Seat, ...]

    def weight(self, identity: str) -> int:
        return next((seat.weight for seat in self.seats if seat.id == identity), 0)


@dataclass(frozen=True, slots=True)
class Call:
    """What became of a chain command that this operator sent, found by its key (see `acts.ChainCall`)."""

    state: Literal["pending", "final", "refused"]
    at: int
    """Unix seconds of the last change."""
    code: str = ""
    """Of the refusal, `domain.reason`."""
    tx_id: str = ""


@dataclass(frozen=True, slots=True)
class Chain:
    """The state as of one *finalized* block; empty while the chain is silent or has not begun."""

    height: int = 0
    """Of the head."""
    finalized_height: int = 0
    justified_height: int = 0
    finalized_since: int = 0
    """Unix seconds at which `finalized_height` last moved, as the operator saw it."""
    epoch: int = 0
    base_fee: int = 0
    accounts: Mapping[str, Account] = field(default_factory=dict)
    """By address: of every key that was read. An account that does not exist has no entry.

    Balances count from the head on while commands are under way, so that what follows a transfer need not wait.
    """
    stakes: tuple[Stake, ...] = ()
    validator_set: ValidatorSet | None = None
    records: Mapping[str, Object] = field(default_factory=dict)
    """The reply to each of `Wants.queries`, by name, its pages put together; in the forms of the domains' JSON."""
    calls: Mapping[str, Call] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Node:
    """A machine of the cluster."""

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    schedulable: bool = True
    ready: bool = True
    allocatable: Mapping[str, int] = field(default_factory=dict)
    """Extended resources only."""
    requested: Mapping[str, int] = field(default_factory=dict)
    """Of the extended resources, by the pods that the operator can see."""


@dataclass(frozen=True, slots=True)
class Genesis:
    """The ConfigMap `<network>-genesis`."""

    document: Object
    sha256: str


@dataclass(frozen=True, slots=True)
class Layout:
    """Where a process finds its files and where it listens.

    `{member}`, `{resource}`, `{network}` and `{namespace}` are filled in. The default is the inside of a pod; the
    embedded run has directories of its own and an address for each member.
    """

    genesis: str = "/etc/theblock/genesis/genesis.json"
    key: str = "/etc/theblock/key/node.key"
    signing: str = "/etc/theblock/signing/signing.key"
    tls: str = "/etc/theblock/tls"
    ca: str = "/etc/theblock/ca/ca.crt"
    peers: str = "/etc/theblock/peers/peers.json"
    data: str = "/var/lib/theblock"
    run: str = "/run/theblock"
    database: str = "/etc/theblock/database/{key}"
    headers: str = "/etc/theblock/headers/{key}"
    host: str = "0.0.0.0"
    advertise: str = "{member}.{namespace}.svc"
    addresses: Mapping[str, str] = field(default_factory=dict)
    """By member: listens on it and is reached by it, instead of `host` and `advertise`."""
    has_database: bool = True
    """False: the explorer uses SQLite whatever the spec says."""


@dataclass(frozen=True, slots=True)
class Observed:
    """Everything that a kind may look at."""

    resource: Resource
    neighbours: tuple[Resource, ...] = ()
    """All resources of the six kinds in the namespace, this one included; the embedded run's are those of its files."""
    members: Mapping[str, MemberFacts] = field(default_factory=dict)
    """By name: of every member of this resource of which anything is seen, leaving and left-over ones too.

    For a Network also those of all resources that name it.
    """
    keys: Mapping[KeyRef, Key] = field(default_factory=dict)
    """Of `Wants.keys` those that exist: owners, funder, node keys, signing keys."""
    authority: Authority | None = None
    admin_certificate: Certificate | None = None
    """`<network>-admin` (of a Network)."""
    genesis: Genesis | None = None
    """Of the network that the resource names, or is."""
    secrets: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The keys in each Secret of `Wants.secrets` that exists."""
    config_maps: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The keys in each ConfigMap of `Wants.config_maps` that exists."""
    nodes: tuple[Node, ...] = ()
    chain: Chain = Chain()
    silences: Mapping[str, int] = field(default_factory=dict)
    """Sources that did not answer at this visit, and since when: API, CHAIN, NODES."""
    layout: Layout = Layout()
    operator_image: str = ""
    """Image of members where neither resource nor Network names one."""
    prover_image: str = ""
    """Image of the container `prover`; empty: the member's."""

    @property
    def network(self) -> Resource | None:
        """The Network that the resource names (itself, for a Network); None if there is none."""
        if self.resource.kind == "Network":
            return self.resource
        name = self.resource.spec.get("network")
        return next((near for near in self.neighbours if near.kind == "Network" and near.name == name), None)

    def answers(self, source: str) -> bool:
        return source not in self.silences

    def is_silent(self, source: str, now: int) -> bool:
        """Has been silent for so long that conditions should tell."""
        return source in self.silences and now - self.silences[source] >= SILENCE_SECONDS


@dataclass(frozen=True, slots=True)
class Query:
    """A question to the chain whose reply should stand in `Chain.records[name]`."""

    name: str
    request: Object = field(default_factory=dict)
    page: tuple[str, str] | None = None
    """(field of the reply that holds rows, field of a row to pass on as `after`); None: one page is all."""
    key: str = ""
    """Under which the reply stands, where a query is asked more than once; empty: its name."""


@dataclass(frozen=True, slots=True)
class Wants:
    """What a kind needs to see beyond objects with its labels. The shell reads these by name and asks these queries.

    `Chain.stakes`, `Chain.validator_set` and the accounts of all keys that were read are always asked for.
    """

    members: tuple[tuple[str, int], ...] = ()
    """Names and ordinals of members whose TLS Secret and own answer should be read; our labels are seen anyway."""
    keys: tuple[KeyRef, ...] = ()
    secrets: tuple[str, ...] = ()
    config_maps: tuple[str, ...] = ()
    queries: tuple[Query, ...] = ()
