"""Secrets: the envelopes; what is in them is made in `keys.py` and `ca.py`."""

from __future__ import annotations

import json
from collections.abc import Mapping

from theblock_operator import names
from theblock_operator.objects.labels import Owner, metadata, resource_labels
from theblock_operator.observed import Fence, Object, Resource


def key(
    resource: Resource,
    network: str,
    *,
    name: str,
    field: str,
    seed_hex: str,
    public: Mapping[str, str],
    fence: Fence | None,
) -> Object:
    """Immutable and without an owner: made once, never overwritten, never deleted by the operator."""
    labels = {**resource_labels(resource, network, "key"), names.KEEP: "true"}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata(name, resource.namespace, labels, None, fence_annotations(fence)),
        "type": "theblock.dev/key",
        "immutable": True,
        "stringData": {field: seed_hex, "public.json": json.dumps(dict(public), sort_keys=True)},
    }


def fence_annotations(fence: Fence | None) -> dict[str, str]:
    if fence is None:
        return {}
    return {
        names.FENCING_EPOCH: str(fence.epoch),
        names.FENCING_VOLUME: fence.volume_uid,
        names.FENCING_RESOURCE: fence.resource_uid,
        names.FENCING_POD: fence.forced_pod,
    }


def read_fence(annotations: Mapping[str, str]) -> Fence | None:
    if names.FENCING_EPOCH not in annotations:
        return None
    return Fence(
        int(annotations[names.FENCING_EPOCH]),
        annotations.get(names.FENCING_VOLUME, ""),
        annotations.get(names.FENCING_RESOURCE, ""),
        annotations.get(names.FENCING_POD, ""),
    )


def tls(
    resource: Resource,
    network: str,
    *,
    name: str,
    certificate: str,
    private_key: str,
    owner: Owner | None,
    authority: str = "",
) -> Object:
    """``authority``: also `ca.crt`, for people."""
    data = {"tls.crt": certificate, "tls.key": private_key, **({"ca.crt": authority} if authority else {})}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata(name, resource.namespace, resource_labels(resource, network, "tls"), owner),
        "type": "kubernetes.io/tls",
        "stringData": data,
    }
