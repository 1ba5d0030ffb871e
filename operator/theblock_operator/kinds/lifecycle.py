"""The life of members, the same for the five member kinds (resources.md 2.5): what exists, what comes, what goes.

`look` puts together what a visit knows; `members`, `plan` and `judging.judge` read it. What a kind adds stands in its
`Life`. Nothing here remembers: each step is planned from what is seen, and a step that is done is not planned.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
from msgspec import UNSET

from theblock_operator import members as member_module
from theblock_operator import names
from theblock_operator.acts import (
    Act,
    ChainCall,
    CreateKey,
    DeletePod,
    DeleteVolume,
    Emit,
    EnsureFinalizer,
    EnsureMember,
    EnsureShared,
    Fill,
    GrowVolume,
    IssueCertificate,
    MarkKeyUsed,
    Plan,
    RecordFence,
    RemoveFinalizer,
    RemoveMember,
    Requeue,
    RollMember,
    SetDrain,
    Transfer,
)
from theblock_operator.events import Reason
from theblock_operator.kinds import network_spec as networks
from theblock_operator.kinds.kind import Resources, parse_bytes
from theblock_operator.members import Container, Member, Ports, Scheduling
from theblock_operator.observed import (
    API,
    CHAIN,
    Account,
    Certificate,
    Fence,
    Key,
    KeyRef,
    MemberFacts,
    Object,
    Observed,
    Resource,
    Wants,
)
from theblock_operator.status import Condition

REFUSED_RETRY_SECONDS = 60
FINAL_LAG_SECONDS = 30
"""So long a final command is trusted to show in the records."""
FEE_RESERVE = 100_000_000
"""nBLOCK that stay on the owner account for fees while stakes are bonded."""
RENEWALS_MAX = 4
RESYNC_SECONDS = 60
SOON_SECONDS = 1


@dataclass(frozen=True, slots=True)
class Standing:
    """How one member stands on the chain, as of the last finalized block."""

    known: bool = False
    """False: the chain did not answer."""
    on_chain: bool = False
    """It has a record there, and its exit is not finished."""
    serving: bool = False
    """It stands there with the terms of the spec."""
    reason: str = "Waiting"
    """Of `Registered`, while it does not serve."""
    message: str = ""
    missing: int = 0
    """nBLOCK still to be bonded."""
    bonded: int = 0
    load: int = 0
    """What it still owes: slices."""
    enter: tuple[ChainCall, ...] = ()
    """What the chain must still be told for it to serve, next first."""
    at_once: bool = False
    """The commands of `enter` do not wait for each other: one signer sends them, so that they stand in this order."""
    leave: tuple[ChainCall, ...] = ()
    """What the chain must still be told for it to go, next first."""
    exited: bool = False
    """Its exit is final, or it never entered: the pod may go."""
    reusable: bool = True
    """False: nobody may take this slot again (a tombstoned key)."""
    state: str = ""
    unbonding_until: int = 0


@dataclass(frozen=True, slots=True)
class Slots:
    """Ordinals."""

    desired: tuple[int, ...]
    leaving: tuple[int, ...]
    """In the order in which they go: highest first, where the spec says nothing else."""
    leftover: tuple[int, ...]
    """Neither, but some object is still there."""


def _no(*_: Any) -> str:
    return ""


@dataclass(frozen=True, slots=True)
class Life:
    """What a member kind adds. A function that says why something must wait returns "" if it need not."""

    role: str
    priority_class: str
    requests: Mapping[str, str]
    limits: Mapping[str, str]
    volume_size: Callable[[Any], str]
    grace_seconds: int
    settings: Callable[[Any, Observed, int], Object]
    stand: Callable[[Any, Observed, str], Standing]
    shared: Callable[[Scene], list[Object]]
    is_p2p: bool = False
    has_signing: bool = False
    needs_float: bool = True
    parts: Callable[[Any, Observed, Member, int], Member] = lambda spec, observed, member, now: member
    stand_together: Callable[[Any, Observed], Standing] = lambda spec, observed: Standing(
        known=True, serving=True, exited=True
    )
    """What the resource has on the chain as a whole."""
    accept: Callable[[Any, Observed], Condition | None] = lambda spec, observed: None
    wait_join: Callable[[Scene, int], str] = _no
    wait_leave: Callable[[Scene, str], str] = _no
    wait_exit: Callable[[Scene, str], str] = _no
    """After draining began: work that must be finished before the chain is told."""
    wait_roll: Callable[[Scene, str], str] = _no
    drains_to_roll: bool = False


@dataclass(frozen=True, slots=True)
class Scene:
    """One visit: the spec, what is seen, and what follows from both."""

    life: Life
    spec: Any
    observed: Observed
    now: int
    slots: Slots
    accepted: Condition
    members: Mapping[str, Member] = field(default_factory=dict)
    """The desired ones, by name, in order of their ordinals."""
    standings: Mapping[str, Standing] = field(default_factory=dict)
    """Of all desired and leaving ones."""
    together: Standing = Standing()

    @property
    def name(self) -> str:
        return self.observed.resource.name

    @property
    def prefix(self) -> str:
        """Members are named so, up to the dash before the ordinal."""
        return names.member_prefix(self.observed.resource)

    @property
    def leaving(self) -> list[str]:
        return [names.member(self.prefix, ordinal) for ordinal in self.slots.leaving]

    @property
    def is_chainless(self) -> bool:
        """There is no chain on which anything could be left: the network is going, gone, or was never sealed."""
        network = self.observed.network
        if network is None or network.deleting:
            return True
        return self.observed.genesis is None and not network.status.get("genesisSha256")

    def facts(self, member: str) -> MemberFacts:
        found = self.observed.members.get(member)
        return found or MemberFacts(member, names.split_member(member)[1])

    def is_current(self, member: str) -> bool:
        """Its pod runs what is wanted."""
        pod = self.facts(member).pod
        return pod is not None and pod.revision == self.members[member].revision

    def is_up(self, member: str) -> bool:
        """It answers, is ready, and follows the chain."""
        facts = self.facts(member)
        return (
            facts.pod is not None
            and facts.pod.ready
            and not facts.pod.deleting
            and facts.status is not None
            and facts.status.in_sync
        )

    def is_active(self, member: str) -> bool:
        return self.is_up(member) and self.standings[member].serving


def look(life: Life, spec: Any, observed: Observed, now: int) -> Scene:
    standings = {name: life.stand(spec, observed, name) for name in _known_names(spec, observed)}
    slots = compute_slots(spec, observed, standings)
    scene = Scene(life, spec, observed, now, slots, accept(life, spec, observed))
    if observed.network is None:
        return scene
    built = [build_member(life, spec, observed, ordinal, now) for ordinal in slots.desired]
    return replace(
        scene,
        members={member.name: member for member in built},
        standings={
            name: standings.get(name) or life.stand(spec, observed, name)
            for name in [*(member.name for member in built), *scene.leaving]
        },
        together=life.stand_together(spec, observed),
    )


def members(life: Life, spec: Any, observed: Observed, now: int) -> list[Member]:
    """The members that should exist, no more, no fewer; none before the resource is accepted."""
    scene = look(life, spec, observed, now)
    return list(scene.members.values()) if scene.accepted.status == "True" else []


def plan(life: Life, spec: Any, observed: Observed, now: int) -> Plan:
    if API in observed.silences:
        return Plan((), Requeue(SOON_SECONDS, "the API server did not answer"))
    if observed.resource.annotations.get(names.PAUSED) == "true":
        return Plan()
    scene = look(life, spec, observed, now)
    acts: list[Act] = []
    if names.FINALIZER not in observed.resource.finalizers and not observed.resource.deleting:
        acts.append(EnsureFinalizer())
    if observed.resource.deleting:
        acts += leave(scene)
        if not _anything_left(scene):
            acts.append(RemoveFinalizer())
        return Plan(tuple(acts), Requeue(SOON_SECONDS, "leaving"))
    missing = list(_create_keys(scene))
    if missing:
        made = ", ".join(sorted({act.ref.secret for act in missing}))
        told = Emit(Reason.KeysGenerated, f"made {made}: back these Secrets up, their loss cannot be mended")
        return Plan((*acts, *missing, told), Requeue(0, "keys were made"))
    if scene.accepted.status != "True":
        return Plan(tuple(acts), Requeue(RESYNC_SECONDS, scene.accepted.reason))
    if observed.authority is None:
        return Plan(tuple(acts), Requeue(SOON_SECONDS, "the network has no authority yet"))

    acts.append(EnsureShared(tuple(life.shared(scene))))
    acts += keep(scene)
    return Plan(tuple(acts), next_look(scene))


def keep(scene: Scene) -> Iterator[Act]:
    """Everything that brings members to what is wanted, and takes away what is not."""
    yield from _fence(scene)
    yield from _bring_up(scene)
    yield from _roll(scene)
    yield from _grow(scene)
    yield from _renew(scene)
    if CHAIN not in scene.observed.silences:
        yield from _fund(scene)
        yield from _enter(scene)
        yield from _take_back(scene)
    yield from leave(scene)


# Who should be there.


def compute_slots(spec: Any, observed: Observed, standings: Mapping[str, Standing]) -> Slots:
    resource = observed.resource
    wanted = 0 if resource.deleting else spec.replicas
    keeps = resource.deleting and spec.deletion_policy == "Retain"
    facts = {member.ordinal: member for member in observed.members.values() if _is_of(resource, member)}

    def is_there(ordinal: int) -> bool:
        seen = facts.get(ordinal)
        if seen is not None and seen.workload is not None and not seen.workload.deleting:
            return True
        standing = standings.get(names.member(names.member_prefix(resource), ordinal))
        return not keeps and standing is not None and standing.on_chain

    def is_busy(ordinal: int) -> bool:
        seen = facts.get(ordinal)
        standing = standings.get(names.member(names.member_prefix(resource), ordinal))
        if standing is not None and not standing.reusable:
            return True
        return seen is not None and (
            seen.workload is not None
            or seen.pod is not None
            or (seen.volume is not None and (seen.volume.deleting or spec.storage.retention == "Delete"))
        )

    def keeping_order(ordinal: int) -> tuple[bool, int, int]:
        """Who has begun to leave goes on with it; else who owes the most stays."""
        seen = facts.get(ordinal)
        standing = standings.get(names.member(names.member_prefix(resource), ordinal)) or Standing()
        return seen is not None and seen.draining_since is not None, -standing.load, ordinal

    ordinals = sorted({*facts, *(names.split_member(name)[1] for name in standings)})
    there = [ordinal for ordinal in ordinals if is_there(ordinal)]
    if getattr(spec, "scale_down_policy", "") == "Idle":
        there.sort(key=keeping_order)
    kept = there[:wanted]
    new: list[int] = []
    ordinal = 0
    while len(kept) + len(new) < wanted:
        if ordinal not in there and not is_busy(ordinal):
            new.append(ordinal)
        ordinal += 1
    leaving = there[wanted:]
    desired = sorted([*kept, *new])
    leftover = [ordinal for ordinal in facts if ordinal not in desired and ordinal not in leaving]
    return Slots(tuple(desired), tuple(reversed(leaving)), tuple(sorted(leftover)))


def genesis_members(observed: Observed) -> int:
    """How many members of this resource stand in the genesis: the first ordinals."""
    network = observed.network
    if network is None or observed.resource.kind != "Validator":
        return 0
    entries = network.spec.get("genesis", {}).get("validators", ())
    return next((entry["members"] for entry in entries if entry["name"] == observed.resource.name), 0)


def wants(life: Life, spec: Any, observed: Observed) -> Wants:
    """Keys and certificates of every ordinal that is there or may come next, the owner's and the funder's."""
    known = [(name, names.split_member(name)[1]) for name in _known_names(spec, observed)]
    refs = [names.node_key(spec, name) for name, _ in known]
    if life.has_signing:
        refs += [names.signing_key(spec, name) for name, _ in known]
    refs += [names.owner_key(spec, observed.resource.name), names.funder_key(spec.network)]
    return Wants(members=tuple(known), keys=tuple(refs))


def accept(life: Life, spec: Any, observed: Observed) -> Condition:
    """Can this resource be acted on at all?"""

    def no(reason: str, message: str) -> Condition:
        return Condition("Accepted", "False", reason, message)

    if API in observed.silences:
        return Condition("Accepted", "Unknown", "NoAnswer", "the API server does not answer")
    network = observed.network
    if network is None:
        return no("UnknownNetwork", f"there is no Network {spec.network} in this namespace: create it")
    if network.deleting and not observed.resource.deleting:
        return no("NetworkDeleting", f"Network {network.name} is being deleted")
    taken = next((near for near in observed.neighbours if names.is_claimed(observed.resource, near)), None)
    if taken is not None:
        return no("NameTaken", f"the members of {taken.kind} {taken.name} have these names: choose another")
    refused = life.accept(spec, observed) or _accept_keys(life, spec, observed)
    if refused is not None:
        return refused
    if observed.genesis is None:
        return no("NetworkNotSealed", f"Network {network.name} has no genesis yet")
    if not network.status.get("genesisHash") and not genesis_members(observed):
        return no("NetworkNotSealed", f"the first validators of Network {network.name} do not run yet")
    return Condition("Accepted", "True", "Valid")


def _accept_keys(life: Life, spec: Any, observed: Observed) -> Condition | None:
    wanted = [names.owner_key(spec, observed.resource.name)]
    given = [] if spec.owner.key_secret_ref is UNSET else list(wanted)
    own = [names.member(names.member_prefix(observed.resource), ordinal) for ordinal in range(spec.replicas)]
    if getattr(spec, "keys", UNSET) is not UNSET:
        given += [names.node_key(spec, name) for name in own]
    if life.has_signing and not is_signing_made(spec):
        given += [names.signing_key(spec, name) for name in own]
    for ref in given:
        if ref not in observed.keys:
            return Condition("Accepted", "False", "MissingSecret", f"Secret {ref.secret} has no {ref.field}: add it")
    for ref, key in observed.keys.items():
        if not key.ok:
            return Condition("Accepted", "False", "BadKey", f"Secret {ref.secret}: seed and public key disagree")
    return None


def is_signing_made(spec: Any) -> bool:
    """The operator makes the signing keys; nobody brings them."""
    signing = spec.signing
    return signing is UNSET or signing.secret_ref is UNSET


def _known_names(spec: Any, observed: Observed) -> list[str]:
    resource = observed.resource
    seen = {member.ordinal for member in observed.members.values() if _is_of(resource, member)}
    busy = sum(1 for member in observed.members.values() if _is_of(resource, member) and member.workload is None)
    upto = 0 if resource.deleting else spec.replicas + busy
    return [names.member(names.member_prefix(resource), ordinal) for ordinal in sorted({*seen, *range(upto)})]


def _is_of(resource: Resource, member: MemberFacts) -> bool:
    return member.name == names.member(names.member_prefix(resource), member.ordinal)


# What a member is.


def build_member(life: Life, spec: Any, observed: Observed, ordinal: int, now: int) -> Member:
    resource = observed.resource
    name = names.member(names.member_prefix(resource), ordinal)
    network = observed.network
    assert network is not None
    network_spec = msgspec.convert(network.spec, networks.Spec)
    key = names.node_key(spec, name)
    known = observed.keys.get(key)
    epoch = known.fence.epoch if known is not None and known.fence is not None else 1
    is_genesis = ordinal < genesis_members(observed)
    owner = observed.keys.get(names.owner_key(spec, resource.name))
    ports = Ports(p2p=member_module.P2P_PORT if life.is_p2p else None)
    signing = names.signing_key(spec, name) if life.has_signing else None
    member = Member(
        name=name,
        ordinal=ordinal,
        kind=resource.kind,
        role=life.role,
        resource=resource.name,
        network=network.name,
        namespace=resource.namespace,
        config=render_config(
            observed,
            name=name,
            ordinal=ordinal,
            role=life.role,
            network=network.name,
            genesis_hash=None if is_genesis else network.status.get("genesisHash"),
            has_signing=signing is not None,
            owner=owner.address if owner is not None else "",
            fencing_epoch=epoch,
            allow_solo=spec.allow_solo,
            bootstrap_peers=spec.bootstrap_peers,
            log_level=spec.log_level,
            settings=life.settings(spec, observed, ordinal),
        ),
        image=spec.image if spec.image is not UNSET else image_of(network_spec, observed),
        resources=container(spec.resources, life.requests, life.limits),
        key=key,
        signing=signing,
        fencing_epoch=epoch,
        ports=ports,
        volume_size=life.volume_size(spec) if spec.storage.size is UNSET else spec.storage.size,
        volume_class=None if spec.storage.class_name is UNSET else spec.storage.class_name,
        volume_retention=spec.storage.retention,
        scheduling=scheduling(spec.scheduling, life.priority_class),
        grace_seconds=life.grace_seconds,
        pull_policy=network_spec.image_pull_policy,
        pull_secrets=tuple(ref.name for ref in network_spec.image_pull_secrets),
        pod_labels=dict(spec.pod_labels),
        pod_annotations=dict(spec.pod_annotations),
    )
    return life.parts(spec, observed, member, now)


def render_config(
    observed: Observed,
    *,
    name: str,
    ordinal: int,
    role: str,
    network: str,
    genesis_hash: str | None,
    has_signing: bool,
    owner: str,
    fencing_epoch: int,
    allow_solo: bool,
    bootstrap_peers: Sequence[str],
    log_level: str,
    settings: Object,
) -> Object:
    """config.json of a member: every key that the node's `config.py` knows, and no other."""
    resource = observed.resource
    layout = member_module.paths(observed.layout, name, resource.name, network, resource.namespace)
    ports = Ports()
    return {
        "role": role,
        "kind": resource.kind,
        "network": network,
        "namespace": resource.namespace,
        "resource": resource.name,
        "member": name,
        "ordinal": ordinal,
        "chain": {"genesis": layout.genesis, "genesis_hash": genesis_hash},
        "paths": {
            "key": layout.key,
            "signing": layout.signing if has_signing else None,
            "tls": layout.tls,
            "ca": layout.ca,
            "peers": layout.peers,
            "data": layout.data,
            "run": layout.run,
        },
        "listen": {
            "host": layout.host,
            "grpc": ports.grpc,
            "p2p": member_module.P2P_PORT,
            "health": ports.health,
            "metrics": ports.metrics,
            "http": member_module.HTTP_PORT,
        },
        "advertise": layout.advertise,
        "owner": owner,
        "fencing_epoch": fencing_epoch,
        "allow_solo": allow_solo,
        "bootstrap_peers": list(bootstrap_peers),
        "log_level": log_level,
        "settings": settings,
    }


def image_of(network_spec: networks.Spec, observed: Observed) -> str:
    return observed.operator_image if network_spec.image is UNSET else network_spec.image


def container(resources: Resources, requests: Mapping[str, str], limits: Mapping[str, str]) -> Container:
    """What the spec says, over the defaults of the kind."""
    given_requests: dict[str, str] = msgspec.to_builtins(resources.requests)
    given_limits: dict[str, str] = msgspec.to_builtins(resources.limits)
    return Container({**requests, **given_requests}, {**limits, **given_limits})


def scheduling(spec: Any, priority_class: str) -> Scheduling:
    return Scheduling(
        node_selector=dict(spec.node_selector),
        tolerations=tuple(msgspec.to_builtins(toleration) for toleration in spec.tolerations),
        spread_key=spec.spread_key,
        priority_class=priority_class if spec.priority_class_name is UNSET else spec.priority_class_name,
    )


def compute_resource_revision(scene: Scene) -> str:
    """One word for what all members are to become; members have their own, since each has its own config."""
    joined = ",".join(member.revision for member in scene.members.values())
    return hashlib.sha256(joined.encode()).hexdigest()[:10]


# Bringing up.


def _create_keys(scene: Scene) -> Iterator[CreateKey]:
    """Keys that the operator makes and that are not there. Only for a resource that could be accepted but for them."""
    life, spec, observed = scene.life, scene.spec, scene.observed
    if scene.accepted.status != "True" and scene.accepted.reason != "NetworkNotSealed":
        return
    resource = observed.resource
    count = genesis_members(observed)
    if scene.accepted.status != "True" and not count:
        return
    if names.owner_key(spec, resource.name) not in observed.keys:
        yield CreateKey(names.owner_key(spec, resource.name), "owner")
    early = [names.member(names.member_prefix(resource), ordinal) for ordinal in range(count)]
    for name in list(scene.members) if scene.accepted.status == "True" else early:
        ref = names.node_key(spec, name)
        if ref not in observed.keys:
            yield CreateKey(ref, "node", name, resource.uid)
        if life.has_signing and is_signing_made(spec) and names.signing_key(spec, name) not in observed.keys:
            yield CreateKey(names.signing_key(spec, name), "signing", name)


def _fence(scene: Scene) -> Iterator[Act]:
    """Raise the epoch of members whose volume or resource is another, and replace a pod whose machine is surely off."""
    resource = scene.observed.resource
    forced = resource.annotations.get(names.FORCE_REPLACE)
    for member in scene.members.values():
        facts = scene.facts(member.name)
        key = scene.observed.keys.get(member.key)
        if key is None:
            continue
        before = key.fence or Fence(0, "", "")
        is_forced = forced is not None and facts.pod is not None and facts.pod.uid == forced
        volume = facts.volume.uid if facts.volume is not None and not facts.volume.deleting else before.volume_uid
        after = compute_fence(before, volume, resource.uid, forced if is_forced and forced else "")
        if after != before:
            yield RecordFence(member.key, after)
        elif is_forced and facts.pod is not None:
            yield EnsureMember(member)
            yield DeletePod(member.name, facts.pod.uid, force=True)
            yield Emit(Reason.ForcedReplace, f"{member.name}: pod {facts.pod.uid} deleted by force, as annotated")
        if before.volume_uid not in ("", volume):
            yield Emit(Reason.MemberReplaced, f"{member.name} has a new volume; its signer waits before it signs")


def compute_fence(before: Fence, volume_uid: str, resource_uid: str, forced_pod: str) -> Fence:
    """The fence for what is seen now; the epoch rises once for another volume, another resource, or force."""
    is_other = before.resource_uid != resource_uid or before.volume_uid not in ("", volume_uid)
    is_forced = forced_pod not in ("", before.forced_pod)
    epoch = before.epoch + (1 if is_other or is_forced else 0)
    return Fence(epoch, volume_uid, resource_uid, forced_pod or before.forced_pod)


def _bring_up(scene: Scene) -> Iterator[Act]:
    """Members that are not there yet, and those whose template needs no roll."""
    genesis = scene.observed.genesis
    assert genesis is not None
    for member in scene.members.values():
        facts = scene.facts(member.name)
        key = scene.observed.keys[member.key]
        if key.used_on != genesis.sha256:
            yield MarkKeyUsed(member.key, genesis.sha256)
        if facts.workload is None:
            if scene.life.wait_join(scene, member.ordinal):
                continue
            yield EnsureMember(replace(member, replicas=0))
            yield issue(scene, member)
            yield EnsureMember(member)
            yield Emit(Reason.MemberCreated, f"{member.name} is being brought up")
        elif facts.certificate is None:
            yield issue(scene, member)
            yield EnsureMember(member)
        elif facts.workload.revision == member.revision or facts.pod is None:
            yield EnsureMember(member)


def issue(scene: Scene, member: Member) -> IssueCertificate:
    network = scene.observed.network
    assert network is not None
    return certificate_of(msgspec.convert(network.spec, networks.Spec), member)


def certificate_of(network_spec: networks.Spec, member: Member) -> IssueCertificate:
    return IssueCertificate(
        network=member.network,
        secret=names.tls_secret(member.name),
        dns_names=member_module.dns_names(member),
        uri=member.uri,
        seconds=network_spec.trust.member_seconds,
        member=member.name,
    )


def needs_renewal(certificate: Certificate, name: str, issuer: str, renew_before: int, now: int) -> bool:
    """Less than ``renew_before`` is left (at a time spread by the name), or the authority is another."""
    spread = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") % max(1, renew_before // 4)
    return certificate.issuer != issuer or now >= certificate.not_after - renew_before + spread


def _renew(scene: Scene) -> list[Act]:
    authority = scene.observed.authority
    network = scene.observed.network
    assert authority is not None
    assert network is not None
    trust = msgspec.convert(network.spec, networks.Spec).trust
    due = [
        member
        for member in scene.members.values()
        if (certificate := scene.facts(member.name).certificate) is not None
        and needs_renewal(certificate, member.name, authority.fingerprint, trust.renew_before_seconds, scene.now)
    ]
    return [issue(scene, member) for member in due[:RENEWALS_MAX]]


def _grow(scene: Scene) -> Iterator[Act]:
    for member in scene.members.values():
        volume = scene.facts(member.name).volume
        if volume is None or volume.deleting or member.volume_size is None:
            continue
        if volume.size_bytes < parse_bytes(member.volume_size):
            yield GrowVolume(volume.name, member.volume_size)


# Rolling.


@dataclass(frozen=True, slots=True)
class Turn:
    """Whose turn it is in a roll."""

    outdated: tuple[str, ...]
    """In the order of their turns: the not ready first."""
    waiting_for: str = ""
    """A member that was rolled or is new, and does not work yet."""
    is_stalled: bool = False


def compute_turn(scene: Scene) -> Turn:
    running = [name for name in scene.members if scene.facts(name).workload is not None]
    outdated = [name for name in running if not _has_template(scene, name) or not _has_pod(scene, name)]
    order = sorted(outdated, key=lambda name: (scene.is_up(name), scene.members[name].ordinal))
    late = [name for name in running if name not in outdated and not _is_settled(scene, name)]
    if not late:
        return Turn(tuple(order))
    pod = scene.facts(late[0]).pod
    began = pod.created if pod is not None else scene.now
    return Turn(tuple(order), late[0], scene.now - began > scene.spec.progress_deadline_seconds)


def _has_template(scene: Scene, name: str) -> bool:
    workload = scene.facts(name).workload
    return workload is not None and workload.revision == scene.members[name].revision


def _has_pod(scene: Scene, name: str) -> bool:
    """No pod, or one of the wanted revision."""
    return scene.facts(name).pod is None or scene.is_current(name)


def _is_settled(scene: Scene, name: str) -> bool:
    return scene.is_up(name) and (scene.standings[name].serving or not scene.standings[name].known)


def _roll(scene: Scene) -> Iterator[Act]:
    """One member at a time takes its new template and loses its pod; the not ready go first and need not wait."""
    turn = compute_turn(scene)
    if not turn.outdated:
        return
    name = turn.outdated[0]
    pod = scene.facts(name).pod
    member = scene.members[name]
    if pod is None or pod.deleting or pod.uid == scene.observed.resource.annotations.get(names.FORCE_REPLACE):
        return
    if not is_broken(scene, name):
        silent = CHAIN in scene.observed.silences
        if silent or scene.slots.leaving or turn.waiting_for or scene.life.wait_roll(scene, name):
            return
        if scene.life.drains_to_roll and scene.facts(name).draining_since is None:
            yield SetDrain(name, scene.now)
            return
    yield EnsureMember(member)
    if pod.node == "" and pod.unschedulable_since is not None:
        yield DeletePod(name, pod.uid, force=False)
    else:
        yield RollMember(name, pod.uid)
    if len(turn.outdated) == len(scene.members):
        yield Emit(Reason.RolloutStarted, f"rolling out revision {member.revision}, {name} first")


def is_broken(scene: Scene, name: str) -> bool:
    """The API server itself says that the pod does no work; nothing is lost by replacing it."""
    pod = scene.facts(name).pod
    if pod is None or pod.node_lost:
        return False
    return pod.trouble != "" or (pod.node == "" and pod.unschedulable_since is not None)


# The chain.


def chain_call(
    observed: Observed,
    member: str,
    name: str,
    args: Mapping[str, Any],
    *,
    signer: KeyRef,
    why: str,
    fills: tuple[Fill, ...] = (),
    event: Reason | None = None,
    but: Sequence[str] = (),
) -> ChainCall:
    """``but`` names arguments that move by themselves and do not make another intention."""
    meant = {field: value for field, value in args.items() if field not in but}
    digest = hashlib.sha256(json.dumps(meant, sort_keys=True, separators=(",", ":")).encode()).hexdigest()[:8]
    key = f"{observed.resource.uid}/{member}/{name}/{digest}"
    return ChainCall(key, name, args, signer, why, fills, event)


def may_send(observed: Observed, key: str, now: int) -> bool:
    """Not while the same command is under way, was just refused, or has just become final."""
    call = observed.chain.calls.get(key)
    if call is None:
        return True
    if call.state == "pending":
        return False
    return now - call.at >= (REFUSED_RETRY_SECONDS if call.state == "refused" else FINAL_LAG_SECONDS)


@dataclass(frozen=True, slots=True)
class Purse:
    """What the owner account should hold, and what is missing of it."""

    address: str = ""
    balance: int = 0
    stakes: int = 0
    """Still to be bonded."""
    floats: tuple[tuple[str, int], ...] = ()
    """(member, amount) to top up."""
    shortage: int = 0
    """What the owner account needs to get; 0 while it has enough."""
    given: int = 0
    """What this resource holds already: on the owner account and bonded."""
    is_moving: bool = False
    """Commands of this resource are under way: what they take or bring is not counted yet, so nothing is missing."""


def compute_purse(scene: Scene) -> Purse:
    observed, spec = scene.observed, scene.spec
    owner = observed.keys.get(names.owner_key(spec, scene.name))
    if owner is None:
        return Purse()
    floating = int(spec.owner.member_float)
    standings = [*(scene.standings[name] for name in scene.members), scene.together]
    stakes = sum(standing.missing for standing in standings)
    floats = tuple(
        (name, floating - balance)
        for name in scene.members
        if (key := observed.keys.get(scene.members[name].key)) is not None
        and (balance := _balance(observed, key)) < floating // 2
    )
    balance = _balance(observed, owner)
    keep = max(floating, FEE_RESERVE)
    needed = stakes + (sum(amount for _, amount in floats) if scene.life.needs_float else 0)
    lacks = balance < needed + keep // 2
    return Purse(
        owner.address,
        balance,
        stakes,
        floats,
        needed + keep - balance if lacks else 0,
        balance + sum(standing.bonded for standing in standings),
        any(
            call.state == "pending" and key.startswith(f"{observed.resource.uid}/")
            for key, call in observed.chain.calls.items()
        ),
    )


def _balance(observed: Observed, key: Key) -> int:
    return observed.chain.accounts.get(key.address, Account(0)).balance


def funder_trouble(scene: Scene, purse: Purse) -> tuple[str, str] | None:
    """Why the Network's funder does not fill the owner account: (reason of `Funded`, message)."""
    network = scene.observed.network
    assert network is not None
    spec = msgspec.convert(network.spec, networks.Spec)
    ask = f"send it to {purse.address}"
    if spec.funder is UNSET:
        return "NoFunder", f"Network {network.name} has no funder: {ask}"
    limit = int(spec.funder.max_per_resource)
    if purse.given + purse.shortage > limit:
        return "FunderLimit", f"the funder gives at most {limit} to a resource: {ask}"
    funder = scene.observed.keys.get(names.funder_key(network.name))
    if funder is None or _balance(scene.observed, funder) < purse.shortage + FEE_RESERVE:
        return "FunderEmpty", f"the funder of Network {network.name} has too little: {ask}"
    return None


def _fund(scene: Scene) -> Iterator[Act]:
    observed, spec = scene.observed, scene.spec
    purse = compute_purse(scene)
    if not purse.address:
        return
    is_short = purse.shortage and not purse.is_moving
    if is_short and spec.owner.funding == "Network" and funder_trouble(scene, purse) is None:
        source = names.funder_key(spec.network)
        yield from _transfer(scene, source, purse.address, purse.shortage, purse.balance, "stakes and fees")
    left = purse.balance - purse.stakes - FEE_RESERVE
    for name, amount in purse.floats:
        if amount <= left:
            left -= amount
            to = observed.keys[scene.members[name].key]
            source = names.owner_key(spec, scene.name)
            yield from _transfer(scene, source, to.address, amount, _balance(observed, to), f"fees of {name}")


def _transfer(scene: Scene, source: KeyRef, to: str, amount: int, before: int, why: str) -> Iterator[Transfer]:
    key = f"{scene.observed.resource.uid}/fund/{to}/{before}/{amount}"
    if may_send(scene.observed, key, scene.now):
        yield Transfer(key, source, to, amount, why)


def _enter(scene: Scene) -> Iterator[ChainCall]:
    """The next command of each member that is in sync, as far as the owner's money goes."""
    purse = compute_purse(scene)
    left = purse.balance - FEE_RESERVE // 2
    everyone_up = all(scene.is_up(name) or scene.standings[name].on_chain for name in scene.members)
    if everyone_up and scene.together.missing <= left:
        left -= scene.together.missing
        yield from _enter_calls(scene, scene.together)
    for name in scene.members:
        standing = scene.standings[name]
        status = scene.facts(name).status
        if not standing.on_chain and (status is None or not status.in_sync):
            continue
        if standing.missing <= left:
            left -= standing.missing
            yield from _enter_calls(scene, standing)


def _enter_calls(scene: Scene, standing: Standing) -> Iterator[ChainCall]:
    """What may be sent now: all that is due, where nothing depends on what comes before it."""
    if not standing.at_once:
        yield from _next_calls(scene, standing.enter)
    for call in standing.enter if standing.at_once else ():
        yield from _next_calls(scene, (call,))


def _next_calls(scene: Scene, calls: Sequence[ChainCall]) -> Iterator[ChainCall]:
    if calls and may_send(scene.observed, calls[0].key, scene.now):
        yield calls[0]


def _take_back(scene: Scene) -> Iterator[Act]:
    """Members that were leaving and are wanted again."""
    turn = compute_turn(scene)
    for name in scene.members:
        if scene.facts(name).draining_since is not None and not (scene.life.drains_to_roll and name in turn.outdated):
            yield SetDrain(name, None)


# Leaving.


def is_forced(scene: Scene) -> bool:
    resource = scene.observed.resource
    return resource.annotations.get(names.FORCE_EXIT) == resource.uid


def leave(scene: Scene) -> Iterator[Act]:
    """One member at a time: drain, exit on the chain, final; then its pod; then, where the spec says so, its volume."""
    yield from _clear(scene)
    if not scene.leaving:
        if _has_together_left(scene):
            yield from _next_calls(scene, scene.together.leave)
        return
    keeps = scene.observed.resource.deleting and scene.spec.deletion_policy == "Retain"
    if scene.is_chainless or keeps:
        for name in scene.leaving:
            yield from _remove(scene, name)
        return
    name = scene.leaving[0]
    if is_forced(scene):
        yield Emit(Reason.ForcedExit, f"{name} goes before its exit is final, as annotated")
        yield from _remove(scene, name)
        return
    if CHAIN in scene.observed.silences or not scene.standings[name].known:
        return
    if not scene.observed.resource.deleting and not _may_shrink_now(scene):
        return
    standing = scene.standings[name]
    facts = scene.facts(name)
    if scene.observed.resource.deleting and not scene.together.exited:
        yield from _leave_together(scene)
    elif standing.exited:
        yield from _remove(scene, name)
    elif scene.life.wait_leave(scene, name):
        if facts.draining_since is not None:
            yield SetDrain(name, None)
        yield from _next_calls(scene, standing.enter)
    elif facts.workload is not None and facts.draining_since is None:
        yield SetDrain(name, scene.now)
        yield Emit(Reason.DrainStarted, f"{name} takes no new work and leaves the chain")
    elif not scene.life.wait_exit(scene, name):
        yield from _next_calls(scene, standing.leave)


def _has_together_left(scene: Scene) -> bool:
    """The resource goes, and what it has on the chain as a whole is still there."""
    exits = scene.observed.resource.deleting and scene.spec.deletion_policy == "Exit"
    return exits and not scene.is_chainless and not is_forced(scene) and not scene.together.exited


def _leave_together(scene: Scene) -> Iterator[Act]:
    """The resource goes as a whole: its members stop working, then what it has on the chain is given up."""
    working = [name for name in scene.leaving if scene.facts(name).draining_since is None]
    for name in working:
        if scene.facts(name).workload is not None:
            yield SetDrain(name, scene.now)
    if not any(scene.life.wait_exit(scene, name) for name in scene.leaving):
        yield from _next_calls(scene, scene.together.leave)


def _may_shrink_now(scene: Scene) -> bool:
    """A member that is being removed still has its pod: one at a time."""
    return not any(scene.facts(names.member(scene.prefix, ordinal)).pod is not None for ordinal in scene.slots.leftover)


def _remove(scene: Scene, name: str) -> Iterator[Act]:
    workload = scene.facts(name).workload
    if workload is not None and not workload.deleting:
        yield RemoveMember(name, workload.uid)
        yield Emit(Reason.MemberRemoved, f"{name} is removed; its key Secret is kept")


def _clear(scene: Scene) -> Iterator[Act]:
    """Volumes of members that have left for good, where the spec says Delete."""
    keeps = scene.spec.deletion_policy == "Retain" and scene.observed.resource.deleting
    if keeps or scene.spec.storage.retention != "Delete":
        return
    for ordinal in scene.slots.leftover:
        name = names.member(scene.prefix, ordinal)
        facts = scene.facts(name)
        if facts.volume is None or facts.volume.deleting or facts.workload is not None or facts.pod is not None:
            continue
        standing = scene.life.stand(scene.spec, scene.observed, name)
        if scene.is_chainless or is_forced(scene) or (standing.known and standing.exited):
            yield DeleteVolume(facts.volume.name, facts.volume.uid)


def _anything_left(scene: Scene) -> bool:
    """What the finalizer waits for."""
    if scene.leaving and not (is_forced(scene) and not has_objects(scene)):
        return True
    return _has_together_left(scene) or has_objects(scene)


def has_objects(scene: Scene) -> bool:
    deletes_volumes = scene.spec.storage.retention == "Delete" and scene.spec.deletion_policy == "Exit"
    return any(
        facts.workload is not None or facts.pod is not None or (deletes_volumes and facts.volume is not None)
        for facts in scene.observed.members.values()
        if _is_of(scene.observed.resource, facts)
    )


def next_look(scene: Scene) -> Requeue:
    settled = not scene.leaving and all(scene.is_active(name) for name in scene.members)
    if settled and not compute_turn(scene).outdated:
        return Requeue(RESYNC_SECONDS, "resync")
    return Requeue(SOON_SECONDS, "not settled")
