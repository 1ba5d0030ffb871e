"""The cluster is a real one: what the product relies on works, and taking it down leaves nothing."""

from __future__ import annotations

import datetime
import http.client
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from tools.cluster import cluster as clusters
from tools.cluster import images, network, nodes
from tools.cluster.access import Cluster
from tools.cluster.choose import Source
from tools.cluster.console import ClusterError, wait
from tools.cluster.layers import Image
from tools.cluster.layout import layout_of

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture
def namespace(cluster):
    name = f"test-{uuid.uuid4().hex[:8]}"
    restricted = {"pod-security.kubernetes.io/enforce": "restricted"}
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": restricted}})
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
def self_built(choice):
    if choice.source is not Source.SELF_BUILT:
        pytest.skip(f"the cluster is {choice.source.value}: others made it")


def pod(name: str, namespace: str, image: str, *command: str, volumes=(), mounts=(), limits=None, **spec) -> dict:
    """A pod as restricted as members are."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": {"app": name}},
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 1,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 10001,
                "fsGroup": 10001,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": "main",
                    "image": image,
                    "imagePullPolicy": "IfNotPresent",
                    **({"command": list(command)} if command else {}),
                    "resources": {"limits": limits or {}},
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "readOnlyRootFilesystem": True,
                        "capabilities": {"drop": ["ALL"]},
                    },
                    "volumeMounts": list(mounts),
                }
            ],
            "volumes": list(volumes),
            **spec,
        },
    }


def python(name: str, namespace: str, loaded: dict[str, Image], program: str, **more) -> dict:
    return pod(name, namespace, loaded["theblock-node"].reference, "python", "-c", program, **more)


def output_of(cluster: Cluster, namespace: str, name: str, *, limit_seconds: int = 90) -> str:
    cluster.wait(f"pod/{name}", "jsonpath={.status.phase}=Succeeded", namespace=namespace, limit_seconds=limit_seconds)
    return cluster.kubectl("-n", namespace, "logs", name)


def test_the_api_server_is_the_version_that_was_built(cluster, self_built):
    told = cluster.json("version")

    assert told["serverVersion"]["gitVersion"] == "v1.35.4"


def test_a_restricted_pod_runs_the_node_image(cluster, namespace, loaded):
    cluster.apply(
        python("node", namespace, loaded, "import os, theblock_node; print(theblock_node.__name__, os.getuid())")
    )

    assert output_of(cluster, namespace, "node").split() == ["theblock_node", "10001"]


def test_every_role_image_has_its_program(cluster, namespace, loaded):
    for image in ("theblock-operator", "theblock-gpu"):
        module = image.replace("-", "_")
        cluster.apply(pod(image, namespace, loaded[image].reference, "python", "-c", f"import {module}; print('here')"))

    assert output_of(cluster, namespace, "theblock-operator") == "here\n"
    assert output_of(cluster, namespace, "theblock-gpu") == "here\n"


def test_a_pod_finds_services_by_name_and_reaches_the_api_server(cluster, namespace, loaded):
    program = """
import socket, ssl
address = socket.getaddrinfo("kubernetes.default.svc.cluster.local", 443)[0][4][0]
folder = "/var/run/secrets/kubernetes.io/serviceaccount"
context = ssl.create_default_context(cafile=f"{folder}/ca.crt")
with socket.create_connection(("kubernetes.default.svc", 443), 10) as raw:
    with context.wrap_socket(raw, server_hostname="kubernetes.default.svc") as secure:
        print(address, secure.version())
"""
    cluster.apply(python("dns", namespace, loaded, program))

    address, version = output_of(cluster, namespace, "dns").split()
    assert address == cluster.json("get", "service", "kubernetes")["spec"]["clusterIP"]
    assert version == "TLSv1.3"


def test_a_service_leads_to_its_pod(cluster, namespace, loaded):
    cluster.apply(
        python("server", namespace, loaded, "import http.server as s; s.test(s.SimpleHTTPRequestHandler, port=8000)"),
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "server", "namespace": namespace},
            "spec": {"selector": {"app": "server"}, "ports": [{"port": 80, "targetPort": 8000}]},
        },
    )
    cluster.wait("pod/server", "condition=Ready", namespace=namespace)
    program = """
import time, urllib.request
for _ in range(50):
    try:
        print(urllib.request.urlopen("http://server/", timeout=5).status)
        break
    except OSError:
        time.sleep(0.2)
"""
    cluster.apply(python("client", namespace, loaded, program))

    assert output_of(cluster, namespace, "client") == "200\n"


def test_nothing_outside_the_machine_can_be_reached(cluster, namespace, loaded, self_built):
    program = """
import socket
try:
    socket.create_connection(("192.0.2.1", 80), 3)
    print("reached")
except OSError:
    print("not reached")
"""
    cluster.apply(python("out", namespace, loaded, program))

    assert output_of(cluster, namespace, "out") == "not reached\n"


def test_a_claim_is_bound_and_what_was_written_outlives_the_pod(cluster, namespace, loaded):
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data", "namespace": namespace},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "64Mi"}}},
    }
    disk = {
        "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}],
        "mounts": [{"name": "data", "mountPath": "/data"}],
    }
    cluster.apply(claim, python("writer", namespace, loaded, "open('/data/x', 'w').write('kept')", **disk))
    output_of(cluster, namespace, "writer")
    cluster.kubectl("-n", namespace, "delete", "pod", "writer")
    cluster.apply(python("reader", namespace, loaded, "print(open('/data/x').read())", **disk))

    assert output_of(cluster, namespace, "reader") == "kept\n"
    assert cluster.json("-n", namespace, "get", "pvc", "data")["status"]["phase"] == "Bound"


def test_a_command_runs_in_a_pod(cluster, namespace, loaded):
    cluster.apply(python("sleeper", namespace, loaded, "import time; time.sleep(600)"))
    cluster.wait("pod/sleeper", "condition=Ready", namespace=namespace)

    assert cluster.exec("sleeper", "main", "python", "-c", "print(6 * 7)", namespace=namespace) == "42\n"


def test_a_pod_gets_the_stub_device_that_it_asks_for(cluster, namespace, loaded, self_built):
    node = cluster.layout.node(0).name
    cluster.wait(f"node/{node}", "jsonpath={.status.allocatable.theblock\\.dev/fake-gpu}=2")
    cluster.apply(
        python(
            "accelerated",
            namespace,
            loaded,
            "import os; print(os.environ['THEBLOCK_STUB_DEVICE'])",
            limits={nodes.ACCELERATOR_RESOURCE: "1"},
            nodeSelector={nodes.ACCELERATOR_LABEL: "true"},
        )
    )

    assert output_of(cluster, namespace, "accelerated") == "1\n"


def test_more_devices_than_there_are_leave_a_pod_waiting(cluster, namespace, loaded, self_built):
    cluster.apply(python("greedy", namespace, loaded, "print()", limits={nodes.ACCELERATOR_RESOURCE: "3"}))

    cluster.wait("pod/greedy", "condition=PodScheduled=False", namespace=namespace)


def test_the_database_image_makes_its_database_and_keeps_it(cluster, namespace, loaded):
    cluster.apply(_database(namespace, loaded))
    cluster.wait("pod/db", "condition=Ready", namespace=namespace, limit_seconds=120)
    query = ["psql", "--host=/tmp", "--username=explorer", "--dbname=explorer", "--tuples-only", "--no-align"]
    cluster.exec("db", "main", *query, "--command=CREATE TABLE kept AS SELECT 7 AS n", namespace=namespace)
    cluster.exec("db", "main", "sh", "-c", "kill -INT 1", namespace=namespace)
    cluster.wait("pod/db", "jsonpath={.status.containerStatuses[0].restartCount}=1", namespace=namespace)
    cluster.wait("pod/db", "condition=Ready", namespace=namespace, limit_seconds=120)

    answer = cluster.exec("db", "main", *query, "--command=SELECT n FROM kept", namespace=namespace)

    assert answer == "7\n"


def test_the_audit_log_has_every_write_and_who_made_it(cluster, self_built):
    since = datetime.datetime.now(datetime.UTC)
    name = f"audited-{uuid.uuid4().hex[:8]}"
    cluster.kubectl("create", "configmap", name)
    cluster.kubectl("get", "configmap", name)
    cluster.kubectl("delete", "configmap", name)

    writes = cluster.audit_writes("theblock-admin", since)

    assert [(call.verb, call.resource, call.code) for call in writes if call.name == name] == [
        ("create", "configmaps", 201),
        ("delete", "configmaps", 200),
    ]
    assert cluster.audit_writes("nobody", since) == []


def test_a_port_of_a_pod_is_reached_from_outside_wherever_the_pod_is(cluster, namespace, loaded, self_built):
    program = "import http.server as s; s.test(s.SimpleHTTPRequestHandler, port=8000)"
    server = python("outside", namespace, loaded, program)
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "outside", "namespace": namespace},
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": {"app": "outside"},
            "ports": [{"port": 8000}],
        },
    }
    address = cluster.layout.outside(200)
    cluster.apply(server, service)
    cluster.forward("test", {(address, 8000): (namespace, "outside", 8000)})
    wait("the pod is reached", lambda: _http_status(address) == 200, limit_seconds=60)

    # The pod that comes back has another address, and the way leads there as well.
    cluster.kubectl("-n", namespace, "delete", "pod", "outside")
    assert _http_status(address) is None
    cluster.apply(server)

    wait("the pod is reached again", lambda: _http_status(address) == 200, limit_seconds=60)


def test_up_of_a_running_cluster_changes_nothing(cluster, self_built):
    before = clusters.look(cluster.layout.name)
    done = subprocess.run(
        [sys.executable, "-m", "tools.cluster", "up", "--name", cluster.layout.name],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )

    assert f"export KUBECONFIG={cluster.kubeconfig}" in done.stdout
    assert clusters.look(cluster.layout.name) == before


def test_a_second_node_joins_and_taking_the_cluster_down_leaves_nothing(self_built, cluster):
    name = "gone"
    layout = layout_of(name)
    mounts_before = Path("/proc/self/mountinfo").read_text()
    try:
        made = clusters.up(name, count=2)
        first, second = (node["metadata"]["name"] for node in made.json("get", "nodes")["items"])
        tolerated = [{"key": nodes.ACCELERATOR_LABEL, "operator": "Exists"}]
        disk = {
            "volumes": [{"name": "s", "secret": {"secretName": "s"}}],
            "mounts": [{"name": "s", "mountPath": "/secret"}],
        }
        made.kubectl("create", "secret", "generic", "s", "--from-literal=a=b")
        for node in (first, second):
            waiting = pod(f"on-{node}", "default", nodes.PAUSE_IMAGE, **disk, nodeName=node, tolerations=tolerated)
            made.apply(waiting)
        for node in (first, second):
            made.wait(f"pod/on-{node}", "condition=Ready")
        far = made.json("get", "pod", f"on-{second}")["status"]["podIP"]
        # The far pod's node answers for its pods' addresses, so the wire between the nodes carries packets.
        ping = [*network.enter(layout.node(0)), sys.executable, "-c", _REFUSED_BY, far]
        assert subprocess.run(ping, capture_output=True, text=True, timeout=30, check=True).stdout == "refused\n"
        made.wait(f"node/{second}", "jsonpath={.status.allocatable.theblock\\.dev/fake-gpu}=2")
        assert len(clusters.look(name).leftovers) > 10
    finally:
        clusters.down(name)

    assert clusters.look(name).leftovers == []
    assert Path("/proc/self/mountinfo").read_text() == mounts_before
    assert _processes_that_mention(str(layout.state)) + _processes_that_mention(str(layout.run)) == []
    assert not layout.output.exists()
    assert all(path.is_dir() for path in nodes.FIXED.values()), "the other cluster has its mounts over them"


def test_what_does_not_come_up_is_taken_away_and_its_logs_are_kept(self_built, monkeypatch):
    monkeypatch.setattr(images, "load", _fail)
    with pytest.raises(ClusterError, match="planted"):
        clusters.up("broken")

    assert clusters.look("broken").leftovers == []
    kept = layout_of("broken").output.with_name("broken-logs")
    assert (kept / "etcd.log").exists()
    clusters.down("broken")


_REFUSED_BY = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], 9), 5)
except ConnectionRefusedError:
    print("refused")
"""


def _fail(*_):
    raise ClusterError("planted")


def _processes_that_mention(text: str) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if text in words:
            found.append(words)
    return found


def _http_status(address: str) -> int | None:
    connection = http.client.HTTPConnection(address, 8000, timeout=10)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def _database(namespace: str, loaded: dict[str, Image]) -> dict:
    made = pod(
        "db",
        namespace,
        loaded[images.POSTGRES].reference,
        volumes=[{"name": "data", "emptyDir": {}}, {"name": "tmp", "emptyDir": {}}],
        mounts=[{"name": "data", "mountPath": "/var/lib/postgresql/data"}, {"name": "tmp", "mountPath": "/tmp"}],
        restartPolicy="Always",
    )
    container = made["spec"]["containers"][0]
    container["env"] = [
        {"name": "POSTGRES_USER", "value": "explorer"},
        {"name": "POSTGRES_PASSWORD", "value": "secret"},
        {"name": "POSTGRES_DB", "value": "explorer"},
    ]
    container["readinessProbe"] = {"tcpSocket": {"port": 5432}, "periodSeconds": 1}
    return made
