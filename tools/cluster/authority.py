"""The throw-away cluster's certificates, and the kubeconfigs that carry them."""

from __future__ import annotations

import base64
import datetime
import ipaddress
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

VALID_DAYS = 30
MASTERS = "system:masters"


@dataclass(frozen=True)
class Issued:
    certificate: Path
    key: Path


@dataclass(frozen=True)
class Authority:
    folder: Path
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def path(self) -> Path:
        return self.folder / "ca.crt"

    def issue(self, name: str, common_name: str, *, groups: Sequence[str] = (), hosts: Sequence[str] = ()) -> Issued:
        """Make a certificate for both ends of a connection, in ``name.crt`` and ``name.key``."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
        builder = _builder([*subject, x509.NameAttribute(NameOID.COMMON_NAME, common_name)], key.public_key())
        builder = builder.issuer_name(self.certificate.subject).add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]), critical=False
        )
        if hosts:
            names = x509.SubjectAlternativeName([_host(host) for host in hosts])
            builder = builder.add_extension(names, critical=False)
        made = builder.sign(self.key, hashes.SHA256())
        issued = Issued(self.folder / f"{name}.crt", self.folder / f"{name}.key")
        issued.certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
        _write_key(issued.key, key)
        return issued

    def kubeconfig(self, path: Path, server: str, issued: Issued, *, context: str) -> Path:
        """Write a kubeconfig that needs no other file."""
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": context,
            "contexts": [{"name": context, "context": {"cluster": context, "user": context}}],
            "clusters": [
                {"name": context, "cluster": {"server": server, "certificate-authority-data": _base64(self.path)}}
            ],
            "users": [
                {
                    "name": context,
                    "user": {
                        "client-certificate-data": _base64(issued.certificate),
                        "client-key-data": _base64(issued.key),
                    },
                }
            ],
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        write_private(path, yaml.safe_dump(config, sort_keys=False).encode())
        return path


def create_authority(folder: Path) -> Authority:
    folder.mkdir(parents=True, exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = [x509.NameAttribute(NameOID.COMMON_NAME, "theblock cluster")]
    builder = _builder(subject, key.public_key()).issuer_name(x509.Name(subject))
    made = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True).sign(
        key, hashes.SHA256()
    )
    authority = Authority(folder, made, key)
    authority.path.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    _write_key(folder / "ca.key", key)
    return authority


def create_token_key(folder: Path) -> Issued:
    """The pair with which service-account tokens are signed and checked; ``certificate`` is the public half."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    issued = Issued(folder / "tokens.pub", folder / "tokens.key")
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    issued.certificate.write_bytes(public)
    _write_key(issued.key, key)
    return issued


def write_private(path: Path, content: bytes) -> None:
    """Write what only the owner may read; never for a moment readable by others."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)


def _builder(subject: list[x509.NameAttribute[str]], key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name(subject))
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=VALID_DAYS))
    )


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> None:
    write_private(
        path,
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )


def _base64(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
