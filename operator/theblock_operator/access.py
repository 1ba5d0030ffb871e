"""How the API server is reached, and what is shown to it: from a kubeconfig, or from the pod's own service account.

A service account's token is a file that the kubelet renews; it is read again for every use that asks for it.
"""

from __future__ import annotations

import base64
import binascii
import ssl
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
KUBECONFIG_MAX_BYTES = 1_000_000


class AccessError(Exception):
    """There is no usable way to an API server."""


@dataclass(frozen=True, slots=True)
class Access:
    """One API server and one identity towards it; certificates and keys as PEM."""

    server: str
    namespace: str = "default"
    authority: str = ""
    """Empty: the authorities of the system."""
    certificate: str = ""
    key: str = ""
    token: str = ""
    token_file: Path | None = None
    """Goes before ``token``; its content changes."""

    def read_token(self) -> str:
        if self.token_file is None:
            return self.token
        try:
            return self.token_file.read_text().strip()
        except OSError as failed:
            raise AccessError(f"the token at {self.token_file} cannot be read: {failed}") from failed

    def ssl_context(self) -> ssl.SSLContext | None:
        """None for plain HTTP (a proxy on this machine)."""
        if not self.server.startswith("https:"):
            return None
        context = ssl.create_default_context(cadata=self.authority or None)
        if self.certificate:
            # The ssl module takes a chain and its key from a file only.
            with tempfile.NamedTemporaryFile("w", suffix=".pem") as pem:
                pem.write(self.certificate.rstrip() + "\n" + self.key)
                pem.flush()
                context.load_cert_chain(pem.name)
        return context


def find(environment: Mapping[str, str], *, service_account: Path = SERVICE_ACCOUNT) -> Access:
    """A kubeconfig that was named, else the pod's service account, else the user's kubeconfig."""
    if environment.get("KUBECONFIG"):
        return from_kubeconfig(Path(environment["KUBECONFIG"]))
    if environment.get("KUBERNETES_SERVICE_HOST") and (service_account / "token").exists():
        return from_service_account(environment, service_account)
    usual = Path(environment.get("HOME", "/")) / ".kube" / "config"
    if usual.exists():
        return from_kubeconfig(usual)
    raise AccessError("no cluster: neither KUBECONFIG, nor a service account, nor ~/.kube/config")


def from_service_account(environment: Mapping[str, str], folder: Path = SERVICE_ACCOUNT) -> Access:
    host = environment["KUBERNETES_SERVICE_HOST"]
    port = environment.get("KUBERNETES_SERVICE_PORT", "443")
    name = f"[{host}]" if ":" in host else host
    return Access(
        server=f"https://{name}:{port}",
        namespace=(folder / "namespace").read_text().strip(),
        authority=(folder / "ca.crt").read_text(),
        token_file=folder / "token",
    )


def from_kubeconfig(path: Path) -> Access:
    """The current context. Certificates and tokens, in the file or beside it; no plug-ins that are run."""
    try:
        if path.stat().st_size > KUBECONFIG_MAX_BYTES:
            raise AccessError(f"{path} is too large for a kubeconfig")
        document = yaml.safe_load(path.read_text())
        context = _named(document, "contexts", document["current-context"])["context"]
        cluster = _named(document, "clusters", context["cluster"])["cluster"]
        user = _named(document, "users", context["user"])["user"] or {}
        server = str(cluster["server"]).rstrip("/")
    except (OSError, yaml.YAMLError, KeyError, TypeError) as wrong:
        raise AccessError(f"{path} is no usable kubeconfig: {wrong!r}") from wrong
    if cluster.get("insecure-skip-tls-verify"):
        raise AccessError(f"{path}: insecure-skip-tls-verify is not accepted; name the authority")
    if "exec" in user or "auth-provider" in user:
        raise AccessError(f"{path}: users with exec or auth-provider are not supported; use a token or a certificate")
    beside = path.parent
    return Access(
        server=server,
        namespace=context.get("namespace", "default"),
        authority=_pem(cluster, "certificate-authority", beside),
        certificate=_pem(user, "client-certificate", beside),
        key=_pem(user, "client-key", beside),
        token=user.get("token", ""),
        token_file=beside / user["tokenFile"] if user.get("tokenFile") else None,
    )


def _named(document: Any, list_name: str, name: str) -> Any:
    for entry in document[list_name]:
        if entry["name"] == name:
            return entry
    raise KeyError(f"{list_name}: {name}")


def _pem(entry: Mapping[str, Any], field: str, beside: Path) -> str:
    """The text of a field that stands in the file as base64, or names another file."""
    try:
        if entry.get(f"{field}-data"):
            return base64.b64decode(entry[f"{field}-data"], validate=True).decode()
        if entry.get(field):
            return (beside / str(entry[field])).read_text()
    except (OSError, binascii.Error, UnicodeDecodeError) as wrong:
        raise AccessError(f"{field} cannot be read: {wrong}") from wrong
    return ""
