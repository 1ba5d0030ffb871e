"""The self-signed certificate of a node's QUIC end: its Ed25519 key, the same bytes whenever it is made.

It proves nothing on its own: a peer is known by the signed binding in Hello, which covers this certificate's
fingerprint (rulings 13). So it has no period that anyone would have to rotate.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass

from blake3 import blake3
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import NameOID

SERVER_NAME = "the-block.local"
_FROM = datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)
_UNTIL = datetime.datetime(9999, 12, 31, 23, 59, 59, tzinfo=datetime.UTC)
"""RFC 5280: the date of a certificate without a well-defined end."""


@dataclass(frozen=True, slots=True)
class NodeCertificate:
    certificate: x509.Certificate
    private_key: Ed25519PrivateKey
    fingerprint: bytes


def fingerprint_of(certificate: x509.Certificate) -> bytes:
    return blake3(certificate.public_bytes(serialization.Encoding.DER)).digest()


def make_certificate(seed: bytes) -> NodeCertificate:
    """The certificate of the node whose key comes from ``seed``."""
    key = Ed25519PrivateKey.from_private_bytes(seed)
    public = key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, public.hex())])
    serial = bytearray(blake3(b"theblock/cert-serial/v1" + public).digest()[:16])
    serial[0] &= 0x7F
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(int.from_bytes(bytes(serial), "big") | 1)
        .not_valid_before(_FROM)
        .not_valid_after(_UNTIL)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(SERVER_NAME)]), critical=False)
        .sign(key, None)
    )
    return NodeCertificate(made, key, fingerprint_of(made))
