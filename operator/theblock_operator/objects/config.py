"""ConfigMaps: config of one revision, genesis, peers, and the trusted authorities."""

from __future__ import annotations

import json

from theblock_operator import names
from theblock_operator.members import Member
from theblock_operator.objects.labels import Owner, member_labels, metadata, resource_labels
from theblock_operator.observed import Object, Resource


def config(member: Member, owner: Owner) -> Object:
    """Immutable; another config is another object, so that a pod never sees half of a change."""
    data = {"config.json": member.config_json}
    if member.prover is not None:
        data["prover.json"] = json.dumps(member.prover.config, indent=1, sort_keys=True) + "\n"
    name = names.config_map(member.name, member.revision)
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(name, member.namespace, member_labels(member), owner),
        "immutable": True,
        "data": data,
    }


def genesis(network: Resource, document: bytes, sha256: str) -> Object:
    """Without an owner: the chain outlives a Network that is deleted by mistake."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(
            names.genesis(network.name), network.namespace, resource_labels(network, network.name, "genesis"), None
        ),
        "immutable": True,
        "data": {"genesis.json": document.decode(), "genesis.sha256": sha256},
    }


def peers(network: Resource, document: Object, owner: Owner) -> Object:
    return _shared(network, names.peers(network.name), {"peers.json": dump(document)}, "peers", owner)


def bundle(network: Resource, certificates: str, owner: Owner) -> Object:
    return _shared(network, names.bundle(network.name), {"ca.crt": certificates}, "ca", owner)


def dump(document: Object) -> str:
    return json.dumps(document, indent=1, sort_keys=True) + "\n"


def _shared(network: Resource, name: str, data: dict[str, str], component: str, owner: Owner) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(name, network.namespace, resource_labels(network, network.name, component), owner),
        "data": data,
    }
