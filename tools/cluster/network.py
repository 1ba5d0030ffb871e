"""The nodes' network namespaces, with no way out of the machine, and the sockets by which they are reached.

Node 0 carries the control plane. Further nodes hang on a bridge in its namespace, each with a route to every other
node's pods; the default route leads to the loopback device, so no pod or service address can ever leave.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from pathlib import Path

from tools.cluster import processes
from tools.cluster.console import ClusterError, run
from tools.cluster.layout import DNS_SERVICE, POD_RANGE, Layout, Node

NAMESPACES = Path("/run/netns")
POD_BRIDGE = "cni0"
NODE_BRIDGE = "nodes0"


def create(layout: Layout, nodes: Sequence[Node]) -> None:
    """Make every node's namespace and join them."""
    for node in nodes:
        run("ip", "netns", "add", node.namespace)
        _ip(node, "link", "set", "lo", "up")
        _bridge(node, POD_BRIDGE, f"{node.address}/24")
        _ip(node, "route", "add", "default", "dev", "lo")
        _sysctl(node, "net.ipv4.ip_forward", "1")
    if len(nodes) > 1:
        _join(nodes)


def remove(nodes: Sequence[Node]) -> None:
    """Take the namespaces away, and with them every bridge, wire, address and packet filter."""
    for node in nodes:
        if (NAMESPACES / node.namespace).exists():
            run("ip", "netns", "delete", node.namespace)


def left_behind(name: str) -> list[Node]:
    """The nodes whose namespaces are there, however many the cluster was made with."""
    found = [path.name.removeprefix(f"tb-{name}-") for path in NAMESPACES.glob(f"tb-{name}-*")]
    return [Node(name, int(index)) for index in sorted(found) if index.isdigit()]


def enter(node: Node) -> list[str]:
    """The words before a command that runs in the node's network.

    Not `ip netns exec`: that mounts /sys anew, and the kubelet then finds no cgroups.
    """
    return ["nsenter", f"--net={NAMESPACES / node.namespace}", "--"]


def forward(layout: Layout, kube: Path, name: str, routes: Mapping[tuple[str, int], str]) -> None:
    """Listen at each (address, port) outside and carry what connects to HOST:PORT inside; again if it runs already."""
    processes.stop(layout, name)
    sockets: list[socket.socket] = []
    words: list[str] = []
    try:
        for (address, port), target in routes.items():
            made = _listen(address, port)
            sockets.append(made)
            words += ["--route", f"{made.fileno()}={target}"]
        processes.start(
            layout,
            name,
            [kube, "forward", "--dns", f"{DNS_SERVICE}:53", *words],
            enter=enter(layout.node(0)),
            sockets=sockets,
        )
    finally:
        for made in sockets:
            made.close()


def _listen(address: str, port: int) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((address, port))
    except OSError as taken:
        made.close()
        raise ClusterError(f"{address}:{port} cannot be listened at: {taken.strerror}") from taken
    made.listen(128)
    return made


def _join(nodes: Sequence[Node]) -> None:
    first = nodes[0]
    _bridge(first, NODE_BRIDGE, f"{first.link}/24")
    for node in nodes[1:]:
        wire = f"node{node.index}"
        _ip(first, "link", "add", wire, "type", "veth", "peer", "name", "uplink", "netns", node.namespace)
        _ip(first, "link", "set", wire, "master", NODE_BRIDGE, "up")
        _ip(node, "address", "add", f"{node.link}/24", "dev", "uplink")
        _ip(node, "link", "set", "uplink", "up")
        _ip(first, "route", "add", node.pods, "via", node.link)
        # The own /24 is nearer than this route, so only other nodes' pods take it.
        _ip(node, "route", "add", POD_RANGE, "via", first.link)


def _bridge(node: Node, name: str, address: str) -> None:
    _ip(node, "link", "add", name, "type", "bridge")
    _ip(node, "address", "add", address, "dev", name)
    _ip(node, "link", "set", name, "up")


def _ip(node: Node, *words: str) -> None:
    run("ip", "-netns", node.namespace, *words)


def _sysctl(node: Node, key: str, value: str) -> None:
    path = f"/proc/sys/{key.replace('.', '/')}"
    run(*enter(node), "sh", "-c", f"echo {value} > {path}")
