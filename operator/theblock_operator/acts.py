"""Everything that a plan can ask for: a closed set of values, carried out in order by `reconcile.py`.

Two sorts. A *level* (`Ensure…`) says how something should stand; it is planned at every visit, and writes only where
something differs. A *step* is planned only while it is still to be done, and none of them does harm when done twice.
An act that fails ends the visit: the acts after it rest on it. Kubernetes and the embedded run carry out the same acts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from theblock_operator.events import Reason
from theblock_operator.members import Member
from theblock_operator.observed import Fence, KeyRef, Object

# Levels.


@dataclass(frozen=True, slots=True)
class EnsureFinalizer:
    """`theblock.dev/exit` stands on the resource."""


@dataclass(frozen=True, slots=True)
class EnsureShared:
    """Objects of the resource that belong to no member, owned by it; those with our labels that are not here go."""

    objects: tuple[Object, ...]


@dataclass(frozen=True, slots=True)
class EnsurePeers:
    """`<network>-bootstrap-peers` holds this document (embedded: peers.json)."""

    network: str
    document: Object


@dataclass(frozen=True, slots=True)
class EnsureMember:
    """The member's objects stand as `objects.workload.render` says (embedded: its process runs).

    The StatefulSet first, then what it owns. A new one is planned with 0 replicas, then its certificate, then again
    with 1, so that no mount is missing. Never ends a pod: a new template waits for `RollMember`.
    """

    member: Member


# Keys and certificates.


@dataclass(frozen=True, slots=True)
class CreateKey:
    """Make a key Secret with *create*; one that exists is left alone.

    A node key starts with the annotations of `Fence(epoch=1, volume_uid="", resource_uid=resource_uid)`.
    """

    ref: KeyRef
    purpose: Literal["node", "signing", "owner", "funder"]
    member: str | None = None
    resource_uid: str = ""


@dataclass(frozen=True, slots=True)
class CreateAuthority:
    """Make `<network>-ca` (or take `trust.caSecretRef`) and `<network>-ca-bundle`, if they are missing."""

    network: str
    seconds: int


@dataclass(frozen=True, slots=True)
class StepAuthority:
    """Take the rotation of the authority to this phase."""

    network: str
    phase: Literal["Trust", "Issue", "Retire", "Settled"]


@dataclass(frozen=True, slots=True)
class IssueCertificate:
    """Write a TLS Secret, new or renewed, signed by the network's present authority."""

    network: str
    secret: str
    dns_names: tuple[str, ...]
    uri: str
    seconds: int
    member: str | None = None
    """Its StatefulSet owns the Secret; None: the operator's and the people's."""


@dataclass(frozen=True, slots=True)
class RecordFence:
    """Write the fence annotations on a member's key Secret."""

    ref: KeyRef
    fence: Fence


@dataclass(frozen=True, slots=True)
class MarkKeyUsed:
    """Write `theblock.dev/used-on` on a member's key Secret."""

    ref: KeyRef
    genesis_sha256: str


# Genesis.


@dataclass(frozen=True, slots=True)
class SealGenesis:
    """Create the immutable ConfigMap `<network>-genesis` from these bytes; if it exists, what is there counts."""

    network: str
    document: bytes
    sha256: str


# The chain.


@dataclass(frozen=True, slots=True)
class Transfer:
    """`accounts.transfer`, looked up before it is sent. Signed by the key at ``source``."""

    key: str
    source: KeyRef
    to: str
    amount: int
    why: str


@dataclass(frozen=True, slots=True)
class Fill:
    """An argument that only the holder of a seed can make: the shell gets the signature and puts its hex in place."""

    argument: tuple[str | int, ...]
    """Path in the arguments, for example ``("keys", 0, "proof")``."""
    how: Literal["identity_proof", "possession"]
    """`validators.register_digest` signed with the seed at ``ref``; or the answer of `Oracle.ProvePossession`."""
    member: str
    ref: KeyRef
    provider_id: str = ""
    key_version: int = 0
    """The last two: for `possession`; the member's name is the oracle's id."""


@dataclass(frozen=True, slots=True)
class ChainCall:
    """A command to the chain; looked up by ``key`` before it is sent, among the pending ones and by memo on the chain.

    While `Chain.calls[key]` is pending, nothing is sent; a refused one is not planned again for a while.
    """

    key: str
    """Resource uid, member, call and a hash of the arguments: equal for equal intentions; at the same time the memo."""
    name: str
    args: Mapping[str, Any]
    signer: KeyRef
    why: str
    fills: tuple[Fill, ...] = ()
    event: Reason | None = None
    """Told when the command is final."""


# Members on their way out or to a new revision.


@dataclass(frozen=True, slots=True)
class SetDrain:
    """Tell a member to take no new work (`Node.Drain`), or to take it again; the workload keeps `draining-since`."""

    member: str
    since: int | None
    """Unix seconds; None takes it back."""


@dataclass(frozen=True, slots=True)
class RollMember:
    """Delete the pod so that it comes back from the new template; guarded by the uid, with its full grace period."""

    member: str
    pod_uid: str


@dataclass(frozen=True, slots=True)
class DeletePod:
    """Delete a pod that never ran (``force`` False), or whose machine is off for certain (True)."""

    member: str
    pod_uid: str
    force: bool


@dataclass(frozen=True, slots=True)
class StopMember:
    """Scale its workload to 0: signer and work stop, everything else stays."""

    member: str
    workload_uid: str


@dataclass(frozen=True, slots=True)
class RemoveMember:
    """Delete the workload and all it owns; volume and key stay. Guarded by the uid."""

    member: str
    workload_uid: str


@dataclass(frozen=True, slots=True)
class GrowVolume:
    volume: str
    size: str


@dataclass(frozen=True, slots=True)
class DeleteVolume:
    volume: str
    uid: str


@dataclass(frozen=True, slots=True)
class RemoveFinalizer:
    """The last act of all."""


# Telling.


@dataclass(frozen=True, slots=True)
class Emit:
    """An event regarding the resource; its type follows from the reason."""

    reason: Reason
    message: str


Act = (
    EnsureFinalizer
    | EnsureShared
    | EnsurePeers
    | EnsureMember
    | CreateKey
    | CreateAuthority
    | StepAuthority
    | IssueCertificate
    | RecordFence
    | MarkKeyUsed
    | SealGenesis
    | Transfer
    | ChainCall
    | SetDrain
    | RollMember
    | DeletePod
    | StopMember
    | RemoveMember
    | GrowVolume
    | DeleteVolume
    | RemoveFinalizer
    | Emit
)
DESTRUCTIVE = (SetDrain, RollMember, DeletePod, StopMember, RemoveMember, DeleteVolume)


@dataclass(frozen=True, slots=True)
class Requeue:
    """Look at the resource again, whatever happens until then."""

    after_s: int
    why: str


@dataclass(frozen=True, slots=True)
class Plan:
    acts: tuple[Act, ...] = ()
    requeue: Requeue | None = None
    notes: Mapping[str, str] = field(default_factory=dict)
    """Why something that is wanted is not done, by condition type; `judge` says the same."""
