"""What the status of a member kind says: the conditions that all share, and the summary `Ready` (resources.md 2.3)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from theblock_operator import names
from theblock_operator.kinds import lifecycle
from theblock_operator.kinds.kind import InvalidSpec
from theblock_operator.kinds.lifecycle import Life, Scene, compute_purse, compute_turn
from theblock_operator.observed import (
    API,
    CHAIN,
    SILENCE_SECONDS,
    MemberFacts,
    Object,
    Observed,
    Resource,
)
from theblock_operator.status import (
    NOT_YET_OBSERVED,
    Condition,
    Status,
    floor_figure,
    floor_height,
    not_yet_observed,
    rfc3339,
)

EXPIRING_SECONDS = 7 * 86_400
UNREADY_SECONDS = 30
MEMBERS_MAX = 64


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a kind adds to the common conditions."""

    conditions: Callable[[Scene], Sequence[Condition]]
    ready: Mapping[str, str]
    """Condition type that must be True for `Ready`, and the reason that its absence gives."""
    fields: Callable[[Scene], Object]
    member_fields: Callable[[Scene, str], Object]
    tolerates: frozenset[str] = frozenset()
    """Reasons of such conditions that do not matter for `Ready`."""
    trouble: Callable[[Scene], tuple[str, str] | None] = lambda scene: None
    """A further reason, with its message, why the resource is not ready."""


def judge(life: Life, own: Judgement, types: Sequence[str], spec: Any, observed: Observed, now: int) -> Status:
    if API in observed.silences:
        return silent(types, observed, now)
    scene = lifecycle.look(life, spec, observed, now)
    conditions = {condition.type: condition for condition in (*_common(scene), *own.conditions(scene))}
    conditions["Ready"] = _ready(scene, conditions, own)
    ordered = tuple(conditions.get(type_) or Condition(type_, "Unknown", NOT_YET_OBSERVED) for type_ in types)
    return Status(ordered, {**_fields(scene, own), **own.fields(scene)})


def rejected(types: Sequence[str], refused: InvalidSpec) -> Status:
    """For a resource that cannot be parsed; nothing else is known of it."""
    said = {
        "Accepted": Condition("Accepted", "False", "NotSupported", str(refused)),
        "Ready": Condition("Ready", "False", "NotAccepted", str(refused)),
    }
    return Status(tuple(said.get(type_) or Condition(type_, "Unknown", NOT_YET_OBSERVED) for type_ in types))


def hold(resource: Resource, type_: str) -> Condition:
    """What was said last: a source that is silent for a moment changes nothing yet."""
    for condition in resource.status.get("conditions", ()):
        if condition["type"] == type_:
            return Condition(type_, condition["status"], condition["reason"], condition.get("message", ""))
    return Condition(type_, "Unknown", NOT_YET_OBSERVED)


def without_chain(observed: Observed, type_: str, now: int) -> Condition | None:
    """What to say of a condition that rests on the chain while it does not answer; None if it does."""
    if CHAIN not in observed.silences:
        return None
    if observed.is_silent(CHAIN, now):
        return Condition(type_, "Unknown", "NoAnswer", "no validator of the network answers")
    return hold(observed.resource, type_)


def silent(types: Sequence[str], observed: Observed, now: int) -> Status:
    resource = observed.resource
    fields = {key: value for key, value in resource.status.items() if key not in ("conditions", "observedGeneration")}
    if not observed.is_silent(API, now):
        return Status(tuple(hold(resource, type_) for type_ in types), fields)
    said = (Condition(type_, "Unknown", "NoAnswer", "the API server does not answer") for type_ in types)
    return Status(tuple(said), fields)


def _common(scene: Scene) -> tuple[Condition, ...]:
    if scene.observed.network is None:
        types = ("Funded", "Registered", "Synced", "CertificatesValid")
        rest: tuple[Condition, ...] = not_yet_observed(types)
    else:
        rest = (_funded(scene), _registered(scene), _synced(scene), _certificates(scene))
    return (scene.accepted, *rest, progressing(scene), _draining(scene), paused(scene.observed.resource))


def paused(resource: Resource) -> Condition:
    if resource.annotations.get(names.PAUSED) == "true":
        return Condition("Paused", "True", "Annotated", f"remove the annotation {names.PAUSED} to go on")
    return Condition("Paused", "False", "Running")


def _funded(scene: Scene) -> Condition:
    unheard = without_chain(scene.observed, "Funded", scene.now)
    if unheard is not None:
        return unheard
    purse = compute_purse(scene)
    if not purse.address:
        return Condition("Funded", "Unknown", NOT_YET_OBSERVED)
    if not purse.shortage or (not scene.life.needs_float and not purse.stakes):
        return Condition("Funded", "True", "Sufficient")
    if purse.is_moving:
        return hold(scene.observed.resource, "Funded")
    if scene.spec.owner.funding == "Network":
        trouble = lifecycle.funder_trouble(scene, purse)
        if trouble is not None:
            return Condition("Funded", "False", *trouble)
        return Condition("Funded", "False", "AwaitingFunds", f"the funder fills {purse.address}")
    return Condition("Funded", "False", "AwaitingFunds", f"send {purse.shortage} nBLOCK to {purse.address}")


def _registered(scene: Scene) -> Condition:
    unheard = without_chain(scene.observed, "Registered", scene.now)
    if unheard is not None:
        return unheard
    refused = refused_call(scene.observed)
    for name, standing in [("", scene.together), *((name, scene.standings[name]) for name in scene.members)]:
        if standing.serving:
            continue
        if standing.reason in ("Tombstoned", "IdTaken"):
            return Condition("Registered", "False", standing.reason, standing.message)
        if refused is not None:
            return refused
        if name and not standing.on_chain and not scene.is_up(name):
            return Condition("Registered", "False", "Syncing", f"{name} is not in sync yet")
        return Condition("Registered", "False", "Waiting", standing.message or f"{name} is being registered")
    return Condition("Registered", "True", "OnChain")


def refused_call(observed: Observed) -> Condition | None:
    """The latest command of this resource that the chain refused and that nothing has replaced."""
    prefix = f"{observed.resource.uid}/"
    refused = sorted(
        (call.at, key, call.code)
        for key, call in observed.chain.calls.items()
        if key.startswith(prefix) and call.state == "refused"
    )
    if not refused:
        return None
    _, key, code = refused[-1]
    command = key.removeprefix(prefix).rpartition("/")[0]
    taken = code.endswith((".not_owner", ".id_taken", ".already_registered"))
    reason = "IdTaken" if taken else "CommandRefused"
    return Condition("Registered", "False", reason, f"{command}: {code}")


def _synced(scene: Scene) -> Condition:
    def say(status: Any, reason: str, message: str = "") -> Condition:
        return Condition("Synced", status, reason, message)

    for name in scene.members:
        facts = scene.facts(name)
        if facts.pod is None:
            return say("False", "Starting", f"{name} has no pod yet")
        if is_mismatched(scene.observed, facts):
            return say("False", "GenesisMismatch", f"{name} computes another genesis than the network's")
        if facts.status is None:
            if facts.silent_since is not None and scene.now - facts.silent_since >= SILENCE_SECONDS and facts.pod.ready:
                return say("Unknown", "NoAnswer", f"{name} does not answer")
            return say("False", "Starting", f"{name} starts")
        if not facts.status.in_sync:
            alone = facts.status.peers == 0 and scene.life.is_p2p and not scene.spec.allow_solo
            reason = "NoPeers" if alone and len(scene.members) > 1 else "CatchingUp"
            return say("False", reason, f"{name} is behind the network")
    return say("True", "InSync")


def is_mismatched(observed: Observed, facts: MemberFacts) -> bool:
    network = observed.network
    pinned = network.status.get("genesisHash") if network is not None else None
    said = facts.status.genesis_hash if facts.status is not None else ""
    return bool(pinned and said and said != pinned) or (facts.pod is not None and facts.pod.exit_code == 78)


def progressing(scene: Scene) -> Condition:
    def say(status: Any, reason: str, message: str = "") -> Condition:
        return Condition("Progressing", status, reason, message)

    if scene.leaving:
        name = scene.leaving[0]
        blocked = "" if scene.is_chainless else scene.life.wait_leave(scene, name)
        if blocked and not scene.standings.get(name, lifecycle.Standing()).exited:
            return say("False", "ScaleBlocked", f"{name} cannot leave: {blocked}")
        return say("True", "ScalingDown", f"{name} leaves")
    if scene.observed.resource.deleting:
        return say("True", "ScalingDown", "the last objects go")
    turn = compute_turn(scene)
    if turn.is_stalled or _is_late(scene):
        return say("False", "Stalled", f"{turn.waiting_for or 'a member'} was not Ready in time; look at its pod")
    new = [name for name in scene.members if scene.facts(name).workload is None]
    if new:
        waits = scene.life.wait_join(scene, names.split_member(new[0])[1])
        return say("True", "ScalingUp", f"{new[0]} is to come{': ' + waits if waits else ''}")
    if turn.outdated:
        waits = scene.life.wait_roll(scene, turn.outdated[0])
        return say("True", "RollingOut", f"{turn.outdated[0]} is next{': ' + waits if waits else ''}")
    waiting = [name for name in scene.members if _is_waiting_signer(scene, name)]
    if waiting:
        return say("True", "Replacing", f"{waiting[0]} has a new volume and waits before it signs")
    if any(not scene.is_active(name) and scene.accepted.status == "True" for name in scene.members):
        was = hold(scene.observed.resource, "Progressing")
        if was.status == "True" and was.reason in ("ScalingUp", "RollingOut", "Replacing"):
            return say("True", was.reason, was.message)
    return say("False", "Settled")


def _is_late(scene: Scene) -> bool:
    """A member that never worked has had its time."""
    deadline = scene.spec.progress_deadline_seconds
    for name in scene.members:
        facts = scene.facts(name)
        if facts.workload is None or scene.is_up(name):
            continue
        if facts.pod is not None and not facts.pod.ready and scene.now - facts.pod.created > deadline:
            return True
    return False


def _is_waiting_signer(scene: Scene, name: str) -> bool:
    status = scene.facts(name).status
    return status is not None and status.signer.state == "waiting"


def _draining(scene: Scene) -> Condition:
    leaving = scene.leaving
    if not leaving and not scene.observed.resource.deleting:
        return Condition("Draining", "False", "NotDraining")
    if not leaving:
        return Condition("Draining", "True", "Exiting")
    name = leaving[0]
    since = scene.facts(name).draining_since
    if since is None and scene.observed.resource.deleting:
        since = scene.observed.resource.deleting_since
    if since is not None and scene.now - since > scene.spec.drain_deadline_seconds:
        waits = scene.life.wait_leave(scene, name) or scene.life.wait_exit(scene, name) or "its exit is not final"
        return Condition("Draining", "True", "Overdue", f"{name}: {waits}; {names.FORCE_EXIT} ends the wait")
    if scene.life.wait_exit(scene, name):
        return Condition("Draining", "True", "HandingOver", f"{name}: {scene.life.wait_exit(scene, name)}")
    return Condition("Draining", "True", "Exiting", f"{name} leaves the chain")


def _certificates(scene: Scene) -> Condition:
    def say(status: Any, reason: str, message: str = "") -> Condition:
        return Condition("CertificatesValid", status, reason, message)

    authority = scene.observed.authority
    found = [(name, scene.facts(name).certificate) for name in scene.members if scene.facts(name).workload is not None]
    if authority is None or not found:
        return say("Unknown", NOT_YET_OBSERVED)
    for name, certificate in found:
        if certificate is None:
            return say("False", "IssueFailed", f"{name} has no certificate")
        if certificate.not_after <= scene.now:
            return say("False", "Expired", f"the certificate of {name} is over")
        lifetime = certificate.not_after - certificate.not_before
        if certificate.not_after - scene.now < min(EXPIRING_SECONDS, lifetime // 10):
            return say("False", "Expiring", f"the certificate of {name} is not renewed")
    if authority.phase != "Settled" or any(c is not None and c.issuer != authority.fingerprint for _, c in found):
        return say("True", "Rotating", "the authority is being rotated")
    return say("True", "Valid")


def _ready(scene: Scene, said: Mapping[str, Condition], own: Judgement) -> Condition:
    def no(reason: str, message: str = "") -> Condition:
        return Condition("Ready", "False", reason, message)

    if said["Accepted"].status != "True":
        return no("NotAccepted", said["Accepted"].message)
    if scene.observed.resource.deleting:
        return no("Deleting", said["Draining"].message)
    trouble = own.trouble(scene)
    if trouble is not None:
        return no(*trouble)
    for name in scene.members:
        pod = scene.facts(name).pod
        if pod is not None and pod.node == "" and pod.unschedulable_since is not None:
            return no("Unschedulable", f"no node takes {name}")
        if pod is not None and pod.trouble:
            return no(pod.trouble, f"see the pod {name}-0")
    if said["Synced"].reason == "GenesisMismatch":
        return no("NotSynced", said["Synced"].message)
    order = [("Funded", "NotFunded"), ("Synced", "NotSynced"), ("Registered", "NotRegistered"), *own.ready.items()]
    for type_, reason in order:
        condition = said[type_]
        if condition.status == "False" and condition.reason not in own.tolerates:
            return no(reason, condition.message)
    if said["Progressing"].reason == "Stalled":
        return no("Stalled", said["Progressing"].message)
    for type_, _ in order:
        if said[type_].status == "Unknown":
            reason = "NoAnswer" if said[type_].reason == "NoAnswer" else NOT_YET_OBSERVED
            return Condition("Ready", "Unknown", reason, said[type_].message)
    active = sum(1 for name in scene.members if scene.is_active(name))
    if active < len(scene.members):
        return no("TooFewReady", "some members do not serve: see status.members")
    return Condition("Ready", "True", "Serving")


def _fields(scene: Scene, own: Judgement) -> Object:
    observed = scene.observed
    resource = observed.resource
    there = [names.member(scene.prefix, ordinal) for ordinal in _there(scene)]
    ready = [name for name in scene.members if scene.is_up(name)]
    statuses = [status for name in ready if (status := scene.facts(name).status) is not None]
    fields: Object = {
        "replicas": len(there),
        "readyReplicas": len(ready),
        "selector": names.selector(resource),
        "members": [member_entry(scene, name, own.member_fields(scene, name)) for name in there[:MEMBERS_MAX]],
    }
    first = next(iter(scene.members.values()), None)
    if first is not None:
        fields["image"] = first.image
        fields["revision"] = lifecycle.compute_resource_revision(scene)
        fields["updatedReplicas"] = sum(1 for name in scene.members if scene.is_current(name))
    if statuses:
        fields["height"] = floor_height(min(status.height for status in statuses))
        fields["finalizedHeight"] = floor_height(min(status.finalized_height for status in statuses))
    fields.update(owner_fields(scene))
    stamp = resource.annotations.get(names.RECONCILE_AT)
    return {**fields, "lastReconcileAt": stamp} if stamp else fields


def owner_fields(scene: Scene) -> Object:
    owner = scene.observed.keys.get(names.owner_key(scene.spec, scene.name))
    if owner is None:
        return {}
    entry = {"address": owner.address}
    if CHAIN not in scene.observed.silences:
        entry["balance"] = str(floor_figure(compute_purse(scene).balance))
    return {"owner": entry}


def _there(scene: Scene) -> list[int]:
    """Ordinals of members that exist, leaving ones included."""
    seen = [names.split_member(name)[1] for name in scene.members if scene.facts(name).workload is not None]
    return sorted({*seen, *scene.slots.leaving})


def member_entry(scene: Scene, name: str, extra: Object) -> Object:
    facts = scene.facts(name)
    ref = names.node_key(scene.spec, name)
    key = scene.observed.keys.get(ref)
    state, reason = member_state(scene, name)
    entry: Object = {"name": name, "ordinal": facts.ordinal, "state": state}
    if reason:
        entry["reason"] = reason
    if key is not None:
        entry["address"] = key.address
        entry["peerId"] = key.peer_id or key.public_key
        entry["keyGeneration"] = 1
        entry["fencingEpoch"] = key.fence.epoch if key.fence is not None else 1
    if facts.certificate is not None:
        entry["certNotAfter"] = rfc3339(facts.certificate.not_after)
    if facts.status is not None and facts.status.quic_address:
        entry["quicAddr"] = facts.status.quic_address
    if facts.pod is not None:
        entry["revision"] = facts.pod.revision
        if facts.pod.node:
            entry["node"] = facts.pod.node
    entry["since"] = _since(scene, name, state)
    return {**entry, **extra}


def _since(scene: Scene, name: str, state: str) -> str:
    for entry in scene.observed.resource.status.get("members", ()):
        if entry.get("name") == name and entry.get("state") == state and entry.get("since"):
            return str(entry["since"])
    return rfc3339(scene.now)


def member_state(scene: Scene, name: str) -> tuple[str, str]:
    """State and reason; an observation, from which nothing is ever decided."""
    facts = scene.facts(name)
    pod = facts.pod
    if name not in scene.members:
        if facts.draining_since is not None and not scene.standings.get(name, lifecycle.Standing()).exited:
            return "Draining", ""
        return "Exiting", ""
    if pod is None:
        return "Pending", ""
    if pod.node_lost:
        return "Lost", "NodeLost"
    if not pod.node:
        return "Pending", "Unschedulable" if pod.unschedulable_since is not None else ""
    if not scene.is_current(name):
        return "Updating", ""
    if pod.trouble:
        return "Unready", pod.trouble
    if facts.status is None:
        return (
            ("Starting", "") if scene.now - pod.created < UNREADY_SECONDS or not pod.ready else ("Unready", "NoAnswer")
        )
    if not facts.status.in_sync:
        return "Syncing", ""
    if not scene.standings[name].serving and scene.standings[name].known:
        return "Registering", scene.standings[name].reason
    if not pod.ready and scene.now - pod.ready_since >= UNREADY_SECONDS:
        return "Unready", ""
    return ("Active", "") if pod.ready else ("Syncing", "")
