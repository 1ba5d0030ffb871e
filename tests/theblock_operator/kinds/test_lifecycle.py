"""Plans carried out in a toy world: they end where the spec says, and never do what may not be done."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from theblock_operator import acts
from theblock_operator.kinds import lifecycle
from theblock_operator.observed import API, CHAIN, Node

from tests.theblock_operator import world as worlds
from tests.theblock_operator.world import Forbidden, World

KEYS = [
    ("Network", "starter"),
    ("Validator", "validators"),
    ("StorageProvider", "storage"),
    ("ComputeProvider", "compute"),
    ("EnergyOracle", "solar"),
    ("Bridge", "bitcoin"),
]


@pytest.fixture
def world() -> World:
    made = World().load()
    made.settle()
    return made


def readiness(world: World) -> dict[str, str]:
    return {f"{kind}/{name}": worlds.ready(resource) for (kind, name), resource in world.resources.items()}


def test_starter_becomes_ready(world):
    assert readiness(world) == {f"{kind}/{name}": "True Serving" for kind, name in KEYS}
    assert sorted(world.members) == [
        "bitcoin-0",
        "compute-0",
        "solar-0",
        "starter-explorer-0",
        "storage-0",
        "storage-1",
        "storage-2",
        "validators-0",
        "validators-1",
        "validators-2",
        "validators-3",
    ]
    assert world.resources["Network", "starter"].status["genesisHash"] == "beef"


def test_a_settled_world_is_left_alone(world):
    before = world.print()

    for _ in range(5):
        world.round()

    assert world.print() == before


@pytest.mark.parametrize(
    ("kind", "name", "up", "down"),
    [
        pytest.param("Validator", "validators", 5, 4, id="validators"),
        pytest.param("StorageProvider", "storage", 5, 3, id="storage"),
        pytest.param("ComputeProvider", "compute", 3, 0, id="compute"),
        pytest.param("EnergyOracle", "solar", 3, 1, id="oracles"),
        pytest.param("Bridge", "bitcoin", 2, 1, id="relayers"),
    ],
)
def test_scaling_up_and_down(world, kind, name, up, down):
    world.change(kind, name, replicas=up)
    world.settle()
    assert world.resources[kind, name].status["readyReplicas"] == up
    assert worlds.ready(world.resources[kind, name]) == "True Serving"

    world.change(kind, name, replicas=down)
    world.settle()

    assert sorted(member for member in world.members if member.startswith(f"{name}-")) == [
        f"{name}-{ordinal}" for ordinal in range(down)
    ]
    assert worlds.ready(world.resources[kind, name]) == "True Serving"


def test_what_a_command_under_way_takes_is_not_filled_again(world):
    world.lag = 5
    world.change("ComputeProvider", "compute", replicas=2)
    calls: list[acts.ChainCall] = []
    for _ in range(30):
        world.round()
        sent = [act for _, act in world.log if isinstance(act, acts.ChainCall)]
        calls = [act for act in sent if act.args.get("provider_id") == "compute-1"]
        if calls:
            break
    owner = world.keys[calls[0].signer].address
    world.accounts[owner] = 7  # As the head says already, while no final block shows the new provider.
    length = len(world.log)

    world.reconcile("ComputeProvider", "compute")

    assert not [act for _, act in world.log[length:] if isinstance(act, acts.Transfer) and act.to == owner]
    assert world.condition("ComputeProvider", "compute", "Funded") == ("True", "Sufficient")


def test_a_storage_member_leaves_only_when_its_shards_have(world):
    world.rows["storage"]["storage-2"] |= {"slots_held": 6, "used_bytes": 10}
    world.change("StorageProvider", "storage", replicas=2)

    for _ in range(5):
        world.round()
    assert world.rows["storage"]["storage-2"]["maintenance"]
    assert world.condition("StorageProvider", "storage", "Draining") == ("True", "HandingOver")
    assert "storage-2" in world.members

    world.settle()
    assert "storage-2" not in world.members
    assert "data-storage-2-0" not in world.volumes


def test_a_storage_member_that_nobody_can_replace_stays(world):
    for row in world.rows["storage"].values():
        row |= {"slots_held": 3, "used_bytes": 2**30}
    world.change("StorageProvider", "storage", replicas=2)

    world.settle()

    assert world.condition("StorageProvider", "storage", "Progressing") == ("False", "ScaleBlocked")
    assert not world.rows["storage"]["storage-2"]["maintenance"]
    assert "storage-2" in world.members


def test_a_new_image_rolls_one_at_a_time(world):
    uids = {name: state.pod.uid for name, state in world.members.items()}
    away = 0
    world.change("Network", "starter", image="theblock-node:0.2.0")

    for _ in range(120):
        world.round()
        down = [
            name
            for name, state in world.members.items()
            if name.startswith("validators-") and not (state.pod and state.pod.ready)
        ]
        away = max(away, len(down))

    assert all(state.pod.uid != uids[name] for name, state in world.members.items())
    assert all(state.member.image == "theblock-node:0.2.0" for state in world.members.values())
    assert away == 1


def test_deleting_all_leaves_only_keys(world):
    for kind, name in KEYS:
        world.delete(kind, name)

    world.settle()

    assert not world.resources
    assert not world.members
    assert any(ref.secret == "validators-owner" for ref in world.keys)


def test_a_deleted_provider_leaves_the_chain_first(world):
    for kind, name in KEYS[2:]:
        world.delete(kind, name)

    world.settle()

    assert list(world.resources) == KEYS[:2]
    assert all(row["retired"] for domain in ("storage", "compute", "bridge") for row in world.rows[domain].values())
    assert {row["state"] for row in world.rows["energy"].values()} == {"UNBONDING"}


def test_a_retained_provider_stays_on_the_chain(world):
    world.change("ComputeProvider", "compute", deletionPolicy="Retain")
    world.settle()
    world.delete("ComputeProvider", "compute")

    world.settle()

    assert "compute-0" not in world.members
    assert not world.rows["compute"]["compute-0"]["retired"]


def test_the_last_validators_stay_until_the_network_goes(world):
    world.delete("Validator", "validators")
    for _ in range(200):
        world.round()
    assert len([name for name in world.members if name.startswith("validators-")]) == 1
    assert world.condition("Validator", "validators", "Progressing") == ("False", "ScaleBlocked")

    for kind, name in KEYS:
        if (kind, name) in world.resources:
            world.delete(kind, name)
    world.settle()
    assert not world.members


def test_forced_exit_ends_the_wait(world):
    world.rows["compute"]["compute-0"]["running"] = 1
    world.delete("ComputeProvider", "compute")
    for _ in range(20):
        world.round()
    assert "compute-0" in world.members

    world.annotate("ComputeProvider", "compute", force_exit="somebody else")
    world.round()
    assert "compute-0" in world.members
    world.annotate("ComputeProvider", "compute", force_exit=world.resources["ComputeProvider", "compute"].uid)
    with pytest.raises(Forbidden, match="before its exit is final"):
        world.round()


def test_a_lost_volume_raises_the_fence_once(world):
    key = world.members["validators-1"].member.key
    state = world.members["validators-1"]
    del world.volumes["data-validators-1-0"]
    state.pod = None

    world.settle()

    assert world.keys[key].fence.epoch == 2
    assert state.member.config["fencing_epoch"] == 2
    assert world.events.count("MemberReplaced") == 1


def test_a_forced_replacement_comes_with_a_higher_fence(world):
    state = world.members["validators-2"]
    uid = state.pod.uid
    world.annotate("Validator", "validators", force_replace=uid)

    world.settle()

    forced = [act for _, act in world.log if isinstance(act, acts.DeletePod)]
    assert forced == [acts.DeletePod("validators-2", uid, force=True)]
    assert state.pod.uid != uid
    assert world.keys[state.member.key].fence.epoch == 2
    assert state.member.fencing_epoch == 2


def test_a_member_without_device_falls_back_and_returns(world):
    assert world.members["compute-0"].member.prover.device == ""
    assert world.condition("ComputeProvider", "compute", "AcceleratorDegraded") == ("True", "NoAcceleratorNodes")

    labels = {"theblock.dev/accelerator": "true"}
    world.nodes = (Node("one"), Node("two", labels, allocatable={"nvidia.com/gpu": 1}))
    for _ in range(330):
        world.round()
    assert world.members["compute-0"].member.prover.device == "nvidia.com/gpu"
    assert world.members["compute-0"].pod.node == "two"
    assert world.condition("ComputeProvider", "compute", "AcceleratorDegraded") == ("False", "OnDevice")


def test_a_waiting_pod_falls_back_when_devices_are_taken(world):
    labels = {"theblock.dev/accelerator": "true"}
    full = Node("two", labels, allocatable={"nvidia.com/gpu": 1}, requested={"nvidia.com/gpu": 1})
    world.nodes = (Node("one"), full)
    world.change("ComputeProvider", "compute", replicas=2)

    for _ in range(60):
        world.round()

    assert world.members["compute-1"].member.prover.device == ""
    assert world.members["compute-1"].pod.node == "one"


def test_paused_resources_are_only_watched(world):
    world.annotate("StorageProvider", "storage", paused="true")
    world.change("StorageProvider", "storage", replicas=1)
    length = len(world.log)

    for _ in range(10):
        world.round()

    assert not [act for owner, act in world.log[length:] if owner == "StorageProvider/storage"]
    assert world.condition("StorageProvider", "storage", "Paused") == ("True", "Annotated")


@pytest.mark.parametrize("source", [API, CHAIN])
def test_silence_destroys_nothing_and_is_told(world, source):
    world.change("Validator", "validators", replicas=5)
    world.settle()
    for kind, name, count in [("Validator", "validators", 4), ("StorageProvider", "storage", 0)]:
        world.change(kind, name, replicas=count)
    world.change("Network", "starter", image="theblock-node:0.2.0")
    world.silent[source] = world.now
    length = len(world.log)

    for _ in range(40):
        world.round()

    assert not [act for _, act in world.log[length:] if isinstance(act, acts.DESTRUCTIVE)]
    assert world.condition("Validator", "validators", "Ready") == ("Unknown", "NoAnswer")


def test_watch_finds_a_planner_that_forgets_the_chain(world, monkeypatch):
    real = lifecycle.look

    def careless(*args):
        scene = real(*args)
        done = {name: replace(standing, exited=True) for name, standing in scene.standings.items()}
        return replace(scene, standings=done)

    monkeypatch.setattr(lifecycle, "look", careless)
    world.change("Validator", "validators", tolerateFaults=0, replicas=3)
    with pytest.raises(Forbidden, match="before its exit is final"):
        world.settle()


def test_watch_finds_a_planner_that_does_not_wait(world, monkeypatch):
    from theblock_operator.kinds import validator

    monkeypatch.setattr(validator, "KIND", validator.KIND)
    hasty = replace(validator.LIFE, wait_leave=lambda scene, name: "")
    kind = replace(validator.KIND, plan=lambda spec, observed, now: lifecycle.plan(hasty, spec, observed, now))
    monkeypatch.setitem(worlds.BY_NAME, "Validator", kind)
    world.change("Validator", "validators", tolerateFaults=0, replicas=2)
    for name in ("validators-0", "validators-1"):
        world.members[name].pod = replace(world.members[name].pod, ready=False, trouble="CrashLooping")
    monkeypatch.setattr(World, "is_alive", property(lambda self: True))
    with pytest.raises(Forbidden, match="threshold"):
        rounds(world, 40)


def rounds(world: World, count: int) -> None:
    for _ in range(count):
        world.round()


CHANGES = st.lists(
    st.tuples(
        st.sampled_from(["scale", "crash", "kill", "lose", "silence", "image", "answer"]),
        st.integers(0, 5),
        st.integers(0, 9),
    ),
    max_size=12,
)
LEAST = {"Validator": 1, "StorageProvider": 0, "ComputeProvider": 0, "EnergyOracle": 1, "Bridge": 1}


@settings(max_examples=25, deadline=None, derandomize=True)
@given(changes=CHANGES)
def test_any_history_ends_where_the_spec_says(changes):
    world = World().load()
    for what, which, count in changes:
        disturb(world, what, which, count)
        for _ in range(1 + count):
            world.round(upto=count if what == "crash" else None)
    world.silent.clear()

    world.settle()

    assert all(state == "True Serving" for state in readiness(world).values()), readiness(world)
    for (kind, name), resource in world.resources.items():
        members = [member for member in world.members if member.rpartition("-")[0] == name]
        assert len(members) == (0 if kind == "Network" else resource.spec.get("replicas", 1))


def disturb(world: World, what: str, which: int, count: int) -> None:
    kind, name = KEYS[which]
    names = sorted(world.members)
    match what:
        case "scale" if kind != "Network":
            least = LEAST[kind] if kind != "Validator" else 4
            world.change(kind, name, replicas=max(least, count % 6))
        case "kill" if names:
            world.members[names[count % len(names)]].pod = None
        case "lose" if names and not world.silent:
            victim = names[count % len(names)]
            if world.volumes.pop(f"data-{victim}-0", None) is not None:
                world.members[victim].pod = None
        case "silence":
            world.silent.setdefault(CHAIN if count % 2 else API, world.now)
        case "answer":
            world.silent.clear()
        case "image":
            world.change("Network", "starter", image=f"theblock-node:0.{count}.0")
