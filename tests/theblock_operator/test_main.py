"""The operator as a process, with exactly the rights of its chart, against a real API server."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request

import pytest
import yaml
from support.loopback import subnet

from tools.charts import rendering
from tools.charts.binaries import find_helm
from tools.charts.rendering import Case

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(900)]
HOSTS = (f"{subnet(46)}.11", f"{subnet(46)}.12")
NAMESPACE = "whole"
ACCOUNT = f"system:serviceaccount:{NAMESPACE}:trial-theblock-operator"
WAIT_S = 240


@pytest.fixture(scope="module")
def installed(api_server):
    """Both charts, as helm renders them; no pods will ever run."""
    helm = find_helm()
    api_server.kubectl("create", "namespace", NAMESPACE)
    for chart in ("theblock-operator", "theblock-network"):
        objects = [
            json.loads(json.dumps(o).replace(f'"{rendering.NAMESPACE}"', f'"{NAMESPACE}"'))
            for o in rendering.render(helm, Case(chart, "trial"))
            if o["kind"] != "CustomResourceDefinition"
        ]
        text = yaml.safe_dump_all(objects)
        api_server.kubectl("apply", "--server-side", "--validate=strict", "-f", "-", stdin=text)
    return api_server


@pytest.fixture(scope="module")
def start(installed, tmp_path_factory):
    identity = installed.identity(ACCOUNT)
    running = []

    def go(index):
        folder = tmp_path_factory.mktemp(f"operator-{index}")
        flags = [f"--namespaces={NAMESPACE}", f"--listen={HOSTS[index]}", f"--run-dir={folder}", f"--identity=o{index}"]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "theblock_operator", *flags],
                env={**os.environ, "KUBECONFIG": str(identity)},
                stdout=log,
                stderr=log,
            )
        running.append(process)
        return process

    yield go
    for process in running:
        process.kill()
        process.wait()


def wait(what, condition, process):
    """Poll from outside, as a user would; the operator is another process."""
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert process.poll() is None, f"the operator ended with {process.returncode} before {what}"
        assert time.monotonic() < deadline, f"not within {WAIT_S} s: {what}"
        time.sleep(0.5)


def holder(server):
    done = server.try_kubectl(
        "get", "lease", "theblock-operator", "-n", NAMESPACE, "-o", "jsonpath={.spec.holderIdentity}"
    )
    return done.stdout


def names(server, kind):
    return server.kubectl("get", kind, "-n", NAMESPACE, "-o", "name").split()


def test_a_network_begins_with_the_rights_of_the_chart(installed, start):
    first = start(0)
    wait("the genesis is sealed", lambda: "configmap/starter-genesis" in names(installed, "configmap"), first)
    wait("all members are planned", lambda: len(names(installed, "statefulset")) >= 5, first)

    page = urllib.request.urlopen(f"http://{HOSTS[0]}:9898/metrics", timeout=10).read().decode()
    ready = urllib.request.urlopen(f"http://{HOSTS[0]}:9898/readyz", timeout=10).status
    assert ready == 200
    assert 'theblock_operator_lease_held{namespace="whole"} 1.0' in page
    assert 'theblock_operator_cert_expiry_seconds{network="starter"' in page

    # Another waits, and takes over as soon as the first one gives the Lease back.
    second = start(1)
    first.send_signal(signal.SIGTERM)
    assert first.wait(30) == 0
    wait("the second leads", lambda: holder(installed) == "o1", second)
    second.send_signal(signal.SIGTERM)
    assert second.wait(30) == 0
    assert holder(installed) == ""

    ours = [row for row in installed.audit() if row["user"]["username"] == ACCOUNT]
    assert ours
    denied = [(row["verb"], row.get("objectRef")) for row in ours if row["responseStatus"]["code"] == 403]
    assert denied == []
    kopf_writes = [
        row
        for row in ours
        if row["verb"] in ("patch", "update", "create") and not row["userAgent"].startswith("theblock-operator")
    ]
    assert kopf_writes == []
