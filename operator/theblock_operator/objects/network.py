"""Services: a headless one for each member, and those by which a network is reached from outside."""

from __future__ import annotations

from collections.abc import Mapping

from theblock_operator import names
from theblock_operator.members import HTTP_PORT, Member
from theblock_operator.objects.labels import Owner, member_labels, metadata, owner_of, resource_labels
from theblock_operator.observed import Object, Resource


def member_service(member: Member, owner: Owner) -> Object:
    """The member's name in DNS, before it is ready too: peers and the operator call it by that."""
    ports = [_grpc(member.ports.grpc), _port("metrics", member.ports.metrics)]
    if member.ports.p2p is not None:
        ports.append(_port("p2p-quic", member.ports.p2p, "UDP"))
    if member.ports.http is not None:
        ports.append(_port("http", member.ports.http))
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(member.name, member.namespace, member_labels(member), owner),
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": {names.MEMBER: member.name},
            "ports": ports,
        },
    }


def api_service(network: Resource, service_type: str, annotations: Mapping[str, str]) -> Object:
    meta = metadata(
        f"{network.name}-api",
        network.namespace,
        resource_labels(network, network.name, "api"),
        owner_of(network),
        dict(annotations),
    )
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": meta,
        "spec": {
            "type": service_type,
            "selector": {names.NETWORK: network.name, names.KIND: "Validator"},
            "ports": [_grpc(26658)],
        },
    }


def explorer_service(network: Resource, service_type: str) -> Object:
    labels = resource_labels(network, network.name, "explorer")
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(f"{network.name}-explorer", network.namespace, labels, owner_of(network)),
        "spec": {
            "type": service_type,
            "selector": {names.NETWORK: network.name, names.KIND: "Network"},
            "ports": [_port("http", HTTP_PORT)],
        },
    }


def _grpc(number: int) -> Object:
    return {**_port("grpc", number), "appProtocol": "grpc"}


def _port(name: str, number: int, protocol: str = "TCP") -> Object:
    return {"name": name, "port": number, "targetPort": name, "protocol": protocol}
