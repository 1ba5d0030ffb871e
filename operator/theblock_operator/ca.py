"""A network's certificate authority: making it, signing with it, changing it. Values in, PEM out; no files here.

ECDSA P-256 throughout. A member's certificate carries its DNS names and the URI by which it is authorised.
"""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

BACKDATE_S = 300
"""Certificates begin a little in the past, for clocks that are late."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its private key, PEM."""

    certificate: str
    key: str


@dataclass(frozen=True, slots=True)
class Facts:
    not_before: int
    not_after: int
    fingerprint: str
    """SHA-256, hex."""
    issuer: str
    """Fingerprint of the authority's key, as in the authority key identifier."""
    uris: tuple[str, ...]


def make_authority(network: str, *, now: int, seconds: int) -> Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"theblock {network} authority")])
    certificate = (
        _builder(name, name, key.public_key(), now=now, seconds=seconds)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(sign_certificates=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    return Pair(_pem(certificate), _key_pem(key))


def issue(
    authority: Pair,
    *,
    common_name: str,
    dns_names: Sequence[str],
    uri: str,
    now: int,
    seconds: int,
    addresses: Sequence[str] = (),
) -> Pair:
    """A certificate for server and client use, signed by ``authority`` and never outliving it."""
    signer = x509.load_pem_x509_certificate(authority.certificate.encode())
    signer_key = serialization.load_pem_private_key(authority.key.encode(), None)
    assert isinstance(signer_key, ec.EllipticCurvePrivateKey)
    seconds = min(seconds, int(signer.not_valid_after_utc.timestamp()) - now)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name[:64])])
    names: list[x509.GeneralName] = [x509.DNSName(dns) for dns in dns_names]
    names += [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses]
    names.append(x509.UniformResourceIdentifier(uri))
    certificate = (
        _builder(name, signer.subject, key.public_key(), now=now, seconds=seconds)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(sign_certificates=False), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
        )
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer_key.public_key()), critical=False)
        .sign(signer_key, hashes.SHA256())
    )
    return Pair(_pem(certificate), _key_pem(key))


@lru_cache(maxsize=1024)
def read(certificate_pem: str) -> Facts:
    """What a certificate says; for an authority ``issuer`` is its own key."""
    certificate = x509.load_pem_x509_certificate(certificate_pem.encode())
    try:
        issuer = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    except x509.ExtensionNotFound:
        issuer = key_identifier(certificate)
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = tuple(found.get_values_for_type(x509.UniformResourceIdentifier))
    except x509.ExtensionNotFound:
        uris = ()
    return Facts(
        int(certificate.not_valid_before_utc.timestamp()),
        int(certificate.not_valid_after_utc.timestamp()),
        certificate.fingerprint(hashes.SHA256()).hex(),
        (issuer or b"").hex(),
        uris,
    )


def key_identifier(certificate: x509.Certificate) -> bytes:
    return x509.SubjectKeyIdentifier.from_public_key(certificate.public_key()).digest


def _builder(
    subject: x509.Name, issuer: x509.Name, public_key: ec.EllipticCurvePublicKey, *, now: int, seconds: int
) -> x509.CertificateBuilder:
    begin = datetime.datetime.fromtimestamp(now - BACKDATE_S, datetime.UTC)
    end = datetime.datetime.fromtimestamp(now + seconds, datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    )


def _usage(*, sign_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=sign_certificates,
        crl_sign=sign_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
