"""`context.json`: what tools need to know of the run, kept current; and the files that it names."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from theblock_operator import keys, names
from theblock_operator.embedded import files, pods
from theblock_operator.embedded.places import Home
from theblock_operator.embedded.store import Store
from theblock_operator.members import HTTP_PORT, Ports
from theblock_operator.observed import Object


def write(home: Home, store: Store, namespace: str, addresses: Mapping[str, str]) -> Object:
    """Bring context.json and the files beside it up to date; what it says."""
    networks = store.select("Network", namespace)
    network = networks[0]["metadata"]["name"] if networks else None
    people = None if network is None else _write_people(home, store, namespace, network)
    context = render(network, namespace, store.select("StatefulSet", namespace), addresses, people or {})
    text = json.dumps(context, indent=1) + "\n"
    if not home.context.exists() or home.context.read_text() != text:
        files.write_private(home.context, text)
    return context


def render(
    network: str | None,
    namespace: str,
    workloads: list[Object] | tuple[Object, ...] | Any,
    addresses: Mapping[str, str],
    people: Mapping[str, Path],
) -> Object:
    """The document: members of the network whose workloads want a pod, and where they are."""
    members = [
        {
            "name": workload["metadata"]["name"],
            "role": workload["metadata"]["labels"]["app.kubernetes.io/component"].replace("-", "_"),
            "resource": workload["metadata"]["labels"][names.RESOURCE],
            "host": addresses[workload["metadata"]["name"]],
            "grpc": Ports().grpc,
            "tls_name": f"{workload['metadata']['name']}.{namespace}.svc",
        }
        for workload in workloads
        if workload["metadata"]["labels"][names.NETWORK] == network
        and workload["metadata"]["name"] in addresses
        and workload["spec"].get("replicas", 1)
        and not pods.is_deleting(workload)
    ]
    explorer = next((member["host"] for member in members if member["role"] == "explorer"), None)
    has_admin = "certificate" in people and "key" in people
    return {
        "network": network,
        "namespace": namespace,
        "members": members,
        "ca": _path(people, "ca"),
        "admin": {"certificate": str(people["certificate"]), "key": str(people["key"])} if has_admin else None,
        "funder": _path(people, "funder"),
        "explorer": None if explorer is None else f"http://{explorer}:{HTTP_PORT}/",
        "metrics": {member["name"]: f"http://{member['host']}:{Ports().metrics}/metrics" for member in members},
    }


def _write_people(home: Home, store: Store, namespace: str, network: str) -> dict[str, Path]:
    """Put what people need into files: the trusted authorities, their certificate, the funder's seed."""
    folder = home.people / network
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    wanted = {
        "ca": ("ConfigMap", names.bundle(network), "ca.crt", "ca.crt"),
        "certificate": ("Secret", names.admin(network), "tls.crt", "tls.crt"),
        "key": ("Secret", names.admin(network), "tls.key", "tls.key"),
        "funder": ("Secret", names.funder_key(network).secret, names.OWNER_KEY, "funder.key"),
    }
    found: dict[str, Path] = {}
    for what, (kind, name, field, file) in wanted.items():
        object_ = store.peek(kind, namespace, name)
        text = None if object_ is None else keys.data_of(object_).get(field)
        if text is None:
            continue
        path = folder / file
        if not path.exists() or path.read_text() != text:
            files.write_private(path, text)
        found[what] = path
    return found


def _path(people: Mapping[str, Path], what: str) -> str | None:
    return str(people[what]) if what in people else None
