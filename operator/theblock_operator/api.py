"""What the operator needs of an API server: a few verbs over plain objects. Two full members keep to it:
`cluster.py` (Kubernetes) and `embedded/store.py` (files); the same tests run on both.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from theblock_operator.observed import Object

OUR_GROUP = "theblock.dev/v1alpha1"


@dataclass(frozen=True, slots=True)
class Rest:
    """Where objects of a kind live on an API server."""

    api_version: str
    plural: str
    namespaced: bool = True


REST: Mapping[str, Rest] = {
    "Network": Rest(OUR_GROUP, "networks"),
    "Validator": Rest(OUR_GROUP, "validators"),
    "StorageProvider": Rest(OUR_GROUP, "storageproviders"),
    "ComputeProvider": Rest(OUR_GROUP, "computeproviders"),
    "EnergyOracle": Rest(OUR_GROUP, "energyoracles"),
    "Bridge": Rest(OUR_GROUP, "bridges"),
    "StatefulSet": Rest("apps/v1", "statefulsets"),
    "Pod": Rest("v1", "pods"),
    "PersistentVolumeClaim": Rest("v1", "persistentvolumeclaims"),
    "ConfigMap": Rest("v1", "configmaps"),
    "Secret": Rest("v1", "secrets"),
    "Service": Rest("v1", "services"),
    "ServiceAccount": Rest("v1", "serviceaccounts"),
    "PodDisruptionBudget": Rest("policy/v1", "poddisruptionbudgets"),
    "NetworkPolicy": Rest("networking.k8s.io/v1", "networkpolicies"),
    "Lease": Rest("coordination.k8s.io/v1", "leases"),
    "Event": Rest("events.k8s.io/v1", "events"),
    "Node": Rest("v1", "nodes", namespaced=False),
    "APIService": Rest("apiregistration.k8s.io/v1", "apiservices", namespaced=False),
}
OUR_KINDS = ("Network", "Validator", "StorageProvider", "ComputeProvider", "EnergyOracle", "Bridge")
WATCHED = (
    "StatefulSet",
    "Pod",
    "PersistentVolumeClaim",
    "ConfigMap",
    "Service",
    "ServiceAccount",
    "PodDisruptionBudget",
    "NetworkPolicy",
    "Node",
)
"""Children and machines, which we watch ourselves. Our own kinds come through kopf, Secrets are read by name."""


class ApiError(Exception):
    """The API server refused or failed."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(f"{status} {reason}: {message}")
        self.status = status
        self.reason = reason
        self.message = message


class NotFound(ApiError):
    """There is no such object."""


class Conflict(ApiError):
    """It exists already, or is not the one that was meant."""


class Invalid(ApiError):
    """The object itself is refused."""


class Forbidden(ApiError):
    """The operator may not do that."""


class Unavailable(ApiError, ConnectionError):
    """Nobody answered; trying again may help."""


@dataclass(frozen=True, slots=True)
class Change:
    """One piece of news of a watch; `synced` says that everything that exists was told."""

    type: str
    """ADDED, MODIFIED, DELETED or SYNCED."""
    object: Object


class Api(Protocol):
    async def get(self, kind: str, namespace: str, name: str) -> Object: ...

    async def list(self, kind: str, namespace: str) -> list[Object]: ...

    async def create(self, object_: Object) -> Object:
        """`Conflict` if it exists."""
        ...

    async def apply(self, object_: Object) -> Object:
        """Server-side apply under our field manager; what it no longer names goes."""
        ...

    async def apply_status(self, kind: str, namespace: str, name: str, status: Object) -> Object: ...

    async def patch(self, kind: str, namespace: str, name: str, patch: Object) -> Object:
        """Merge patch."""
        ...

    async def delete(self, kind: str, namespace: str, name: str, *, uid: str, grace_seconds: int | None = None) -> None:
        """`Conflict` if the object is another; nothing if it is gone."""
        ...

    def watch(self, kind: str, namespace: str) -> AsyncIterator[Change]:
        """Everything that exists, SYNCED, and what changes, without an end."""
        ...


def key_of(object_: Object) -> tuple[str, str]:
    meta = object_["metadata"]
    return meta.get("namespace", ""), meta["name"]
