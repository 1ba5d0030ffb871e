"""The self-built cluster: up, down and how it is.

`up` of a cluster that is whole changes nothing; of one that is not, it first takes away what is left and starts anew.
`down` needs nothing but the name and may be run at any time, whatever is left.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.cluster import control, images, network, nodes, processes, system
from tools.cluster.access import Cluster
from tools.cluster.build import ensure_kube, locked
from tools.cluster.console import ClusterError, say, step, wait
from tools.cluster.control import Credentials
from tools.cluster.layout import API_PORT, NODES_MAX, RUN_ROOT, STATE_ROOT, Layout, Node, layout_of

API_SECONDS = 120
NODE_SECONDS = 120
TAINT = f"{nodes.ACCELERATOR_LABEL}=true:NoSchedule"
DAEMONS = ("etcd", "api", "controller-manager", "scheduler", "dns", "provisioner", "forward-api")
EACH_NODE = ("mounts", "containerd", "kubelet", "proxy")


def up(name: str, count: int = 1) -> Cluster:
    """Return the running cluster ``name`` with ``count`` nodes; make it where it does not run."""
    if not 1 <= count <= NODES_MAX:
        raise ClusterError(f"a cluster has 1 to {NODES_MAX} nodes, not {count}")
    refused = system.why_not_self_built()
    if refused is not None:
        raise ClusterError(f"no cluster can be built here: {refused}")
    layout = layout_of(name)
    system.ensure_packages()
    kube = ensure_kube()
    with locked(RUN_ROOT / f"{name}.lock", f"another run works on cluster {name}"):
        running = _running(layout, count)
        if running is not None:
            say(f"  cluster {name} runs")
            return running
        _remove(layout)
        try:
            return _create(layout, kube, [layout.node(index) for index in range(count)])
        except BaseException:
            # Half a cluster helps nobody; the logs are what is left to look at.
            kept = keep_logs(layout)
            _remove(layout)
            say(f"  the logs are in {kept}")
            raise


def down(name: str) -> None:
    """Leave nothing behind of the cluster ``name``: no process, namespace, mount, cgroup or file."""
    layout = layout_of(name)
    with locked(RUN_ROOT / f"{name}.lock", f"another run works on cluster {name}"):
        _remove(layout)
    shutil.rmtree(layout.output, ignore_errors=True)
    nodes.remove_fixed()
    (RUN_ROOT / f"{name}.lock").unlink(missing_ok=True)
    for folder in (RUN_ROOT, RUN_ROOT.parent, STATE_ROOT, STATE_ROOT.parent, layout.output.parent):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def attach(name: str) -> Cluster:
    """The cluster ``name``, which runs."""
    layout = layout_of(name)
    running = _running(layout, None)
    if running is None:
        raise ClusterError(f"cluster {name} does not run: `python -m tools.cluster up --name {name}` starts it")
    return running


@dataclass(frozen=True)
class Status:
    daemons: dict[str, bool]
    """Each program that belongs to the cluster, and whether it lives."""
    leftovers: list[str]
    """What is there of the cluster: namespaces, mounts, cgroups, folders, processes."""


def look(name: str) -> Status:
    layout = layout_of(name)
    known = [layout.node(index) for index in range(NODES_MAX)]
    found = [f"network namespace {node.namespace}" for node in network.left_behind(name)]
    found += [f"mount {point}" for point in nodes.mounts_below(layout.state, layout.run)]
    found += [f"cgroup {path}" for node in known for path in nodes.cgroups_of(node)]
    found += [f"folder {path}" for path in (layout.state, layout.run) if path.exists()]
    daemons = {process: processes.is_alive(layout, process) for process in processes.names(layout)}
    found += [f"process {process}" for process, alive in daemons.items() if alive]
    return Status(daemons, found)


def keep_logs(layout: Layout) -> Path:
    """Copy the programs' logs to where they outlive the cluster."""
    kept = layout.output.with_name(f"{layout.name}-logs")
    shutil.rmtree(kept, ignore_errors=True)
    if layout.logs.exists():
        shutil.copytree(layout.logs, kept)
    return kept


def _create(layout: Layout, kube: Path, made: Sequence[Node]) -> Cluster:
    first = made[0]
    layout.state.mkdir(parents=True, exist_ok=True)
    layout.volumes.mkdir()
    pause = images.ensure_pause()
    network.create(layout, made)
    credentials = control.create_credentials(layout, made)
    cluster = Cluster(layout, layout.kubeconfig, None, (str(kube), "kubectl"), kube, len(made))
    inside = network.enter(first)
    with step("control plane"):
        processes.start(layout, "etcd", [kube, *control.etcd(layout)], enter=inside)
        processes.start(layout, "api", [kube, *control.api_server(layout, credentials, first)], enter=inside)
        network.forward(layout, kube, "forward-api", {(layout.outside(1), API_PORT): f"127.0.0.1:{API_PORT}"})
        layout.output.mkdir(parents=True, exist_ok=True)
        shutil.copy(credentials.config("admin"), layout.kubeconfig)
        # While the API server starts, so do the container runtimes.
        for node in made:
            nodes.start_runtime(layout, node)
            images.load(layout, node, [pause])
        wait(
            "API server",
            lambda: _api_answers(cluster),
            limit_seconds=API_SECONDS,
            hint=lambda: processes.tail(layout, "api"),
        )
        processes.start(
            layout, "controller-manager", [kube, *control.controller_manager(layout, credentials)], enter=inside
        )
        processes.start(layout, "scheduler", [kube, *control.scheduler(layout, credentials)], enter=inside)
        cluster.apply(*control.addons(first), server_side=True)
        processes.start(layout, "dns", [kube, *control.dns(layout, credentials, first)], enter=inside)
        processes.start(layout, "provisioner", [kube, *control.provisioner(layout, credentials)], enter=inside)
    with step(f"{len(made)} node{'s' if len(made) > 1 else ''}"):
        for node in made:
            _start_node(layout, node, kube, credentials, len(made))
        for node in made:
            cluster.wait(f"node/{node.name}", "condition=Ready", limit_seconds=NODE_SECONDS)
        cluster.wait("serviceaccount/default", "jsonpath={.metadata.name}=default", limit_seconds=NODE_SECONDS)
    (layout.state / "cluster.json").write_text(json.dumps({"nodes": len(made), "kube": str(kube)}))
    return cluster


def _start_node(layout: Layout, node: Node, kube: Path, credentials: Credentials, count: int) -> None:
    """The last node has the accelerators; it is kept free for those who ask for one, unless it is the only one."""
    accelerated = node.index == count - 1
    labels = {nodes.ACCELERATOR_LABEL: "true"} if accelerated else {}
    taints = [TAINT] if accelerated and count > 1 else []
    nodes.start_kubelet(layout, node, kube, credentials, labels, taints)
    nodes.start_proxy(layout, node, kube, credentials)
    if accelerated:
        nodes.start_device_plugin(layout, node, kube)


def _running(layout: Layout, count: int | None) -> Cluster | None:
    """The cluster if it is whole, and has ``count`` nodes where that is asked for."""
    path = layout.state / "cluster.json"
    if not path.exists() or not layout.kubeconfig.exists():
        return None
    written = json.loads(path.read_text())
    expected = [*DAEMONS, *(f"{process}-{index}" for index in range(written["nodes"]) for process in EACH_NODE)]
    kube = Path(written["kube"])
    whole = count in (None, written["nodes"]) and kube.exists()
    if not whole or not all(processes.is_alive(layout, process) for process in expected):
        return None
    return Cluster(layout, layout.kubeconfig, None, (str(kube), "kubectl"), kube, written["nodes"])


def _api_answers(cluster: Cluster) -> bool:
    layout = cluster.layout
    for process in ("etcd", "api", "forward-api"):
        if not processes.is_alive(layout, process):
            raise ClusterError(f"{process} ended\n{processes.tail(layout, process)}")
    try:
        return cluster.kubectl("get", "--raw=/readyz", timeout_seconds=10) == "ok"
    except ClusterError:
        return False


def _remove(layout: Layout) -> None:
    """Take away whatever there is, in the order in which nothing comes back: who starts things ends first."""
    names = processes.names(layout)
    processes.stop_all(layout, [name for name in names if not name.startswith(("mounts", "containerd"))])
    known = [layout.node(index) for index in range(NODES_MAX)]
    found = [node for node in known if node.state.exists() or node.run.exists() or nodes.cgroups_of(node)]
    for node in found:
        with step(f"containers of {node.name} end"):
            nodes.remove(layout, node)
    network.remove(network.left_behind(layout.name))
    if layout.state.exists():
        with step("files go"):
            nodes.remove_state(layout)
    nodes.remove_state(layout)
