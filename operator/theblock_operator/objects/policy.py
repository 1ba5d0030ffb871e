"""Who may do what with pods: service accounts, disruption budgets, network policies (resources.md 2.4)."""

from __future__ import annotations

from collections.abc import Sequence

from theblock_operator import names
from theblock_operator.members import HTTP_PORT, P2P_PORT, PROVER_METRICS_PORT
from theblock_operator.objects.labels import metadata, owner_of, resource_labels
from theblock_operator.observed import Object, Resource

GRPC_PORT = 26658
MUTUAL_PORT = 26657
"""Members and the operator call one another here, and show their certificates."""
METRICS_PORT = 9898
OPERATOR = {"app.kubernetes.io/name": "theblock-operator"}


def service_account(resource: Resource, network: str, name: str | None = None) -> Object:
    """Without rights and without a token."""
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": _meta(resource, network, name or resource.name),
        "automountServiceAccountToken": False,
    }


def disruption_budget(
    resource: Resource, network: str, *, name: str, selector: dict[str, str], min_available: int
) -> Object:
    """Absolute: `maxUnavailable` would count only pods that have a controller now."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": _meta(resource, network, name),
        "spec": {
            "minAvailable": min_available,
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {"matchLabels": selector},
        },
    }


def member_budget(resource: Resource, network: str, min_available: int) -> Object:
    """Of all members of a resource."""
    return disruption_budget(
        resource,
        network,
        name=_policy_name(resource),
        selector=member_selector(resource),
        min_available=min_available,
    )


def member_selector(resource: Resource) -> dict[str, str]:
    return {names.RESOURCE: resource.name, names.KIND: resource.kind}


def network_policy(
    resource: Resource,
    network: str,
    *,
    is_p2p: bool = False,
    peer_cidrs: Sequence[str] = (),
    is_public: bool = False,
    has_prover: bool = False,
    has_http: bool = False,
    out_ports: Sequence[int] = (),
) -> Object:
    """Default deny, both ways, but for what members of this kind need. ``is_public``: anyone may call its gRPC port."""
    own = {"podSelector": {"matchLabels": {names.NETWORK: network}}}
    peers = {"podSelector": {"matchLabels": {names.NETWORK: network, names.COMPONENT: "node"}}}
    blocks = [{"ipBlock": {"cidr": cidr}} for cidr in peer_cidrs]
    ingress: list[Object] = []
    if is_p2p:
        ingress.append({"from": [peers, *blocks], "ports": [_port(P2P_PORT, "UDP")]})
    callers: list[Object] = [
        {"podSelector": {"matchLabels": OPERATOR}, "namespaceSelector": {}},
        own,
        {"podSelector": {"matchLabels": {names.GRPC_CLIENT: "true"}}, "namespaceSelector": {}},
    ]
    ingress.append({"from": callers, "ports": [_port(MUTUAL_PORT)]})
    ingress.append({**({} if is_public else {"from": callers}), "ports": [_port(GRPC_PORT)]})
    scrapers = [{"podSelector": {"matchLabels": {names.METRICS_CLIENT: "true"}}, "namespaceSelector": {}}]
    ingress.append(
        {
            "from": scrapers,
            "ports": [_port(METRICS_PORT), *([_port(PROVER_METRICS_PORT)] if has_prover else [])],
        }
    )
    if has_http:
        ingress.append({"ports": [_port(HTTP_PORT)]})
    egress: list[Object] = [
        {"ports": [_port(53, "UDP"), _port(53)]},
        {
            "to": [own],
            "ports": [_port(MUTUAL_PORT), _port(GRPC_PORT), *([_port(P2P_PORT, "UDP")] if is_p2p else [])],
        },
    ]
    if is_p2p and blocks:
        egress.append({"to": blocks, "ports": [_port(P2P_PORT, "UDP")]})
    if out_ports:
        egress.append({"ports": [_port(port) for port in sorted(set(out_ports))]})
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": _meta(resource, network, _policy_name(resource)),
        "spec": {
            "podSelector": {"matchLabels": member_selector(resource)},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": ingress,
            "egress": egress,
        },
    }


def _policy_name(resource: Resource) -> str:
    return f"{resource.kind.lower()}-{resource.name}"


def _port(number: int, protocol: str = "TCP") -> Object:
    return {"protocol": protocol, "port": number}


def _meta(resource: Resource, network: str, name: str) -> Object:
    return metadata(name, resource.namespace, resource_labels(resource, network, "policy"), owner_of(resource))
