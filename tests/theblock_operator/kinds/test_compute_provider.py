"""ComputeProviders scale down, move between device and CPU, and say what they proved, in a toy world."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from theblock_operator import acts
from theblock_operator.kinds import compute_provider, lifecycle
from theblock_operator.kinds.compute_spec import Spec
from theblock_operator.observed import CHAIN, Node

from tests.theblock_operator import world as worlds
from tests.theblock_operator.world import World, ready

COMPUTE = ("ComputeProvider", "compute")
LABELS = {"theblock.dev/accelerator": "true"}
WITH_DEVICE = Node("two", LABELS, allocatable={"nvidia.com/gpu": 1})
WITHOUT_DEVICE = Node("two", LABELS)
BOUND_S = 30
"""Within which work is on the CPU."""
PROOF = {"circuit": "ab" * 32, "backend": "native", "milliseconds": 41, "at_ms": 1000}


@pytest.fixture
def world() -> World:
    made = World().load()
    made.settle()
    return made


@pytest.fixture
def two(world: World) -> World:
    """Two members, each of which owes slices."""
    world.change(*COMPUTE, replicas=2)
    world.settle()
    for name in ("compute-0", "compute-1"):
        world.rows["compute"][name]["running"] = 3
    return world


@pytest.fixture
def on_device(world: World) -> World:
    world.nodes = (Node("one"), WITH_DEVICE)
    world.change(*COMPUTE, accelerator={"fallback": "CPU", "fallbackAfterSeconds": 20, "returnAfterSeconds": 60})
    rounds(world, 90)
    assert world.members["compute-0"].member.prover.device == "nvidia.com/gpu"
    assert world.condition(*COMPUTE, "AcceleratorDegraded") == ("False", "OnDevice")
    world.events.clear()
    return world


def rounds(world: World, count: int) -> None:
    for _ in range(count):
        world.round()


def lanes(world: World, member: str) -> list[str]:
    return [lane for name, lane in world.offers if name == member]


# What is told.


def test_slices_are_told_while_the_chain_is_silent_for_a_moment_and_not_when_it_stays_so(two):
    rounds(two, 1)
    told = two.resources[COMPUTE].status["jobs"]
    assert told["running"] == 6
    two.silent[CHAIN] = two.now

    rounds(two, 20)
    assert two.resources[COMPUTE].status["jobs"] == told
    rounds(two, 20)
    assert "jobs" not in two.resources[COMPUTE].status


# Scaling down.


def test_a_member_that_leaves_takes_nothing_new_and_finishes_what_it_owes(two):
    uid = two.members["compute-1"].pod.uid
    two.change(*COMPUTE, replicas=1)

    rounds(two, 30)

    assert lanes(two, "compute-1") == []
    assert two.members["compute-1"].pod.uid == uid
    assert not two.rows["compute"]["compute-1"]["retired"]
    assert two.condition(*COMPUTE, "Draining") == ("True", "HandingOver")
    assert sorted(lanes(two, "compute-0")) == ["CONSUMER", "INDUSTRIAL"]

    two.rows["compute"]["compute-1"]["running"] = 0
    two.settle()
    assert "compute-1" not in two.members
    assert two.rows["compute"]["compute-1"]["retired"]
    assert two.rows["compute"]["compute-0"]["running"] == 3


def test_no_deadline_ends_a_slice_that_the_chain_still_waits_for(two):
    uid = two.members["compute-1"].pod.uid
    two.change(*COMPUTE, replicas=1, drainDeadlineSeconds=20)

    rounds(two, 60)

    assert two.members["compute-1"].pod.uid == uid
    assert two.condition(*COMPUTE, "Draining") == ("True", "Overdue")


def test_who_owes_the_fewest_slices_leaves_first_where_the_spec_says_so(two):
    two.rows["compute"]["compute-0"]["running"] = 1
    two.change(*COMPUTE, replicas=1, scaleDownPolicy="Idle")
    rounds(two, 5)
    # The other one is done before: who has begun to leave still goes.
    two.rows["compute"]["compute-1"]["running"] = 0
    rounds(two, 30)
    assert (lanes(two, "compute-0"), len(lanes(two, "compute-1"))) == ([], 2)

    two.rows["compute"]["compute-0"]["running"] = 0
    two.settle()

    assert [name for name in two.members if name.startswith("compute-")] == ["compute-1"]
    two.change(*COMPUTE, replicas=2)
    two.settle()
    assert [name for name in sorted(two.members) if name.startswith("compute-")] == ["compute-0", "compute-1"]


def test_idle_members_leave_in_the_order_of_ordinals(two):
    for name in ("compute-0", "compute-1"):
        two.rows["compute"][name]["running"] = 0
    two.change(*COMPUTE, replicas=1, scaleDownPolicy="Idle")

    two.settle()

    assert [name for name in two.members if name.startswith("compute-")] == ["compute-0"]


def test_scaling_up_again_takes_back_who_was_leaving(two):
    two.change(*COMPUTE, replicas=1)
    rounds(two, 10)
    assert lanes(two, "compute-1") == []

    two.change(*COMPUTE, replicas=2)
    rounds(two, 40)

    assert ready(two.resources[COMPUTE]) == "True Serving"
    assert sorted(lanes(two, "compute-1")) == ["CONSUMER", "INDUSTRIAL"]


def test_a_roll_waits_for_running_slices_up_to_the_drain_deadline(two):
    uids = {name: two.members[name].pod.uid for name in ("compute-0", "compute-1")}
    two.change(*COMPUTE, drainDeadlineSeconds=40, logLevel="debug")

    rounds(two, 30)
    assert {name: two.members[name].pod.uid for name in uids} == uids

    rounds(two, 20)
    assert [two.members[name].pod.uid == uid for name, uid in uids.items()].count(True) == 1


def test_other_terms_are_told_to_the_chain_and_touch_no_pod(two):
    uids = [two.members[name].pod.uid for name in ("compute-0", "compute-1")]
    two.change(*COMPUTE, offer={"unitsPerEpoch": 5000, "pricePerUnit": "3"})

    rounds(two, 40)

    assert [two.members[name].pod.uid for name in ("compute-0", "compute-1")] == uids
    assert {(row["units_per_epoch"], row["price_per_unit"]) for row in two.offers.values()} == {("5000", "3")}


def test_the_world_finds_a_roll_that_kills_a_slice(two, monkeypatch):
    hasty = replace(compute_provider.LIFE, wait_roll=lambda scene, name: "", drains_to_roll=False)
    kind = replace(
        compute_provider.KIND,
        plan=lambda spec, observed, now: lifecycle.plan(hasty, spec, observed, now),
    )
    monkeypatch.setitem(worlds.BY_NAME, "ComputeProvider", kind)
    two.change(*COMPUTE, logLevel="debug")

    with pytest.raises(AssertionError, match="before its deadline"):
        rounds(two, 10)


# The device.


def test_a_lost_device_moves_the_member_to_the_cpu_in_time_and_back(on_device):
    world = on_device
    world.nodes = (Node("one"), WITHOUT_DEVICE)
    world.members["compute-0"].pod = None
    lost = world.now

    while not is_on_cpu(world):
        world.round()
        assert world.now - lost <= BOUND_S
    rounds(world, 3)
    assert world.condition(*COMPUTE, "AcceleratorDegraded") == ("True", "DevicePluginMissing")
    assert ready(world.resources[COMPUTE]) == "True Serving"
    assert world.events.count("ProverFallback") == 1

    world.nodes = (Node("one"), WITH_DEVICE)
    rounds(world, 55)
    assert is_on_cpu(world), "the device was not free for long enough"
    rounds(world, 20)
    assert world.members["compute-0"].member.prover.device == "nvidia.com/gpu"
    assert world.condition(*COMPUTE, "AcceleratorDegraded") == ("False", "OnDevice")
    assert world.events.count("ProverFallback") == 1
    assert world.events.count("ProverOnDevice") == 1


def is_on_cpu(world: World) -> bool:
    state = world.members["compute-0"]
    return state.member.prover.device == "" and state.pod is not None and state.pod.ready


def test_going_back_to_the_device_waits_for_running_slices(on_device):
    world = on_device
    world.nodes = (Node("one"), WITHOUT_DEVICE)
    world.members["compute-0"].pod = None
    rounds(world, 40)
    world.rows["compute"]["compute-0"]["running"] = 2
    world.nodes = (Node("one"), WITH_DEVICE)

    rounds(world, 120)
    assert world.members["compute-0"].pod.node == "one"

    world.rows["compute"]["compute-0"]["running"] = 0
    rounds(world, 20)
    assert world.members["compute-0"].pod.node == "two"


def test_a_quarantined_device_is_told_without_a_new_pod(on_device):
    world, uid = on_device, on_device.members["compute-0"].pod.uid
    world.quarantined.add("compute-0")

    rounds(world, 10)

    assert world.condition(*COMPUTE, "AcceleratorDegraded") == ("True", "SelfCheckFailed")
    assert world.members["compute-0"].pod.uid == uid
    assert world.events.count("DeviceQuarantined") == 1
    assert world.resources[COMPUTE].status["backendActive"] == "native"

    world.quarantined.clear()
    rounds(world, 10)
    assert world.condition(*COMPUTE, "AcceleratorDegraded") == ("False", "OnDevice")
    assert world.events.count("ProverOnDevice") == 1


def test_a_prover_that_finds_no_device_is_not_said_to_be_on_one(on_device, monkeypatch):
    said = {"backend": "native", "devices": [], "fallback_reason": "no driver", "drained": True}
    monkeypatch.setattr(World, "_compute_details", lambda self, member: said)

    rounds(on_device, 3)

    assert on_device.condition(*COMPUTE, "AcceleratorDegraded") == ("True", "DeviceUnhealthy")
    assert on_device.events.count("ProverFallback") == 1
    rows = on_device.resources[COMPUTE].status["conditions"]
    assert any("no driver" in row["message"] for row in rows if row["type"] == "AcceleratorDegraded")


def test_without_a_fallback_nothing_moves_and_the_resource_is_not_ready(on_device):
    world = on_device
    world.change(*COMPUTE, accelerator={"fallback": "None", "fallbackAfterSeconds": 20})
    rounds(world, 10)
    world.nodes = (Node("one"), WITHOUT_DEVICE)
    world.members["compute-0"].pod = None
    world.log.clear()

    rounds(world, 60)

    assert ready(world.resources[COMPUTE]) == "False AcceleratorUnavailable"
    assert world.condition(*COMPUTE, "AcceleratorDegraded") == ("True", "DevicePluginMissing")
    assert not [act for _, act in world.log if isinstance(act, acts.DESTRUCTIVE)]
    assert "ProverFallback" not in world.events


def told_by(*details: dict[str, Any]) -> Any:
    """Members that say ``details``, and a silent chain."""
    told = {f"cp-{index}": said for index, said in enumerate(details)}

    def facts(name: str) -> Any:
        return SimpleNamespace(status=SimpleNamespace(details=told[name]))

    observed = SimpleNamespace(silences={CHAIN}, is_silent=lambda *_: True)
    return SimpleNamespace(members=list(told), facts=facts, observed=observed, now=0)


def test_youngest_proof_of_all_members_is_shown():
    younger = {**PROOF, "at_ms": 2000, "milliseconds": 9, "backend": "cuda"}
    fields = compute_provider.fields(told_by({"last_proof": PROOF}, {"last_proof": younger}, {"last_proof": None}))
    assert fields["lastProof"] == {"circuit": "ab" * 32, "backend": "cuda", "milliseconds": 9}


def test_no_proof_is_shown_before_there_is_one():
    assert "lastProof" not in compute_provider.fields(told_by({"last_proof": None}, {}))


def test_snark_is_a_workload_and_a_misspelt_one_is_not():
    spec = {"network": "net", "stake": "1", "workloads": ["gpuHash", "snark"]}
    assert msgspec.convert(spec, Spec).workloads == ("gpuHash", "snark")
    with pytest.raises(msgspec.ValidationError, match="workloads"):
        msgspec.convert({**spec, "workloads": ["snarks"]}, Spec)
