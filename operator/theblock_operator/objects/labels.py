"""Labels and metadata of every object (resources.md 1.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from theblock_operator import names
from theblock_operator.members import Member
from theblock_operator.observed import Object, Resource


@dataclass(frozen=True, slots=True)
class Owner:
    """What an object goes with."""

    api_version: str
    kind: str
    name: str
    uid: str


def owner_of(resource: Resource) -> Owner:
    return Owner("theblock.dev/v1alpha1", resource.kind, resource.name, resource.uid)


def workload_owner(member: str, uid: str) -> Owner:
    return Owner("apps/v1", "StatefulSet", member, uid)


def image_tag(image: str) -> str:
    """What `app.kubernetes.io/version` says: the tag, or the head of the digest."""
    name, _, digest = image.partition("@")
    tag = name.rpartition("/")[2].partition(":")[2]
    text = tag or digest.rpartition(":")[2][:12] or "latest"
    return text[:63]


def resource_labels(resource: Resource, network: str, component: str, image: str = "") -> dict[str, str]:
    labels = {
        "app.kubernetes.io/name": "theblock",
        "app.kubernetes.io/instance": resource.name,
        "app.kubernetes.io/component": component.replace("_", "-"),
        "app.kubernetes.io/part-of": network,
        "app.kubernetes.io/managed-by": names.FIELD_MANAGER,
        names.NETWORK: network,
        names.KIND: resource.kind,
        names.RESOURCE: resource.name,
    }
    return {**labels, "app.kubernetes.io/version": image_tag(image)} if image else labels


def member_labels(member: Member) -> dict[str, str]:
    return {
        "app.kubernetes.io/name": "theblock",
        "app.kubernetes.io/instance": member.resource,
        "app.kubernetes.io/component": member.role.replace("_", "-"),
        "app.kubernetes.io/part-of": member.network,
        "app.kubernetes.io/managed-by": names.FIELD_MANAGER,
        "app.kubernetes.io/version": image_tag(member.image),
        names.NETWORK: member.network,
        names.KIND: member.kind,
        names.RESOURCE: member.resource,
        names.MEMBER: member.name,
        names.ORDINAL: str(member.ordinal),
    }


def metadata(
    name: str,
    namespace: str,
    labels: dict[str, str],
    owner: Owner | None,
    annotations: dict[str, str] | None = None,
) -> Object:
    meta: dict[str, Any] = {"name": name, "namespace": namespace, "labels": labels}
    if annotations:
        meta["annotations"] = annotations
    if owner is not None:
        meta["ownerReferences"] = [
            {
                "apiVersion": owner.api_version,
                "kind": owner.kind,
                "name": owner.name,
                "uid": owner.uid,
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ]
    return meta
