"""StorageProvider: members that pledge bytes, hold erasure-coded shards and answer challenges."""

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
from theblock_operator.kinds.judging import Judgement
from theblock_operator.kinds.kind import Kind, parse_bytes
from theblock_operator.kinds.lifecycle import Life, Scene, Standing
from theblock_operator.kinds.storage_spec import COLUMNS, RULES, Pipeline, Spec, StatusFields
from theblock_operator.objects import policy
from theblock_operator.observed import CHAIN, Object, Observed, Query, Wants
from theblock_operator.status import Condition, floor_figure

REGION_LABEL = "topology.kubernetes.io/region"
DISK_LOW_PPM = 50_000
DISK_FULL_PPM = 10_000
PPM = 1_000_000

DETAILS = ("used_bytes", "disk_free_ppm", "proofs_missed", "proofs_overdue", "repairing", "lost", "unrecoverable")
"""What a member says of itself, besides `NodeStatus`; absent figures count as 0, an absent disk as free."""


# The chain.


def stand(spec: Spec, observed: Observed, name: str) -> Standing:
    if CHAIN in observed.silences:
        return Standing()
    key = observed.keys.get(names.node_key(spec, name))
    wanted = int(spec.stake)
    row = _row(observed, name)
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
    terms: dict[str, Any] = {
        "member_key": key.public_key,
        "region": region_of(spec, observed, name, row),
        "capacity_bytes": str(parse_bytes(spec.capacity)),
        "price_per_block": spec.price_per_block,
        "bond": str(max(held, wanted)),
    }
    agrees = row is not None and is_in and words.same(row, terms)
    in_maintenance = bool(row is not None and row.get("maintenance"))
    slots = 0 if row is None else words.number(row, "slots_held")

    def call(command: str, args: dict[str, Any], why: str, event: Reason | None) -> ChainCall:
        signer = names.owner_key(spec, observed.resource.name)
        return lifecycle.chain_call(
            observed, name, command, {"provider_id": name, **args}, signer=signer, why=why, event=event
        )

    standing = Standing(
        known=True,
        on_chain=is_in,
        serving=agrees and not in_maintenance,
        missing=max(0, wanted - held),
        bonded=held,
        exited=not is_in,
        state="Maintenance" if in_maintenance else "Active" if is_in else "",
    )
    if not agrees:
        event = Reason.TermsUpdated if is_in else Reason.Registered
        enter = call(words.STORAGE_REGISTER, terms, f"terms of {name}", event)
    else:
        enter = call(words.STORAGE_MAINTENANCE, {"on": False}, f"{name} takes shards again", None)
    leave: tuple[ChainCall, ...] = ()
    if not in_maintenance:
        leave = (call(words.STORAGE_MAINTENANCE, {"on": True}, f"{name} takes no new shards", None),)
    elif not slots:
        leave = (call(words.STORAGE_RETIRE, {}, f"{name} leaves", Reason.UnbondStarted),)
    return replace(standing, enter=() if standing.serving else (enter,), leave=leave if is_in else ())


def region_of(spec: Spec, observed: Observed, name: str, row: Object | None) -> str:
    """The spec's, else that of the node of its pod, else what the chain has, else `default`."""
    if spec.region is not UNSET:
        return spec.region
    pod = observed.members[name].pod if name in observed.members else None
    node = next((node for node in observed.nodes if pod is not None and node.name == pod.node), None)
    if node is not None and REGION_LABEL in node.labels:
        return node.labels[REGION_LABEL]
    return str(row["region"]) if row is not None else "default"


def _row(observed: Observed, name: str) -> Object | None:
    return words.row_of(observed, words.STORAGE_PROVIDERS, "providers", "provider_id", name)


def wait_leave(scene: Scene, name: str) -> str:
    """Enough others with room for what it holds."""
    row = _row(scene.observed, name)
    if row is None or not words.number(row, "slots_held"):
        return ""
    others = [
        other
        for other in words.rows(scene.observed, words.STORAGE_PROVIDERS, "providers")
        if other["provider_id"] not in scene.leaving and not other.get("retired") and not other.get("maintenance")
    ]
    room = sum(words.number(other, "capacity_bytes") - words.number(other, "used_bytes") for other in others)
    if room < words.number(row, "used_bytes") or not others:
        return "no other providers have room for what it holds"
    return ""


def wait_exit(scene: Scene, name: str) -> str:
    row = _row(scene.observed, name)
    if row is not None and row.get("maintenance") and words.number(row, "slots_held"):
        return "its shards are being moved"
    return ""


# Pods.


def settings(spec: Spec, observed: Observed, ordinal: int) -> Object:
    pipeline = spec.pipeline
    return {
        "capacity_bytes": parse_bytes(spec.capacity),
        "price_per_block": spec.price_per_block,
        "region": "default" if spec.region is UNSET else spec.region,
        "data_shards": pipeline.data_shards,
        "parity_shards": pipeline.parity_shards,
        "placement": pipeline.placement,
        "policy": pipeline.policy,
        "compression": pipeline.compression,
        "encryption": pipeline.encryption,
        "repair_interval_seconds": spec.repair.interval_seconds,
    }


def volume_size(spec: Spec) -> str:
    """A tenth more than is pledged, and a GiB for the store."""
    mebibytes = -(-parse_bytes(spec.capacity) * 11 // 10 // 2**20) + 1024
    return f"{mebibytes}Mi"


def min_available(spec: Spec) -> int:
    """So many must stay for every object to stay readable."""
    slots_each = -(-_shards(spec.pipeline) // max(1, spec.replicas))
    return spec.replicas - max(1, spec.pipeline.parity_shards // slots_each)


def _shards(pipeline: Pipeline) -> int:
    return pipeline.data_shards + pipeline.parity_shards


def shared(scene: Scene) -> list[Object]:
    resource, network = scene.observed.resource, scene.observed.network
    assert network is not None
    objects = [policy.service_account(resource, network.name)]
    if scene.spec.replicas > 1:
        objects.append(policy.member_budget(resource, network.name, min_available(scene.spec)))
    if msgspec.convert(network.spec, networks.Spec).network_policy.enabled:
        objects.append(policy.network_policy(resource, network.name, is_public=True))
    return objects


LIFE = Life(
    role="storage_provider",
    priority_class="theblock-storage",
    requests={"cpu": "50m", "memory": "192Mi"},
    limits={"cpu": "2", "memory": "1Gi"},
    volume_size=volume_size,
    grace_seconds=60,
    settings=settings,
    stand=stand,
    shared=shared,
    wait_leave=wait_leave,
    wait_exit=wait_exit,
)


# Status.


def conditions(scene: Scene) -> list[Condition]:
    return [_proofs(scene), _placement(scene), _data(scene), _disk(scene)]


def _rows(scene: Scene) -> list[Object]:
    found = (_row(scene.observed, name) for name in [*scene.members, *scene.leaving])
    return [row for row in found if row is not None]


def _said(scene: Scene, field: str) -> int:
    """The sum of a figure over the members that answer."""
    answers = (scene.facts(name).status for name in [*scene.members, *scene.leaving])
    return sum(int(status.details.get(field, 0)) for status in answers if status is not None)


def _proofs(scene: Scene) -> Condition:
    silent = judging.without_chain(scene.observed, "ProofsHealthy", scene.now)
    if silent is not None:
        return silent
    if _said(scene, "proofs_overdue"):
        return Condition("ProofsHealthy", "False", "Overdue", "a challenge is open past its time")
    if _said(scene, "proofs_missed"):
        return Condition("ProofsHealthy", "False", "Missed", "the last challenge of some replica was not answered")
    held = sum(words.number(row, "slots_held") for row in _rows(scene))
    return Condition("ProofsHealthy", "True", "Answering" if held else "NothingDue")


def _placement(scene: Scene) -> Condition:
    silent = judging.without_chain(scene.observed, "PlacementSatisfied", scene.now)
    if silent is not None:
        return silent
    pipeline = scene.spec.pipeline
    own = set(scene.members)
    count = sum(
        1
        for row in words.rows(scene.observed, words.STORAGE_PROVIDERS, "providers")
        if not row.get("retired")
        and not row.get("maintenance")
        and (pipeline.placement == "Network" or row["provider_id"] in own)
    )
    needed = _shards(pipeline)
    if count == 0 or (pipeline.policy == "default" and count < needed):
        text = f"{count} of {needed} providers that {pipeline.data_shards} + {pipeline.parity_shards} shards need"
        return Condition("PlacementSatisfied", "False", "TooFewProviders", text)
    if -(-needed // count) > pipeline.parity_shards:
        text = "one provider must hold more shards than there is parity: its loss would lose data"
        return Condition("PlacementSatisfied", "False", "CapsRelaxed", text)
    return Condition("PlacementSatisfied", "True", "Enough")


def _data(scene: Scene) -> Condition:
    if scene.members and all(scene.facts(name).status is None for name in scene.members):
        return judging.hold(scene.observed.resource, "DataSafe")
    for field, reason, text in (
        ("unrecoverable", "Unrecoverable", "some object has too few shards left"),
        ("lost", "ShardsLost", "shards are lost and not repaired yet"),
        ("repairing", "Repairing", "shards are being rebuilt"),
    ):
        if _said(scene, field):
            return Condition("DataSafe", "False", reason, text)
    return Condition("DataSafe", "True", "FullyRedundant")


def _free_ppm(scene: Scene) -> int:
    answers = (scene.facts(name).status for name in scene.members)
    return min((int(status.details.get("disk_free_ppm", PPM)) for status in answers if status is not None), default=PPM)


def _disk(scene: Scene) -> Condition:
    if _free_ppm(scene) < DISK_LOW_PPM:
        return Condition(
            "DiskPressure", "True", "AlmostFull", "a volume has less than a twentieth free: raise storage.size"
        )
    return Condition("DiskPressure", "False", "Free")


def ready_conditions(scene: Scene) -> tuple[str, str] | None:
    if _free_ppm(scene) < DISK_FULL_PPM:
        return "DiskFull", "a volume is full: raise storage.size"
    return None


def fields(scene: Scene) -> Object:
    if CHAIN in scene.observed.silences:
        return {}
    rows = _rows(scene)

    def total(field: str) -> int:
        return sum(words.number(row, field) for row in rows)

    right, wrong = total("proof_successes"), total("proof_failures")
    entry: Object = {
        "pledgedBytes": sum(words.number(row, "capacity_bytes") for row in rows if not row.get("retired")),
        "usedBytes": floor_figure(total("used_bytes")),
        "slots": {"held": total("slots_held"), "suspect": 0, "lost": _said(scene, "lost")},
        "proofs": {
            "ok": floor_figure(right),
            "missed": wrong,
            "successPpm": floor_figure(right * PPM // (right + wrong)) if right + wrong else 0,
        },
        "escrow": {"collateral": str(floor_figure(total("locked"))), "earned": "0"},
    }
    if rows:
        entry["reputation"] = min(words.number(row, "reputation") for row in rows)
    leaving = [row for row in rows if row["provider_id"] in scene.leaving]
    if leaving:
        entry["drain"] = {"slotsLeft": floor_figure(sum(words.number(row, "slots_held") for row in leaving))}
    return entry


def member_fields(scene: Scene, name: str) -> Object:
    row = _row(scene.observed, name)
    if row is None:
        return {}
    return {
        "providerId": name,
        "providerState": "Retired" if row.get("retired") else "Maintenance" if row.get("maintenance") else "Active",
        "usedBytes": floor_figure(words.number(row, "used_bytes")),
        "slots": words.number(row, "slots_held"),
    }


def wants(spec: Spec, observed: Observed) -> Wants:
    query = Query(words.STORAGE_PROVIDERS, {"after": "", "limit": 0}, ("providers", "provider_id"))
    return replace(lifecycle.wants(LIFE, spec, observed), queries=(query,))


CONDITIONS = (*kind.MEMBER_CONDITIONS, "ProofsHealthy", "PlacementSatisfied", "DataSafe", "DiskPressure", "Ready")
JUDGEMENT = Judgement(
    conditions=conditions,
    ready={"DataSafe": "DataAtRisk"},
    fields=fields,
    member_fields=member_fields,
    tolerates=frozenset({"Repairing"}),
    trouble=ready_conditions,
)
KIND = Kind(
    name="StorageProvider",
    plural="storageproviders",
    short_name="sp",
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
