"""A real API server with little behind it: etcd and kube-apiserver on a loopback address, for tests of clients.

The only controller collects garbage; there is no kubelet: objects stay as they are written, which is what such tests
want. Admission, CEL, RBAC, server-side apply and watches are the real ones.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from tools.cluster import authority
from tools.cluster.authority import Authority
from tools.cluster.build import ensure_kube

HOST = "127.46.0.1"
API_PORT, ETCD_PORT, PEER_PORT, MANAGER_PORT = 6443, 2379, 2380, 10257
START_S = 60
STOP_S = 10
AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [{"level": "Metadata"}],
}


@dataclass(frozen=True)
class ApiServer:
    url: str
    folder: Path
    authority: Authority
    kube: Path

    def identity(self, name: str, *groups: str) -> Path:
        """A kubeconfig for somebody."""
        safe = name.replace(":", "-")
        issued = self.authority.issue(safe, name, groups=groups)
        return self.authority.kubeconfig(self.folder / f"{safe}.kubeconfig", self.url, issued, context="test")

    @property
    def admin(self) -> Path:
        return self.folder / "admin.kubeconfig"

    def kubectl(self, *arguments: str, stdin: str | None = None, identity: Path | None = None) -> str:
        done = self.try_kubectl(*arguments, stdin=stdin, identity=identity)
        if done.returncode:
            raise AssertionError(f"kubectl {' '.join(arguments)}: {done.stderr}")
        return done.stdout

    def try_kubectl(
        self, *arguments: str, stdin: str | None = None, identity: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        config = str(identity or self.admin)
        return subprocess.run(
            [str(self.kube), "kubectl", "--kubeconfig", config, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def audit(self) -> Iterator[dict[str, object]]:
        """Every request so far: user, verb, resource, answer."""
        for line in (self.folder / "audit.log").read_text().splitlines():
            yield json.loads(line)


@contextmanager
def run_api_server(host: str = HOST) -> Iterator[ApiServer]:
    kube = ensure_kube()
    folder = Path(tempfile.mkdtemp(prefix="api-server-"))
    made = authority.create_authority(folder)
    server = ApiServer(f"https://{host}:{API_PORT}", folder, made, kube)
    issued = made.issue("admin", "admin", groups=[authority.MASTERS])
    made.kubeconfig(server.admin, server.url, issued, context="test")
    processes: list[subprocess.Popen[bytes]] = []
    try:
        processes.append(_start(folder, "etcd", [str(kube), "etcd", *_etcd(folder, host)]))
        processes.append(_start(folder, "apiserver", [str(kube), "kube-apiserver", *_apiserver(server, host)]))
        _wait_ready(server, processes)
        collector = [str(kube), "kube-controller-manager", *_collector(server, host)]
        processes.append(_start(folder, "collector", collector))
        yield server
    finally:
        for process in reversed(processes):
            _stop(process)
        shutil.rmtree(folder, ignore_errors=True)


def _etcd(folder: Path, host: str) -> list[str]:
    clients, peers = f"http://{host}:{ETCD_PORT}", f"http://{host}:{PEER_PORT}"
    return [
        f"--data-dir={folder / 'etcd'}",
        f"--listen-client-urls={clients}",
        f"--advertise-client-urls={clients}",
        f"--listen-peer-urls={peers}",
        f"--initial-advertise-peer-urls={peers}",
        f"--initial-cluster=default={peers}",
        "--unsafe-no-fsync",
        "--log-level=error",
    ]


def _apiserver(server: ApiServer, host: str) -> list[str]:
    folder = server.folder
    serving = server.authority.issue("apiserver", "kube-apiserver", hosts=[host, "localhost"])
    tokens = authority.create_token_key(folder)
    policy = folder / "audit.yaml"
    policy.write_text(yaml.safe_dump(AUDIT_POLICY))
    return [
        f"--etcd-servers=http://{host}:{ETCD_PORT}",
        f"--bind-address={host}",
        f"--advertise-address={host}",
        f"--secure-port={API_PORT}",
        "--endpoint-reconciler-type=none",
        "--service-cluster-ip-range=10.96.0.0/16",
        f"--tls-cert-file={serving.certificate}",
        f"--tls-private-key-file={serving.key}",
        f"--client-ca-file={server.authority.path}",
        f"--service-account-key-file={tokens.certificate}",
        f"--service-account-signing-key-file={tokens.key}",
        "--service-account-issuer=https://kubernetes.default.svc",
        "--authorization-mode=RBAC",
        # Nothing makes the accounts and tokens that this one asks for.
        "--disable-admission-plugins=ServiceAccount",
        f"--audit-log-path={folder / 'audit.log'}",
        f"--audit-policy-file={policy}",
    ]


def _collector(server: ApiServer, host: str) -> list[str]:
    return [
        f"--kubeconfig={server.admin}",
        "--controllers=garbage-collector-controller",
        "--leader-elect=false",
        f"--bind-address={host}",
        f"--secure-port={MANAGER_PORT}",
        f"--cert-dir={server.folder / 'collector'}",
    ]


def _start(folder: Path, name: str, command: list[str]) -> subprocess.Popen[bytes]:
    with (folder / f"{name}.log").open("wb") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, env={**os.environ, "HOME": str(folder)})


def _wait_ready(server: ApiServer, processes: list[subprocess.Popen[bytes]]) -> None:
    deadline = time.monotonic() + START_S
    while server.try_kubectl("get", "--raw", "/readyz").returncode:
        ended = [process.args for process in processes if process.poll() is not None]
        if ended or time.monotonic() > deadline:
            logs = {path.name: path.read_text()[-3000:] for path in server.folder.glob("*.log")}
            raise AssertionError(f"the API server did not come up: {ended} {logs}")
        time.sleep(0.2)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
