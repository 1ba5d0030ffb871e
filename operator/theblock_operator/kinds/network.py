"""Network: genesis, authority, public API, and the roles that belong to no provider (the explorer)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from msgspec import UNSET, UnsetType

from theblock_operator import members as member_module
from theblock_operator import names
from theblock_operator.acts import (
    Act,
    CreateAuthority,
    CreateKey,
    Emit,
    EnsureFinalizer,
    EnsurePeers,
    EnsureShared,
    IssueCertificate,
    Plan,
    RemoveFinalizer,
    Requeue,
    SealGenesis,
    StepAuthority,
)
from theblock_operator.events import Reason
from theblock_operator.kinds import judging, kind, lifecycle, quorum
from theblock_operator.kinds.kind import Kind, Owner, SchedulingSpec, Storage
from theblock_operator.kinds.lifecycle import Life, Scene, Standing
from theblock_operator.kinds.network_spec import COLUMNS, RULES, Spec, StatusFields
from theblock_operator.members import Member, Ports
from theblock_operator.objects import network as services
from theblock_operator.objects import policy
from theblock_operator.observed import API, CHAIN, Key, KeyRef, Object, Observed, Resource, Wants
from theblock_operator.status import NOT_YET_OBSERVED, Condition, Status, floor_height, rfc3339

CHAIN_IDS = {"mainnet": 1, "devnet": 1_000_001, "minimal": 1_000_002}
STALLED_SECONDS = 60
SEAL_PATIENCE_SECONDS = 600
PEERS_MAX = 64
POSTGRES_PORT = 5432
TRUST_SECONDS = 120
"""So long a new bundle may take to reach every pod."""
FALLBACK_STAKE = "1000000000000"
"""The default of a Validator that does not say its stake."""


# The explorer, as a kind of member.


@dataclass(frozen=True, slots=True)
class ExplorerSpec:
    """The parts of a member kind's spec, as far as the explorer has them."""

    network: str
    replicas: int
    storage: Storage
    resources: kind.Resources
    has_database: bool
    owner: Owner
    scheduling: SchedulingSpec
    pod_labels: Mapping[str, str]
    pod_annotations: Mapping[str, str]
    deletion_policy: Literal["Exit", "Retain"] = "Exit"
    image: str | UnsetType = UNSET
    log_level: str = "info"
    allow_solo: bool = True
    bootstrap_peers: tuple[str, ...] = ()
    progress_deadline_seconds: int = 600
    drain_deadline_seconds: int = 60


def explorer_spec(spec: Spec, observed: Observed) -> ExplorerSpec:
    return ExplorerSpec(
        network=observed.resource.name,
        replicas=spec.explorer.replicas if spec.explorer.enabled else 0,
        storage=Storage(),
        resources=spec.explorer.resources,
        has_database=spec.explorer.database is not UNSET and observed.layout.has_database,
        owner=Owner(),
        scheduling=SchedulingSpec(),
        pod_labels={},
        pod_annotations={},
    )


def _explorer_settings(spec: ExplorerSpec, observed: Observed, ordinal: int) -> Object:
    ref = _database(observed)
    if ref is None:
        return {"database": {"dsn_file": None}}
    name = f"{observed.resource.name}-explorer-{ordinal}"
    layout = member_module.paths(
        observed.layout, name, observed.resource.name, observed.resource.name, observed.resource.namespace
    )
    return {"database": {"dsn_file": layout.database.format(key=ref.field)}}


def _database(observed: Observed) -> KeyRef | None:
    ref = observed.resource.spec.get("explorer", {}).get("database", {}).get("dsnSecretRef")
    return None if ref is None or not observed.layout.has_database else KeyRef(ref["name"], ref["key"])


def _explorer_parts(spec: ExplorerSpec, observed: Observed, member: Member, now: int) -> Member:
    ports = Ports(http=member_module.HTTP_PORT)
    if not spec.has_database:
        return replace(member, ports=ports)
    return replace(member, ports=ports, database=_database(observed), volume_size=None)


EXPLORER = Life(
    role="explorer",
    priority_class="theblock-service",
    requests={"cpu": "50m", "memory": "192Mi"},
    limits={"cpu": "2", "memory": "512Mi"},
    volume_size=lambda spec: "2Gi",
    grace_seconds=30,
    settings=_explorer_settings,
    stand=lambda spec, observed, name: Standing(known=True, serving=True, exited=True),
    shared=lambda scene: [],
    parts=_explorer_parts,
    needs_float=False,
)


def look(spec: Spec, observed: Observed, now: int) -> Scene:
    """The scene of the explorers."""
    explorers = explorer_spec(spec, observed)
    sealed = observed.genesis is not None and bool(observed.resource.status.get("genesisHash"))
    missing = _missing_secret(observed)
    if not sealed:
        accepted = Condition("Accepted", "False", "NetworkNotSealed", "the first validators do not run yet")
    elif missing:
        accepted = Condition("Accepted", "False", "MissingSecret", missing)
    else:
        accepted = Condition("Accepted", "True", "Valid")
    return replace(lifecycle.look(EXPLORER, explorers, observed, now), accepted=accepted)


def _missing_secret(observed: Observed) -> str:
    ref = _database(observed)
    if ref is None or ref.field in observed.secrets.get(ref.secret, ()):
        return ""
    return f"Secret {ref.secret} has no {ref.field}: add it"


# What to see.


def wants(spec: Spec, observed: Observed) -> Wants:
    explorers = lifecycle.wants(EXPLORER, explorer_spec(spec, observed), observed)
    refs = [ref for ref in explorers.keys if ref.field == names.NODE_KEY]
    refs += [_node_key(observed, member) for member in _peer_members(spec, observed)]
    for validator in _genesis_validators(spec, observed):
        refs += [_resource_key(validator, member) for member in _founders(spec, validator.name)]
        refs.append(_owner_key(validator))
    refs.append(names.funder_key(observed.resource.name))
    ref = _database(observed)
    return Wants(
        members=explorers.members,
        keys=tuple(dict.fromkeys(refs)),
        secrets=() if ref is None else (ref.secret,),
    )


def _genesis_validators(spec: Spec, observed: Observed) -> list[Resource]:
    """The Validators that the genesis names, in its order, as far as they exist."""
    by_name = {near.name: near for near in observed.neighbours if near.kind == "Validator"}
    found = [by_name.get(entry.name) for entry in spec.genesis.validators]
    return [near for near in found if near is not None and near.spec.get("network") == observed.resource.name]


def _founders(spec: Spec, validator: str) -> list[str]:
    count = next(entry.members for entry in spec.genesis.validators if entry.name == validator)
    return [names.member(validator, ordinal) for ordinal in range(count)]


def _resource_key(resource: Resource, member: str) -> KeyRef:
    template = resource.spec.get("keys", {}).get("secretNameTemplate")
    if template is not None:
        return KeyRef(template.replace("{member}", member), names.NODE_KEY)
    return KeyRef(names.key_secret(member), names.NODE_KEY)


def _owner_key(resource: Resource) -> KeyRef:
    ref = resource.spec.get("owner", {}).get("keySecretRef")
    if ref is None:
        return KeyRef(f"{resource.name}-owner", names.OWNER_KEY)
    return KeyRef(ref["name"], ref.get("key", names.OWNER_KEY))


# Genesis.


@dataclass(frozen=True, slots=True)
class Founding:
    """What the genesis waits for."""

    have: int
    need: int
    missing: str = ""
    """What is missing, in words."""


def compute_founding(spec: Spec, observed: Observed) -> Founding:
    by_name = {near.name: near for near in _genesis_validators(spec, observed)}
    need = sum(entry.members for entry in spec.genesis.validators)
    have = 0
    missing: list[str] = []
    for entry in spec.genesis.validators:
        near = by_name.get(entry.name)
        if near is None:
            missing.append(f"Validator {entry.name} does not exist")
            continue
        if near.spec.get("replicas", 1) < entry.members:
            missing.append(f"Validator {entry.name} has fewer than {entry.members} replicas")
        if _owner_key(near) not in observed.keys:
            missing.append(f"Validator {entry.name} has no owner key")
        keys = [_resource_key(near, member) for member in _founders(spec, entry.name)]
        have += sum(1 for ref in keys if ref in observed.keys)
        if any(ref not in observed.keys for ref in keys):
            missing.append(f"Validator {entry.name} has not all keys")
    if spec.funder is not UNSET and names.funder_key(observed.resource.name) not in observed.keys:
        missing.append("the funder has no key")
    return Founding(have, need, "; ".join(missing))


def render_genesis(spec: Spec, observed: Observed, time_seconds: int) -> bytes:
    """The document, in canonical JSON: keys in order, no white space. Asks for a complete founding."""
    funder = None
    if spec.funder is not UNSET:
        funder = {
            "address": observed.keys[names.funder_key(observed.resource.name)].address,
            "amount": spec.funder.amount,
        }
    validators = [
        {
            "name": member,
            "public_key": observed.keys[_resource_key(near, member)].public_key,
            "owner": observed.keys[_owner_key(near)].address,
            "stake": near.spec.get("stake", FALLBACK_STAKE),
        }
        for near in _genesis_validators(spec, observed)
        for member in _founders(spec, near.name)
    ]
    document = {
        "version": 1,
        "preset": spec.preset,
        "chain_id": CHAIN_IDS[spec.preset] if spec.chain_id is UNSET else spec.chain_id,
        "overrides": {} if spec.overrides is UNSET else {entry.name: entry.value for entry in spec.overrides},
        "params": {} if spec.params is UNSET else {entry.name: entry.value for entry in spec.params},
        "time_seconds": time_seconds,
        "allocations": [{"address": row.address, "amount": row.amount} for row in spec.genesis.allocations],
        "funder": funder,
        "validators": validators,
    }
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def _seal(spec: Spec, observed: Observed, now: int) -> Iterator[Act]:
    """Once; a lost document is rebuilt only if it comes out the same."""
    if observed.genesis is not None or compute_founding(spec, observed).missing:
        return
    recorded = observed.resource.status.get("genesisSha256")
    known = observed.resource.status.get("genesisTimeSeconds")
    given = None if spec.genesis.time_seconds is UNSET else spec.genesis.time_seconds
    document = render_genesis(spec, observed, known if known is not None else given if given is not None else now)
    sha256 = hashlib.sha256(document).hexdigest()
    if recorded is None:
        yield SealGenesis(observed.resource.name, document, sha256)
        yield Emit(Reason.GenesisSealed, f"sealed with {len(spec.genesis.validators)} lists of validators: {sha256}")
    elif recorded == sha256:
        yield SealGenesis(observed.resource.name, document, sha256)


def agreed_hash(spec: Spec, observed: Observed) -> str | None:
    """What all founding members answer as the id of the genesis block; None while one is silent or disagrees."""
    founders = [member for entry in spec.genesis.validators for member in _founders(spec, entry.name)]
    answers = set()
    for name in founders:
        facts = observed.members.get(name)
        if facts is None or facts.status is None or not facts.status.genesis_hash:
            return None
        answers.add(facts.status.genesis_hash)
    return answers.pop() if len(answers) == 1 else None


# Peers.


def _peer_members(spec: Spec, observed: Observed) -> list[str]:
    return sorted(
        facts.name
        for facts in observed.members.values()
        if facts.workload is not None and not facts.workload.deleting and _resource_of(observed, facts.name) is not None
    )


def _resource_of(observed: Observed, member: str) -> Resource | None:
    prefix, _ = names.split_member(member)
    return next((near for near in _in_network(observed) if names.member_prefix(near) == prefix), None)


def _in_network(observed: Observed) -> list[Resource]:
    name = observed.resource.name
    own = [near for near in observed.neighbours if near.spec.get("network") == name]
    return [observed.resource, *own]


def _node_key(observed: Observed, member: str) -> KeyRef:
    resource = _resource_of(observed, member)
    assert resource is not None
    return _resource_key(resource, member)


ROLES = {
    "Network": "explorer",
    "Validator": "validator",
    "StorageProvider": "storage_provider",
    "ComputeProvider": "compute_provider",
    "EnergyOracle": "energy_oracle",
    "Bridge": "bridge",
}


def render_peers(spec: Spec, observed: Observed) -> Object:
    """All members that exist, and the founders before they do; validators first where there are too many."""
    wanted = {name: _node_key(observed, name) for name in _peer_members(spec, observed)}
    for validator in _genesis_validators(spec, observed):
        # A founder that has left for good is known by having no workload while the network lives.
        if not observed.resource.status.get("genesisHash"):
            wanted.update({name: _resource_key(validator, name) for name in _founders(spec, validator.name)})
    peers = [_peer(observed, name, observed.keys[ref]) for name, ref in sorted(wanted.items()) if ref in observed.keys]
    chosen = sorted(peers, key=lambda peer: (peer["role"] != "validator", peer["name"]))[:PEERS_MAX]
    return {"peers": sorted(chosen, key=lambda peer: str(peer["name"]))}


def _peer(observed: Observed, name: str, key: Key) -> Object:
    resource = _resource_of(observed, name)
    assert resource is not None
    layout = member_module.paths(
        observed.layout, name, resource.name, observed.resource.name, observed.resource.namespace
    )
    return {
        "name": name,
        "role": ROLES[resource.kind],
        "resource": resource.name,
        "host": layout.advertise,
        "p2p": member_module.P2P_PORT,
        "grpc": Ports().grpc,
        "peer_id": key.public_key,
    }


# Plan.


def members(spec: Spec, observed: Observed, now: int) -> list[Member]:
    scene = look(spec, observed, now)
    return list(scene.members.values()) if scene.accepted.status == "True" else []


def users(observed: Observed) -> list[Resource]:
    """Resources that name this Network and are not being deleted."""
    return [near for near in _in_network(observed)[1:] if not near.deleting]


def plan(spec: Spec, observed: Observed, now: int) -> Plan:
    resource = observed.resource
    if API in observed.silences:
        return Plan((), Requeue(lifecycle.SOON_SECONDS, "the API server did not answer"))
    if resource.annotations.get(names.PAUSED) == "true":
        return Plan()
    scene = look(spec, observed, now)
    if resource.deleting:
        if users(observed):
            return Plan((), Requeue(lifecycle.RESYNC_SECONDS, "resources still name this Network"))
        acts = list(lifecycle.leave(scene))
        gone = not lifecycle.has_objects(scene)
        return Plan((*acts, *([RemoveFinalizer()] if gone else [])), Requeue(lifecycle.SOON_SECONDS, "leaving"))
    acts = [] if names.FINALIZER in resource.finalizers else [EnsureFinalizer()]
    if observed.authority is None:
        acts.append(CreateAuthority(resource.name, spec.trust.ca_seconds))
    funder = names.funder_key(resource.name)
    if spec.funder is not UNSET and funder not in observed.keys:
        acts.append(CreateKey(funder, "funder"))
        acts.append(Emit(Reason.KeysGenerated, f"made {funder.secret}: back this Secret up"))
    if acts and observed.authority is None:
        return Plan(tuple(acts), Requeue(0, "authority and keys were made"))
    acts += _certificates(spec, observed, now)
    acts += _seal(spec, observed, now)
    acts.append(EnsurePeers(resource.name, render_peers(spec, observed)))
    acts.append(EnsureShared(tuple(shared(spec, observed))))
    acts += _bring_up_explorers(scene)
    settled = observed.genesis is not None and bool(resource.status.get("genesisHash"))
    soon = Requeue(lifecycle.SOON_SECONDS, "not settled")
    return Plan(tuple(acts), lifecycle.next_look(scene) if settled else soon)


def _bring_up_explorers(scene: Scene) -> list[Act]:
    if scene.accepted.status != "True":
        return []
    missing = [member for member in scene.members.values() if member.key not in scene.observed.keys]
    if missing:
        uid = scene.observed.resource.uid
        return [CreateKey(member.key, "node", member.name, uid) for member in missing]
    return list(lifecycle.keep(scene))


def _certificates(spec: Spec, observed: Observed, now: int) -> Iterator[Act]:
    authority = observed.authority
    assert authority is not None
    network = observed.resource.name
    found = observed.admin_certificate
    before = spec.trust.renew_before_seconds
    if found is None or lifecycle.needs_renewal(found, "admin", authority.fingerprint, before, now):
        uri = names.admin_uri(network, "admin")
        yield IssueCertificate(network, names.admin(network), (), uri, spec.trust.member_seconds)
    phase = next_phase(spec, observed, now)
    if phase is not None:
        yield StepAuthority(network, phase)
        if phase == "Trust":
            yield Emit(Reason.CARotationStarted, "a new authority is trusted beside the old one")
        if phase == "Settled":
            yield Emit(Reason.CARotationFinished, "the old authority is trusted no more")


def next_phase(spec: Spec, observed: Observed, now: int) -> Literal["Trust", "Issue", "Retire", "Settled"] | None:
    """The next phase of the authority's rotation, if its time has come; a member that is away holds it."""
    authority = observed.authority
    assert authority is not None
    for_how_long = now - authority.phase_since
    if authority.phase == "Settled":
        margin = max(spec.trust.renew_before_seconds, spec.trust.member_seconds)
        return "Trust" if now >= authority.not_after - margin else None
    if authority.phase == "Trust":
        return "Issue" if for_how_long >= TRUST_SECONDS and _all_answer(observed) else None
    if authority.phase == "Issue":
        renewed = all(
            facts.certificate is not None and facts.certificate.issuer == authority.fingerprint
            for facts in observed.members.values()
            if facts.workload is not None
        )
        return "Retire" if renewed and _all_loaded(observed) else None
    return "Settled" if for_how_long >= spec.trust.overlap_seconds else None


def _all_answer(observed: Observed) -> bool:
    return all(facts.status is not None for facts in observed.members.values() if facts.workload is not None)


def _all_loaded(observed: Observed) -> bool:
    return all(
        facts.status is not None
        and facts.certificate is not None
        and facts.status.cert_fingerprint == facts.certificate.fingerprint
        for facts in observed.members.values()
        if facts.workload is not None
    )


def shared(spec: Spec, observed: Observed) -> list[Object]:
    resource = observed.resource
    objects = [services.api_service(resource, spec.api.service_type, spec.api.annotations)]
    validators = _validator_budget(spec, observed)
    if validators is not None:
        objects.append(
            policy.disruption_budget(
                resource,
                resource.name,
                name=f"{resource.name}-validators",
                selector={names.NETWORK: resource.name, names.KIND: "Validator"},
                min_available=validators,
            )
        )
    if spec.explorer.enabled:
        objects.append(services.explorer_service(resource, spec.explorer.service_type))
        objects.append(policy.service_account(resource, resource.name, name=f"{resource.name}-explorer"))
        if spec.explorer.replicas > 1:
            objects.append(policy.member_budget(resource, resource.name, spec.explorer.replicas - 1))
        if spec.network_policy.enabled:
            ports = database_ports(spec)
            objects.append(policy.network_policy(resource, resource.name, has_http=True, out_ports=ports))
    return objects


def _validator_budget(spec: Spec, observed: Observed) -> int | None:
    """`minAvailable` of all validators: those in the set but for the spare. Before the set is known: the founders."""
    found = observed.chain.validator_set
    if found is None or not found.seats:
        count = sum(entry.members for entry in spec.genesis.validators)
        spare = max(0, quorum.compute_spare([1] * count))
    else:
        count = len(found.seats)
        spare = max(0, quorum.compute_spare([seat.weight for seat in found.seats]))
    return None if count <= 1 else count - spare


def database_ports(spec: Spec) -> list[int]:
    """The DSN is a secret that only the explorer reads, so that PostgreSQL's own port is let out to."""
    return [] if spec.explorer.database is UNSET else [POSTGRES_PORT]


# Status.

CONDITIONS = (
    "GenesisSealed",
    "Finalizing",
    "QuorumSafe",
    "RolesReady",
    "CertificatesValid",
    "Progressing",
    "DeletionBlocked",
    "Paused",
    "Ready",
)


def judge(spec: Spec, observed: Observed, now: int) -> Status:
    if API in observed.silences:
        return judging.silent(CONDITIONS, observed, now)
    scene = look(spec, observed, now)
    sealed = _sealed(spec, observed, now)
    said = {
        "GenesisSealed": sealed,
        "Finalizing": _finalizing(observed, now),
        "QuorumSafe": judging.without_chain(observed, "QuorumSafe", now) or quorum.judge(observed.chain.validator_set),
        "RolesReady": _roles(spec, scene),
        "CertificatesValid": _certificates_valid(observed, now),
        "Progressing": judging.progressing(scene) if scene.accepted.status == "True" else _settled(),
        "DeletionBlocked": _deletion(observed),
        "Paused": judging.paused(observed.resource),
    }
    said["Ready"] = _ready(observed, said)
    return Status(tuple(said[type_] for type_ in CONDITIONS), _fields(spec, observed, scene))


def _settled() -> Condition:
    return Condition("Progressing", "False", "Settled")


def _sealed(spec: Spec, observed: Observed, now: int) -> Condition:
    recorded = observed.resource.status
    pinned = recorded.get("genesisSha256")
    if observed.genesis is not None and pinned not in (None, observed.genesis.sha256):
        text = f"ConfigMap {names.genesis(observed.resource.name)} is not the one that was sealed"
        return Condition("GenesisSealed", "False", "GenesisMismatch", text)
    for name, facts in sorted(observed.members.items()):
        if observed.genesis is not None and judging.is_mismatched(observed, facts):
            return Condition("GenesisSealed", "False", "GenesisMismatch", f"{name} computes another genesis block")
    if observed.genesis is not None:
        return Condition("GenesisSealed", "True", "Sealed")
    if recorded.get("genesisSha256"):
        return Condition("GenesisSealed", "False", "GenesisMismatch", "the genesis is lost and cannot be rebuilt alike")
    founding = compute_founding(spec, observed)
    text = f"{founding.have} of {founding.need} keys"
    if now - observed.resource.created >= SEAL_PATIENCE_SECONDS and founding.missing:
        text += f": {founding.missing}"
    return Condition("GenesisSealed", "False", "WaitingForValidators", text)


def _finalizing(observed: Observed, now: int) -> Condition:
    silent = judging.without_chain(observed, "Finalizing", now)
    if silent is not None:
        return silent
    chain = observed.chain
    if not chain.finalized_height:
        return Condition("Finalizing", "False", "Starting", "no block is final yet")
    if now - chain.finalized_since >= STALLED_SECONDS:
        return Condition("Finalizing", "False", "Stalled", "no block became final for a minute; see QuorumSafe")
    return Condition("Finalizing", "True", "Advancing")


def _roles(spec: Spec, scene: Scene) -> Condition:
    if not spec.explorer.enabled or not spec.explorer.replicas:
        return Condition("RolesReady", "True", "Serving")
    missing = _missing_secret(scene.observed)
    if missing:
        return Condition("RolesReady", "False", "MissingSecret", missing)
    if scene.accepted.status != "True":
        return Condition("RolesReady", "False", "ExplorerUnready", scene.accepted.message)
    for name in scene.members:
        status = scene.facts(name).status
        if status is not None and status.details.get("database") == "unreachable":
            return Condition("RolesReady", "False", "DatabaseUnreachable", f"{name} does not reach its database")
        if not scene.is_up(name):
            return Condition("RolesReady", "False", "ExplorerUnready", f"{name} does not serve yet")
    return Condition("RolesReady", "True", "Serving")


def _certificates_valid(observed: Observed, now: int) -> Condition:
    authority = observed.authority
    if authority is None:
        return Condition("CertificatesValid", "Unknown", NOT_YET_OBSERVED)
    if authority.not_after <= now:
        return Condition("CertificatesValid", "False", "Expired", "the authority of the network is over")
    if authority.phase != "Settled":
        return Condition("CertificatesValid", "True", "Rotating", f"phase {authority.phase}")
    return Condition("CertificatesValid", "True", "Valid")


def _deletion(observed: Observed) -> Condition:
    named = users(observed)
    if not named:
        return Condition("DeletionBlocked", "False", "Free")
    text = ", ".join(f"{near.kind} {near.name}" for near in named)
    return Condition("DeletionBlocked", "True", "InUse", text)


def _ready(observed: Observed, said: dict[str, Condition]) -> Condition:
    if observed.resource.deleting:
        return Condition("Ready", "False", "Deleting", said["DeletionBlocked"].message)
    for type_ in ("GenesisSealed", "Finalizing", "RolesReady", "CertificatesValid"):
        condition = said[type_]
        if condition.status != "True":
            return replace(condition, type="Ready")
    return Condition("Ready", "True", "Serving")


def _fields(spec: Spec, observed: Observed, scene: Scene) -> Object:
    resource = observed.resource
    kept = ("genesisHash", "genesisSha256", "genesisTimeSeconds")
    fields: Object = {key: resource.status[key] for key in kept if resource.status.get(key) is not None}
    fields["chainId"] = CHAIN_IDS[spec.preset] if spec.chain_id is UNSET else spec.chain_id
    if observed.genesis is not None:
        fields.setdefault("genesisSha256", observed.genesis.sha256)
        fields.setdefault("genesisTimeSeconds", observed.genesis.document.get("time_seconds", 0))
        agreed = agreed_hash(spec, observed)
        if agreed is not None:
            fields.setdefault("genesisHash", agreed)
    there = [name for name in scene.members if scene.facts(name).workload is not None]
    fields["replicas"] = len(there)
    fields["readyReplicas"] = sum(1 for name in there if scene.is_up(name))
    fields["selector"] = names.selector(resource)
    fields["members"] = [judging.member_entry(scene, name, {}) for name in there]
    fields["endpoints"] = _endpoints(spec, resource)
    if observed.authority is not None:
        fields["certificates"] = {
            "caFingerprint": observed.authority.fingerprint,
            "caNotAfter": rfc3339(observed.authority.not_after),
            "phase": observed.authority.phase,
        }
    fields["resources"] = [
        {"kind": near.kind, "name": near.name, "ready": _ready_of(near)}
        for near in sorted(_in_network(observed)[1:], key=lambda near: (near.kind, near.name))
    ]
    fields.update(_chain_fields(observed))
    stamp = resource.annotations.get(names.RECONCILE_AT)
    return {**fields, "lastReconcileAt": stamp} if stamp else fields


def _chain_fields(observed: Observed) -> Object:
    before = observed.resource.status
    if CHAIN in observed.silences or observed.chain.validator_set is None:
        return {key: before[key] for key in ("validators", "height", "finalizedHeight") if key in before}
    seats = observed.chain.validator_set.seats
    total = sum(seat.weight for seat in seats)
    return {
        "height": floor_height(observed.chain.height),
        "finalizedHeight": floor_height(observed.chain.finalized_height),
        "validators": {
            "members": len(seats),
            "active": sum(1 for seat in seats if seat.voted),
            "weight": str(total),
            "threshold": str(quorum.compute_threshold(total)),
            "spare": max(0, quorum.spare_of(observed.chain.validator_set)),
        },
    }


def _endpoints(spec: Spec, resource: Resource) -> list[Object]:
    host = f"{resource.namespace}.svc"
    rows = [{"role": "api", "address": f"{resource.name}-api.{host}:{Ports().grpc}"}]
    if spec.explorer.enabled:
        address = f"http://{resource.name}-explorer.{host}:{member_module.HTTP_PORT}"
        rows.append({"role": "explorer", "address": address})
    return rows


def _ready_of(resource: Resource) -> str:
    for condition in resource.status.get("conditions", ()):
        if condition["type"] == "Ready":
            return str(condition["status"])
    return "Unknown"


KIND = Kind(
    name="Network",
    plural="networks",
    short_name="tbnet",
    spec=Spec,
    rules=RULES,
    columns=COLUMNS,
    status=StatusFields,
    conditions=CONDITIONS,
    wants=wants,
    members=members,
    plan=plan,
    judge=judge,
    scalable=False,
)
