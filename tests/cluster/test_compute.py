"""Compute providers scale with their backlog and outlive the loss of their device, and no slice is lost."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from theblock_operator.settings import METRICS_API_PORT

from tests.support import things
from tests.support.circom import Tools
from tests.support.starter import NAMESPACE, Starter
from tools.cluster import deploy, nodes, processes
from tools.cluster.console import ClusterError
from tools.cluster.layout import REPOSITORY

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(1200)]
FORGE = "computeprovider/forge"
METRICS = f"/apis/custom.metrics.k8s.io/v1beta2/namespaces/{NAMESPACE}/computeproviders.theblock.dev"
DIGESTS = 500_000
"""Of a slice: up to a second of one core."""
SLICES = 24
BOUND_S = 30
DEVICE = nodes.ACCELERATOR_RESOURCE
FORGE_BODY: dict[str, Any] = {
    "apiVersion": "theblock.dev/v1alpha1",
    "kind": "ComputeProvider",
    "metadata": {"name": "forge", "namespace": NAMESPACE},
    "spec": {
        "network": "starter",
        "stake": "1000000000000",
        "offer": {"unitsPerEpoch": 1_000_000},
        "accelerator": {"resource": DEVICE, "fallbackAfterSeconds": 10, "returnAfterSeconds": 30},
    },
}


def backlog(starter: Starter) -> int | None:
    """As an autoscaler is told; None while the chain does not answer."""
    try:
        told = starter.kubectl("get", "--raw", f"{METRICS}/forge/backlog")
    except ClusterError as refused:
        if "ServiceUnavailable" not in str(refused):
            raise
        return None
    (row,) = json.loads(told)["items"]
    return int(row["value"])


def post(starter: Starter) -> str:
    """A job of many slices; its id."""
    words = ["compute", "submit", "--slices", str(SLICES), "--digests", str(DIGESTS), "--algorithm", "sha256"]
    told = things.ask(starter.outside, *words, "--max-price", "1", "--key", "-", stdin=starter.funder)
    return str(told["job_id"])


def check_settled(starter: Starter, jobs: list[str]) -> dict[str, int]:
    """Every slice of the jobs is paid; how many by whom."""
    paid: dict[str, int] = {}
    for job in jobs:
        words = ["--timeout", "300", "compute", "result", job, "--follow"]
        slices = json.loads(_ok(starter, *words))["slices"]
        assert [row["status"].lower() for row in slices] == ["settled"] * SLICES
        for row in slices:
            paid[row["provider_id"]] = paid.get(row["provider_id"], 0) + 1
    return paid


def _ok(starter: Starter, *words: str) -> str:
    done = starter.shell.tb_cli("--output", "json", *words)
    assert done.code == 0, done.err
    return done.out


def condition(starter: Starter, resource: str, type_: str) -> tuple[str, str]:
    rows = starter.get(resource).get("status", {}).get("conditions", ())
    return next(((row["status"], row["reason"]) for row in rows if row["type"] == type_), ("", ""))


def events(starter: Starter, name: str, reason: str) -> list[str]:
    rows = starter.get("events.events.k8s.io")["items"]
    return [row["note"] for row in rows if (row["regarding"]["name"], row["reason"]) == (name, reason)]


@pytest.fixture(scope="module")
def forge(starter: Starter) -> Iterator[str]:
    """A provider that sells enough for all slices to be assigned at once, whose members have the stub devices."""
    if starter.cluster.kube is None:
        pytest.skip("others made this cluster: its devices are not ours to take")
    starter.kubectl("apply", "-f", "-", stdin=yaml.safe_dump(FORGE_BODY))
    starter.wait_ready(FORGE, replicas=1)
    yield "forge-0-0"
    if not processes.is_alive(starter.cluster.layout, "device-plugin-0"):
        give_devices(starter)
    starter.kubectl("delete", FORGE, "--timeout=240s", timeout_seconds=270)


# The backlog.


@pytest.fixture
def autoscaler(starter: Starter, forge: str) -> Iterator[str]:
    """The example, in a hurry, over the forge."""
    text = (REPOSITORY / "examples" / "autoscaling" / "hpa.yaml").read_text()
    body = yaml.safe_load(text.replace("name: compute", "name: forge"))
    body["spec"]["maxReplicas"] = 2
    body["spec"]["behavior"]["scaleDown"]["stabilizationWindowSeconds"] = 0
    starter.kubectl("apply", "-f", "-", stdin=yaml.safe_dump(body))
    yield "hpa/forge"
    starter.kubectl("delete", "hpa/forge")
    starter.kubectl("scale", FORGE, "--replicas=1")
    starter.wait_ready(FORGE, replicas=1)


def test_members_come_with_the_backlog_and_go_without_losing_a_slice(starter: Starter, autoscaler: str) -> None:
    things.wait(
        "the API server reaches the metrics API",
        lambda: condition(starter, "apiservice/v1beta2.custom.metrics.k8s.io", "Available")[0] == "True",
        hint=lambda: starter.kubectl("logs", f"deployment/{deploy.OPERATOR}", "--tail=20"),
    )
    things.wait("the backlog is told", lambda: backlog(starter) == 0)
    jobs: list[str] = []

    def are_two() -> bool:
        told = backlog(starter)
        if told is not None and told < SLICES // 2:
            jobs.append(post(starter))
        found = starter.get(FORGE)
        return found["spec"]["replicas"] == 2 and found["status"]["readyReplicas"] == 2 and deploy.is_ready(found)

    started = time.monotonic()
    things.wait("two members serve", are_two, 240, hint=lambda: starter.kubectl("describe", autoscaler))
    up_s = time.monotonic() - started
    starter.kubectl("apply", "-f", "-", stdin=yaml.safe_dump(FORGE_BODY))
    assert starter.get(FORGE)["spec"]["replicas"] == 2, "a manifest without replicas leaves them alone"
    jobs.append(post(starter))

    started = time.monotonic()
    starter.wait_ready(FORGE, replicas=1)
    down_s = time.monotonic() - started

    paid = check_settled(starter, jobs)
    print(f"two serve {up_s:.0f} s after the first job, one after {down_s:.0f} s more; paid slices {paid}")
    providers = things.ask(starter.outside, "compute", "providers")["providers"]
    retired = {row["provider_id"]: row["retired"] for row in providers}
    assert (retired["forge-0"], retired["forge-1"]) == (False, True)
    assert min(paid["forge-0"], paid["forge-1"]) > 0


def test_who_is_not_the_front_proxy_is_not_answered(starter: Starter) -> None:
    program = f"""
import ssl, socket
context = ssl._create_unverified_context()
with socket.create_connection(("127.0.0.1", {METRICS_API_PORT}), 10) as raw:
    with context.wrap_socket(raw, server_hostname="x") as secure:
        secure.sendall(b"GET /apis HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
        try:
            print(secure.recv(100) or "nothing")
        except (ssl.SSLError, ConnectionError):
            print("refused")
"""
    said = starter.kubectl("exec", f"deployment/{deploy.OPERATOR}", "--", "python", "-c", program)

    assert said.strip() in ("nothing", "refused")


# The device.


def give_devices(starter: Starter) -> None:
    assert starter.cluster.kube is not None
    layout = starter.cluster.layout
    nodes.start_device_plugin(layout, layout.node(0), starter.cluster.kube)


def allocatable(starter: Starter) -> int:
    (node,) = starter.get("nodes")["items"]
    return int(node["status"]["allocatable"].get(DEVICE, 0))


def has_device(starter: Starter, pod: str) -> bool | None:
    """Whether a pod that works has a device; None while it does not work."""
    found = [row for row in starter.get("pods")["items"] if row["metadata"]["name"] == pod]
    rows = found[0].get("status", {}).get("conditions", ()) if found else ()
    if not any(row["type"] == "Ready" and row["status"] == "True" for row in rows):
        return None
    return any(DEVICE in part["resources"].get("limits", {}) for part in found[0]["spec"]["containers"])


def figures(starter: Starter) -> str:
    (pod,) = starter.get("pods", "-l", "app.kubernetes.io/name=theblock-operator")["items"]
    at = f"/api/v1/namespaces/{NAMESPACE}/pods/{pod['metadata']['name']}:9898/proxy/metrics"
    return starter.kubectl("get", "--raw", at)


def test_a_lost_device_moves_work_to_the_cpu_in_time_and_back(starter: Starter, forge: str) -> None:
    assert has_device(starter, forge) is True
    jobs = [post(starter)]
    processes.stop(starter.cluster.layout, "device-plugin-0")
    things.wait("the node has no device", lambda: allocatable(starter) == 0)

    lost = time.monotonic()
    starter.kubectl("delete", "pod", forge, "--grace-period=0", "--force")
    things.wait("it works on the CPU", lambda: has_device(starter, forge) is False, hint=lambda: starter.explain(FORGE))
    moved_s = time.monotonic() - lost

    assert condition(starter, FORGE, "AcceleratorDegraded") == ("True", "DevicePluginMissing")
    assert any("DevicePluginMissing" in note for note in events(starter, "forge", "ProverFallback"))
    gauge = (
        'theblock_operator_accelerator_degraded{namespace="theblock",reason="DevicePluginMissing",resource="forge"} 1.0'
    )
    assert gauge in figures(starter)
    jobs.append(post(starter))
    paid = check_settled(starter, jobs)
    assert paid.get("forge-0", 0) > 0

    give_devices(starter)
    things.wait("a device is free", lambda: allocatable(starter) > 0)
    freed = time.monotonic()
    things.wait("it is back", lambda: has_device(starter, forge) is True, hint=lambda: starter.explain(FORGE))
    back_s = time.monotonic() - freed

    print(f"on the CPU after {moved_s:.0f} s, back on the device after {back_s:.0f} s; paid slices {paid}")
    assert moved_s <= BOUND_S
    assert back_s >= 25


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_two_hundred_jobs_end_once_though_the_prover_dies_fifty_times(starter, tmp_path):
    pod = "compute-0-0"
    words = ["get", "pod", pod, "--ignore-not-found", "-o", "jsonpath={.status.containerStatuses[*].ready}"]

    def kill() -> None:
        things.wait(f"{pod} runs", lambda: starter.kubectl(*words).split() == ["true", "true"])
        starter.kubectl("delete", "pod", pod, "--grace-period=0", "--force")

    things.lose_provers(starter.shell, starter.funder, Tools(tmp_path), kill, jobs=200, kills=50)
