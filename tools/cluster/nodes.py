"""What makes a namespace a node: containerd, kubelet, kube-proxy, and the mounts and cgroups they need.

Each node lives in a mount namespace of its own. The kubelet's plugin folder and the CNI cache have fixed paths, which
two nodes of one machine would fight over; and whatever is mounted there is gone when its last process is.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import yaml

from tools.cluster import layout as layouts
from tools.cluster import network, processes
from tools.cluster.console import ClusterError, run, wait
from tools.cluster.control import Credentials
from tools.cluster.layout import DNS_SERVICE, POD_RANGE, Layout, Node

CGROUPS = Path("/sys/fs/cgroup")
FIXED = {"kubelet": Path("/var/lib/kubelet"), "cni": Path("/var/lib/cni")}
"""Folders whose paths are compiled in: each node sees its own there."""

PAUSE_IMAGE = "theblock.local/pause:1"
ACCELERATOR_LABEL = "theblock.dev/accelerator"
ACCELERATOR_RESOURCE = "theblock.dev/fake-gpu"
PODS_MAX = 110
START_SECONDS = 60
END_SECONDS = 30


def start_runtime(layout: Layout, node: Node) -> None:
    """Make the node's mounts and cgroups, and start its containerd."""
    _create_mounts(layout, node)
    _create_cgroups(node)
    config = node.state / "containerd.toml"
    cni = node.state / "cni-config"
    cni.mkdir(parents=True, exist_ok=True)
    (cni / "10-theblock.conflist").write_text(json.dumps(cni_config(node), indent=2))
    config.write_text(containerd_config(node, cni))
    processes.start(layout, f"containerd-{node.index}", ["containerd", "--config", config], enter=enter(layout, node))
    wait(
        f"containerd of {node.name} answers",
        lambda: _answers(layout, node),
        limit_seconds=START_SECONDS,
        hint=lambda: processes.tail(layout, f"containerd-{node.index}"),
    )


def start_kubelet(
    layout: Layout, node: Node, kube: Path, credentials: Credentials, labels: Mapping[str, str], taints: Sequence[str]
) -> None:
    config = node.state / "kubelet.yaml"
    (node.state / "resolv.conf").write_text("")
    config.write_text(yaml.safe_dump(kubelet_config(node, credentials, taints), sort_keys=False))
    shown = ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
    processes.start(
        layout,
        f"kubelet-{node.index}",
        [
            kube,
            "kubelet",
            f"--config={config}",
            f"--kubeconfig={credentials.config(node.name)}",
            f"--hostname-override={node.name}",
            f"--node-ip={node.address}",
            f"--node-labels={shown}",
            "--v=1",
        ],
        enter=enter(layout, node),
    )


def start_proxy(layout: Layout, node: Node, kube: Path, credentials: Credentials) -> None:
    processes.start(
        layout,
        f"proxy-{node.index}",
        [
            kube,
            "kube-proxy",
            "--proxy-mode=nftables",
            f"--kubeconfig={credentials.config(f'proxy-{node.index}')}",
            f"--hostname-override={node.name}",
            f"--cluster-cidr={POD_RANGE}",
            # These settings belong to the whole machine, and a namespace may not change them.
            "--conntrack-max-per-core=0",
            "--conntrack-tcp-timeout-established=0",
            "--conntrack-tcp-timeout-close-wait=0",
            "--healthz-bind-address=127.0.0.1:10256",
            "--metrics-bind-address=127.0.0.1:10249",
        ],
        enter=enter(layout, node),
    )


def start_device_plugin(layout: Layout, node: Node, kube: Path) -> None:
    """Advertise devices that do nothing, so that scheduling onto accelerator nodes is real."""
    processes.start(
        layout,
        f"device-plugin-{node.index}",
        [kube, "device-plugin", f"--resource={ACCELERATOR_RESOURCE}", "--count=2"],
        enter=enter(layout, node),
    )


def enter(layout: Layout, node: Node) -> list[str]:
    """The words before a command that runs in the node's network and sees its mounts."""
    holder = processes.pid_of(layout, f"mounts-{node.index}")
    if holder is None:
        raise ClusterError(f"node {node.name} does not run")
    return [*network.enter(node)[:-1], f"--mount=/proc/{holder}/ns/mnt", "--"]


def ctr(layout: Layout, node: Node, *words: str | Path, timeout_seconds: float = 120) -> str:
    """Run containerd's own client in the kubelet's image space."""
    return run(
        *enter(layout, node),
        "ctr",
        "--address",
        node.containerd,
        "--namespace",
        "k8s.io",
        *words,
        timeout_seconds=timeout_seconds,
    )


def remove(layout: Layout, node: Node) -> None:
    """End every container and take away mounts, cgroups and state; the kubelet must have ended before.

    May find any part already gone.
    """
    _kill_containers(node)
    # A shim ends when its container has; those that do not are ended by the socket that they were given.
    processes.kill_matching(str(node.containerd))
    processes.stop(layout, f"containerd-{node.index}")
    processes.stop(layout, f"mounts-{node.index}")
    _unmount_below(node.state, node.run)
    _remove_cgroups(node)


def remove_fixed() -> None:
    """Take away the empty folders that were made to mount over, once no cluster is left.

    A folder that goes takes along what other nodes have mounted over it, in whichever namespace.
    """
    if layouts.STATE_ROOT.is_dir() and any(layouts.STATE_ROOT.iterdir()):
        return
    for path in FIXED.values():
        with suppress(OSError):  # It is not empty, so it is somebody's.
            path.rmdir()


def mounts_below(*folders: Path) -> list[str]:
    """What is mounted under the folders, the deepest first."""
    points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    within = [point for point in points if any(Path(point).is_relative_to(folder) for folder in folders)]
    return sorted(within, key=len, reverse=True)


def cgroups_of(node: Node) -> list[Path]:
    """The node's cgroup in each hierarchy where it exists."""
    return [path for root in _hierarchies() if (path := root / node.cgroup).is_dir()]


def cni_config(node: Node) -> dict[str, object]:
    return {
        "cniVersion": "1.0.0",
        "name": node.namespace,
        "plugins": [
            {
                "type": "bridge",
                "bridge": network.POD_BRIDGE,
                "isDefaultGateway": True,
                "hairpinMode": True,
                "ipMasq": False,
                "ipam": {
                    "type": "host-local",
                    "ranges": [[{"subnet": node.pods, "gateway": node.address}]],
                    "dataDir": str(node.state / "addresses"),
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": True}},
        ],
    }


def containerd_config(node: Node, cni: Path) -> str:
    binaries = next(
        (path for path in ("/usr/lib/cni", "/opt/cni/bin") if Path(path, "bridge").exists()), "/usr/lib/cni"
    )
    return f"""version = 2
root = "{node.state / "containerd"}"
state = "{node.run / "containerd"}"

[grpc]
  address = "{node.containerd}"

[plugins."io.containerd.internal.v1.opt"]
  path = "{node.state / "opt"}"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  # Without CAP_SYS_RESOURCE runc could not lower a container's score.
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  enable_unprivileged_ports = true

  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{binaries}"
    conf_dir = "{cni}"

  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
      Root = "{node.run / "runc"}"
"""


def kubelet_config(node: Node, credentials: Credentials, taints: Sequence[str]) -> dict[str, object]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": node.address,
        "readOnlyPort": 0,
        "healthzBindAddress": "127.0.0.1",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(credentials.authority.path)},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(credentials.folder / f"{node.name}.crt"),
        "tlsPrivateKeyFile": str(credentials.folder / f"{node.name}.key"),
        "containerRuntimeEndpoint": f"unix://{node.containerd}",
        "podLogsDir": str(node.state / "pod-logs"),
        "resolvConf": str(node.state / "resolv.conf"),
        "clusterDNS": [DNS_SERVICE],
        "clusterDomain": "cluster.local",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{node.cgroup}",
        # Kubernetes 1.35 otherwise refuses version 1 and hybrid hierarchies.
        "failCgroupV1": False,
        "failSwapOn": False,
        "enforceNodeAllocatable": [],
        "localStorageCapacityIsolation": False,
        "maxPods": PODS_MAX,
        "registerWithTaints": [_taint(text) for text in taints],
        # Images are imported once and there is nowhere to fetch them again from.
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "nodeStatusReportFrequency": "1m",
        "logging": {"verbosity": 1},
    }


def _taint(text: str) -> dict[str, str]:
    pair, _, effect = text.partition(":")
    key, _, value = pair.partition("=")
    return {"key": key, "value": value, "effect": effect}


def _answers(layout: Layout, node: Node) -> bool:
    if not processes.is_alive(layout, f"containerd-{node.index}"):
        raise ClusterError(f"containerd ended\n{processes.tail(layout, f'containerd-{node.index}')}")
    if not node.containerd.exists():
        return False
    try:
        ctr(layout, node, "version", timeout_seconds=10)
    except ClusterError:
        return False
    return True


def _create_mounts(layout: Layout, node: Node) -> None:
    """Start the process that keeps the node's mount namespace, and put the node's folders at the fixed paths."""
    node.run.mkdir(parents=True, exist_ok=True)
    pairs = []
    for name, fixed in FIXED.items():
        own = node.state / name
        own.mkdir(parents=True, exist_ok=True)
        fixed.mkdir(parents=True, exist_ok=True)
        pairs.append((own, fixed))
    ready = node.run / "mounts-ready"
    binds = " && ".join(f"mount --bind '{own}' '{fixed}'" for own, fixed in pairs)
    # Private towards the machine, shared within: volumes mounted by the kubelet reach running containers.
    script = f"{binds} && mount --make-rshared / && touch '{ready}' && exec sleep infinity"
    processes.start(
        layout, f"mounts-{node.index}", ["unshare", "--mount", "--propagation", "private", "sh", "-c", script]
    )
    wait(
        f"mounts of {node.name}",
        ready.exists,
        limit_seconds=START_SECONDS,
        every_seconds=0.05,
        hint=lambda: processes.tail(layout, f"mounts-{node.index}"),
    )


def _hierarchies() -> list[Path]:
    """The roots of the mounted cgroup hierarchies: one on version 2, one a controller on version 1."""
    if (CGROUPS / "cgroup.controllers").exists():
        return [CGROUPS]
    # Some controllers are mounted together and linked under each name.
    return sorted({path.resolve() for path in CGROUPS.iterdir() if path.is_dir()})


def _create_cgroups(node: Node) -> None:
    for root in _hierarchies():
        made = root / node.cgroup
        made.mkdir(exist_ok=True)
        if (root / "cgroup.subtree_control").exists() and root == CGROUPS:
            wanted = (root / "cgroup.controllers").read_text().split()
            for folder in (root, made):
                (folder / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in wanted))
        # On version 1 a new cpuset is empty, and nothing can run in it.
        for name in ("cpuset.cpus", "cpuset.mems"):
            if root != CGROUPS and (made / name).exists():
                (made / name).write_text((root / name).read_text())


def _kill_containers(node: Node) -> None:
    """End every process below the node's cgroup; new ones may be born while the list is read, so look again."""

    def none_left() -> bool:
        folders = [folder for top in cgroups_of(node) for folder in _folders_of(top)]
        living = {int(pid) for folder in folders for pid in _processes_in(folder)}
        for pid in living:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not living

    wait(f"containers of {node.name} end", none_left, limit_seconds=END_SECONDS, every_seconds=0.1)


def _folders_of(top: Path) -> list[Path]:
    """The cgroup and all below it, the deepest first. Cgroups that go while they are listed are not missed."""
    return [Path(folder) for folder, _, _ in os.walk(top, topdown=False)]


def _processes_in(cgroup: Path) -> list[str]:
    try:
        return (cgroup / "cgroup.procs").read_text().split()
    except OSError:
        return []  # It went while it was looked at.


def _remove_cgroups(node: Node) -> None:
    def gone() -> bool:
        for top in cgroups_of(node):
            for folder in _folders_of(top):
                with suppress(OSError):  # Still busy for a moment; the next look tries again.
                    folder.rmdir()
        return not cgroups_of(node)

    wait(f"cgroups of {node.name} go", gone, limit_seconds=END_SECONDS, every_seconds=0.1)


def _unmount_below(*folders: Path) -> None:
    for point in mounts_below(*folders):
        run("umount", "--lazy", point)


def remove_state(layout: Layout) -> None:
    for folder in (layout.run, layout.state):
        if mounts_below(folder):
            raise ClusterError(f"still mounted below {folder}: {mounts_below(folder)[:5]}")
        if folder.exists():
            shutil.rmtree(folder)
