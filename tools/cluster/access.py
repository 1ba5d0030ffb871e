"""How everybody reaches a cluster, whoever made it: kubectl, waits, commands in pods, ports of pods, the audit log."""

from __future__ import annotations

import datetime
import json
import os
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.cluster import audit, network, processes
from tools.cluster.audit import Call
from tools.cluster.console import ClusterError, run, wait
from tools.cluster.layout import Layout

Object = dict[str, Any]


@dataclass(frozen=True)
class Cluster:
    layout: Layout
    kubeconfig: Path
    context: str | None
    """Of the kubeconfig; None: its current one."""
    kubectl_argv: tuple[str, ...]
    kube: Path | None
    """The binary of the self-built cluster; None where others made the cluster."""
    nodes: int = 1

    def kubectl(self, *words: str, stdin: str | None = None, timeout_seconds: float = 60) -> str:
        """Run kubectl and return what it printed; raise `ClusterError` with its complaint."""
        return run(*self._argv(*words), stdin=stdin, timeout_seconds=timeout_seconds, env=self.env())

    def json(self, *words: str) -> Any:
        return json.loads(self.kubectl(*words, "-o", "json"))

    def apply(self, *objects: Object, server_side: bool = False) -> None:
        flags = ["--server-side"] if server_side else []
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
        self.kubectl("apply", *flags, "-f", "-", stdin=text)

    def wait(self, target: str, condition: str, *, namespace: str = "default", limit_seconds: int = 60) -> None:
        """Wait until ``target`` (`pod/name`) meets what `kubectl wait --for` calls ``condition``.

        What is not there yet is waited for as well, within the same limit.
        """
        started = time.monotonic()
        if not condition.startswith("delete"):
            wait(
                f"{target} exists",
                lambda: bool(self.kubectl("-n", namespace, "get", target, "--ignore-not-found", "-o", "name")),
                limit_seconds=limit_seconds,
            )
        left = max(1, limit_seconds - int(time.monotonic() - started))
        words = ["-n", namespace, "wait", target, f"--for={condition}", f"--timeout={left}s"]
        try:
            self.kubectl(*words, timeout_seconds=left + 30)
        except ClusterError as late:
            raise ClusterError(f"{late}\n{self.describe(target, namespace)}") from late

    def describe(self, target: str, namespace: str) -> str:
        """What can be said of why something is not ready: its description, and the namespace's last events."""
        parts = []
        for words in (["describe", target], ["get", "events", "--sort-by=.lastTimestamp"]):
            try:
                parts.append("\n".join(self.kubectl("-n", namespace, *words).splitlines()[-40:]))
            except ClusterError as refused:
                parts.append(str(refused))
        return "\n".join(parts)

    def exec(
        self, pod: str, container: str, *command: str, namespace: str = "default", timeout_seconds: int = 60
    ) -> str:
        return self.kubectl(
            "-n", namespace, "exec", pod, "-c", container, "--", *command, timeout_seconds=timeout_seconds
        )

    def audit_calls(self, user: str, since: datetime.datetime) -> list[Call]:
        """Every call that ``user`` made after ``since``, reads included where the user is a service account."""
        if self.kube is None:
            raise ClusterError("this cluster's audit log is not ours to read")
        return [call for call in audit.read_calls(self.layout.audit) if call.user == user and call.at >= since]

    def audit_writes(self, user: str, since: datetime.datetime) -> list[Call]:
        return [call for call in self.audit_calls(user, since) if call.is_write]

    def forward(self, name: str, routes: Mapping[tuple[str, int], tuple[str, str, int]]) -> None:
        """Reach (namespace, service or pod name, port) at each outside (address, port); replaces what ``name`` did."""
        if self.kube is not None:
            targets = {
                outside: f"{service}.{namespace}.svc.cluster.local:{port}"
                for outside, (namespace, service, port) in routes.items()
            }
            network.forward(self.layout, self.kube, f"forward-{name}", targets)
            return
        for (address, outside_port), (namespace, service, port) in routes.items():
            process = f"forward-{name}-{service}-{outside_port}"
            processes.stop(self.layout, process)
            words = ["-n", namespace, "port-forward", f"--address={address}", f"service/{service}"]
            processes.start(self.layout, process, self._argv(*words, f"{outside_port}:{port}"), env=self.env())

    def wait_reachable(self, address: str, port: int, *, limit_seconds: float = 30) -> None:
        def answers() -> bool:
            try:
                with socket.create_connection((address, port), timeout=2):
                    return True
            except OSError:
                return False

        wait(f"{address}:{port} answers", answers, limit_seconds=limit_seconds)

    def env(self) -> dict[str, str]:
        return {**os.environ, "KUBECONFIG": str(self.kubeconfig)}

    def _argv(self, *words: str) -> list[str]:
        chosen = [] if self.context is None else [f"--context={self.context}"]
        return [*self.kubectl_argv, *chosen, *words]

    def kubectl_through(self, words: Sequence[str]) -> int:
        """Run kubectl on the caller's own terminal; its exit code."""
        return subprocess.run(self._argv(*words), env=self.env(), check=False).returncode
