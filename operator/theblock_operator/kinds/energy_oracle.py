"""EnergyOracle: members that read meters, sign readings and submit them.

Each meter is one provider on the chain, named `<resource>-<meter>`; each member attests all meters of the resource.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import msgspec
from msgspec import UNSET

from theblock_operator import names
from theblock_operator.acts import ChainCall, Fill
from theblock_operator.events import Reason
from theblock_operator.kinds import chain_names as words
from theblock_operator.kinds import judging, kind, lifecycle
from theblock_operator.kinds import network_spec as networks
from theblock_operator.kinds.energy_spec import COLUMNS, RULES, Meter, Mock, Spec, StatusFields, parse_wh
from theblock_operator.kinds.judging import Judgement
from theblock_operator.kinds.kind import Kind
from theblock_operator.kinds.lifecycle import Life, Scene, Standing
from theblock_operator.objects import policy
from theblock_operator.observed import CHAIN, Object, Observed, Query, Wants
from theblock_operator.status import Condition, floor_figure, floor_height

DETAILS = ("meters", "keys", "spool_depth", "spool_growing", "refused", "no_endpoint")
"""What a member says of itself. `meters`: rows of name, reachable, stuck, total_wh, reading_height, accepted;
`keys`: `{"active": hex, "staged": hex | "", "invalid": text}`."""
GONE = ("UNBONDING", "EXITED")


# The chain: what the resource has there as a whole.


def provider_id(resource: str, meter: str) -> str:
    return f"{resource}-{meter}"


def _rows(spec: Spec, observed: Observed) -> dict[str, Object]:
    """Providers of this resource on the chain, by id: of its meters, and of meters that it no longer has."""
    owner = observed.keys.get(names.owner_key(spec, observed.resource.name))
    wanted = {provider_id(observed.resource.name, meter.name) for meter in spec.meters}
    others = {
        provider_id(near.name, meter["name"])
        for near in observed.neighbours
        if near.kind == "EnergyOracle" and near.uid != observed.resource.uid
        for meter in near.spec.get("meters", ())
    }
    found = {}
    for row in words.rows(observed, words.ENERGY_PROVIDERS, "providers"):
        name = str(row["provider_id"])
        is_own = owner is not None and row["owner"] == owner.address
        is_former = is_own and name.startswith(f"{observed.resource.name}-") and name not in others
        if name in wanted or is_former:
            found[name] = row
    return found


def stand_together(spec: Spec, observed: Observed) -> Standing:
    if CHAIN in observed.silences:
        return Standing()
    resource = observed.resource.name
    rows = _rows(spec, observed)
    owner = observed.keys.get(names.owner_key(spec, resource))
    attesters = [names.member(resource, ordinal) for ordinal in range(spec.replicas)]
    enter: list[ChainCall] = []
    waits = ""
    missing = 0
    for meter in spec.meters:
        name = provider_id(resource, meter.name)
        row = rows.get(name)
        if row is not None and owner is not None and row["owner"] != owner.address:
            return Standing(known=True, exited=True, reason="IdTaken", message=f"provider {name} has another owner")
        staked = 0 if row is None else words.number(row, "staked")
        missing += max(0, int(spec.stake) - staked)
        if row is None:
            enter.append(_register(spec, observed, meter, attesters))
        elif row["state"] in GONE:
            waits = f"provider {name} is still unbonding"
        else:
            enter += _agree(spec, observed, name, row, staked)
    kept = {provider_id(resource, meter.name) for meter in spec.meters}
    live = {name: row for name, row in rows.items() if row["state"] not in GONE}
    enter += [_deregister(spec, observed, name) for name, row in live.items() if name not in kept and _is_free(row)]
    return Standing(
        known=True,
        on_chain=bool(live),
        serving=not enter and not waits,
        message=waits,
        missing=missing,
        bonded=sum(words.number(row, "staked") for row in rows.values()),
        enter=tuple(enter),
        at_once=True,
        leave=tuple(_deregister(spec, observed, name) for name, row in live.items() if _is_free(row)),
        exited=not live,
    )


def _call(
    spec: Spec,
    observed: Observed,
    subject: str,
    command: str,
    args: dict[str, Any],
    why: str,
    event: Reason | None,
    fills: tuple[Fill, ...] = (),
    but: Sequence[str] = (),
) -> ChainCall:
    signer = names.owner_key(spec, observed.resource.name)
    return lifecycle.chain_call(
        observed, subject, command, args, signer=signer, why=why, event=event, fills=fills, but=but
    )


def _register(spec: Spec, observed: Observed, meter: Meter, attesters: Sequence[str]) -> ChainCall:
    name = provider_id(observed.resource.name, meter.name)
    known = [
        (member, observed.keys[ref])
        for member in attesters
        if (ref := names.signing_key(spec, member)) in observed.keys
    ]
    keys = [{"oracle_id": member, "public_key": key.public_key, "proof": ""} for member, key in known]
    fills = tuple(
        Fill(("keys", at, "proof"), "possession", member, names.signing_key(spec, member), name, 1)
        for at, (member, _) in enumerate(known)
    )
    args = {
        "provider_id": name,
        **terms_of(spec),
        "meter_address": meter.address,
        "stake": spec.stake,
        "initial_meter_wh": None,
        "keys": keys,
    }
    return _call(spec, observed, name, words.ENERGY_REGISTER, args, f"meter {meter.name}", Reason.Registered, fills)


def terms_of(spec: Spec) -> dict[str, Any]:
    return {
        "capacity_wh": str(parse_wh(spec.provider.capacity_kwh)),
        "price_per_kwh": spec.provider.price_per_kwh,
        "jurisdiction": spec.provider.jurisdiction,
    }


def _agree(spec: Spec, observed: Observed, name: str, row: Object, staked: int) -> list[ChainCall]:
    """Bring terms and stake of a provider to the spec's; terms that wait for their window count as done."""
    calls = []
    if not words.same(row.get("pending_terms") or row, terms_of(spec)):
        args = {"provider_id": name, **terms_of(spec)}
        calls.append(_call(spec, observed, name, words.ENERGY_UPDATE, args, f"terms of {name}", Reason.TermsUpdated))
    if staked < int(spec.stake):
        args = {"provider_id": name, "amount": str(int(spec.stake) - staked)}
        calls.append(_call(spec, observed, name, words.ENERGY_TOP_UP, args, f"stake of {name}", Reason.StakeBonded))
    return calls


def _deregister(spec: Spec, observed: Observed, name: str) -> ChainCall:
    args = {"provider_id": name}
    return _call(spec, observed, name, words.ENERGY_DEREGISTER, args, f"{name} leaves", Reason.UnbondStarted)


def _is_free(row: Object) -> bool:
    """No dispute and no unsettled credit holds it."""
    return not words.number(row, "credits") and not words.number(row, "locked")


# The chain: what one member has there, its keys.


def stand(spec: Spec, observed: Observed, name: str) -> Standing:
    if CHAIN in observed.silences:
        return Standing()
    rows = {key: row for key, row in _rows(spec, observed).items() if row["state"] not in GONE}
    key = observed.keys.get(names.signing_key(spec, name))
    attests = [provider for provider, row in rows.items() if name in row.get("oracles", ())]
    wanted = [provider_id(observed.resource.name, meter.name) for meter in spec.meters]
    enter: list[ChainCall] = []
    if key is not None:
        for provider in wanted:
            if provider in rows and _present_key(observed, provider, name) != key.public_key:
                enter.append(_rotate(spec, observed, name, provider, key.public_key))
    leave = [
        _call(
            spec,
            observed,
            name,
            words.ENERGY_RETIRE_KEY,
            {"provider_id": provider, "oracle_id": name},
            f"{name} leaves",
            None,
        )
        for provider in attests
    ]
    return Standing(
        known=True,
        on_chain=bool(attests),
        serving=not enter and all(provider in attests for provider in wanted),
        message="" if attests else f"the keys of {name} are not registered yet",
        enter=tuple(enter),
        at_once=True,
        leave=tuple(leave),
        exited=not attests,
    )


def _keys(observed: Observed, provider: str, oracle: str) -> list[Object]:
    reply = observed.chain.records.get(f"{words.ENERGY_PROVIDER}/{provider}", {})
    row = next((row for row in reply.get("keys", ()) if row["oracle_id"] == oracle), None)
    return [] if row is None else list(row["keys"])


def _present_key(observed: Observed, provider: str, oracle: str) -> str:
    keys = _keys(observed, provider, oracle)
    return str(keys[-1]["public_key"]) if keys else ""


def _rotate(spec: Spec, observed: Observed, member: str, provider: str, public_key: str) -> ChainCall:
    """A first key counts at once; one that replaces another from a height on, with the overlap of the spec."""
    known = _keys(observed, provider, member)
    rotation = spec.signing.rotation
    begin = observed.chain.height + rotation.activation_delay_blocks if known else 0
    version = int(known[-1]["key_version"]) + 1 if known else 1
    args = {
        "provider_id": provider,
        "oracle_id": member,
        "new_key": public_key,
        "active_from_height": str(begin),
        "overlap_blocks": rotation.overlap_blocks,
        "proof_of_possession": "",
    }
    fill = Fill(("proof_of_possession",), "possession", member, names.signing_key(spec, member), provider, version)
    event = Reason.KeyRotationSubmitted if known else Reason.Registered
    return _call(
        spec,
        observed,
        member,
        words.ENERGY_ROTATE,
        args,
        f"key of {member}",
        event,
        (fill,),
        ("active_from_height",),
    )


def wait_leave(scene: Scene, name: str) -> str:
    """Enough attesters must stay, by the chain's Param and by the spec."""
    if scene.observed.resource.deleting or not scene.standings[name].on_chain:
        return ""
    market = scene.observed.chain.records.get(words.ENERGY_MARKET, {})
    least = max(scene.spec.quorum.min_attesters, words.number(market, "min_attesters"))
    healthy = sum(1 for other in scene.members if scene.is_active(other))
    return "" if healthy >= least else "too few other attesters are healthy"


def wait_exit(scene: Scene, name: str) -> str:
    status = scene.facts(name).status
    if status is not None and int(status.details.get("spool_depth", 0)):
        return "its spool is being flushed"
    return ""


# Pods.


def settings(spec: Spec, observed: Observed, ordinal: int) -> Object:
    return {
        "meters": [_meter(observed.resource.name, meter) for meter in spec.meters],
        "policy": msgspec.structs.asdict(spec.policy),
        "retry": {
            "initial_ms": spec.submit.retry.initial_milliseconds,
            "max_ms": spec.submit.retry.max_milliseconds,
        },
        "spool_entries": spec.submit.spool_entries,
    }


def _meter(resource: str, meter: Meter) -> Object:
    mock = (Mock() if meter.mock is UNSET else meter.mock) if meter.driver == "mock" else None
    return {
        "name": meter.name,
        "address": meter.address,
        "provider_id": provider_id(resource, meter.name),
        "driver": meter.driver,
        "endpoint": None if meter.endpoint is UNSET else meter.endpoint,
        "interval_seconds": meter.interval_seconds,
        "scale_to_wh": meter.scale_to_wh,
        "mock": None
        if mock is None
        else {"step_wh": mock.step_wh, "start_wh": mock.start_wh, "faults": list(mock.faults)},
    }


def endpoint_ports(endpoints: Sequence[str]) -> list[int]:
    """Ports that network policies must let out to."""
    ports = []
    for endpoint in endpoints:
        parts = urlsplit(endpoint)
        ports.append(parts.port or (443 if parts.scheme == "https" else 80))
    return sorted(set(ports))


def shared(scene: Scene) -> list[Object]:
    resource, network = scene.observed.resource, scene.observed.network
    assert network is not None
    objects = [policy.service_account(resource, network.name)]
    if scene.spec.replicas > 1:
        objects.append(policy.member_budget(resource, network.name, scene.spec.quorum.min_attesters))
    if msgspec.convert(network.spec, networks.Spec).network_policy.enabled:
        endpoints = [meter.endpoint for meter in scene.spec.meters if meter.endpoint is not UNSET]
        objects.append(policy.network_policy(resource, network.name, out_ports=endpoint_ports(endpoints)))
    return objects


LIFE = Life(
    role="energy_oracle",
    priority_class="theblock-service",
    requests={"cpu": "50m", "memory": "128Mi"},
    limits={"cpu": "2", "memory": "512Mi"},
    volume_size=lambda spec: "1Gi",
    grace_seconds=30,
    settings=settings,
    stand=stand,
    shared=shared,
    has_signing=True,
    stand_together=stand_together,
    wait_leave=wait_leave,
    wait_exit=wait_exit,
)


# Status.


def conditions(scene: Scene) -> list[Condition]:
    return [
        _providers(scene),
        _terms(scene),
        _keys_registered(scene),
        _keys_loaded(scene),
        _quorum(scene),
        _meters(scene),
        _submit(scene),
        _rehearsal(scene),
    ]


def _live(scene: Scene) -> dict[str, Object]:
    rows = _rows(scene.spec, scene.observed)
    wanted = [provider_id(scene.name, meter.name) for meter in scene.spec.meters]
    return {name: rows[name] for name in wanted if name in rows and rows[name]["state"] not in GONE}


def _providers(scene: Scene) -> Condition:
    silent = judging.without_chain(scene.observed, "ProvidersRegistered", scene.now)
    if silent is not None:
        return silent
    if len(_live(scene)) == len(scene.spec.meters):
        return Condition("ProvidersRegistered", "True", "OnChain")
    refused = judging.refused_call(scene.observed)
    if refused is not None:
        code = refused.message.rpartition(": ")[2]
        reasons = {"energy.meter_taken": "AddressTaken", "energy.rehearsal": "GateClosed"}
        return Condition("ProvidersRegistered", "False", reasons.get(code, "CommandRefused"), refused.message)
    return Condition("ProvidersRegistered", "False", "Waiting", "meters are being registered")


def _terms(scene: Scene) -> Condition:
    silent = judging.without_chain(scene.observed, "TermsInSync", scene.now)
    if silent is not None:
        return silent
    rows = _live(scene)
    if len(rows) < len(scene.spec.meters):
        return Condition("TermsInSync", "Unknown", "NotYetObserved")
    terms = terms_of(scene.spec)
    if all(words.same(row, terms) for row in rows.values()):
        return Condition("TermsInSync", "True", "Equal")
    if all(words.same(row.get("pending_terms") or row, terms) for row in rows.values()):
        return Condition("TermsInSync", "False", "UpdatePending", "new terms begin with the next window")
    return Condition("TermsInSync", "False", "Drift", "the chain has other terms than the spec")


def _keys_registered(scene: Scene) -> Condition:
    silent = judging.without_chain(scene.observed, "KeysRegistered", scene.now)
    if silent is not None:
        return silent
    for name in scene.members:
        if not scene.standings[name].serving:
            return Condition("KeysRegistered", "False", "Waiting", scene.standings[name].message)
    return Condition("KeysRegistered", "True", "OnChain")


def _keys_loaded(scene: Scene) -> Condition:
    staged = False
    for name in scene.members:
        if names.signing_key(scene.spec, name) not in scene.observed.keys:
            return Condition("KeysLoaded", "False", "MissingSecret", f"{name} has no signing key")
        status = scene.facts(name).status
        keys = status.details.get("keys", {}) if status is not None else {}
        if keys.get("invalid"):
            return Condition("KeysLoaded", "False", "ReloadInvalid", f"{name}: {keys['invalid']}")
        staged = staged or bool(keys.get("staged"))
    return Condition("KeysLoaded", "True", "Staged" if staged else "Loaded")


def _quorum(scene: Scene) -> Condition:
    silent = judging.without_chain(scene.observed, "QuorumHealthy", scene.now)
    if silent is not None:
        return silent
    healthy = sum(1 for name in scene.members if scene.is_active(name))
    market = scene.observed.chain.records.get(words.ENERGY_MARKET, {})
    least = words.number(market, "min_attesters")
    if healthy < max(least, scene.spec.quorum.min_attesters):
        return Condition("QuorumHealthy", "False", "BelowMinAttesters", "too few attesters are healthy")
    if least and least != scene.spec.quorum.min_attesters:
        text = f"the chain asks for {least} attesters, the spec for {scene.spec.quorum.min_attesters}"
        return Condition("QuorumHealthy", "False", "PolicyDrift", text)
    return Condition("QuorumHealthy", "True", "Enough")


def _meter_rows(scene: Scene) -> dict[str, list[Object]]:
    """What each answering member says of each meter."""
    found: dict[str, list[Object]] = {meter.name: [] for meter in scene.spec.meters}
    for name in scene.members:
        status = scene.facts(name).status
        for row in status.details.get("meters", ()) if status is not None else ():
            found.get(row["name"], []).append(row)
    return found


def _meters(scene: Scene) -> Condition:
    rows = _meter_rows(scene)
    if not any(rows.values()):
        return judging.hold(scene.observed.resource, "MetersReachable")
    for name, said in rows.items():
        if any(not row.get("reachable", True) for row in said):
            return Condition("MetersReachable", "False", "SomeUnreachable", f"meter {name} does not answer")
    for name, said in rows.items():
        if any(row.get("stuck") for row in said):
            return Condition("MetersReachable", "False", "Stuck", f"meter {name} does not move")
    return Condition("MetersReachable", "True", "AllRead")


def _submit(scene: Scene) -> Condition:
    answers = [status.details for name in scene.members if (status := scene.facts(name).status) is not None]
    if not answers:
        return judging.hold(scene.observed.resource, "SubmitHealthy")
    for field, reason, text in (
        ("no_endpoint", "NoEndpoint", "no validator takes readings"),
        ("refused", "Refused", "readings are refused"),
        ("spool_growing", "SpoolGrowing", "readings wait to be submitted"),
    ):
        said = next((details[field] for details in answers if details.get(field)), None)
        if said:
            return Condition("SubmitHealthy", "False", reason, f"{text}: {said}" if isinstance(said, str) else text)
    return Condition("SubmitHealthy", "True", "Accepted")


def _rehearsal(scene: Scene) -> Condition:
    silent = judging.without_chain(scene.observed, "Rehearsal", scene.now)
    if silent is not None:
        return silent
    market = scene.observed.chain.records.get(words.ENERGY_MARKET, {})
    if market.get("status") == "rehearsal":
        return Condition("Rehearsal", "True", "GateRehearsal")
    return Condition("Rehearsal", "False", "GateTrade")


def _accepted_meters(scene: Scene) -> int:
    """Meters of which the chain has a final reading, or a member says that one was taken."""
    live = _live(scene)
    rows = _meter_rows(scene)
    return sum(
        1
        for meter in scene.spec.meters
        if words.number(live.get(provider_id(scene.name, meter.name), {}), "last_nonce")
        or any(row.get("accepted") for row in rows[meter.name])
    )


def trouble(scene: Scene) -> tuple[str, str] | None:
    if CHAIN in scene.observed.silences or len(_live(scene)) < len(scene.spec.meters):
        return None
    if _accepted_meters(scene) < len(scene.spec.meters):
        return "MetersUnreachable", "no reading of some meter was accepted yet"
    return None


def fields(scene: Scene) -> Object:
    answers = [status.details for name in scene.members if (status := scene.facts(name).status) is not None]
    healthy = sum(1 for name in scene.members if scene.is_active(name))
    entry: Object = {
        "metersReady": f"{_accepted_meters(scene)}/{len(scene.spec.meters)}",
        "meters": [_meter_entry(scene, meter) for meter in scene.spec.meters],
        "quorum": {"members": len(scene.members), "healthy": healthy},
        "spoolDepth": floor_figure(sum(int(details.get("spool_depth", 0)) for details in answers)),
    }
    if CHAIN not in scene.observed.silences:
        entry["keys"] = [
            _key_entry(scene, name, meter.name) for name in scene.members for meter in scene.spec.meters[:1]
        ]
        own = _rows(scene.spec, scene.observed)
        disputes = words.rows(scene.observed, words.ENERGY_DISPUTES, "disputes")
        entry["openDisputes"] = sum(1 for row in disputes if row["provider_id"] in own and row["state"] == "OPEN")
        market = scene.observed.chain.records.get(words.ENERGY_MARKET, {})
        entry["pendingCreditsWh"] = str(floor_figure(words.number(market.get("totals", {}), "pending_credits_wh")))
    return entry


def _meter_entry(scene: Scene, meter: Meter) -> Object:
    name = provider_id(scene.name, meter.name)
    row = _rows(scene.spec, scene.observed).get(name, {})
    said = _meter_rows(scene)[meter.name]
    entry: Object = {
        "name": meter.name,
        "address": meter.address,
        "providerId": name,
        "providerState": str(row.get("state", "")).capitalize(),
    }
    if row:
        entry["lastTotalWh"] = str(floor_figure(words.number(row, "last_meter_wh")))
        entry["lastReadingHeight"] = floor_height(words.number(row, "last_seen_height"))
    if said:
        entry["reachable"] = all(bool(answer.get("reachable", True)) for answer in said)
    return entry


def _key_entry(scene: Scene, name: str, meter: str) -> Object:
    keys = _keys(scene.observed, provider_id(scene.name, meter), name)
    if not keys:
        return {"oracleId": name, "state": "Waiting"}
    newest = keys[-1]
    return {
        "oracleId": name,
        "version": int(newest["key_version"]),
        "fingerprint": str(newest["public_key"])[:16],
        "state": "Active" if words.number(newest, "active_from") <= scene.observed.chain.height else "Staged",
        "activeFromHeight": words.number(newest, "active_from"),
    }


def wants(spec: Spec, observed: Observed) -> Wants:
    ids = [provider_id(observed.resource.name, meter.name) for meter in spec.meters]
    queries = (
        Query(words.ENERGY_PROVIDERS, {"after": "", "limit": 0}, ("providers", "provider_id")),
        Query(words.ENERGY_MARKET),
        Query(words.ENERGY_DISPUTES, {"open_only": True}),
        *(Query(words.ENERGY_PROVIDER, {"provider_id": name}, key=f"{words.ENERGY_PROVIDER}/{name}") for name in ids),
    )
    return replace(lifecycle.wants(LIFE, spec, observed), queries=queries)


CONDITIONS = (
    *kind.MEMBER_CONDITIONS,
    "ProvidersRegistered",
    "TermsInSync",
    "KeysRegistered",
    "KeysLoaded",
    "QuorumHealthy",
    "MetersReachable",
    "SubmitHealthy",
    "Rehearsal",
    "Ready",
)
JUDGEMENT = Judgement(
    conditions=conditions,
    ready={
        "ProvidersRegistered": "ProviderNotRegistered",
        "KeysRegistered": "KeysNotRegistered",
        "QuorumHealthy": "QuorumUnhealthy",
        "MetersReachable": "MetersUnreachable",
    },
    fields=fields,
    member_fields=lambda scene, name: {},
    tolerates=frozenset({"PolicyDrift"}),
    trouble=trouble,
)
KIND = Kind(
    name="EnergyOracle",
    plural="energyoracles",
    short_name="eo",
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
