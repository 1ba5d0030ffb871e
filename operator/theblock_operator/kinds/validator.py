"""Validator: members that propose, verify, attest, keep the whole state, and serve the public API."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from theblock_operator import names
from theblock_operator.acts import ChainCall, Fill
from theblock_operator.events import Reason
from theblock_operator.kinds import chain_names as words
from theblock_operator.kinds import judging, kind, lifecycle, quorum
from theblock_operator.kinds import network_spec as networks
from theblock_operator.kinds.judging import Judgement
from theblock_operator.kinds.kind import Column, DrainDeadline, Keys, Kind, Part, Rule, Stake, Storage
from theblock_operator.kinds.lifecycle import Life, Scene, Standing
from theblock_operator.objects import policy
from theblock_operator.observed import CHAIN, Object, Observed, Seat
from theblock_operator.status import Condition, floor_height


class Mempool(Part, frozen=True, kw_only=True):
    max_entries: Annotated[int, Meta(ge=1, le=1_000_000)] = 50_000


class Spec(kind.MemberSpec, frozen=True, kw_only=True):
    replicas: Annotated[int, Meta(ge=1, le=50, description="Members wanted")] = 1
    stake: Stake = "1000000000000"
    drain_deadline_seconds: DrainDeadline = 900
    keys: Annotated[Keys, Meta(description="Existing Secrets instead of generated keys")] | UnsetType = UNSET
    storage: Annotated[Storage, Meta(description="The volume data")] = Storage()
    tolerate_faults: Annotated[
        int, Meta(ge=0, le=16, description="Dishonest or broken members to bear: replicas >= 3f + 1")
    ] = 0
    mempool: Annotated[Mempool, Meta(description="Node policy; tightens only")] = Mempool()
    snapshot_interval_blocks: Annotated[int, Meta(ge=10, le=1_000_000)] = 1024


RULES = (
    *kind.MEMBER_RULES,
    *kind.KEY_RULES,
    Rule(
        "spec",
        "self.replicas >= 3 * self.tolerateFaults + 1",
        "to bear f faults it takes 3f + 1 validators: raise replicas or lower tolerateFaults",
        lambda spec: spec.replicas >= 3 * spec.tolerate_faults + 1,
    ),
)


class Member(kind.MemberStatus, frozen=True, kw_only=True):
    weight: str | UnsetType = UNSET
    votes: Literal["Voting", "NotYet", "Missing", "Jailed", "Tombstoned"] | UnsetType = UNSET
    sign_floor_height: int | UnsetType = UNSET
    unbonding_until_height: int | UnsetType = UNSET
    leader_misses: int | UnsetType = UNSET
    slashed: str | UnsetType = UNSET


class StatusFields(kind.MemberKindStatus, frozen=True, kw_only=True):
    members: Annotated[tuple[Member, ...], kind.BY_NAME] | UnsetType = UNSET
    justified_height: int | UnsetType = UNSET
    epoch: int | UnsetType = UNSET


COLUMNS = (
    *kind.READY_COLUMNS,
    kind.DESIRED,
    kind.MEMBERS,
    kind.READY_MEMBERS,
    kind.HEIGHT,
    Column("Stake", ".spec.stake"),
    kind.AGE,
    kind.NETWORK,
    Column("Image", ".status.image", wide=True),
    Column("Finalized", ".status.finalizedHeight", "integer", wide=True),
)


# The chain.


def stand(spec: Spec, observed: Observed, name: str) -> Standing:
    key = observed.keys.get(names.node_key(spec, name))
    if CHAIN in observed.silences:
        return Standing(known=False)
    wanted = int(spec.stake)
    if key is None:
        return Standing(known=True, exited=True, missing=wanted)
    stakes = [stake for stake in observed.chain.stakes if stake.id == key.public_key]
    bonded = sum(stake.amount for stake in stakes if stake.role == words.VALIDATOR)
    weight = _weight(observed, key.public_key)
    standing = Standing(
        known=True,
        on_chain=bonded > 0 or weight > 0,
        bonded=bonded,
        exited=bonded == 0 and weight == 0,
        unbonding_until=max((stake.unbonding_until for stake in stakes), default=0),
    )
    owner = observed.keys.get(names.owner_key(spec, observed.resource.name))
    if any(stake.tombstoned for stake in stakes):
        text = f"the key of {name} signed two things and is out for good; remove the member to make place for another"
        return replace(standing, reason="Tombstoned", message=text, reusable=False)
    if owner is not None and any(stake.owner not in ("", owner.address) for stake in stakes):
        return replace(standing, reason="IdTaken", message=f"the identity of {name} has another owner", exited=True)

    def call(command: str, args: dict[str, Any], why: str, event: Reason, fills: tuple[Fill, ...] = ()) -> ChainCall:
        signer = names.owner_key(spec, observed.resource.name)
        return lifecycle.chain_call(
            observed, name, command, {"id": key.public_key, **args}, signer=signer, why=why, fills=fills, event=event
        )

    role = words.ROLES[words.VALIDATOR]
    enter: list[ChainCall] = []
    if not stakes:
        proof = Fill(("id_signature",), "identity_proof", name, names.node_key(spec, name))
        args = {"bls_pubkey": words.NO_BLS_PUBKEY, "bls_pop": words.NO_BLS_POP}
        enter.append(call(words.VALIDATORS_REGISTER, args, f"{name} is new", Reason.Registered, (proof,)))
    if bonded < wanted:
        amount = str(wanted - bonded)
        args = {"role": role, "amount": amount}
        enter.append(call(words.VALIDATORS_BOND, args, f"{name} bonds its stake", Reason.StakeBonded))
    leave: list[ChainCall] = []
    if bonded:
        args = {"role": role, "amount": str(bonded)}
        leave.append(call(words.VALIDATORS_UNBOND, args, f"{name} leaves", Reason.UnbondStarted))
    is_jailed = any(stake.jailed for stake in stakes)
    return replace(
        standing,
        serving=bonded >= wanted and weight > 0 and not is_jailed,
        message="" if bonded < wanted else f"{name} joins the set with the next epoch",
        missing=max(0, wanted - bonded),
        enter=tuple(enter),
        leave=tuple(leave),
    )


def _weight(observed: Observed, identity: str) -> int:
    found = observed.chain.validator_set
    return 0 if found is None else found.weight(identity)


def _seats(observed: Observed) -> tuple[Seat, ...]:
    found = observed.chain.validator_set
    return () if found is None else found.seats


def wait_join(scene: Scene, ordinal: int) -> str:
    """Founders come all at once; later ones one at a time, each when all before it vote."""
    name = names.member(scene.name, ordinal)
    if ordinal < lifecycle.genesis_members(scene.observed):
        if CHAIN in scene.observed.silences or scene.standings[name].on_chain:
            return ""
    elif CHAIN in scene.observed.silences:
        return "the chain does not answer"
    for other in scene.members:
        if other == name:
            return ""
        if scene.facts(other).workload is None or not scene.is_active(other):
            return f"{other} joins first"
    return ""


def wait_leave(scene: Scene, name: str) -> str:
    """Nobody leaves unless all others vote, and nobody else is on the way out."""
    standing = scene.standings.get(name)
    if standing is None or standing.bonded == 0:
        return ""
    key = scene.observed.keys[names.node_key(scene.spec, name)]
    seats = _seats(scene.observed)
    if not any(seat.id == key.public_key for seat in seats):
        return ""
    others = [seat for seat in seats if seat.id != key.public_key]
    if not others:
        return "it is the last validator of the network"
    absent = [seat for seat in others if not seat.voted]
    if absent:
        return f"{len(absent)} other validators do not vote"
    stakes = {stake.id: stake.amount for stake in scene.observed.chain.stakes if stake.role == words.VALIDATOR}
    if any(not stakes.get(seat.id) for seat in others):
        return "another validator is leaving"
    if _other_unbonds(scene, name):
        return "another validator is leaving"
    away = [other for other in scene.members if not scene.is_up(other)]
    if away:
        return f"{away[0]} is not up"
    return _wait_neighbour(scene)


def _other_unbonds(scene: Scene, name: str) -> list[ChainCall]:
    """Commands with which other members would leave: one that is under way counts, though it is not final."""
    pending = {key for key, call in scene.observed.chain.calls.items() if call.state == "pending"}
    calls = [call for other, standing in scene.standings.items() if other != name for call in standing.leave]
    return [call for call in calls if call.key in pending]


def _wait_neighbour(scene: Scene) -> str:
    """Two Validator resources of one network shrink one after the other, by name."""
    for near in scene.observed.neighbours:
        if near.kind != "Validator" or near.name >= scene.name or near.spec.get("network") != scene.spec.network:
            continue
        members = near.status.get("replicas", 0)
        if near.deleting or near.spec.get("replicas", 1) < members:
            return f"Validator {near.name} shrinks first"
    return ""


def wait_roll(scene: Scene, name: str) -> str:
    """Not while another absence has used up the spare."""
    identity = scene.observed.keys.get(names.node_key(scene.spec, name))
    seats = _seats(scene.observed)
    down = {
        key.public_key
        for other, member in scene.members.items()
        if not scene.is_up(other) and (key := scene.observed.keys.get(member.key)) is not None
    }
    away = [
        seat.weight
        for seat in seats
        if (not seat.voted or seat.id in down) and (identity is None or seat.id != identity.public_key)
    ]
    if away and quorum.compute_spare([seat.weight for seat in seats], away) < 1:
        return "another validator is away, and the network can spare no more"
    return ""


# Pods.


def settings(spec: Spec, observed: Observed, ordinal: int) -> Object:
    return {
        "mempool_max_entries": spec.mempool.max_entries,
        "snapshot_interval_blocks": spec.snapshot_interval_blocks,
    }


def shared(scene: Scene) -> list[Object]:
    resource, network = scene.observed.resource, scene.observed.network
    assert network is not None
    objects = [policy.service_account(resource, network.name)]
    policies = msgspec.convert(network.spec, networks.Spec).network_policy
    if policies.enabled:
        objects.append(
            policy.network_policy(resource, network.name, is_p2p=True, peer_cidrs=policies.peer_cidrs, is_public=True)
        )
    return objects


LIFE = Life(
    role="validator",
    priority_class="theblock-validator",
    requests={"cpu": "100m", "memory": "256Mi"},
    limits={"cpu": "2", "memory": "1Gi"},
    volume_size=lambda spec: "10Gi",
    grace_seconds=60,
    settings=settings,
    stand=stand,
    shared=shared,
    is_p2p=True,
    needs_float=False,
    wait_join=wait_join,
    wait_leave=wait_leave,
    wait_roll=wait_roll,
)


# Status.


def conditions(scene: Scene) -> list[Condition]:
    return [_voting(scene), _quorum_safe(scene), _signer_safe(scene)]


def _voting(scene: Scene) -> Condition:
    silent = judging.without_chain(scene.observed, "Voting", scene.now)
    if silent is not None:
        return silent
    for name in scene.members:
        votes = votes_of(scene, name)
        status = scene.facts(name).status
        if status is not None and status.signer.state == "waiting":
            return Condition("Voting", "False", "WaitingToSign", f"{name} waits two epochs before it signs")
        if votes != "Voting":
            reason = {"NotYet": "Joining"}.get(votes, votes)
            return Condition("Voting", "False", reason, f"{name} is not among the voters")
    return Condition("Voting", "True", "InSet")


def votes_of(scene: Scene, name: str) -> str:
    key = scene.observed.keys.get(names.node_key(scene.spec, name))
    if key is None:
        return "NotYet"
    stakes = [stake for stake in scene.observed.chain.stakes if stake.id == key.public_key]
    if any(stake.tombstoned for stake in stakes):
        return "Tombstoned"
    if any(stake.jailed for stake in stakes):
        return "Jailed"
    seat = next((seat for seat in _seats(scene.observed) if seat.id == key.public_key), None)
    if seat is None:
        return "NotYet"
    return "Voting" if seat.voted else "Missing"


def _quorum_safe(scene: Scene) -> Condition:
    silent = judging.without_chain(scene.observed, "QuorumSafe", scene.now)
    if silent is not None:
        return silent
    up = sum(1 for name in scene.members if scene.is_up(name))
    if scene.spec.tolerate_faults and up < 3 * scene.spec.tolerate_faults + 1:
        return Condition("QuorumSafe", "False", "BelowTolerance", "fewer members are up than tolerateFaults asks for")
    return quorum.judge(scene.observed.chain.validator_set)


def _signer_safe(scene: Scene) -> Condition:
    reasons = {
        "missing": "SignStateMissing",
        "waiting": "SignStateMissing",
        "fenced": "FencedOut",
        "in_use_elsewhere": "KeyInUseElsewhere",
    }
    answers = [(name, scene.facts(name).status) for name in scene.members]
    for name, status in answers:
        if status is not None and status.signer.state in reasons:
            return Condition("SignerSafe", "False", reasons[status.signer.state], f"the signer of {name} does not sign")
    if any(status is None for _, status in answers):
        return judging.hold(scene.observed.resource, "SignerSafe")
    return Condition("SignerSafe", "True", "Fenced")


def fields(scene: Scene) -> Object:
    chain = scene.observed.chain
    if CHAIN in scene.observed.silences:
        return {}
    return {"justifiedHeight": floor_height(chain.justified_height), "epoch": chain.epoch}


def member_fields(scene: Scene, name: str) -> Object:
    key = scene.observed.keys.get(names.node_key(scene.spec, name))
    status = scene.facts(name).status
    entry: Object = {}
    if key is not None and CHAIN not in scene.observed.silences:
        stakes = [stake for stake in scene.observed.chain.stakes if stake.id == key.public_key]
        entry["weight"] = str(_weight(scene.observed, key.public_key))
        entry["votes"] = votes_of(scene, name)
        slashed = sum(stake.slashed for stake in stakes)
        if slashed:
            entry["slashed"] = str(slashed)
    if status is not None:
        entry["signFloorHeight"] = floor_height(status.signer.floor_slot)
    return entry


CONDITIONS = (*kind.MEMBER_CONDITIONS, "Voting", "QuorumSafe", "SignerSafe", "Ready")
JUDGEMENT = Judgement(
    conditions=conditions,
    ready={"Voting": "NotVoting", "SignerSafe": "SignerUnsafe"},
    fields=fields,
    member_fields=member_fields,
)
KIND = Kind(
    name="Validator",
    plural="validators",
    short_name="val",
    spec=Spec,
    rules=RULES,
    columns=COLUMNS,
    status=StatusFields,
    conditions=CONDITIONS,
    wants=lambda spec, observed: lifecycle.wants(LIFE, spec, observed),
    members=lambda spec, observed, now: lifecycle.members(LIFE, spec, observed, now),
    plan=lambda spec, observed, now: lifecycle.plan(LIFE, spec, observed, now),
    judge=lambda spec, observed, now: judging.judge(LIFE, JUDGEMENT, CONDITIONS, spec, observed, now),
)
