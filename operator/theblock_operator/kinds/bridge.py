"""Bridge: relayers of one asset between a foreign chain and this one; header sync first."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
from msgspec import UNSET

from theblock_operator import names
from theblock_operator.acts import ChainCall
from theblock_operator.events import Reason
from theblock_operator.kinds import chain_names as words
from theblock_operator.kinds import judging, kind, lifecycle
from theblock_operator.kinds import network_spec as networks
from theblock_operator.kinds.bridge_spec import COLUMNS, RULES, Spec, StatusFields
from theblock_operator.kinds.energy_oracle import endpoint_ports
from theblock_operator.kinds.judging import Judgement
from theblock_operator.kinds.kind import Kind
from theblock_operator.kinds.lifecycle import Life, Scene, Standing
from theblock_operator.members import Member, paths
from theblock_operator.objects import policy
from theblock_operator.observed import CHAIN, KeyRef, Object, Observed, Query, Wants
from theblock_operator.status import Condition, floor_height

DETAILS = ("state", "tip_height", "best_hash", "lag", "last_reorg_depth", "refusal", "key_state", "pending")
"""What a member says of itself. `state`: at_tip, catching_up, exhausted, unreachable, refused, stalled."""


# The chain.


def stand_together(spec: Spec, observed: Observed) -> Standing:
    """The light client of the foreign chain: one for all relayers of all bridges to it; it stays when they go."""
    if CHAIN in observed.silences:
        return Standing(exited=True)
    if _client(spec, observed):
        return Standing(known=True, serving=True, exited=True)
    is_bonded = any(_row(observed, name) is not None for name in observed.members)
    enter = (_start(spec, observed),) if is_bonded else ()
    return Standing(known=True, message="the light client begins", enter=enter, exited=True)


def _start(spec: Spec, observed: Observed) -> ChainCall:
    args: dict[str, Any] = {
        "chain_id": spec.external_chain.id,
        "profile": spec.external_chain.profile,
        "checkpoint": checkpoint(spec),
    }
    return lifecycle.chain_call(
        observed,
        observed.resource.name,
        words.BRIDGE_START,
        args,
        signer=names.owner_key(spec, observed.resource.name),
        why=f"light client of {spec.external_chain.id}",
    )


def checkpoint(spec: Spec) -> Object | None:
    given = spec.external_chain.checkpoint
    return None if given is UNSET else {"height": str(given.height), "hash": given.hash}


def _client(spec: Spec, observed: Observed) -> Object:
    """The light client's head, empty if there is none."""
    reply = observed.chain.records.get(words.BRIDGE_HEADERS, {})
    found: Object = reply.get("client") or {}
    return found


def _row(observed: Observed, name: str) -> Object | None:
    return words.row_of(observed, words.BRIDGE_RELAYERS, "relayers", "relayer", name)


def stand(spec: Spec, observed: Observed, name: str) -> Standing:
    if CHAIN in observed.silences:
        return Standing()
    key = observed.keys.get(names.node_key(spec, name))
    wanted = int(spec.stake)
    row = _row(observed, name)
    owner = observed.keys.get(names.owner_key(spec, observed.resource.name))
    if row is not None and owner is not None and row["owner"] != owner.address:
        text = f"relayer {name} has another owner"
        return Standing(known=True, exited=True, reason="IdTaken", message=text)
    held = 0 if row is None else words.number(row, "bond")
    is_in = row is not None and not row.get("retired")
    if row is not None and not is_in and held:
        text = f"the bond of {name} is still unbonding"
        return Standing(known=True, exited=True, message=text, reusable=False, state="Unbonding")
    if key is None:
        return Standing(known=True, exited=not is_in, on_chain=is_in, missing=wanted)
    terms: dict[str, Any] = {
        "member_key": key.public_key,
        "asset": spec.asset,
        "bond": str(max(held, wanted)),
    }

    def call(command: str, args: dict[str, Any], why: str, event: Reason) -> ChainCall:
        signer = names.owner_key(spec, observed.resource.name)
        return lifecycle.chain_call(
            observed, name, command, {"relayer": name, **args}, signer=signer, why=why, event=event
        )

    agrees = row is not None and is_in and words.same(row, terms)
    # Who is the first to be bonded starts the light client with the next command of the same signer.
    start = () if row is not None or _client(spec, observed) else (_start(spec, observed),)
    event = Reason.StakeBonded if is_in else Reason.Registered
    return Standing(
        known=True,
        on_chain=is_in,
        serving=agrees,
        missing=max(0, wanted - held),
        bonded=held,
        enter=() if agrees else (call(words.BRIDGE_REGISTER, terms, f"bond of {name}", event), *start),
        at_once=True,
        leave=(call(words.BRIDGE_RETIRE, {}, f"{name} leaves", Reason.UnbondStarted),) if is_in else (),
        exited=not is_in,
        state="Active" if is_in else "",
    )


def wait_exit(scene: Scene, name: str) -> str:
    status = scene.facts(name).status
    if status is not None and int(status.details.get("pending", 0)):
        return "headers that it took are still being submitted"
    return ""


# Pods.


def settings(spec: Spec, observed: Observed, ordinal: int) -> Object:
    source = spec.external_chain.source
    given = spec.external_chain.checkpoint
    headers = None
    if source.headers_config_map_ref is not UNSET:
        name = names.member(observed.resource.name, ordinal)
        layout = paths(observed.layout, name, observed.resource.name, spec.network, observed.resource.namespace)
        headers = layout.headers.format(key=source.headers_config_map_ref.key)
    return {
        "asset": spec.asset,
        "chain_id": spec.external_chain.id,
        "profile": spec.external_chain.profile,
        "checkpoint": None if given is UNSET else {"height": given.height, "hash": given.hash},
        "source": {
            "driver": source.driver,
            "dataset": None if source.dataset is UNSET else source.dataset,
            "endpoints": [] if source.endpoints is UNSET else list(source.endpoints),
            "headers_file": headers,
        },
        "confirm_depth": spec.channel.confirm_depth,
        "header_sync": spec.roles.header_sync,
        "members": spec.replicas,
    }


def parts(spec: Spec, observed: Observed, member: Member, now: int) -> Member:
    ref = spec.external_chain.source.headers_config_map_ref
    return member if ref is UNSET else replace(member, headers=KeyRef(ref.name, ref.key))


def accept(spec: Spec, observed: Observed) -> Condition | None:
    source = spec.external_chain.source
    if source.driver == "rpc" and spec.external_chain.profile != "tbpow/1":
        text = "driver rpc is built for profile tbpow/1 only: use file or builtin"
        return Condition("Accepted", "False", "NotSupported", text)
    ref = source.headers_config_map_ref
    if ref is not UNSET and ref.key not in observed.config_maps.get(ref.name, ()):
        return Condition("Accepted", "False", "MissingConfigMap", f"ConfigMap {ref.name} has no {ref.key}: add it")
    for secret in (source.auth_secret_ref, source.ca_secret_ref):
        if secret is not UNSET and secret.key not in observed.secrets.get(secret.name, ()):
            return Condition("Accepted", "False", "MissingSecret", f"Secret {secret.name} has no {secret.key}: add it")
    return None


def shared(scene: Scene) -> list[Object]:
    resource, network = scene.observed.resource, scene.observed.network
    assert network is not None
    objects = [policy.service_account(resource, network.name)]
    if scene.spec.replicas > 1:
        objects.append(policy.member_budget(resource, network.name, scene.spec.replicas - 1))
    if msgspec.convert(network.spec, networks.Spec).network_policy.enabled:
        endpoints = scene.spec.external_chain.source.endpoints
        ports = endpoint_ports(() if endpoints is UNSET else endpoints)
        objects.append(policy.network_policy(resource, network.name, out_ports=ports))
    return objects


LIFE = Life(
    role="bridge",
    priority_class="theblock-service",
    requests={"cpu": "50m", "memory": "128Mi"},
    limits={"cpu": "2", "memory": "512Mi"},
    volume_size=lambda spec: "5Gi",
    grace_seconds=60,
    settings=settings,
    stand=stand,
    shared=shared,
    has_signing=True,
    parts=parts,
    stand_together=stand_together,
    accept=accept,
    wait_exit=wait_exit,
)


# Status.


def conditions(scene: Scene) -> list[Condition]:
    return [_headers(scene), _keys(scene), _bonded(scene)]


def _headers(scene: Scene) -> Condition:
    def say(status: Any, reason: str, message: str = "") -> Condition:
        return Condition("HeadersSynced", status, reason, message)

    if not scene.spec.roles.header_sync:
        return say("True", "AtTip", "no member has the role headerSync")
    answers = [status.details for name in scene.members if (status := scene.facts(name).status) is not None]
    if not answers:
        return judging.hold(scene.observed.resource, "HeadersSynced")
    states = [str(details.get("state", "catching_up")) for details in answers]
    if "refused" in states:
        refusal = next((str(details["refusal"]) for details in answers if details.get("refusal")), "")
        return say("False", "HeaderRefused", f"the source gave a header that the chain refuses: {refusal}")
    for state, reason, text in (
        ("unreachable", "SourceUnreachable", "the source of headers does not answer"),
        ("stalled", "Stalled", "no new header for too long"),
        ("catching_up", "CatchingUp", "headers are being submitted"),
    ):
        if state in states:
            return say("False", reason, text)
    return say("True", "SourceExhausted" if "exhausted" in states else "AtTip")


def _keys(scene: Scene) -> Condition:
    for name in scene.members:
        if names.signing_key(scene.spec, name) not in scene.observed.keys:
            return Condition("KeysLoaded", "False", "MissingSecret", f"{name} has no signing key")
        status = scene.facts(name).status
        if status is not None and status.details.get("key_state") == "invalid":
            return Condition("KeysLoaded", "False", "ReloadInvalid", f"{name} keeps its old signing key")
    return Condition("KeysLoaded", "True", "Loaded")


def _bonded(scene: Scene) -> Condition:
    silent = judging.without_chain(scene.observed, "Bonded", scene.now)
    if silent is not None:
        return silent
    for name in scene.members:
        row = _row(scene.observed, name)
        if row is not None and row.get("jailed"):
            return Condition("Bonded", "False", "Jailed", f"relayer {name} is jailed")
        if not scene.standings[name].on_chain:
            return Condition("Bonded", "False", "Waiting", f"relayer {name} is not bonded yet")
        if scene.standings[name].missing:
            return Condition("Bonded", "False", "BelowMinimum", f"the bond of {name} is below the spec's stake")
    return Condition("Bonded", "True", "Enough")


def fields(scene: Scene) -> Object:
    answers = [status.details for name in scene.members if (status := scene.facts(name).status) is not None]
    client = _client(scene.spec, scene.observed)
    tip = max(
        [words.number(client, "tip_height"), *(int(details.get("tip_height", 0)) for details in answers)], default=0
    )
    reason = _headers(scene).reason
    lag = "Stalled" if reason == "Stalled" else "None" if reason in ("AtTip", "SourceExhausted") else "Behind"
    depth = max((int(details.get("last_reorg_depth", 0)) for details in answers), default=0)
    best = next((str(details["best_hash"]) for details in answers if details.get("best_hash")), "")
    return {"headers": {"tipHeight": floor_height(tip), "bestHash": best, "lag": lag, "lastReorgDepth": depth}}


def member_fields(scene: Scene, name: str) -> Object:
    row = _row(scene.observed, name)
    entry: Object = {"relayer": name}
    if row is not None:
        entry["bond"] = str(row.get("bond", "0"))
    status = scene.facts(name).status
    if status is not None and status.details.get("key_state"):
        entry["keyState"] = str(status.details["key_state"])
    return entry


def wants(spec: Spec, observed: Observed) -> Wants:
    source = spec.external_chain.source
    found = lifecycle.wants(LIFE, spec, observed)
    secrets = [ref.name for ref in (source.auth_secret_ref, source.ca_secret_ref) if ref is not UNSET]
    maps = [source.headers_config_map_ref.name] if source.headers_config_map_ref is not UNSET else []
    queries = (
        Query(words.BRIDGE_RELAYERS),
        Query(words.BRIDGE_HEADERS, {"chain_id": spec.external_chain.id}),
    )
    return replace(found, secrets=tuple(secrets), config_maps=tuple(maps), queries=queries)


CONDITIONS = (*kind.MEMBER_CONDITIONS, "HeadersSynced", "KeysLoaded", "Bonded", "Ready")
JUDGEMENT = Judgement(
    conditions=conditions,
    ready={"HeadersSynced": "HeadersNotSynced", "Bonded": "NotBonded"},
    fields=fields,
    member_fields=member_fields,
)
KIND = Kind(
    name="Bridge",
    plural="bridges",
    short_name="br",
    spec=Spec,
    rules=RULES,
    columns=COLUMNS,
    status=StatusFields,
    conditions=CONDITIONS,
    wants=wants,
    members=lambda spec, observed, now: lifecycle.members(LIFE, spec, observed, now),
    plan=lambda spec, observed, now: lifecycle.plan(LIFE, spec, observed, now),
    judge=lambda spec, observed, now: judging.judge(LIFE, JUDGEMENT, CONDITIONS, spec, observed, now),
)
