"""Who calls: what a client certificate of the network's authority says, by its URI."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from cryptography import x509

from theblock_node.core.errors import InvalidRecord

ADMIN_METHODS = frozenset(
    {
        "/theblock.v1.Node/Drain",
        "/theblock.v1.Node/Handover",
        "/theblock.v1.Compute/Run",
        "/theblock.v1.Compute/Cancel",
        "/theblock.v1.Oracle/ProvePossession",
    }
)
"""Only the operator and people with an administrator's certificate may call these."""
MEMBERS_ONLY = "/grpc.channelz."
"""What looks into a server is for those whom the network knows."""


@dataclass(frozen=True, slots=True)
class Caller:
    """The other side of a call."""

    address: str
    """Host, without the port: what rate limits go by."""
    uris: tuple[str, ...]
    """Of its certificate; empty on the public port."""

    def is_admin(self, network: str) -> bool:
        operator, admin = f"theblock://{network}/operator", f"theblock://{network}/admin/"
        return any(uri == operator or uri.startswith(admin) for uri in self.uris)

    def is_of(self, network: str) -> bool:
        return any(uri.startswith(f"theblock://{network}/") for uri in self.uris)

    def member(self, network: str) -> str | None:
        """Name of the member of this network that calls."""
        for uri in self.uris:
            parts = uri.removeprefix(f"theblock://{network}/").split("/")
            if uri.startswith(f"theblock://{network}/") and len(parts) == 2 and parts[0] != "admin":
                return parts[1]
        return None


def read_caller(peer: str, auth: Mapping[str, Iterable[bytes]]) -> Caller:
    """``peer`` and ``auth`` as gRPC gives them: ``ipv4:127.0.0.1:5000`` and the properties of the connection."""
    _, _, rest = peer.partition(":")
    host = rest.rpartition(":")[0] or peer
    uris = tuple(uri for pem in auth.get("x509_pem_cert", ()) for uri in _uris(pem))
    return Caller(host, uris)


def require_allowed(method: str, caller: Caller, network: str) -> None:
    """Refuse an administrator's method to anyone else, and a look inside to strangers."""
    if method in ADMIN_METHODS and not caller.is_admin(network):
        raise InvalidRecord("rpc.admin_only", method=method)
    if method.startswith(MEMBERS_ONLY) and not caller.is_of(network):
        raise InvalidRecord("rpc.members_only", method=method)


@lru_cache(maxsize=1024)
def _uris(pem: bytes) -> tuple[str, ...]:
    certificate = x509.load_pem_x509_certificate(pem)
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    return tuple(names.get_values_for_type(x509.UniformResourceIdentifier))
