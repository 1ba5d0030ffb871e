"""How the operator and the API server's aggregator know each other: our certificate, and whom we answer.

The authority that signs our certificates is made once and kept in a Secret; each replica signs its own. A new
authority comes long before the old one ends, and both are announced in the APIService until it does.
"""

from __future__ import annotations

import json
import ssl
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from theblock_operator import ca, keys
from theblock_operator.api import ApiError, Conflict, NotFound
from theblock_operator.observed import Object

AUTHORITY_S = 10 * 365 * 86_400
AUTHORITY_RENEW_S = 365 * 86_400
CERTIFICATE_S = 30 * 86_400
CERTIFICATE_RENEW_S = 10 * 86_400
TRUST_NAMESPACE, TRUST_NAME = "kube-system", "extension-apiserver-authentication"
TRIES = 3


class Unproven(Exception):
    """The cluster does not say by what its front proxy is known."""


class Objects(Protocol):
    """What is needed of an API server."""

    async def get(self, kind: str, namespace: str, name: str) -> Object: ...

    async def create(self, object_: Object) -> Object: ...

    async def patch(self, kind: str, namespace: str, name: str, patch: Object) -> Object: ...


@dataclass(frozen=True, slots=True)
class Trust:
    """By what the front proxy is known."""

    authority: str
    """PEM."""
    allowed: frozenset[str]
    """Common names; empty: every one that the authority has signed."""

    def admits(self, peer: Mapping[str, Any] | None) -> bool:
        """Whether a verified certificate, as `ssl` tells it, is the front proxy's."""
        names = {value for row in (peer or {}).get("subject", ()) for key, value in row if key == "commonName"}
        return bool(names & self.allowed) if self.allowed else bool(names)


@dataclass(frozen=True, slots=True)
class Authority:
    pair: ca.Pair
    bundle: str
    """All that whoever calls us has to trust for now."""


def read_trust(config: Object) -> Trust:
    data = config.get("data") or {}
    authority = data.get("requestheader-client-ca-file", "").strip()
    if not authority:
        raise Unproven(f"ConfigMap {TRUST_NAMESPACE}/{TRUST_NAME} has no requestheader-client-ca-file")
    try:
        allowed = json.loads(data.get("requestheader-allowed-names") or "[]")
        ssl.create_default_context(cadata=authority)
    except (ValueError, ssl.SSLError) as wrong:
        raise Unproven(f"ConfigMap {TRUST_NAMESPACE}/{TRUST_NAME} cannot be read: {wrong}") from wrong
    return Trust(authority, frozenset(map(str, allowed)))


async def get_trust(api: Objects) -> Trust:
    return read_trust(await api.get("ConfigMap", TRUST_NAMESPACE, TRUST_NAME))


async def ensure_authority(api: Objects, namespace: str, name: str, now: int) -> Authority:
    """The authority in the Secret, made or followed by a new one where it is time; replicas may race."""
    for _ in range(TRIES):
        try:
            secret = await api.get("Secret", namespace, name)
        except NotFound:
            secret = None
        data = {} if secret is None else keys.data_of(secret)
        current = data.get("ca.crt", "")
        if current and ca.read(current).not_after - now > AUTHORITY_RENEW_S:
            return Authority(ca.Pair(current, data["ca.key"]), current + data.get("previous.crt", ""))
        made = ca.make_authority("metrics", now=now, seconds=AUTHORITY_S)
        fields = {"ca.crt": made.certificate, "ca.key": made.key, "previous.crt": current}
        try:
            if secret is None:
                await api.create(_secret(namespace, name, fields))
            else:
                version = {"resourceVersion": secret["metadata"]["resourceVersion"]}
                await api.patch("Secret", namespace, name, {"metadata": version, "stringData": fields})
        except Conflict:
            continue  # Another replica was faster: what it wrote counts.
        return Authority(made, made.certificate + current)
    raise ApiError(409, "Conflict", f"Secret {namespace}/{name} is written by others all the time")


def issue(authority: Authority, service: str, namespace: str, now: int) -> ca.Pair:
    """A certificate for the Service, under every name by which an API server may check it."""
    host = f"{service}.{namespace}.svc"
    uri = f"theblock://{namespace}/{service}"
    return ca.issue(authority.pair, common_name=host, dns_names=[host], uri=uri, now=now, seconds=CERTIFICATE_S)


def is_due(certificate: str, authority: Authority, now: int) -> bool:
    """It ends soon, or another authority signs now."""
    facts = ca.read(certificate)
    return facts.not_after - now < CERTIFICATE_RENEW_S or facts.issuer != ca.read(authority.pair.certificate).issuer


def server_context(own: ca.Pair, trust: Trust) -> ssl.SSLContext:
    """Only who shows a certificate of the front proxy's authority gets past the handshake."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=trust.authority)
    # Nobody comes back on what an earlier context trusted.
    context.num_tickets = 0
    context.options |= ssl.OP_NO_TICKET
    # The ssl module takes a chain and its key from a file only.
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as pem:
        pem.write(own.certificate + own.key)
        pem.flush()
        context.load_cert_chain(pem.name)
    return context


def _secret(namespace: str, name: str, fields: Mapping[str, str]) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace},
        "type": "Opaque",
        "stringData": dict(fields),
    }
