"""Where a cluster's parts lie and which addresses they have: the one place that knows.

A cluster is one network namespace a node (`tb-NAME-INDEX`), a folder of state, a folder of sockets, one cgroup a node,
and one loopback address outside for what is reached from there. The name decides all of them, so a cluster that was
left behind is found again by its name alone.
"""

from __future__ import annotations

import hashlib
import ipaddress
import os
import re
from dataclasses import dataclass
from pathlib import Path

from tools.cluster.console import ClusterError

REPOSITORY = Path(__file__).resolve().parents[2]
_IS_ROOT = os.geteuid() == 0
# Only root builds clusters; others still have forwarders into a cluster of kind's or their own.
STATE_ROOT = Path("/var/lib/theblock/cluster") if _IS_ROOT else Path.home() / ".local/state/theblock/cluster"
RUN_ROOT = Path("/run/theblock/cluster") if _IS_ROOT else Path.home() / ".local/state/theblock/run"

POD_RANGE = "10.244.0.0/16"
SERVICE_RANGE = "10.96.0.0/16"
API_SERVICE = "10.96.0.1"
DNS_SERVICE = "10.96.0.10"
API_PORT = 6443
ETCD_PORT = 2379
NODES_MAX = 8

_NAME = re.compile(r"[a-z]([a-z0-9-]{0,18}[a-z0-9])?")


def cache() -> Path:
    """Where what is slow to make is kept between runs and shared by all clusters."""
    named = os.environ.get("THEBLOCK_CACHE")
    return Path(named) if named else Path.home() / ".cache" / "theblock"


@dataclass(frozen=True)
class Node:
    cluster: str
    index: int

    @property
    def name(self) -> str:
        return f"{self.cluster}-{self.index}"

    @property
    def namespace(self) -> str:
        return f"tb-{self.name}"

    @property
    def address(self) -> str:
        """Its own address: the bridge that its pods hang on."""
        return f"10.244.{self.index}.1"

    @property
    def pods(self) -> str:
        return f"10.244.{self.index}.0/24"

    @property
    def link(self) -> str:
        """Its address on the wire between nodes."""
        return f"10.243.0.{self.index + 1}"

    @property
    def cgroup(self) -> str:
        return f"tb-{self.name}"

    @property
    def state(self) -> Path:
        return STATE_ROOT / self.cluster / f"node-{self.index}"

    @property
    def run(self) -> Path:
        return RUN_ROOT / self.cluster / f"node-{self.index}"

    @property
    def containerd(self) -> Path:
        return self.run / "containerd.sock"


@dataclass(frozen=True)
class Layout:
    name: str

    @property
    def state(self) -> Path:
        return STATE_ROOT / self.name

    @property
    def run(self) -> Path:
        return RUN_ROOT / self.name

    @property
    def logs(self) -> Path:
        return self.state / "logs"

    @property
    def certificates(self) -> Path:
        return self.state / "certificates"

    @property
    def volumes(self) -> Path:
        return self.state / "volumes"

    @property
    def audit(self) -> Path:
        return self.state / "audit.log"

    @property
    def output(self) -> Path:
        """What the user gets: kubeconfig and context."""
        return REPOSITORY / "build" / "cluster" / self.name

    @property
    def kubeconfig(self) -> Path:
        return self.output / "kubeconfig"

    def node(self, index: int) -> Node:
        return Node(self.name, index)

    def outside(self, index: int) -> str:
        """The loopback address on which the ``index``-th thing is reached from outside; 1 is the API server."""
        digest = hashlib.sha256(self.name.encode()).digest()
        # 127.64.0.0 and up: the lower half is where tests and the embedded run live.
        return str(ipaddress.IPv4Address(f"127.{64 + digest[0] % 64}.{digest[1]}.0") + index)

    @property
    def api_url(self) -> str:
        """The same address inside, where every 127.* is the namespace's own, and outside, through the forwarder."""
        return f"https://{self.outside(1)}:{API_PORT}"


def layout_of(name: str) -> Layout:
    """The layout of a cluster so named; refuse what would not do as a host name or lead out of the folders."""
    if not _NAME.fullmatch(name):
        raise ClusterError(f"{name!r} is no name for a cluster: up to 20 lower-case letters, digits and dashes")
    return Layout(name)
