"""The starter network on a cluster: brought up as a user does, and asked through its own pods."""

from __future__ import annotations

import base64
import datetime
import itertools
import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.things import Done, ask, wait
from tools.cluster import contexts, deploy
from tools.cluster.access import Cluster
from tools.cluster.console import ClusterError

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "starter"
NAMESPACE = "theblock"
NETWORK = "starter"
PEERS_FILE = "/etc/theblock/peers/peers.json"
OPERATOR_USER = f"system:serviceaccount:{NAMESPACE}:{deploy.OPERATOR}"


@dataclass(frozen=True)
class PodShell:
    """Commands in a validator's pod, where `tb-cli` finds the network by the pod's own config."""

    cluster: Cluster
    pod: str = "validators-0-0"
    folder: str = "/tmp"

    def tb_cli(self, *arguments: str, stdin: str | None = None) -> Done:
        words = ["exec", "-i", self.pod, "-c", "node", "--", "python", "-m", "theblock_node.cli", *arguments]
        done = subprocess.run(
            [*self.cluster.kubectl_argv, "-n", NAMESPACE, *words],
            input=stdin or "",
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
            env=self.cluster.env(),
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def write(self, name: str, data: bytes) -> str:
        path = f"{self.folder}/{name}"
        program = f"import base64, sys; open({path!r}, 'wb').write(base64.b64decode(sys.stdin.read()))"
        words = ["-n", NAMESPACE, "exec", "-i", self.pod, "-c", "node", "--", "python", "-c", program]
        self.cluster.kubectl(*words, stdin=base64.b64encode(data).decode())
        return path

    def read(self, path: str) -> bytes:
        program = f"import base64; print(base64.b64encode(open({path!r}, 'rb').read()).decode())"
        return base64.b64decode(self.cluster.exec(self.pod, "node", "python", "-c", program, namespace=NAMESPACE))

    def seed(self, member: str) -> str:
        return secret(self.cluster, f"{member}-key", "node.key")


@dataclass(frozen=True)
class OutsideShell:
    """Commands on this machine, through every validator's port: the loss of one pod is not the loss of the view."""

    context: Path

    def tb_cli(self, *arguments: str, stdin: str | None = None) -> Done:
        done = subprocess.run(
            [sys.executable, "-m", "theblock_node.cli", "--context", str(self.context), *arguments],
            input=stdin or "", capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        return Done(done.returncode, done.stdout, done.stderr)


@dataclass(frozen=True)
class Starter:
    """A deployed starter network."""

    cluster: Cluster
    deployed: deploy.Deployed
    deployed_at: datetime.datetime
    shell: PodShell

    @property
    def funder(self) -> str:
        return secret(self.cluster, f"{NETWORK}-funder", "owner.key")

    @property
    def context(self) -> dict[str, Any]:
        return self.deployed.context

    def kubectl(self, *words: str, stdin: str | None = None, timeout_seconds: float = 60) -> str:
        return self.cluster.kubectl("-n", NAMESPACE, *words, stdin=stdin, timeout_seconds=timeout_seconds)

    def get(self, *words: str) -> Any:
        return self.cluster.json("-n", NAMESPACE, "get", *words)

    def wait_ready(self, resource: str, *, replicas: int, limit_s: float = 300) -> float:
        """Wait until ``resource`` serves with so many members and no more; returns how long it took."""
        started = time.monotonic()

        def is_so() -> bool:
            found = self.get(resource)
            counts = [found.get("status", {}).get(name) for name in ("replicas", "readyReplicas")]
            return deploy.is_ready(found) and counts == [replicas, replicas]

        wait(f"{resource} with {replicas} members", is_so, limit_s=limit_s, hint=lambda: self.explain(resource))
        return time.monotonic() - started

    def explain(self, resource: str) -> str:
        conditions = self.get(resource).get("status", {}).get("conditions", [])
        told = [f"{row['type']}={row['status']} {row['reason']} {row['message']}" for row in conditions]
        return "\n".join([*told, self.kubectl("get", "pods", "-o", "wide"), self.kubectl("get", "events")])

    def answers(self) -> bool:
        """Whether the API server does."""
        try:
            return bool(self.kubectl("get", "network", NETWORK, "-o", "name", timeout_seconds=10))
        except ClusterError:
            return False

    @property
    def outside(self) -> OutsideShell:
        return OutsideShell(self.cluster.layout.output / "context.json")

    def last_proposer(self) -> str:
        """The member who made the last block."""
        proposer = ask(self.outside, "blocks", "--limit", "1")["blocks"][0]["proposer"]
        for ordinal in range(4):
            public = json.loads(secret(self.cluster, f"validators-{ordinal}-key", "public.json"))
            if public["public_key"] == proposer:
                return f"validators-{ordinal}"
        raise AssertionError(f"no member has the key {proposer}")

    def head(self) -> int:
        return int(ask(self.outside, "status")["height"])

    def longest_gap_s(self, first: int) -> float:
        """The longest time between two blocks since height ``first``, by the blocks' own clocks."""
        pages = [
            ask(self.outside, "blocks", "--from", str(at), "--limit", "100") for at in range(first, self.head(), 100)
        ]
        times = [int(row["timestamp_ms"]) for page in pages for row in page["blocks"]]
        return max(after - before for before, after in itertools.pairwise(times)) / 1000


def deploy_starter(cluster: Cluster, loaded: dict[str, Any]) -> Starter:
    """What `make cluster` does, on a cluster that runs."""
    deployed_at = datetime.datetime.now(datetime.UTC)
    plan = deploy.plan_of(deploy.read_manifests(EXAMPLE))
    deploy.install(cluster, plan, loaded, "")
    started = time.monotonic()
    cluster.kubectl("apply", "-f", str(EXAMPLE))
    deploy.wait_ready(cluster, plan)
    seconds = time.monotonic() - started
    context = contexts.write(cluster, plan.namespace, plan.networks[0])
    deployed = deploy.Deployed(cluster, plan, context, seconds)
    shell = PodShell(cluster)
    # A kubelet brings a changed ConfigMap into a running pod within a minute or so.
    wait("a storage provider is known in the pod", lambda: b"storage-0" in shell.read(PEERS_FILE), limit_s=180)
    return Starter(cluster, deployed, deployed_at, shell)


def secret(cluster: Cluster, name: str, field: str) -> str:
    found = json.loads(cluster.kubectl("-n", NAMESPACE, "get", "secret", name, "-o", "json"))
    return base64.b64decode(found["data"][field]).decode()
