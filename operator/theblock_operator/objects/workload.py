"""The StatefulSet of one that runs a member (resources.md 2.4)."""

from __future__ import annotations

from typing import Any

from theblock_operator import names
from theblock_operator.members import PROVER_METRICS_PORT, Container, Member, Prover
from theblock_operator.objects.labels import Owner, member_labels, metadata
from theblock_operator.observed import Object

USER = 10_001
CONFIG = "/etc/theblock/config"
PROVER_CONFIG = "/etc/theblock/prover"
STARTUP_SECONDS = 2
STARTUP_TRIES = 900


def stateful_set(member: Member, owner: Owner) -> Object:
    labels = member_labels(member)
    spec: Object = {
        "replicas": member.replicas,
        "serviceName": member.name,
        "podManagementPolicy": "Parallel",
        "updateStrategy": {"type": "OnDelete"},
        "selector": {"matchLabels": {names.MEMBER: member.name}},
        "template": {
            "metadata": {
                "labels": {**member.pod_labels, **labels, **_role_labels(member)},
                "annotations": {**member.pod_annotations, names.REVISION: member.revision},
            },
            "spec": pod_spec(member),
        },
    }
    if member.volume_size is not None:
        spec["persistentVolumeClaimRetentionPolicy"] = {"whenDeleted": "Retain", "whenScaled": "Retain"}
        spec["volumeClaimTemplates"] = [_claim(member)]
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": metadata(member.name, member.namespace, labels, owner, dict(member.workload_annotations)),
        "spec": spec,
    }


def pod_spec(member: Member) -> Object:
    containers = [_node(member)]
    if member.prover is not None:
        containers.append(_prover(member, member.prover))
    spec: Object = {
        "serviceAccountName": member.service_account,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": member.grace_seconds,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": member.scheduling.spread_key,
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": {names.RESOURCE: member.resource, names.KIND: member.kind}},
            }
        ],
        "containers": containers,
        "volumes": _volumes(member),
    }
    if member.scheduling.priority_class:
        spec["priorityClassName"] = member.scheduling.priority_class
    if member.scheduling.node_selector:
        spec["nodeSelector"] = dict(member.scheduling.node_selector)
    if member.scheduling.tolerations:
        spec["tolerations"] = [dict(toleration) for toleration in member.scheduling.tolerations]
    if member.pull_secrets:
        spec["imagePullSecrets"] = [{"name": name} for name in member.pull_secrets]
    return spec


def _node(member: Member) -> Object:
    command = ["python", "-m", "theblock_node"]
    mounts = [
        _mount("config", CONFIG),
        _mount("genesis", "/etc/theblock/genesis"),
        _mount("peers", "/etc/theblock/peers"),
        _mount("ca", "/etc/theblock/ca"),
        _mount("key", "/etc/theblock/key"),
        _mount("tls", "/etc/theblock/tls"),
        *([_mount("signing", "/etc/theblock/signing")] if member.signing else []),
        *([_mount("database", "/etc/theblock/database")] if member.database else []),
        *([_mount("headers", "/etc/theblock/headers")] if member.headers else []),
        _mount(names.DATA, "/var/lib/theblock", read_only=False),
        _mount("tmp", "/tmp", read_only=False),
        _mount("run", "/run/theblock", read_only=False),
    ]
    return {
        "name": "node",
        "image": member.image,
        "imagePullPolicy": member.pull_policy,
        "command": [*command, member.role, "--config", f"{CONFIG}/config.json"],
        "ports": _ports(member),
        "resources": _resources(member.resources),
        "securityContext": _container_security(),
        "startupProbe": _probe("startup", period=STARTUP_SECONDS, failures=STARTUP_TRIES),
        "livenessProbe": _probe("liveness", period=10, failures=6),
        "readinessProbe": _probe("readiness", period=2, failures=3),
        "lifecycle": {"preStop": {"exec": {"command": [*command, "handover", "--config", f"{CONFIG}/config.json"]}}},
        "volumeMounts": mounts,
    }


def _prover(member: Member, prover: Prover) -> Object:
    """Opens no connection; is reached over the socket in `run`."""
    resources = _resources(prover.resources)
    if prover.device:
        count = str(prover.device_count)
        resources = {
            "requests": {**resources["requests"], prover.device: count},
            "limits": {**resources["limits"], prover.device: count},
        }
    return {
        "name": "prover",
        "image": prover.image,
        "imagePullPolicy": member.pull_policy,
        "command": ["python", "-m", "theblock_gpu", "--config", f"{PROVER_CONFIG}/prover.json"],
        "ports": [{"name": "prover-metrics", "containerPort": PROVER_METRICS_PORT, "protocol": "TCP"}],
        "resources": resources,
        "securityContext": _container_security(),
        "volumeMounts": [
            {"name": "config", "mountPath": PROVER_CONFIG, "readOnly": True},
            _mount("tmp", "/tmp", read_only=False),
            _mount("run", "/run/theblock", read_only=False),
        ],
    }


def _ports(member: Member) -> list[Object]:
    ports = [_port("grpc", member.ports.grpc)]
    if member.ports.p2p is not None:
        ports.append(_port("p2p-quic", member.ports.p2p, "UDP"))
    ports += [_port("health", member.ports.health), _port("metrics", member.ports.metrics)]
    if member.ports.http is not None:
        ports.append(_port("http", member.ports.http))
    return ports


def _port(name: str, number: int, protocol: str = "TCP") -> Object:
    return {"name": name, "containerPort": number, "protocol": protocol}


def _probe(service: str, *, period: int, failures: int) -> Object:
    return {
        "grpc": {"port": 26659, "service": service},
        "periodSeconds": period,
        "timeoutSeconds": 2,
        "failureThreshold": failures,
    }


def _resources(container: Container) -> dict[str, dict[str, str]]:
    return {"requests": dict(container.requests), "limits": dict(container.limits)}


def _container_security() -> Object:
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def _mount(name: str, path: str, *, read_only: bool = True) -> Object:
    mount: Object = {"name": name, "mountPath": path}
    return {**mount, "readOnly": True} if read_only else mount


def _volumes(member: Member) -> list[Object]:
    volumes: list[dict[str, Any]] = [
        {"name": "config", "configMap": {"name": names.config_map(member.name, member.revision)}},
        {"name": "genesis", "configMap": {"name": names.genesis(member.network)}},
        {"name": "peers", "configMap": {"name": names.peers(member.network)}},
        {"name": "ca", "configMap": {"name": names.bundle(member.network)}},
        _secret("key", member.key.secret, member.key.field, names.NODE_KEY),
        {"name": "tls", "secret": {"secretName": names.tls_secret(member.name), "defaultMode": 0o440}},
    ]
    if member.signing is not None:
        volumes.append(_secret("signing", member.signing.secret, member.signing.field, names.SIGNING_KEY))
    if member.database is not None:
        volumes.append(_secret("database", member.database.secret, member.database.field, member.database.field))
    if member.headers is not None:
        volumes.append({"name": "headers", "configMap": {"name": member.headers.secret}})
    if member.volume_size is None:
        volumes.append({"name": names.DATA, "emptyDir": {}})
    volumes.append({"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}})
    volumes.append({"name": "run", "emptyDir": {"sizeLimit": "16Mi"}})
    return volumes


def _secret(name: str, secret: str, key: str, file: str) -> Object:
    """Only the one item: a pod never sees another member's key."""
    return {
        "name": name,
        "secret": {"secretName": secret, "defaultMode": 0o440, "items": [{"key": key, "path": file}]},
    }


def _claim(member: Member) -> Object:
    spec: Object = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": member.volume_size}},
    }
    if member.volume_class is not None:
        spec["storageClassName"] = member.volume_class
    labels = member_labels(member)
    fixed = {key: value for key, value in labels.items() if key != "app.kubernetes.io/version"}
    return {"metadata": {"name": names.DATA, "labels": fixed}, "spec": spec}


def _role_labels(member: Member) -> dict[str, str]:
    """Who runs a P2P endpoint, and who may call the network's gRPC port."""
    node = {names.COMPONENT: "node"} if member.ports.p2p is not None else {}
    return {**node, names.GRPC_CLIENT: "true"}
