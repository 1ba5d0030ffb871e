"""Seeds: made once, read back, and checked against what is told of them."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping

from theblock_node.client import keys as node_keys
from theblock_node.client.wallet import Wallet

from theblock_operator import names
from theblock_operator.objects import secrets
from theblock_operator.observed import Fence, Key, KeyRef, Object, Resource


class BadKey(Exception):
    """A Secret holds no usable seed."""


def make(resource: Resource, network: str, ref: KeyRef, fence: Fence | None) -> Object:
    """A new key Secret."""
    seed = node_keys.generate_seed()
    public = node_keys.public_key(seed)
    told = {"public_key": public.hex(), "address": node_keys.address(public), "peer_id": public.hex()}
    return secrets.key(
        resource, network, name=ref.secret, field=ref.field, seed_hex=seed.hex(), public=told, fence=fence
    )


def read_seed(secret: Object, field: str) -> bytes:
    """The 32 bytes in a Secret; refuses anything else."""
    text = data_of(secret).get(field)
    if text is None:
        raise BadKey(f"Secret {secret['metadata']['name']} has no key {field}")
    try:
        seed = bytes.fromhex(text.strip())
    except ValueError as wrong:
        raise BadKey(f"Secret {secret['metadata']['name']}: {field} is not hex") from wrong
    if len(seed) != 32:
        raise BadKey(f"Secret {secret['metadata']['name']}: {field} is not 32 bytes")
    return seed


def read(secret: Object, field: str) -> Key | None:
    """What may be told of the seed in a Secret; None if it has no such field."""
    data = data_of(secret)
    if field not in data:
        return None
    annotations: Mapping[str, str] = secret["metadata"].get("annotations") or {}
    try:
        wallet = Wallet(read_seed(secret, field))
    except BadKey:
        return Key("", "", ok=False)
    told = json.loads(data.get("public.json", "{}"))
    return Key(
        wallet.public_key.hex(),
        wallet.address,
        wallet.public_key.hex(),
        ok=told.get("public_key", wallet.public_key.hex()) == wallet.public_key.hex(),
        used_on=annotations.get(names.USED_ON, ""),
        fence=secrets.read_fence(annotations),
    )


def data_of(secret: Object) -> dict[str, str]:
    """A Secret's or ConfigMap's fields as text, from either form."""
    if secret["kind"] == "ConfigMap":
        return dict(secret.get("data") or {})
    decoded = {key: base64.b64decode(value).decode() for key, value in (secret.get("data") or {}).items()}
    return {**decoded, **(secret.get("stringData") or {})}
