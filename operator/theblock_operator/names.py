"""Names of objects, labels and annotations: said once, here (resources.md 1.2, 1.3)."""

from __future__ import annotations

import re
from typing import Any

from msgspec import UNSET

from theblock_operator.observed import KeyRef, Resource

GROUP = "theblock.dev"
FINALIZER = "theblock.dev/exit"
FIELD_MANAGER = "theblock-operator"

NETWORK = "theblock.dev/network"
KIND = "theblock.dev/kind"
RESOURCE = "theblock.dev/resource"
MEMBER = "theblock.dev/member"
ORDINAL = "theblock.dev/ordinal"
COMPONENT = "theblock.dev/component"
GRPC_CLIENT = "theblock.dev/grpc-client"
METRICS_CLIENT = "theblock.dev/metrics-client"
KEEP = "theblock.dev/keep"
ACCELERATOR = "theblock.dev/accelerator"

REVISION = "theblock.dev/revision"
PAUSED = "theblock.dev/paused"
RECONCILE_AT = "theblock.dev/reconcile-at"
FORCE_EXIT = "theblock.dev/force-exit"
FORCE_REPLACE = "theblock.dev/force-replace"
USED_ON = "theblock.dev/used-on"
FENCING_EPOCH = "theblock.dev/fencing-epoch"
FENCING_VOLUME = "theblock.dev/fencing-volume"
FENCING_RESOURCE = "theblock.dev/fencing-resource"
FENCING_POD = "theblock.dev/fencing-pod"
DRAINING_SINCE = "theblock.dev/draining-since"
ACCELERATOR_SIDE = "theblock.dev/accelerator-side"
ACCELERATOR_CHANGED = "theblock.dev/accelerator-changed"
ACCELERATOR_REASON = "theblock.dev/accelerator-reason"
ACCELERATOR_FREE_SINCE = "theblock.dev/accelerator-free-since"

NODE_KEY = "node.key"
SIGNING_KEY = "signing.key"
OWNER_KEY = "owner.key"
DATA = "data"


def member(resource: str, ordinal: int) -> str:
    return f"{resource}-{ordinal}"


def split_member(name: str) -> tuple[str, int]:
    """Resource part and ordinal of a member's name."""
    resource, _, ordinal = name.rpartition("-")
    return resource, int(ordinal)


def is_member_name(name: str) -> bool:
    return re.fullmatch(r"[a-z][-a-z0-9]*-[0-9]{1,4}", name) is not None


def claim(member_name: str) -> str:
    return f"{DATA}-{member_name}-0"


def key_secret(member_name: str, generation: int = 1) -> str:
    return f"{member_name}-key" if generation == 1 else f"{member_name}-key-g{generation}"


def node_key(spec: Any, member_name: str, generation: int = 1) -> KeyRef:
    """Where the seed of a member lies: made by the operator, or named by `keys.secretNameTemplate`."""
    keys = getattr(spec, "keys", UNSET)
    if keys is not UNSET:
        return KeyRef(keys.secret_name_template.replace("{member}", member_name), NODE_KEY)
    return KeyRef(key_secret(member_name, generation), NODE_KEY)


def signing_key(spec: Any, member_name: str) -> KeyRef:
    signing = getattr(spec, "signing", UNSET)
    ref = UNSET if signing is UNSET else signing.secret_ref
    if ref is not UNSET:
        return KeyRef(ref.name, ref.key_template.replace("{member}", member_name))
    return KeyRef(f"{member_name}-signing", SIGNING_KEY)


def owner_key(spec: Any, resource_name: str) -> KeyRef:
    ref = spec.owner.key_secret_ref
    return KeyRef(f"{resource_name}-owner", OWNER_KEY) if ref is UNSET else KeyRef(ref.name, ref.key)


def funder_key(network: str) -> KeyRef:
    return KeyRef(f"{network}-funder", OWNER_KEY)


def tls_secret(member_name: str) -> str:
    return f"{member_name}-tls"


def config_map(member_name: str, revision: str) -> str:
    return f"{member_name}-config-{revision}"


def genesis(network: str) -> str:
    return f"{network}-genesis"


def peers(network: str) -> str:
    return f"{network}-bootstrap-peers"


def bundle(network: str) -> str:
    return f"{network}-ca-bundle"


def authority(network: str) -> str:
    return f"{network}-ca"


def admin(network: str) -> str:
    return f"{network}-admin"


def operator_uri(network: str) -> str:
    return f"theblock://{network}/operator"


def admin_uri(network: str, person: str) -> str:
    return f"theblock://{network}/admin/{person}"


def selector(resource: Resource) -> str:
    """For `/scale`."""
    return f"{RESOURCE}={resource.name},{KIND}={resource.kind}"


def is_claimed(resource: Resource, other: Resource) -> bool:
    """Members of the two would share a name; the older resource keeps it."""
    if other.uid == resource.uid or member_prefix(other) != member_prefix(resource):
        return False
    return (other.created, other.uid) < (resource.created, resource.uid)


def member_prefix(resource: Resource) -> str:
    return f"{resource.name}-explorer" if resource.kind == "Network" else resource.name
