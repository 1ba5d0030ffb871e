"""What a kind is: a spec and pure functions from what is wanted and seen to members, acts and status.

Here also stand the parts of specs that kinds share, and `parse`. `schema.py` makes the CRDs from the same classes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from theblock_operator.acts import Plan
from theblock_operator.events import Reason
from theblock_operator.members import Member
from theblock_operator.observed import Object, Observed, Resource, Wants
from theblock_operator.status import Condition, Status

GROUP = "theblock.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"


class InvalidSpec(Exception):
    """A resource is not one of ours, or breaks a rule of its kind."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"{path}: {message}")
        self.path = path
        self.message = message


@dataclass(frozen=True, slots=True)
class Rule:
    """A CEL rule, and its twin for the run that has no API server."""

    at: str
    """`root`, or where in the object `x-kubernetes-validations` stands; `[*]` means each element of a list."""
    cel: str
    message: str
    holds: Callable[[Any], bool] | None = None
    """The same for the value at ``at`` (root: the name); None for rules on changes, which `oldSelf` tells."""
    holds_change: Callable[[Any, Any], bool] | None = None
    """The same for the values at ``at`` before and after a change, of rules on changes."""


@dataclass(frozen=True, slots=True)
class Column:
    name: str
    path: str
    type: Literal["string", "integer", "date"] = "string"
    wide: bool = False


@dataclass(frozen=True)
class Kind:
    """One of the six, as data and functions. The shell treats all alike."""

    name: str
    plural: str
    short_name: str
    spec: type[Part]
    rules: tuple[Rule, ...]
    columns: tuple[Column, ...]
    status: type[Part]
    """Shape of `.status`, for the CRD."""
    conditions: tuple[str, ...]
    wants: Callable[[Any, Observed], Wants]
    """From the spec and the objects alone: keys, chain facts and answers of members are still missing."""
    members: Callable[[Any, Observed, int], list[Member]]
    """The members that should exist at a time, no more, no fewer."""
    plan: Callable[[Any, Observed, int], Plan]
    judge: Callable[[Any, Observed, int], Status]
    scalable: bool = True
    news: Callable[[Mapping[str, Condition], Status], Iterable[tuple[Reason, str]]] = lambda before, after: ()
    """Events, with their messages, that a change of conditions is worth: what was said of each type, and the new."""

    @cached_property
    def singular(self) -> str:
        return self.name.lower()

    def check_change(self, before: Any, after: Any) -> Iterator[InvalidSpec]:
        """What the rules on changes refuse of putting the spec ``after`` in the place of ``before``."""
        for rule in self.rules:
            if rule.holds_change is None:
                continue
            was = dict(places(rule.at, before))
            for path, value in places(rule.at, after):
                if path in was and not rule.holds_change(was[path], value):
                    yield InvalidSpec(path, rule.message)

    def parse(self, body: Object) -> Any:
        """The spec of ``body``, checked by type, bounds and rules; raises `InvalidSpec`."""
        _check_name(body, self.rules)
        try:
            spec = msgspec.convert(body.get("spec", {}), self.spec)
        except msgspec.ValidationError as refused:
            raise _invalid(str(refused)) from refused
        for rule in self.rules:
            if rule.at != "root" and rule.holds is not None:
                _check_rule(rule, spec)
        return spec


class Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel", omit_defaults=False):
    """A part of a spec. A field that is `UNSET` by default may be absent; every other has its default in the CRD."""


# Field types (resources.md 1.4).

AMOUNT = r"^(0|[1-9][0-9]{0,18})$"
BYTES = r"^[1-9][0-9]{0,5}(Ki|Mi|Gi|Ti)$"
CPU = r"^[0-9]{1,6}m?$"
HASH = r"^[0-9a-f]{64}$"
ADDRESS = r"^[0-9a-f]{4}:[0-9a-f]{64}$"
NAME = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"

Amount = Annotated[str, Meta(pattern=AMOUNT, max_length=19)]
Bytes = Annotated[str, Meta(pattern=BYTES, max_length=8)]
Cpu = Annotated[str, Meta(pattern=CPU, max_length=7)]
Hash = Annotated[str, Meta(pattern=HASH, max_length=64)]
AccountAddress = Annotated[str, Meta(pattern=ADDRESS, max_length=69)]
Text = Annotated[str, Meta(min_length=1, max_length=253)]
ObjectName = Annotated[str, Meta(min_length=1, max_length=253, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")]
ResourceName = Annotated[str, Meta(min_length=1, max_length=40, pattern=NAME)]
Image = Annotated[str, Meta(min_length=1, max_length=512)]
Url = Annotated[str, Meta(min_length=1, max_length=2048)]
LabelValue = Annotated[str, Meta(max_length=63)]
LabelKey = Annotated[str, Meta(min_length=1, max_length=253)]


def list_map(key: str) -> Meta:
    """A list of things that ``key`` names."""
    return Meta(extra={"list_type": "map", "list_key": key})


BY_NAME = list_map("name")
SET = Meta(extra={"list_type": "set"})


class ObjectRef(Part, frozen=True, kw_only=True):
    name: ObjectName


class ObjectKeyRef(Part, frozen=True, kw_only=True):
    name: ObjectName
    key: Text


class OwnerKeyRef(Part, frozen=True, kw_only=True):
    name: ObjectName
    key: Text = "owner.key"


class Owner(Part, frozen=True, kw_only=True):
    key_secret_ref: OwnerKeyRef | UnsetType = UNSET
    funding: Literal["Network", "Self"] = "Network"
    member_float: Annotated[Amount, Meta(description="kept on each member's own account for fees")] = "1000000000"


class Keys(Part, frozen=True, kw_only=True):
    secret_name_template: Text


class Quantities(Part, frozen=True, kw_only=True):
    cpu: Cpu | UnsetType = UNSET
    memory: Bytes | UnsetType = UNSET


class Resources(Part, frozen=True, kw_only=True):
    requests: Quantities = Quantities()
    limits: Quantities = Quantities()


class Toleration(Part, frozen=True, kw_only=True):
    key: Annotated[str, Meta(max_length=253)] | UnsetType = UNSET
    operator: Literal["Exists", "Equal"] | UnsetType = UNSET
    value: LabelValue | UnsetType = UNSET
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | UnsetType = UNSET
    toleration_seconds: Annotated[int, Meta(ge=0, le=604_800)] | UnsetType = UNSET


NodeSelector = Annotated[dict[LabelKey, LabelValue], Meta(max_length=32)]
Tolerations = Annotated[tuple[Toleration, ...], Meta(max_length=16)]


class SchedulingSpec(Part, frozen=True, kw_only=True):
    node_selector: NodeSelector = {}
    tolerations: Tolerations = ()
    spread_key: Text = "kubernetes.io/hostname"
    priority_class_name: Text | UnsetType = UNSET


PodLabels = Annotated[dict[LabelKey, LabelValue], Meta(max_length=16)]
PodAnnotations = Annotated[dict[LabelKey, Annotated[str, Meta(max_length=1024)]], Meta(max_length=16)]
LogLevel = Literal["debug", "info", "warning", "error"]
HostPort = Annotated[str, Meta(min_length=3, max_length=253, pattern=r"^[^\s:]+:[0-9]{1,5}$")]


class Storage(Part, frozen=True, kw_only=True):
    """The volume `data`. `retention` has its default per kind."""

    size: Bytes | UnsetType = UNSET
    class_name: Text | UnsetType = UNSET
    retention: Literal["Retain", "Delete"] = "Retain"


class MemberSpec(Part, frozen=True, kw_only=True):
    """What the five member kinds share; each adds `replicas`, `stake`, `drain_deadline_seconds` with its own bounds."""

    network: Annotated[ResourceName, Meta(description="Network in the same namespace")]
    image: Annotated[Image, Meta(description="Image of the members; absent: the Network's")] | UnsetType = UNSET
    owner: Annotated[Owner, Meta(description="The account that owns stake and terms")] = Owner()
    deletion_policy: Annotated[
        Literal["Exit", "Retain"],
        Meta(description="On deletion: leave the chain first, or keep registration, keys and volumes"),
    ] = "Exit"
    progress_deadline_seconds: Annotated[
        int, Meta(ge=60, le=7200, description="A new or rolled member must be Ready by then, else Stalled")
    ] = 600
    resources: Annotated[Resources, Meta(description="Of the container node")] = Resources()
    scheduling: Annotated[SchedulingSpec, Meta(description="Where pods may run")] = SchedulingSpec()
    pod_labels: Annotated[PodLabels, Meta(description="Further labels of pods")] = {}
    pod_annotations: Annotated[PodAnnotations, Meta(description="Further annotations of pods")] = {}
    log_level: Annotated[LogLevel, Meta(description="How much members log")] = "info"
    allow_solo: Annotated[bool, Meta(description="Ready without peers")] = False
    bootstrap_peers: Annotated[
        tuple[HostPort, ...], Meta(max_length=64, description="Further peers, as host:port")
    ] = ()


DrainDeadline = Annotated[
    int, Meta(ge=10, le=604_800, description="Draining longer than this is Overdue: told, never cut short")
]
Stake = Annotated[Amount, Meta(description="nBLOCK bonded per member; only ever raised")]


class OwnerStatus(Part, frozen=True, kw_only=True):
    address: str | UnsetType = UNSET
    balance: str | UnsetType = UNSET


class MemberStatus(Part, frozen=True, kw_only=True):
    """One entry of `status.members`; kinds add their own fields."""

    name: Text
    ordinal: int
    state: Literal[
        "Pending",
        "Starting",
        "Syncing",
        "Registering",
        "Active",
        "Unready",
        "Updating",
        "Draining",
        "Exiting",
        "Lost",
    ]
    reason: str | UnsetType = UNSET
    address: str | UnsetType = UNSET
    peer_id: str | UnsetType = UNSET
    quic_addr: str | UnsetType = UNSET
    key_generation: int | UnsetType = UNSET
    fencing_epoch: int | UnsetType = UNSET
    cert_not_after: str | UnsetType = UNSET
    revision: str | UnsetType = UNSET
    node: str | UnsetType = UNSET
    since: str | UnsetType = UNSET


class KindStatus(Part, frozen=True, kw_only=True):
    """What every `.status` has, besides `observedGeneration` and `conditions`."""

    last_reconcile_at: str | UnsetType = UNSET
    replicas: int | UnsetType = UNSET
    ready_replicas: int | UnsetType = UNSET
    selector: str | UnsetType = UNSET
    image: str | UnsetType = UNSET
    revision: str | UnsetType = UNSET
    updated_replicas: int | UnsetType = UNSET
    height: int | UnsetType = UNSET
    finalized_height: int | UnsetType = UNSET


class MemberKindStatus(KindStatus, frozen=True, kw_only=True):
    owner: OwnerStatus | UnsetType = UNSET


READY_COLUMNS = (
    Column("Ready", '.status.conditions[?(@.type=="Ready")].status'),
    Column("Reason", '.status.conditions[?(@.type=="Ready")].reason'),
)
DESIRED = Column("Desired", ".spec.replicas", "integer")
MEMBERS = Column("Members", ".status.replicas", "integer")
READY_MEMBERS = Column("ReadyMembers", ".status.readyReplicas", "integer")
HEIGHT = Column("Height", ".status.height", "integer")
AGE = Column("Age", ".metadata.creationTimestamp", "date")
NETWORK = Column("Network", ".spec.network", wide=True)

MEMBER_CONDITIONS = (
    "Accepted",
    "Funded",
    "Registered",
    "Synced",
    "Progressing",
    "Draining",
    "CertificatesValid",
    "Paused",
)


# Rules of all kinds, and of the member kinds.

_NAME = re.compile(NAME)
NAME_RULES = (
    Rule(
        "root",
        "self.metadata.name.size() <= 40 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
        "name: a DNS label of at most 40 characters that starts with a letter",
        lambda name: len(name) <= 40 and _NAME.match(name) is not None,
    ),
    Rule(
        "root",
        "!self.metadata.name.matches('-[0-9]+$')",
        "name must not end in -<digits>: members are named so",
        lambda name: re.search(r"-[0-9]+$", name) is None,
    ),
)
POD_LABEL_RULE = Rule(
    "spec.podLabels",
    "self.all(k, !k.startsWith('theblock.dev/') && !k.startsWith('app.kubernetes.io/'))",
    "podLabels must not use reserved prefixes",
    lambda labels: not any(key.startswith(("theblock.dev/", "app.kubernetes.io/")) for key in labels),
)
MEMBER_RULES = (
    *NAME_RULES,
    Rule(
        "spec",
        "self.network == oldSelf.network",
        "network is immutable",
        holds_change=lambda old, new: new.network == old.network,
    ),
    Rule("spec", "uint(self.stake) >= 1u", "stake must be positive", lambda spec: int(spec.stake) >= 1),
    Rule(
        "spec",
        "uint(self.stake) >= uint(oldSelf.stake)",
        "stake is never lowered in place: remove members or the resource to unbond",
        holds_change=lambda old, new: int(new.stake) >= int(old.stake),
    ),
    Rule(
        "spec.owner",
        "uint(self.memberFloat) <= 1000000000000000u",
        "owner.memberFloat is at most 10^15",
        lambda owner: int(owner.member_float) <= 10**15,
    ),
    Rule(
        "spec.owner",
        "has(self.keySecretRef) == has(oldSelf.keySecretRef)"
        " && (!has(self.keySecretRef) || self.keySecretRef == oldSelf.keySecretRef)",
        "owner.keySecretRef is immutable",
        holds_change=lambda old, new: new.key_secret_ref == old.key_secret_ref,
    ),
    Rule(
        "spec.storage",
        "!has(self.size) || !has(oldSelf.size) || quantity(self.size).compareTo(quantity(oldSelf.size)) >= 0",
        "storage.size may only grow",
        holds_change=lambda old, new: may_grow(old.size, new.size),
    ),
    Rule(
        "spec.storage",
        "has(self.className) == has(oldSelf.className)"
        " && (!has(self.className) || self.className == oldSelf.className)",
        "storage.className is immutable",
        holds_change=lambda old, new: new.class_name == old.class_name,
    ),
    POD_LABEL_RULE,
)
KEY_RULES = (
    Rule(
        "spec",
        "has(self.keys) == has(oldSelf.keys)"
        " && (!has(self.keys) || self.keys.secretNameTemplate == oldSelf.keys.secretNameTemplate)",
        "keys are fixed at creation; rotate with the annotation theblock.dev/rotate-key",
        holds_change=lambda old, new: new.keys == old.keys,
    ),
    Rule(
        "spec",
        "!has(self.keys) || self.keys.secretNameTemplate.contains('{member}')",
        "keys.secretNameTemplate must contain {member}: one key, one signer",
        lambda spec: spec.keys is UNSET or "{member}" in spec.keys.secret_name_template,
    ),
)
"""Not of EnergyOracle and Bridge, which have key fields of their own."""


# Parsing.


def parse_bytes(quantity: str) -> int:
    """``1Gi`` as a number of bytes."""
    powers = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40}
    return int(quantity[:-2]) << powers[quantity[-2:]]


def may_grow(old: str | UnsetType, new: str | UnsetType) -> bool:
    """Whether a size may follow another; one that is not named is no smaller than any."""
    return old is UNSET or new is UNSET or parse_bytes(new) >= parse_bytes(old)


def snake(name: str) -> str:
    return re.sub(r"([A-Z])", r"_\1", name).lower()


def _check_name(body: Object, rules: tuple[Rule, ...]) -> None:
    name = body.get("metadata", {}).get("name", "")
    for rule in rules:
        if rule.at == "root" and rule.holds is not None and not rule.holds(name):
            raise InvalidSpec("metadata.name", rule.message)


def _check_rule(rule: Rule, spec: Part) -> None:
    assert rule.holds is not None
    for path, value in places(rule.at, spec):
        if not rule.holds(value):
            raise InvalidSpec(path, rule.message)


def places(at: str, spec: Part) -> Iterator[tuple[str, Any]]:
    """Every value that ``at`` names, with its path; nothing where it is absent."""
    found: list[tuple[str, Any]] = [("spec", spec)]
    for step in at.split(".")[1:]:
        name, each, _ = step.partition("[*]")
        found = [(f"{path}.{name}", getattr(value, snake(name))) for path, value in found]
        found = [(path, value) for path, value in found if value is not UNSET]
        if each:
            found = [(f"{path}[{index}]", item) for path, value in found for index, item in enumerate(value)]
    yield from found


def _invalid(message: str) -> InvalidSpec:
    text, found, path = message.partition(" - at `$")
    return InvalidSpec("spec" + (path.rstrip("`") if found else ""), text)


def resource_of(body: Object, *, created: int, deleting_since: int | None = None) -> Resource:
    """A stored object as a `Resource`; times come in as numbers because only the shell parses dates."""
    meta = body["metadata"]
    return Resource(
        kind=body["kind"],
        namespace=meta.get("namespace", "default"),
        name=meta["name"],
        uid=meta.get("uid", ""),
        generation=meta.get("generation", 1),
        created=created,
        spec=body.get("spec", {}),
        status=body.get("status", {}),
        annotations=meta.get("annotations") or {},
        labels=meta.get("labels") or {},
        finalizers=tuple(meta.get("finalizers") or ()),
        deleting="deletionTimestamp" in meta,
        deleting_since=deleting_since,
    )
