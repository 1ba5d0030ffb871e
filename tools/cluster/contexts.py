"""`context.json` of a network in a cluster: where each member is reached from outside, as tools expect to read it.

The document is the one that the embedded run writes; here every member gets a loopback address of its own, from which
a forwarder leads to the member's Service.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from theblock_operator import names
from theblock_operator.embedded import context as documents
from theblock_operator.members import HTTP_PORT, Ports

from tools.cluster.access import Cluster
from tools.cluster.authority import write_private

FIRST_ADDRESS = 10
"""Below lie the addresses of the cluster's own programs."""


def write(cluster: Cluster, namespace: str, network: str) -> dict[str, Any]:
    """Forward to every member, write the context and the files that it names, and return what it says."""
    listed = cluster.json("-n", namespace, "get", "statefulsets", "-l", f"{names.NETWORK}={network}")["items"]
    workloads = sorted(listed, key=lambda one: str(one["metadata"]["name"]))
    members = [one["metadata"]["name"] for one in workloads]
    addresses = {name: cluster.layout.outside(FIRST_ADDRESS + index) for index, name in enumerate(members)}
    routes = {
        (addresses[name], port): (namespace, name, port)
        for name, workload in zip(members, workloads, strict=True)
        for port in _ports(workload)
    }
    cluster.forward(network, routes)
    people = _write_people(cluster, namespace, network)
    context = documents.render(network, namespace, workloads, addresses, people)
    folder = cluster.layout.output
    folder.mkdir(parents=True, exist_ok=True)
    write_private(folder / "context.json", (json.dumps(context, indent=1) + "\n").encode())
    return context


def _ports(workload: Mapping[str, Any]) -> list[int]:
    is_explorer = workload["metadata"]["labels"]["app.kubernetes.io/component"] == "explorer"
    return [Ports().grpc, Ports().metrics, *([HTTP_PORT] if is_explorer else [])]


def _write_people(cluster: Cluster, namespace: str, network: str) -> dict[str, Path]:
    """Put what people need beside the context: the trusted authorities, their certificate, the funder's seed."""
    folder = cluster.layout.output / network
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    wanted = {
        "ca": ("configmap", names.bundle(network), "ca.crt", "ca.crt"),
        "certificate": ("secret", names.admin(network), "tls.crt", "tls.crt"),
        "key": ("secret", names.admin(network), "tls.key", "tls.key"),
        "funder": ("secret", names.funder_key(network).secret, names.OWNER_KEY, "funder.key"),
    }
    found = {}
    for what, (kind, name, field, file) in wanted.items():
        text = cluster.kubectl("-n", namespace, "get", kind, name, "--ignore-not-found", "-o", "json")
        value = json.loads(text).get("data", {}).get(field) if text else None
        if value is not None:
            content = base64.b64decode(value) if kind == "secret" else value.encode()
            write_private(folder / file, content)
            found[what] = folder / file
    return found
