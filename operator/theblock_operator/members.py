"""One member: a role with its config, key, ports and volume. Both Kubernetes and the embedded run bring up these.

`kinds/` makes the members that should exist; `objects/` turns each into Kubernetes objects, `embedded/` into a process.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from theblock_operator.observed import KeyRef, Layout, Object


@dataclass(frozen=True, slots=True)
class Ports:
    grpc: int = 26658
    p2p: int | None = None
    """Only of members with a P2P endpoint."""
    health: int = 26659
    metrics: int = 9898
    http: int | None = None
    """Only of roles of the Network."""


P2P_PORT = 26656
HTTP_PORT = 8080
PROVER_METRICS_PORT = 9899


@dataclass(frozen=True, slots=True)
class Container:
    """Requests and limits of a container, as Kubernetes writes them."""

    requests: Mapping[str, str]
    limits: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Scheduling:
    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: tuple[Object, ...] = ()
    spread_key: str = "kubernetes.io/hostname"
    priority_class: str = ""


@dataclass(frozen=True, slots=True)
class Prover:
    """The container `prover` beside a compute node."""

    config: Object
    """prover.json."""
    image: str
    resources: Container
    device: str = ""
    """Extended resource; empty: on the CPU."""
    device_count: int = 0


@dataclass(frozen=True, slots=True)
class Mount:
    """A Secret or ConfigMap of the user's, in the container `node`."""

    name: str
    path: str
    secret: str = ""
    config_map: str = ""
    items: tuple[tuple[str, str], ...] = ()
    """(key, file); empty: all keys."""


@dataclass(frozen=True, slots=True)
class Member:
    """One pod's worth of wishes. The StatefulSet has its name; the pod is ``<name>-0``."""

    name: str
    ordinal: int
    kind: str
    role: str
    resource: str
    network: str
    namespace: str
    config: Object
    """config.json, exactly."""
    image: str
    resources: Container
    key: KeyRef
    """The seed of the node."""
    fencing_epoch: int
    ports: Ports
    volume_size: str | None
    """None: no volume."""
    volume_class: str | None = None
    volume_retention: str = "Retain"
    signing: KeyRef | None = None
    database: KeyRef | None = None
    """Secret and key of the explorer's DSN."""
    headers: KeyRef | None = None
    """ConfigMap and key of a bridge's headers."""
    key_generation: int = 1
    scheduling: Scheduling = Scheduling()
    prover: Prover | None = None
    grace_seconds: int = 60
    pull_policy: str = "IfNotPresent"
    pull_secrets: tuple[str, ...] = ()
    pod_labels: Mapping[str, str] = field(default_factory=dict)
    pod_annotations: Mapping[str, str] = field(default_factory=dict)
    workload_annotations: Mapping[str, str] = field(default_factory=dict)
    """What the operator must remember of the member; never makes a new pod."""
    replicas: int = 1
    """0 or 1 pods."""

    @property
    def revision(self) -> str:
        """First 10 hex digits of the hash of what makes a new pod necessary."""
        return compute_revision(self)

    @property
    def service_account(self) -> str:
        return f"{self.network}-{self.role}" if self.kind == "Network" else self.resource

    @property
    def host(self) -> str:
        return f"{self.name}.{self.namespace}.svc"

    @property
    def uri(self) -> str:
        return f"theblock://{self.network}/{self.role}/{self.name}"

    @property
    def config_json(self) -> str:
        return json.dumps(self.config, indent=1, sort_keys=True) + "\n"


def compute_revision(member: Member) -> str:
    needs_pod = [
        member.image,
        member.config,
        member.key,
        member.key_generation,
        member.resources.requests,
        member.resources.limits,
        member.scheduling.node_selector,
        member.scheduling.tolerations,
        member.scheduling.spread_key,
        member.scheduling.priority_class,
        member.signing,
        member.database,
        member.headers,
        member.grace_seconds,
        member.pull_policy,
        member.pull_secrets,
        member.pod_labels,
        member.pod_annotations,
        None if member.prover is None else _prover_parts(member.prover),
    ]
    canonical = json.dumps(needs_pod, sort_keys=True, separators=(",", ":"), default=dict)
    return hashlib.sha256(canonical.encode()).hexdigest()[:10]


def _prover_parts(prover: Prover) -> list[object]:
    return [
        prover.config,
        prover.image,
        prover.resources.requests,
        prover.resources.limits,
        prover.device,
        prover.device_count,
    ]


def dns_names(member: Member, cluster_domain: str = "cluster.local") -> tuple[str, ...]:
    """Names in the member's certificate. Validators also answer for the network's public address."""
    hosts = [member.host, f"{member.name}-0.{member.host}"]
    if member.role == "validator":
        hosts.append(f"{member.network}-api.{member.namespace}.svc")
    return tuple(name for host in hosts for name in (host, f"{host}.{cluster_domain}"))


def paths(layout: Layout, member: str, resource: str, network: str, namespace: str) -> Layout:
    """``layout`` with all names filled in for one member."""
    names = {"member": member, "resource": resource, "network": network, "namespace": namespace, "key": "{key}"}
    filled = {
        name: getattr(layout, name).format(**names)
        for name in ("genesis", "key", "signing", "tls", "ca", "peers", "data", "run", "database", "headers")
    }
    address = layout.addresses.get(member)
    return replace(
        layout,
        **filled,
        host=address or layout.host,
        advertise=address or layout.advertise.format(**names),
    )
