"""ComputeProvider: members that offer compute units and compute them on an accelerator or on the CPU."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import msgspec
from msgspec import UNSET

from theblock_operator import members as member_module
from theblock_operator import names
from theblock_operator.acts import ChainCall
from theblock_operator.events import Reason
from theblock_operator.kinds import accelerator, judging, kind, lifecycle
from theblock_operator.kinds import chain_names as words
from theblock_operator.kinds import network_spec as networks
from theblock_operator.kinds.accelerator import Side
from theblock_operator.kinds.compute_spec import COLUMNS, RULES, Spec, StatusFields
from theblock_operator.kinds.judging import Judgement
from theblock_operator.kinds.kind import Kind, parse_bytes
from theblock_operator.kinds.lifecycle import Life, Scene, Standing
from theblock_operator.members import Member, Prover, Scheduling
from theblock_operator.objects import policy
from theblock_operator.observed import CHAIN, NODES, SILENCE_SECONDS, MemberFacts, Object, Observed, Query, Wants
from theblock_operator.status import Condition, Status, floor_figure

DETAILS = (
    "backend",
    "self_check",
    "devices",
    "running",
    "queued",
    "units_per_second",
    "courier_pending",
    "courier_dead",
    "last_proof",
)
"""What a member says of itself. `self_check`: passed, running, failed, missing; `devices`: rows as in the status;
`last_proof`: `circuit`, `backend`, `milliseconds` and `at_ms`, or nothing."""


# The chain.


def stand(spec: Spec, observed: Observed, name: str) -> Standing:
    if CHAIN in observed.silences:
        return Standing()
    key = observed.keys.get(names.node_key(spec, name))
    wanted = int(spec.stake)
    row = words.row_of(observed, words.COMPUTE_PROVIDERS, "providers", "provider_id", name)
    owner = observed.keys.get(names.owner_key(spec, observed.resource.name))
    if row is not None and owner is not None and row["owner"] != owner.address:
        text = f"provider {name} has another owner"
        return Standing(known=True, exited=True, reason="IdTaken", message=text)
    held = 0 if row is None else words.number(row, "bond")
    is_in = row is not None and not row.get("retired")
    if row is not None and not is_in and held:
        text = f"the bond of {name} is still unbonding"
        return Standing(known=True, exited=True, message=text, reusable=False, state="Unbonding")
    if key is None:
        return Standing(known=True, exited=not is_in, on_chain=is_in, missing=wanted)

    def call(command: str, args: dict[str, Any], why: str, event: Reason | None) -> ChainCall:
        signer = names.owner_key(spec, observed.resource.name)
        return lifecycle.chain_call(
            observed, name, command, {"provider_id": name, **args}, signer=signer, why=why, event=event
        )

    enter: list[ChainCall] = []
    terms = {"member_key": key.public_key, "bond": str(max(held, wanted))}
    if row is None or not is_in or not words.same(row, terms):
        event = Reason.StakeBonded if is_in else Reason.Registered
        enter.append(call(words.COMPUTE_REGISTER, terms, f"terms of {name}", event))
    offers = _offers(observed, name)
    offered = {str(lane["lane"]): lane for lane in offers}
    lanes = {lane.upper() for lane in spec.lanes}
    facts = observed.members.get(name)
    is_checked = facts is None or facts.status is None or facts.status.details.get("self_check", "passed") == "passed"
    if set(offered) - lanes:
        enter.append(call(words.COMPUTE_WITHDRAW, {}, f"{name} leaves a lane", Reason.TermsUpdated))
    elif is_checked:
        for lane in sorted(lanes):
            asked = offer_of(spec, lane, healthy_share(observed, name))
            if lane not in offered or not words.same(offered[lane], asked):
                enter.append(call(words.COMPUTE_OFFER, asked, f"offer of {name}", Reason.TermsUpdated))
    leave: list[ChainCall] = []
    if offers:
        leave.append(call(words.COMPUTE_WITHDRAW, {}, f"{name} takes no new slices", None))
    elif is_in and row is not None and not words.number(row, "running"):
        leave.append(call(words.COMPUTE_RETIRE, {}, f"{name} leaves", Reason.UnbondStarted))
    return Standing(
        known=True,
        on_chain=is_in,
        serving=is_in and not enter and is_checked,
        missing=max(0, wanted - held),
        bonded=held,
        load=0 if row is None else words.number(row, "running"),
        enter=tuple(enter),
        at_once=True,
        leave=tuple(leave),
        exited=not is_in,
        state="Active" if is_in else "",
    )


def offer_of(spec: Spec, lane: str, share: tuple[int, int]) -> dict[str, Any]:
    """Units in proportion to the healthy devices, rounded down, at least one."""
    healthy, total = share
    units = max(1, spec.offer.units_per_epoch * healthy // total)
    return {
        "lane": lane,
        "price_per_unit": spec.offer.price_per_unit,
        "units_per_epoch": str(units),
        "bond_per_unit": spec.offer.bond_per_unit,
    }


def healthy_share(observed: Observed, name: str) -> tuple[int, int]:
    """(healthy, all) devices of a member that computes on devices; (1, 1) on the CPU."""
    facts = observed.members.get(name)
    if facts is None or facts.status is None or facts.status.details.get("backend") != "cuda":
        return 1, 1
    devices = facts.status.details.get("devices", ())
    healthy = sum(1 for device in devices if device.get("health", "Healthy") != "Quarantined")
    return (healthy, len(devices)) if devices else (1, 1)


def _offers(observed: Observed, name: str) -> list[Object]:
    return [row for row in words.rows(observed, words.COMPUTE_PROVIDERS, "offers") if row["provider_id"] == name]


def wait_exit(scene: Scene, name: str) -> str:
    row = words.row_of(scene.observed, words.COMPUTE_PROVIDERS, "providers", "provider_id", name)
    if row is not None and words.number(row, "running") and not _offers(scene.observed, name):
        return "slices are still running"
    return ""


def wait_roll(scene: Scene, name: str) -> str:
    """A running slice is not killed for a roll before its deadline, which is at most the drain deadline away."""
    facts = scene.facts(name)
    if facts.draining_since is None or facts.status is None:
        return ""
    is_overdue = scene.now - facts.draining_since >= scene.spec.drain_deadline_seconds
    if not facts.status.details.get("drained") and not is_overdue:
        return "slices are still running"
    return ""


# Pods.


def settings(spec: Spec, observed: Observed, ordinal: int) -> Object:
    """What a member is told; the offer is the chain's to know, so other terms need no new pod."""
    name = names.member(observed.resource.name, ordinal)
    layout = member_module.paths(
        observed.layout, name, observed.resource.name, spec.network, observed.resource.namespace
    )
    return {
        "lanes": list(spec.lanes),
        "workloads": list(spec.workloads),
        "prover": {
            "socket": f"{layout.run}/prover.sock",
            "backend": spec.prover.backend,
            "self_check": spec.prover.self_check,
            "cache_bytes": parse_bytes(spec.prover.cache_size),
        },
    }


def parts(spec: Spec, observed: Observed, member: Member, now: int) -> Member:
    """Put the prover beside the node, on the side that is right now."""
    side = side_of(spec, observed, member.name, now)
    on_device = side is not None and side.side == accelerator.DEVICE
    backend = spec.prover.backend
    if not on_device and backend in ("auto", "cuda"):
        backend = "native"
    prover_config = {**member.config["settings"]["prover"], "backend": backend}
    config = {**member.config, "settings": {**member.config["settings"], "prover": prover_config}}
    resources = lifecycle.container(
        spec.prover_resources, {"cpu": "250m", "memory": "512Mi"}, {"cpu": "2", "memory": "4Gi"}
    )
    prover = Prover(
        {**prover_config, "metrics": member_module.PROVER_METRICS_PORT, "host": config["listen"]["host"]},
        observed.prover_image or member.image,
        resources,
    )
    if spec.accelerator is UNSET or side is None:
        return replace(member, config=config, prover=prover)
    if on_device:
        prover = replace(prover, device=spec.accelerator.resource, device_count=spec.accelerator.count)
    return replace(
        member,
        config=config,
        prover=prover,
        workload_annotations={**member.workload_annotations, **side.annotations},
        scheduling=_toward_device(spec, member.scheduling) if on_device else member.scheduling,
    )


def side_of(spec: Spec, observed: Observed, name: str, now: int) -> Side | None:
    """None where no accelerator is asked for."""
    if spec.accelerator is UNSET:
        return None
    facts = observed.members.get(name) or MemberFacts(name, names.split_member(name)[1])
    nodes = None if NODES in observed.silences else observed.nodes
    return accelerator.decide(spec.accelerator, facts, nodes, now)


def _toward_device(spec: Spec, scheduling: Scheduling) -> Scheduling:
    assert spec.accelerator is not UNSET
    tolerations = tuple(msgspec.to_builtins(toleration) for toleration in spec.accelerator.tolerations)
    return replace(
        scheduling,
        node_selector={**scheduling.node_selector, **spec.accelerator.node_selector},
        tolerations=(*scheduling.tolerations, *tolerations),
    )


def shared(scene: Scene) -> list[Object]:
    resource, network = scene.observed.resource, scene.observed.network
    assert network is not None
    objects = [policy.service_account(resource, network.name)]
    replicas = scene.spec.replicas
    if replicas > 1:
        objects.append(policy.member_budget(resource, network.name, replicas - max(1, replicas // 4)))
    if msgspec.convert(network.spec, networks.Spec).network_policy.enabled:
        objects.append(policy.network_policy(resource, network.name, has_prover=True))
    return objects


LIFE = Life(
    role="compute_provider",
    priority_class="theblock-compute",
    requests={"cpu": "50m", "memory": "192Mi"},
    limits={"cpu": "2", "memory": "1Gi"},
    volume_size=lambda spec: "2Gi",
    grace_seconds=120,
    settings=settings,
    stand=stand,
    shared=shared,
    parts=parts,
    wait_exit=wait_exit,
    wait_roll=wait_roll,
    drains_to_roll=True,
)


# Status.


def _details(scene: Scene, name: str) -> Object | None:
    status = scene.facts(name).status
    return None if status is None else dict(status.details)


def _answers(scene: Scene) -> list[Object]:
    return [details for name in scene.members if (details := _details(scene, name)) is not None]


def conditions(scene: Scene) -> list[Condition]:
    return [_prover(scene), _accelerator(scene), _courier(scene)]


def _prover(scene: Scene) -> Condition:
    for name in scene.members:
        details = _details(scene, name)
        if details is None:
            since = scene.facts(name).silent_since
            if since is not None and scene.now - since >= SILENCE_SECONDS:
                return Condition("ProverReady", "Unknown", "NoAnswer", f"{name} does not answer")
            return Condition("ProverReady", "Unknown", "Starting")
        said = details.get("self_check", "passed")
        if said == "failed":
            return Condition("ProverReady", "False", "SelfCheckFailed", f"the prover of {name} computes wrongly")
        if said == "missing":
            return Condition("ProverReady", "False", "BackendMissing", f"the prover of {name} has no back end")
        if said != "passed":
            return Condition("ProverReady", "False", "Starting", f"the prover of {name} checks itself")
    return Condition("ProverReady", "True", "SelfCheckPassed")


def _accelerator(scene: Scene) -> Condition:
    def say(status: Any, reason: str, message: str = "") -> Condition:
        return Condition("AcceleratorDegraded", status, reason, message)

    if scene.spec.accelerator is UNSET:
        return say("False", "NotRequested")
    hint = " (nodes are not readable)" if NODES in scene.observed.silences else ""
    for name in scene.members:
        side = side_of(scene.spec, scene.observed, name, scene.now)
        if side is not None and side.reason:
            where = "computes on the CPU" if side.side == accelerator.CPU else "waits for a device"
            return say("True", side.reason, f"{name} {where}{hint}")
    is_starting, is_moving = False, False
    for name in scene.members:
        details = _details(scene, name)
        if details is None or scene.facts(name).pod is None or details.get("self_check", "passed") != "passed":
            is_starting = True
            continue
        if not scene.is_current(name):
            is_moving = True
            continue
        bad = [device for device in details.get("devices", ()) if device.get("health") == "Quarantined"]
        is_off_device = details.get("backend", "cuda") != "cuda" and scene.spec.prover.backend in ("auto", "cuda")
        if bad or is_off_device:
            reason = "SelfCheckFailed" if bad and bad[0].get("reason") == "SelfCheckFailed" else "DeviceUnhealthy"
            why = f": {details['fallback_reason']}" if details.get("fallback_reason") else ""
            what = f"computes on the CPU in place{why}" if is_off_device else "has a device in quarantine"
            return say("True", reason, f"{name} {what}{hint}")
    if is_moving:
        return judging.hold(scene.observed.resource, "AcceleratorDegraded")
    if is_starting:
        return say("Unknown", "Starting")
    return say("False", "OnDevice", hint.strip())


def _courier(scene: Scene) -> Condition:
    answers = _answers(scene)
    if any(int(details.get("courier_dead", 0)) for details in answers):
        return Condition("CourierBacklog", "True", "DeadLetters", "results were given up")
    if any(details.get("courier_growing") for details in answers):
        return Condition("CourierBacklog", "True", "Growing", "results wait to be submitted")
    return Condition("CourierBacklog", "False", "Keeping")


def news(before: Mapping[str, Condition], after: Status) -> Iterator[tuple[Reason, str]]:
    """Members went to the CPU, or are all on their devices again."""
    was, said = before.get("AcceleratorDegraded"), after.condition("AcceleratorDegraded")
    if was is not None and (was.status, was.reason) == (said.status, said.reason):
        return
    if said.status == "True" and after.condition("Ready").reason != "AcceleratorUnavailable":
        devices = [device for member in after.fields.get("members", ()) for device in member.get("devices", ())]
        is_quarantined = any(device["health"] == "Quarantined" for device in devices)
        is_in_place = said.reason in ("DeviceUnhealthy", "SelfCheckFailed")
        reason = Reason.DeviceQuarantined if is_in_place and is_quarantined else Reason.ProverFallback
        yield reason, f"{said.reason}: {said.message}"
    elif said.reason == "OnDevice":
        yield Reason.ProverOnDevice, "all members compute on their devices"


def trouble(scene: Scene) -> tuple[str, str] | None:
    if scene.spec.accelerator is UNSET or scene.spec.accelerator.fallback != "None":
        return None
    for name in scene.members:
        side = side_of(scene.spec, scene.observed, name, scene.now)
        if side is not None and side.reason:
            return "AcceleratorUnavailable", f"{name} waits for a device and has no fallback"
    return None


def fields(scene: Scene) -> Object:
    answers = _answers(scene)
    backends = sorted({str(details["backend"]) for details in answers if details.get("backend")})
    entry: Object = {}
    if backends:
        entry["backendActive"] = backends[0] if len(backends) == 1 else "mixed"
        entry["deviceCount"] = sum(len(details.get("devices", ())) for details in answers)
        entry["unitsPerSecond"] = floor_figure(sum(int(details.get("units_per_second", 0)) for details in answers))
        entry["courier"] = {
            "pending": floor_figure(sum(int(details.get("courier_pending", 0)) for details in answers)),
            "dead": sum(int(details.get("courier_dead", 0)) for details in answers),
        }
    proofs = [details["last_proof"] for details in answers if details.get("last_proof")]
    if proofs:
        last = max(proofs, key=lambda proof: int(proof["at_ms"]))
        entry["lastProof"] = {
            "circuit": str(last["circuit"]),
            "backend": str(last["backend"]),
            "milliseconds": int(last["milliseconds"]),
        }
    if CHAIN in scene.observed.silences:
        # A chain that is silent for a moment is no news; one that stays silent is not guessed at.
        is_brief = not scene.observed.is_silent(CHAIN, scene.now)
        before = scene.observed.resource.status if is_brief else {}
        entry |= {name: before[name] for name in ("jobs", "reputation", "bond") if name in before}
    else:
        rows = [
            row
            for row in words.rows(scene.observed, words.COMPUTE_PROVIDERS, "providers")
            if row["provider_id"] in scene.members
        ]
        entry["jobs"] = {
            "running": sum(words.number(row, "running") for row in rows),
            "queued": sum(int(details.get("queued", 0)) for details in answers),
            "settled": floor_figure(sum(words.number(row, "settled") for row in rows)),
            "violated": sum(words.number(row, "violated") for row in rows),
        }
        if rows:
            entry["reputation"] = min(words.number(row, "reputation") for row in rows)
            entry["bond"] = str(sum(words.number(row, "bond") for row in rows))
    return entry


def member_fields(scene: Scene, name: str) -> Object:
    details = _details(scene, name)
    if details is None:
        return {"providerId": name}
    entry: Object = {"providerId": name}
    if details.get("backend"):
        entry["backend"] = str(details["backend"])
    devices = details.get("devices", ())
    if devices:
        entry["devices"] = [_device(device) for device in devices[:16]]
    return entry


def _device(device: Object) -> Object:
    entry = {
        "index": int(device.get("index", 0)),
        "model": str(device.get("model", "")),
        "memoryMiB": int(device.get("memory_mib", 0)),
        "health": str(device.get("health", "Healthy")),
    }
    return {**entry, "reason": str(device["reason"])} if device.get("reason") else entry


def wants(spec: Spec, observed: Observed) -> Wants:
    query = Query(words.COMPUTE_PROVIDERS, {"after": "", "limit": 0}, ("providers", "provider_id"))
    return replace(lifecycle.wants(LIFE, spec, observed), queries=(query,))


CONDITIONS = (*kind.MEMBER_CONDITIONS, "ProverReady", "AcceleratorDegraded", "CourierBacklog", "Ready")
JUDGEMENT = Judgement(
    conditions=conditions,
    ready={"ProverReady": "ProverUnready"},
    fields=fields,
    member_fields=member_fields,
    trouble=trouble,
)
KIND = Kind(
    name="ComputeProvider",
    plural="computeproviders",
    short_name="cp",
    spec=Spec,
    rules=RULES,
    columns=COLUMNS,
    status=StatusFields,
    conditions=CONDITIONS,
    wants=wants,
    members=lambda spec, observed, now: lifecycle.members(LIFE, spec, observed, now),
    plan=lambda spec, observed, now: lifecycle.plan(LIFE, spec, observed, now),
    judge=lambda spec, observed, now: judging.judge(LIFE, JUDGEMENT, CONDITIONS, spec, observed, now),
    news=news,
)
