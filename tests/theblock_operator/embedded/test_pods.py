"""Scenes of one member and the steps that follow from them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from theblock_operator.embedded import pods
from theblock_operator.embedded.pods import Container, DeletePod, RemoveClaim, RemovePod, Scene, Start, Stop

Object = dict[str, Any]
WORKLOAD: Object = {
    "metadata": {"name": "v-0", "namespace": "theblock", "uid": "w"},
    "spec": {
        "replicas": 1,
        "selector": {"matchLabels": {"theblock.dev/member": "v-0"}},
        "template": {
            "metadata": {"labels": {"theblock.dev/member": "v-0"}, "annotations": {"theblock.dev/revision": "r1"}},
            "spec": {
                "containers": [
                    {
                        "name": "node",
                        "volumeMounts": [
                            {"name": "key", "mountPath": "/etc/theblock/key"},
                            {"name": "config", "mountPath": "/etc/theblock/config"},
                            {"name": "data", "mountPath": "/var/lib/theblock"},
                        ],
                    }
                ],
                "volumes": [
                    {"name": "key", "secret": {"secretName": "v-0-key", "items": [{"key": "a", "path": "node.key"}]}},
                    {"name": "config", "configMap": {"name": "v-0-config-r1"}},
                ],
            },
        },
        "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {"resources": {}}}],
    },
}
POD = {**pods.render_pod(WORKLOAD), "status": {}}
CLAIM = pods.render_claim(WORKLOAD, WORKLOAD["spec"]["volumeClaimTemplates"][0])
IDLE = Container("node", runs=False)
BUSY = Container("node", runs=True)
RUNNING = Scene("v-0", WORKLOAD, POD, CLAIM, [BUSY])


def deleting(object_: Object, **more: Any) -> Object:
    return {**object_, "metadata": {**object_["metadata"], "deletionTimestamp": "2026-01-01T00:00:00Z", **more}}


def scaled(replicas: int) -> Object:
    return {**WORKLOAD, "spec": {**WORKLOAD["spec"], "replicas": replicas}}


@pytest.mark.parametrize(
    ("scene", "steps"),
    [
        pytest.param(RUNNING, [], id="all-is-well"),
        pytest.param(replace(RUNNING, containers=[IDLE]), [Start("node")], id="nothing-runs"),
        pytest.param(replace(RUNNING, containers=[replace(IDLE, due=False)]), [], id="back-off"),
        pytest.param(replace(RUNNING, containers=[IDLE], missing="Secret x"), [], id="a-secret-is-missing"),
        pytest.param(replace(RUNNING, containers=[replace(BUSY, dead=True)]), [Stop(5.0, "node")], id="silent"),
        pytest.param(replace(RUNNING, workload=scaled(0)), [DeletePod()], id="scaled-to-nothing"),
        pytest.param(replace(RUNNING, workload=None), [DeletePod()], id="workload-gone"),
        pytest.param(replace(RUNNING, workload=deleting(WORKLOAD)), [DeletePod()], id="workload-going"),
        pytest.param(replace(RUNNING, pod=None), [Stop(0.0)], id="pod-removed-by-force"),
        pytest.param(
            replace(RUNNING, pod=deleting(POD, deletionGracePeriodSeconds=7)), [Stop(7.0)], id="pod-asked-to-end"
        ),
        pytest.param(replace(RUNNING, pod=deleting(POD), containers=[IDLE]), [RemovePod()], id="pod-ended"),
        pytest.param(Scene("v-0", None, None, CLAIM, []), [], id="claim-outlives-its-member"),
        pytest.param(Scene("v-0", None, None, deleting(CLAIM), []), [RemoveClaim()], id="claim-deleted-and-unused"),
        pytest.param(replace(RUNNING, claim=deleting(CLAIM)), [], id="claim-deleted-and-in-use"),
        pytest.param(
            Scene("v-0", WORKLOAD, None, deleting(CLAIM), []), [RemoveClaim()], id="old-claim-goes-before-the-new-pod"
        ),
        pytest.param(Scene("v-0", scaled(0), None, None, []), [], id="nothing-wanted-nothing-there"),
    ],
)
def test_steps_follow_from_the_scene(scene: Scene, steps: list[Any]) -> None:
    assert pods.plan(scene) == steps


def test_a_new_member_gets_a_claim_and_a_pod_of_its_template() -> None:
    claim, pod = pods.plan(Scene("v-0", WORKLOAD, None, None, []))

    assert isinstance(claim, pods.MakeClaim)
    assert isinstance(pod, pods.MakePod)
    assert claim.object["metadata"]["name"] == "data-v-0-0"
    assert pod.object["metadata"]["name"] == "v-0-0"
    assert pod.object["metadata"]["annotations"] == {"theblock.dev/revision": "r1"}
    assert pod.object["metadata"]["ownerReferences"][0]["uid"] == "w"


def test_a_member_that_comes_back_keeps_its_claim() -> None:
    [step] = pods.plan(Scene("v-0", WORKLOAD, None, CLAIM, []))

    assert isinstance(step, pods.MakePod)


def test_back_off_grows_to_its_bound_and_begins_anew_after_a_long_run() -> None:
    waits = [pods.back_off_s(restarts, 1.0) for restarts in range(12)]

    assert waits == sorted(waits)
    assert waits[0] == pods.BACK_OFF_FIRST_S
    assert waits[-1] == pods.BACK_OFF_MAX_S
    assert pods.back_off_s(11, pods.SETTLED_S) == pods.BACK_OFF_FIRST_S


@pytest.mark.parametrize(
    ("container", "missing", "phase", "ready", "state"),
    [
        pytest.param(IDLE, "Secret x", "Pending", "False", "ContainerCreating", id="waits-for-a-secret"),
        pytest.param(BUSY, "", "Running", "False", "running", id="starts"),
        pytest.param(replace(BUSY, ready=True), "", "Running", "True", "running", id="ready"),
        pytest.param(replace(IDLE, exit_code=78, restarts=1), "", "Running", "False", "CrashLoopBackOff", id="ended"),
    ],
)
def test_a_status_tells_how_the_container_is(
    container: Container, missing: str, phase: str, ready: str, state: str
) -> None:
    status = pods.render_status(POD, [container], address="127.0.0.1", missing=missing, now=100)

    conditions = {row["type"]: row["status"] for row in status["conditions"]}
    told = status["containerStatuses"][0]["state"]
    assert (status["phase"], conditions["Ready"]) == (phase, ready)
    assert (told.get("waiting", {}).get("reason") or next(iter(told))) == state


def test_how_a_run_ended_is_told_while_the_next_one_goes_on() -> None:
    status = pods.render_status(POD, [replace(BUSY, exit_code=78, restarts=2)], address="", missing="", now=100)

    row = status["containerStatuses"][0]
    assert row["lastState"]["terminated"]["exitCode"] == 78
    assert row["restartCount"] == 2


def test_a_condition_keeps_its_time_while_it_holds() -> None:
    first = pods.render_status(POD, [BUSY], address="", missing="", now=100)
    later = pods.render_status({**POD, "status": first}, [BUSY], address="", missing="", now=200)
    ready = pods.render_status({**POD, "status": first}, [replace(BUSY, ready=True)], address="", missing="", now=200)

    assert later == first
    assert ready["conditions"][1]["lastTransitionTime"] != first["conditions"][1]["lastTransitionTime"]


def test_mounts_name_the_files_and_the_key_of_each_is_its_own() -> None:
    key, config = pods.mounts_of(POD)

    assert (key.kind, key.name, key.path) == ("Secret", "v-0-key", "/etc/theblock/key")
    assert pods.files_of(key, {"a": "seed", "b": "another's"}) == {"node.key": "seed"}
    assert pods.files_of(config, {"config.json": "{}"}) == {"config.json": "{}"}
    with pytest.raises(KeyError):
        pods.files_of(key, {"b": "another's"})
    assert pods.folders_of(POD) == ["/var/lib/theblock"]
