"""Visits over the embedded store: every act is carried out, rest is silent, failures come back, news is told once."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from support.operated import NAMESPACE, Object, Operated, failing_first
from theblock_node.client.channel import ClientTls
from theblock_node.client.node import NodeClient
from theblock_node.rpc.server import TlsFiles
from theblock_node.sim import dev_chain as dev
from theblock_node.sim.dev_chain import DevChain, dev_chain
from theblock_operator import acts, ca, keys, kinds, names
from theblock_operator.acts import Plan, Requeue
from theblock_operator.api import Conflict, NotFound, Unavailable
from theblock_operator.chain import NetworkLink
from theblock_operator.embedded import pods
from theblock_operator.events import Reason
from theblock_operator.members import Member
from theblock_operator.objects import network as network_objects
from theblock_operator.objects import secrets
from theblock_operator.objects.labels import owner_of
from theblock_operator.observed import Fence, KeyRef, Resource
from theblock_operator.status import Condition, Status

NETWORK = ("Network", NAMESPACE, "starter")
VALIDATOR = ("Validator", NAMESPACE, "validators")
FIRST = "validators-0"
READY = Status((Condition("Ready", "True", "Fine"),))


@pytest.fixture
async def starter(tmp_path: Path) -> Operated:
    """The starter's Network and Validators, visited until there is nothing left to do without pods."""
    desk = Operated(tmp_path)
    await desk.apply_starter("Network", "Validator")
    await desk.settle(NETWORK, VALIDATOR)
    return desk


@dataclass
class Planned:
    """A kind whose plans the test writes."""

    plan: Plan = field(default_factory=Plan)
    status: Status = READY


@pytest.fixture
def planned(monkeypatch: pytest.MonkeyPatch) -> Planned:
    """Network, with the plan and the judgement of the test in place of its own."""
    said = Planned()
    kind = replace(kinds.BY_NAME["Network"], plan=lambda *_: said.plan, judge=lambda *_: said.status)
    monkeypatch.setitem(kinds.BY_NAME, "Network", kind)
    return said


def resource(desk: Operated, key: tuple[str, str, str] = NETWORK) -> Resource:
    desk.tell()
    found = desk.controller.observer.resource(key)
    assert found is not None
    return found


async def member(desk: Operated) -> Member:
    """The first validator as its own kind wants it."""
    desk.tell()
    kind = kinds.BY_NAME["Validator"]
    spec = kind.parse(await desk.read("Validator", "validators"))
    observed = await desk.controller.observer.observe(VALIDATOR, kind, spec)
    assert observed is not None
    return kind.members(spec, observed, desk.now())[0]


async def create_pod(desk: Operated) -> str:
    """The pod and the claim of the first validator, as Kubernetes makes them; not running. Returns the pod's uid."""
    workload = await desk.read("StatefulSet", FIRST)
    await desk.store.create(pods.render_claim(workload, workload["spec"]["volumeClaimTemplates"][0]))
    return str((await desk.store.create(pods.render_pod(workload)))["metadata"]["uid"])


async def carry_out(desk: Operated, planned: Planned, *wanted: acts.Act) -> None:
    planned.plan = Plan(wanted)
    await desk.visit("Network", "starter")


async def is_gone(desk: Operated, kind: str, name: str) -> bool:
    try:
        await desk.read(kind, name)
    except NotFound:
        return True
    return False


# Rest.


async def test_a_network_at_rest_is_visited_without_a_single_call(starter: Operated) -> None:
    made = {(kind, name) for verb, kind, name in starter.api.writes() if verb in ("create", "apply")}
    assert {("StatefulSet", FIRST), ("Secret", f"{FIRST}-key"), ("ConfigMap", "starter-genesis")} <= made
    starter.api.calls.clear()

    for kind, _, name in (NETWORK, VALIDATOR, NETWORK, VALIDATOR):
        await starter.visit(kind, name)

    assert [call for call in starter.api.calls if call[0] != "get"] == []
    # Present Secrets are read once; only an absent one is asked for again, and not within the second.
    assert all(kind == "Secret" for _, kind, _ in starter.api.calls)


async def test_what_somebody_takes_away_or_changes_is_put_back(starter: Operated) -> None:
    service = await starter.read("Service", FIRST)
    await starter.store.delete("Service", NAMESPACE, FIRST, uid=service["metadata"]["uid"])
    await starter.store.patch("StatefulSet", NAMESPACE, FIRST, {"spec": {"replicas": 0}})
    starter.api.calls.clear()

    await starter.settle(VALIDATOR)

    assert not await is_gone(starter, "Service", FIRST)
    assert {call for call in starter.api.writes() if call[1] != "Validator"} == {
        ("apply", "Service", FIRST),
        ("apply", "StatefulSet", FIRST),
    }
    assert (await starter.read("StatefulSet", FIRST))["spec"]["replicas"] == 1


async def test_a_resource_that_is_gone_is_left_alone(starter: Operated) -> None:
    before = len(starter.api.calls)

    visit = await starter.visit("Validator", "never-was")

    assert (visit.result, visit.again_s, len(starter.api.calls)) == ("gone", None, before)


# Every act. Each function carries one out and checks what came of it.


async def finalizer(desk: Operated, planned: Planned) -> None:
    await desk.store.patch("Network", NAMESPACE, "starter", {"metadata": {"finalizers": ["other.dev/keep"]}})
    await carry_out(desk, planned, acts.EnsureFinalizer())
    found = await desk.read("Network", "starter")
    assert sorted(found["metadata"]["finalizers"]) == ["other.dev/keep", names.FINALIZER]


async def last_finalizer(desk: Operated, planned: Planned) -> None:
    await carry_out(desk, planned, acts.EnsureFinalizer())
    uid = resource(desk).uid
    await desk.store.delete("Network", NAMESPACE, "starter", uid=uid)
    await carry_out(desk, planned, acts.RemoveFinalizer())
    assert await is_gone(desk, "Network", "starter")
    assert await is_gone(desk, "ConfigMap", "starter-ca-bundle"), "what it owned goes with it"
    assert not await is_gone(desk, "Secret", "starter-ca"), "keys stay"


async def shared(desk: Operated, planned: Planned) -> None:
    owner, like = owner_of(resource(desk)), await member(desk)
    kept, dropped = [network_objects.member_service(replace(like, name=name), owner) for name in ("x-0", "x-1")]
    for object_ in (kept, dropped):
        labels = {names.RESOURCE: "starter", names.KIND: "Network"}
        object_["metadata"]["labels"] = {**object_["metadata"]["labels"], **labels}
    await carry_out(desk, planned, acts.EnsureShared((kept, dropped)))
    assert not await is_gone(desk, "Service", "x-1")
    await carry_out(desk, planned, acts.EnsureShared((kept,)))
    assert not await is_gone(desk, "Service", "x-0")
    assert await is_gone(desk, "Service", "x-1")


async def peers(desk: Operated, planned: Planned) -> None:
    await carry_out(desk, planned, acts.EnsurePeers("starter", {"version": 1, "peers": ["me"]}))
    found = await desk.read("ConfigMap", names.peers("starter"))
    assert json.loads(found["data"]["peers.json"])["peers"] == ["me"]


async def a_member(desk: Operated, planned: Planned) -> None:
    wanted = replace(await member(desk), name="validators-9", ordinal=9)
    await carry_out(desk, planned, acts.EnsureMember(wanted))
    workload = await desk.read("StatefulSet", "validators-9")
    config = await desk.read("ConfigMap", names.config_map("validators-9", wanted.revision))
    assert config["metadata"]["ownerReferences"][0]["uid"] == workload["metadata"]["uid"]
    assert config["data"]["config.json"] == wanted.config_json


async def a_key(desk: Operated, planned: Planned) -> None:
    ref = KeyRef("new-key", names.NODE_KEY)
    act = acts.CreateKey(ref, "node", "validators-9", "uid-of-it")
    await carry_out(desk, planned, act)
    made = await desk.read("Secret", "new-key")
    assert secrets.read_fence(made["metadata"]["annotations"]) == Fence(1, "", "uid-of-it")
    assert len(keys.read_seed(made, names.NODE_KEY)) == 32
    await carry_out(desk, planned, act)
    assert await desk.read("Secret", "new-key") == made, "a key is never made twice"


async def authority(desk: Operated, planned: Planned) -> None:
    before = await desk.read("Secret", "starter-ca")
    bundle = await desk.read("ConfigMap", "starter-ca-bundle")
    await desk.store.delete("ConfigMap", NAMESPACE, "starter-ca-bundle", uid=bundle["metadata"]["uid"])
    await carry_out(desk, planned, acts.CreateAuthority("starter", 3600))
    assert await desk.read("Secret", "starter-ca") == before
    assert (await desk.read("ConfigMap", "starter-ca-bundle"))["data"] == bundle["data"]


async def rotation(desk: Operated, planned: Planned) -> None:
    trusted = []
    first = keys.data_of(await desk.read("Secret", "starter-ca"))["ca.crt"]
    for phase in ("Trust", "Issue", "Retire", "Settled"):
        await carry_out(desk, planned, acts.StepAuthority("starter", phase))  # type: ignore[arg-type]
        trusted.append((await desk.read("ConfigMap", "starter-ca-bundle"))["data"]["ca.crt"].count("BEGIN CERT"))
    data = keys.data_of(await desk.read("Secret", "starter-ca"))
    assert trusted == [2, 2, 2, 1], "old and new are trusted until the old is retired"
    assert set(data) == {"ca.crt", "ca.key"}
    assert data["ca.crt"] != first


async def certificate(desk: Operated, planned: Planned) -> None:
    act = acts.IssueCertificate("starter", "extra-tls", ("a.svc",), "theblock://starter/x", 3600, FIRST)
    await carry_out(desk, planned, act)
    made = await desk.read("Secret", "extra-tls")
    workload = await desk.read("StatefulSet", FIRST)
    authority = keys.data_of(await desk.read("Secret", "starter-ca"))
    facts = ca.read(keys.data_of(made)["tls.crt"])
    assert made["metadata"]["ownerReferences"][0]["uid"] == workload["metadata"]["uid"]
    assert (facts.uris, facts.issuer) == (("theblock://starter/x",), ca.read(authority["ca.crt"]).issuer)
    assert "ca.key" not in keys.data_of(made)


async def fence(desk: Operated, planned: Planned) -> None:
    await carry_out(desk, planned, acts.RecordFence(KeyRef(f"{FIRST}-key", names.NODE_KEY), Fence(4, "v", "r", "p")))
    made = await desk.read("Secret", f"{FIRST}-key")
    assert secrets.read_fence(made["metadata"]["annotations"]) == Fence(4, "v", "r", "p")


async def used_key(desk: Operated, planned: Planned) -> None:
    await carry_out(desk, planned, acts.MarkKeyUsed(KeyRef(f"{FIRST}-key", names.NODE_KEY), "ab" * 32))
    found = await desk.read("Secret", f"{FIRST}-key")
    assert found["metadata"]["annotations"][names.USED_ON] == "ab" * 32


async def genesis(desk: Operated, planned: Planned) -> None:
    before = await desk.read("ConfigMap", "starter-genesis")
    await carry_out(desk, planned, acts.SealGenesis("starter", b"{}", "00" * 32))
    assert await desk.read("ConfigMap", "starter-genesis") == before, "a genesis is sealed once"
    assert before["immutable"] is True


async def rolled(desk: Operated, planned: Planned) -> None:
    uid = await create_pod(desk)
    await carry_out(desk, planned, acts.RollMember(FIRST, uid))
    found = await desk.read("Pod", f"{FIRST}-0")
    assert found["metadata"]["deletionGracePeriodSeconds"] > 0, "it is asked, and has its time"


async def deleted_pod(desk: Operated, planned: Planned) -> None:
    uid = await create_pod(desk)
    planned.plan = Plan((acts.DeletePod(FIRST, "of-another", force=True),))
    with pytest.raises(Conflict):
        await desk.visit("Network", "starter")
    await carry_out(desk, planned, acts.DeletePod(FIRST, uid, force=True))
    assert await is_gone(desk, "Pod", f"{FIRST}-0")


async def stopped(desk: Operated, planned: Planned) -> None:
    uid = (await desk.read("StatefulSet", FIRST))["metadata"]["uid"]
    planned.plan = Plan((acts.StopMember(FIRST, "of-another"),))
    with pytest.raises(Conflict):
        await desk.visit("Network", "starter")
    await carry_out(desk, planned, acts.StopMember(FIRST, uid))
    assert (await desk.read("StatefulSet", FIRST))["spec"]["replicas"] == 0


async def removed(desk: Operated, planned: Planned) -> None:
    await create_pod(desk)
    uid = (await desk.read("StatefulSet", FIRST))["metadata"]["uid"]
    await carry_out(desk, planned, acts.RemoveMember(FIRST, uid))
    assert await is_gone(desk, "Service", FIRST), "what the workload owned goes with it"
    assert not await is_gone(desk, "Secret", f"{FIRST}-key")
    assert not await is_gone(desk, "PersistentVolumeClaim", names.claim(FIRST))


async def grown(desk: Operated, planned: Planned) -> None:
    await create_pod(desk)
    await carry_out(desk, planned, acts.GrowVolume(names.claim(FIRST), "9Gi"))
    found = await desk.read("PersistentVolumeClaim", names.claim(FIRST))
    assert found["spec"]["resources"]["requests"]["storage"] == "9Gi"


async def deleted_volume(desk: Operated, planned: Planned) -> None:
    await create_pod(desk)
    uid = (await desk.read("PersistentVolumeClaim", names.claim(FIRST)))["metadata"]["uid"]
    await carry_out(desk, planned, acts.DeleteVolume(names.claim(FIRST), uid))
    # The claim is kept until no pod uses it; asking again is no harm.
    assert "deletionTimestamp" in (await desk.read("PersistentVolumeClaim", names.claim(FIRST)))["metadata"]


async def told(desk: Operated, planned: Planned) -> None:
    await carry_out(desk, planned, acts.Emit(Reason.FinalityStalled, "nothing final for a while"))
    [event] = [found for found in desk.store.select("Event") if found["reason"] == "FinalityStalled"]
    assert (event["type"], event["note"]) == ("Warning", "nothing final for a while")
    assert event["regarding"]["uid"] == resource(desk).uid


LOCAL: dict[type, Callable[[Operated, Planned], Any]] = {
    acts.EnsureFinalizer: finalizer,
    acts.RemoveFinalizer: last_finalizer,
    acts.EnsureShared: shared,
    acts.EnsurePeers: peers,
    acts.EnsureMember: a_member,
    acts.CreateKey: a_key,
    acts.CreateAuthority: authority,
    acts.StepAuthority: rotation,
    acts.IssueCertificate: certificate,
    acts.RecordFence: fence,
    acts.MarkKeyUsed: used_key,
    acts.SealGenesis: genesis,
    acts.RollMember: rolled,
    acts.DeletePod: deleted_pod,
    acts.StopMember: stopped,
    acts.RemoveMember: removed,
    acts.GrowVolume: grown,
    acts.DeleteVolume: deleted_volume,
    acts.Emit: told,
}
TO_THE_CHAIN = {acts.Transfer, acts.ChainCall, acts.SetDrain}


@pytest.mark.parametrize("act", LOCAL, ids=lambda act: act.__name__)
async def test_act_is_carried_out(starter: Operated, planned: Planned, act: type) -> None:
    await LOCAL[act](starter, planned)


def test_no_act_is_left_without_a_test() -> None:
    assert {*LOCAL, *TO_THE_CHAIN} == set(acts.Act.__args__)


# Acts that talk with a chain: a real one of one validator, behind its gRPC services.


@pytest.fixture
async def chain(starter: Operated, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncIterator[DevChain]:
    """A chain in the place of the one that the starter's pods would run, with mutual TLS from the starter's authority.

    The operator comes with the certificate that it made for itself. ``alice``'s key lies in a Secret.
    """
    seed = dev.seed_of("alice").hex()
    alice = secrets.key(resource(starter), "starter", name="alice", field="owner.key", seed_hex=seed, public={},
                        fence=None)  # fmt: skip
    await starter.store.create(alice)
    identity = starter.controller.observer.identity_folder(resource(starter))
    monkeypatch.setattr(dev, "NETWORK", "starter")
    async with dev_chain(funded=("alice",), tls=await server_files(starter, tmp_path / "server")) as running:
        own = ClientTls(identity / "ca.crt", identity / "tls.crt", identity / "tls.key")
        client = NodeClient(running.endpoint, own)
        link = NetworkLink(running.client(own), own, members={FIRST: client})
        monkeypatch.setattr(starter.controller.observer, "link", lambda network: link)
        yield running
        await client.close()


async def server_files(desk: Operated, folder: Path) -> TlsFiles:
    """A validator's certificate of the starter's authority, in files."""
    data = keys.data_of(await desk.read("Secret", "starter-ca"))
    authority = ca.Pair(data["ca.crt"], data["ca.key"])
    pair = ca.issue(
        authority,
        common_name=FIRST,
        dns_names=["localhost"],
        uri=f"theblock://starter/validator/{FIRST}",
        now=desk.now(),
        seconds=3600,
        addresses=["127.0.0.1"],
    )
    return write_tls(folder, data["ca.crt"], pair)


def write_tls(folder: Path, authority: str, pair: ca.Pair) -> TlsFiles:
    folder.mkdir()
    for name, text in (("ca.crt", authority), ("tls.crt", pair.certificate), ("tls.key", pair.key)):
        (folder / name).write_text(text)
    return TlsFiles(folder, folder / "ca.crt")


async def ask(desk: Operated, running: DevChain, query: str, **request: str) -> Object:
    """The reply of the head to anybody, who shows no certificate."""
    ca_file = desk.controller.observer.identity_folder(resource(desk)) / "ca.crt"
    return await running.client(ClientTls(ca_file)).query(query, request, final=False)


ALICE = KeyRef("alice", names.OWNER_KEY)


async def test_a_transfer_reaches_the_chain_once(starter: Operated, planned: Planned, chain: DevChain) -> None:
    to = chain.wallet("new").address
    act = acts.Transfer("pay-new", ALICE, to, 5_000, "to begin with")

    await carry_out(starter, planned, act)
    await carry_out(starter, planned, act)
    chain.produce()

    assert (await ask(starter, chain, "accounts.account", address=to))["account"]["balance"] == "5000"


async def test_a_command_gets_the_signature_that_only_a_seed_can_make(
    starter: Operated, planned: Planned, chain: DevChain, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = kinds.BY_NAME["Network"]
    wants = lambda spec, observed: replace(kind.wants(spec, observed), keys=(ALICE,))  # noqa: E731
    monkeypatch.setitem(kinds.BY_NAME, "Network", replace(kind, wants=wants))
    node = KeyRef(f"{FIRST}-key", names.NODE_KEY)
    identity = keys.read(await starter.read("Secret", node.secret), node.field)
    assert identity is not None
    args = {"id": identity.public_key, "bls_pubkey": "00" * 48, "bls_pop": "00" * 96, "id_signature": ""}
    fill = acts.Fill(("id_signature",), "identity_proof", FIRST, node)

    key = f"{resource(starter).uid}/{FIRST}/validators.register"
    await carry_out(
        starter,
        planned,
        acts.ChainCall(key, "validators.register", args, ALICE, "it is new", (fill,), Reason.Registered),
    )
    chain.produce()
    await carry_out(starter, planned)
    assert starter.events("Registered") == [], "one block is not final"
    chain.produce_until(1)
    starter.seconds += 10
    await carry_out(starter, planned)

    stakes = await ask(starter, chain, "validators.stakes")
    owners = {row["validator"]: row["owner"] for row in stakes["stakes"]}
    assert owners[identity.public_key] == chain.wallet("alice").address
    assert starter.events("Registered") == ["it is new"]
    assert args["id_signature"] == "", "the plan's own arguments stay as they were"


async def test_nothing_is_sent_before_an_earlier_operators_commands_are_known(
    starter: Operated, planned: Planned, chain: DevChain
) -> None:
    chain.produce()
    chain.produce()
    act = acts.Transfer("pay-new", ALICE, chain.wallet("new").address, 5_000, "to begin with")

    await carry_out(starter, planned, act)
    chain.produce()
    assert (await ask(starter, chain, "accounts.account", address=act.to))["account"] is None

    chain.produce_until(4)
    starter.seconds += 10
    await carry_out(starter, planned, act)
    chain.produce()
    assert (await ask(starter, chain, "accounts.account", address=act.to))["account"]["balance"] == "5000"


async def test_a_drain_is_told_to_the_member_and_remembered(
    starter: Operated, planned: Planned, chain: DevChain
) -> None:
    await carry_out(starter, planned, acts.SetDrain(FIRST, 1_790_000_123))
    draining = (await starter.read("StatefulSet", FIRST))["metadata"]["annotations"][names.DRAINING_SINCE]
    await carry_out(starter, planned, acts.SetDrain(FIRST, None))

    assert draining == "1790000123"
    assert names.DRAINING_SINCE not in (await starter.read("StatefulSet", FIRST))["metadata"].get("annotations", {})


# What fails.


async def test_an_act_that_fails_ends_the_visit_and_the_status_is_still_told(
    starter: Operated, planned: Planned
) -> None:
    uid = await create_pod(starter)
    planned.plan = Plan(
        (acts.Emit(Reason.RolloutStarted, "before"), acts.RollMember(FIRST, uid), acts.Emit(Reason.RolloutStalled, "a"))
    )
    planned.status = Status((Condition("Ready", "False", "Rolling"),))
    starter.api.failing = failing_first("delete", "Pod", Unavailable(503, "Gone", "no answer"))

    with pytest.raises(Unavailable):
        await starter.visit("Network", "starter")

    assert starter.events("RolloutStarted") == ["before"]
    assert starter.events("RolloutStalled") == []
    assert (await starter.read("Network", "starter"))["status"]["conditions"][0]["reason"] == "Rolling"
    await starter.visit("Network", "starter")
    assert "deletionTimestamp" in (await starter.read("Pod", f"{FIRST}-0"))["metadata"]
    assert starter.events("RolloutStalled") == ["a"]


async def test_a_key_whose_visit_failed_comes_back_by_itself(tmp_path: Path, planned: Planned) -> None:
    # The queue's waits are real here, and as short as the first of them.
    desk = Operated(tmp_path, monotonic=time.monotonic)
    await desk.apply_starter("Network")
    planned.plan = Plan((acts.EnsurePeers("starter", {"version": 1}),))
    # The first visit's status brings the key back too; nothing but the queue brings it back after the second.
    desk.api.failing = failing_first("apply", "ConfigMap", Unavailable(503, "Gone", "no answer"), count=2)
    running = asyncio.create_task(desk.controller.run([NAMESPACE], own_kinds=True))
    try:
        async with asyncio.timeout(20):
            async for change in desk.store.watch("ConfigMap", NAMESPACE):
                if change.object.get("metadata", {}).get("name") == names.peers("starter"):
                    break
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    assert desk.visits.counted["Network", "failed"] == 2


# What is told.


async def test_an_invalid_spec_is_told_once_for_each_generation(tmp_path: Path) -> None:
    desk = Operated(tmp_path, admit=lambda object_, before: object_)
    body: Object = {
        "apiVersion": "theblock.dev/v1alpha1",
        "kind": "Validator",
        "metadata": {"name": "validators", "namespace": NAMESPACE},
        "spec": {"network": "starter", "replicas": -3},
    }
    await desk.store.create(body)

    visits = [await desk.visit("Validator", "validators") for _ in range(2)]

    assert [visit.result for visit in visits] == ["invalid", "invalid"]
    assert [verb for verb, _, _ in desk.api.writes()] == ["apply_status", "create"]
    conditions = {row["type"]: row for row in (await desk.read("Validator", "validators"))["status"]["conditions"]}
    assert (conditions["Accepted"]["status"], conditions["Ready"]["reason"]) == ("False", "NotAccepted")
    assert "replicas" in conditions["Accepted"]["message"]

    await desk.store.patch("Validator", NAMESPACE, "validators", {"spec": {"replicas": 1, "stake": "much"}})
    await desk.visit("Validator", "validators")
    await desk.visit("Validator", "validators")

    assert [verb for verb, _, _ in desk.api.writes()] == ["apply_status", "create"] * 2


async def test_the_same_event_is_told_again_only_after_a_while(starter: Operated, planned: Planned) -> None:
    same = acts.Emit(Reason.FundsMissing, "5 are missing")
    await carry_out(starter, planned, same, same)
    starter.seconds += 599
    await carry_out(starter, planned, same, acts.Emit(Reason.FundsMissing, "6 are missing"))
    assert starter.events("FundsMissing") == ["5 are missing", "6 are missing"]

    starter.seconds += 1
    await carry_out(starter, planned, same)

    assert starter.events("FundsMissing") == ["5 are missing", "6 are missing", "5 are missing"]


async def test_status_is_written_only_when_something_besides_quiet_figures_changed(
    starter: Operated, planned: Planned
) -> None:
    await starter.store.patch("Network", NAMESPACE, "starter", {"spec": {"statusRefreshSeconds": 60}})

    async def written(height: int, ready: str) -> int:
        planned.status = Status((Condition("Ready", ready, "Fine"),), {"height": height})  # type: ignore[arg-type]
        starter.api.calls.clear()
        await starter.visit("Network", "starter")
        return len(starter.api.writes())

    assert await written(100, "True") == 1
    first = (await starter.read("Network", "starter"))["status"]["conditions"][0]["lastTransitionTime"]
    starter.seconds += 59
    assert await written(200, "True") == 0
    starter.seconds += 1
    assert await written(200, "True") == 1, "the Network wants its figures refreshed by now"
    assert (await starter.read("Network", "starter"))["status"]["conditions"][0]["lastTransitionTime"] == first
    assert await written(200, "False") == 1
    assert (await starter.read("Network", "starter"))["status"]["conditions"][0]["lastTransitionTime"] != first


@pytest.mark.parametrize(("figures_s", "writes"), [(None, [1, 0, 0, 0]), (10.0, [1, 0, 1, 0])], ids=["quiet", "live"])
async def test_slices_are_told_while_they_move_where_somebody_scales_by_them(
    tmp_path: Path, planned: Planned, figures_s: float | None, writes: list[int]
) -> None:
    desk = Operated(tmp_path, figures_s=figures_s)
    await desk.apply_starter("Network")
    counted, asked = [], []

    for seconds, running in [(0, 1), (9, 2), (1, 2), (20, 2)]:
        desk.seconds += seconds
        planned.plan = Plan((), Requeue(60, "resync"))
        planned.status = replace(READY, fields={"jobs": {"running": running, "queued": 0}, "height": running})
        desk.api.calls.clear()
        asked.append((await desk.visit("Network", "starter")).again_s)
        counted.append(len(desk.api.writes()))

    assert counted == writes
    assert set(asked) == {60 if figures_s is None else figures_s}


async def test_news_of_a_kind_is_told_as_events_when_its_status_is_written(
    starter: Operated, planned: Planned, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = []

    def news(before: Any, after: Status) -> list[tuple[Reason, str]]:
        heard.append((before["Ready"].status, after.condition("Ready").status))
        return [(Reason.ProverFallback, "to the CPU")]

    monkeypatch.setitem(kinds.BY_NAME, "Network", replace(kinds.BY_NAME["Network"], news=news))
    for status in ("True", "False", "False"):
        planned.status = Status((Condition("Ready", status, "Fine"),))  # type: ignore[arg-type]
        await starter.visit("Network", "starter")

    assert heard[-1] == ("True", "False"), "what does not change is not told again"
    assert starter.events("ProverFallback") == ["to the CPU"]


async def test_what_is_on_the_way_is_looked_at_again_soon(starter: Operated, planned: Planned) -> None:
    planned.plan = Plan((), Requeue(30, "to see"))

    at_rest = await starter.visit("Network", "starter")
    planned.status = Status((Condition("Accepted", "True", "Fine"), Condition("Ready", "False", "Starting")))
    coming = await starter.visit("Network", "starter")

    assert (at_rest.again_s, coming.again_s) == (30, 2.0)
