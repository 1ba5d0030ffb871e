"""The side of one member, from what is seen of its pod and of the nodes."""

import pytest
from theblock_operator import names
from theblock_operator.kinds import accelerator
from theblock_operator.kinds.accelerator import CPU, DEVICE, Side
from theblock_operator.kinds.compute_spec import Accelerator
from theblock_operator.observed import MemberFacts, Node, Pod, Workload

NOW = 1_790_000_000
RESOURCE = "nvidia.com/gpu"
WANTED = Accelerator(fallback_after_seconds=20, return_after_seconds=60)
LABELS = {"theblock.dev/accelerator": "true"}


def node(count, requested=0, **more):
    return Node("two", LABELS, allocatable={RESOURCE: count}, requested={RESOURCE: requested}, **more)


BARE, FREE, FULL = Node("two", LABELS), node(1), node(1, 1)
COVERED = node(1, schedulable=False)


def facts(*, waits=None, side=None, changed=0, free_since=None, reason="", placed=False):
    """A member whose pod has waited so many seconds, or runs; and what its workload remembers."""
    notes = {names.ACCELERATOR_SIDE: side, names.ACCELERATOR_CHANGED: str(changed)} if side else {}
    if free_since is not None:
        notes[names.ACCELERATOR_FREE_SINCE] = str(free_since)
    if reason:
        notes[names.ACCELERATOR_REASON] = reason
    pod = Pod("p", NOW, node="two" if placed else "", unschedulable_since=None if waits is None else NOW - waits)
    return MemberFacts("c-0", 0, Workload("w", "r", 1, NOW, notes), pod)


@pytest.mark.parametrize(
    ("seen", "nodes", "side", "reason"),
    [
        pytest.param({}, [Node("one")], CPU, "NoAcceleratorNodes", id="no-node-at-once"),
        pytest.param({}, [COVERED], CPU, "NoAcceleratorNodes", id="cordoned"),
        pytest.param({"waits": 19}, [BARE], DEVICE, "", id="no-plugin-not-yet"),
        pytest.param({"waits": 20}, [BARE], CPU, "DevicePluginMissing", id="no-plugin"),
        pytest.param({"waits": 19}, [FULL], DEVICE, "", id="taken-not-yet"),
        pytest.param({"waits": 20}, [FULL], CPU, "Unschedulable", id="taken"),
        pytest.param({"waits": 20}, None, CPU, "Unschedulable", id="nodes-unreadable"),
        pytest.param({"placed": True}, [BARE], DEVICE, "", id="runs-though-the-plugin-went"),
        pytest.param({"placed": True}, [Node("one")], DEVICE, "", id="runs-though-the-label-went"),
    ],
)
def test_a_member_leaves_the_device_when_it_cannot_have_one(seen, nodes, side, reason):
    decided = accelerator.decide(WANTED, facts(**seen), nodes, NOW)

    assert (decided.side, decided.reason) == (side, reason)


@pytest.mark.parametrize(
    ("changed", "free_since", "nodes", "side"),
    [
        pytest.param(60, 60, [FREE], DEVICE, id="free-for-long-enough"),
        pytest.param(60, 59, [FREE], CPU, id="free-since-lately"),
        pytest.param(59, 60, [FREE], CPU, id="changed-lately"),
        pytest.param(60, 60, [FULL], CPU, id="taken-again"),
        pytest.param(60, 60, [BARE], CPU, id="gone-again"),
        pytest.param(60, 60, None, CPU, id="nodes-unreadable"),
    ],
)
def test_a_member_goes_back_when_a_device_was_free_for_a_while(changed, free_since, nodes, side):
    seen = facts(side=CPU, changed=NOW - changed, free_since=NOW - free_since, placed=True)

    assert accelerator.decide(WANTED, seen, nodes, NOW).side == side


def test_the_wait_for_the_device_begins_anew_when_it_goes():
    seen = facts(side=CPU, changed=NOW - 90, free_since=NOW - 59, placed=True)

    assert accelerator.decide(WANTED, seen, [FULL], NOW).free_since is None
    assert accelerator.decide(WANTED, facts(side=CPU, changed=1, placed=True), [FREE], NOW).free_since == NOW


@pytest.mark.parametrize(
    ("nodes", "reason"),
    [([BARE], "DevicePluginMissing"), ([FREE], "Asked"), ([FULL], "Asked"), ([Node("one")], "NoAcceleratorNodes")],
    ids=["no-plugin", "free", "taken", "no-node"],
)
def test_on_the_cpu_the_reason_is_what_is_missing_or_what_was(nodes, reason):
    seen = facts(side=CPU, changed=NOW, reason="Asked", placed=True)

    decided = accelerator.decide(WANTED, seen, nodes, NOW)

    assert decided.reason == reason
    assert decided.annotations[names.ACCELERATOR_REASON] == reason


def test_without_a_fallback_it_stays_and_says_why():
    wanted = Accelerator(fallback="None", fallback_after_seconds=20)

    decided = accelerator.decide(wanted, facts(waits=20), [BARE], NOW)

    assert decided == Side(DEVICE, "DevicePluginMissing")
    assert names.ACCELERATOR_REASON not in decided.annotations
