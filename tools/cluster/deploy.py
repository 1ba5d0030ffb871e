"""`python -m tools.cluster.deploy up|down --name N -f DIR`: a network of pods, from nothing, on a real Kubernetes.

What `make cluster` and `make cluster-down` call. Both may be run again at any time: `up` does what is missing, `down`
takes away what is there.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tools.cluster import choose, contexts, images, programs
from tools.cluster.access import Cluster
from tools.cluster.choose import Source
from tools.cluster.console import ClusterError, run, say, step, wait
from tools.cluster.layers import Image
from tools.cluster.layout import REPOSITORY, layout_of

CHARTS = REPOSITORY / "charts"
OPERATOR = "theblock-operator"
KINDS = "networks,validators,storageproviders,computeproviders,energyoracles,bridges"
OPERATOR_SECONDS = 180
READY_SECONDS = 900
LEAVE_SECONDS = 900
RECORD = "named.json"
"""Which cluster of the user's it was put onto."""


@dataclass(frozen=True)
class Plan:
    """What a folder of manifests asks for."""

    namespace: str
    networks: tuple[str, ...]
    with_database: tuple[str, ...]
    """Networks whose explorer wants the database that the chart makes."""
    resources: tuple[str, ...]
    """KIND/NAME of everything that has to become ready."""


@dataclass(frozen=True)
class Deployed:
    cluster: Cluster
    plan: Plan
    context: dict[str, Any]
    ready_seconds: float
    """From applying the manifests until everything was ready."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.cluster.deploy", description=__doc__)
    parser.add_argument("command", choices=["up", "down"])
    parser.add_argument("--name", default="theblock", help="the cluster's name")
    parser.add_argument("-f", "--files", type=Path, default=REPOSITORY / "examples" / "starter")
    parser.add_argument("--context", help="of the kubeconfig: use that cluster")
    parser.add_argument("--nodes", type=int, default=1, help="of a cluster that is built here")
    parser.add_argument("--registry", default="", help="where a named cluster pulls the images from, as PREFIX/")
    arguments = parser.parse_args()
    try:
        if arguments.command == "down":
            down(arguments.name, arguments.files)
            return 0
        made = up(
            arguments.name,
            arguments.files,
            context=arguments.context,
            nodes=arguments.nodes,
            registry=arguments.registry,
        )
        print(describe(made, arguments.name))
        return 0
    except ClusterError as refused:
        print(f"cluster: {refused}", file=sys.stderr)
        return 1


def up(name: str, folder: Path, *, context: str | None = None, nodes: int = 1, registry: str = "") -> Deployed:
    plan = plan_of(read_manifests(folder))
    choice = choose.choose(choose.look_around(context, os.environ))
    cluster = choose.bring_up(name, choice, context=context, nodes=nodes)
    if choice.source is Source.NAMED:
        cluster.layout.output.mkdir(parents=True, exist_ok=True)
        record = {"kubeconfig": str(cluster.kubeconfig), "context": cluster.context}
        (cluster.layout.output / RECORD).write_text(json.dumps(record))
    built = choose.provide_images(cluster, choice)
    install(cluster, plan, built, registry)
    started = time.monotonic()
    cluster.kubectl("apply", "-f", str(folder), timeout_seconds=120)
    wait_ready(cluster, plan)
    ready_seconds = time.monotonic() - started
    written = contexts.write(cluster, plan.namespace, plan.networks[0])
    return Deployed(cluster, plan, written, ready_seconds)


def down(name: str, folder: Path) -> None:
    """Take a cluster away that was made here; from one that the user named, take what was put onto it.

    There the namespace stays: it holds the keys, without which stake and earnings are lost. Which cluster that was is
    read from what `up` wrote down, never from the environment of today.
    """
    record = layout_of(name).output / RECORD
    if record.exists():
        _leave(choose.named(name, **json.loads(record.read_text())), folder)
    choose.take_down(name)
    say(f"nothing of cluster {name} is left on this machine")


def _leave(cluster: Cluster, folder: Path) -> None:
    plan = plan_of(read_manifests(folder))
    with step("resources leave the chain and go"):
        words = ["delete", "-f", str(folder), "--ignore-not-found", f"--timeout={LEAVE_SECONDS}s"]
        cluster.kubectl(*words, timeout_seconds=LEAVE_SECONDS + 30)
    for release in (*plan.with_database, OPERATOR):
        _helm(cluster, "uninstall", release, "--ignore-not-found", "--namespace", plan.namespace)
    say(f"  namespace {plan.namespace} keeps the keys: back them up, then delete it")


def read_manifests(folder: Path) -> list[dict[str, Any]]:
    paths = sorted(folder.glob("*.y*ml")) if folder.is_dir() else [folder]
    found = [made for path in paths for made in yaml.safe_load_all(path.read_text()) if made]
    if not found:
        raise ClusterError(f"there are no manifests in {folder}")
    return found


def plan_of(manifests: Sequence[Mapping[str, Any]]) -> Plan:
    ours = [made for made in manifests if str(made["apiVersion"]).startswith("theblock.dev/")]
    namespaces = {made["metadata"].get("namespace", "default") for made in ours}
    if len(namespaces) != 1:
        raise ClusterError(f"the manifests are to be in one namespace, not in {sorted(namespaces)}")
    networks = [made for made in ours if made["kind"] == "Network"]
    if not networks:
        raise ClusterError("the manifests have no Network")
    names = tuple(made["metadata"]["name"] for made in networks)
    return Plan(
        namespace=namespaces.pop(),
        networks=names,
        with_database=tuple(made["metadata"]["name"] for made in networks if _wants_database(made)),
        resources=tuple(f"{made['kind'].lower()}/{made['metadata']['name']}" for made in ours),
    )


def install(cluster: Cluster, plan: Plan, built: Mapping[str, Image], registry: str) -> None:
    """Install or upgrade the operator's chart, and the network's for the databases only."""
    kinds = CHARTS / OPERATOR / "crds"
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(kinds), timeout_seconds=120)
    with step("operator"):
        settings = operator_settings(built, registry)
        _install(cluster, OPERATOR, OPERATOR, plan.namespace, settings)
        for network in plan.with_database:
            _install(cluster, network, "theblock-network", plan.namespace, database_settings(network, built))
        _wait_operator(cluster, plan.namespace)


def operator_settings(built: Mapping[str, Image], registry: str) -> dict[str, str]:
    if built:
        # Where we bring the images nobody else serves custom metrics; a cluster of the user's may have an adapter.
        return {
            "metricsApi.enabled": "true",
            "image.repository": built[OPERATOR].repository,
            "image.tag": built[OPERATOR].tag,
            "nodeImage": built["theblock-node"].reference,
            "proverImage": built["theblock-gpu"].reference,
        }
    if not registry:
        return {}
    tag = yaml.safe_load((CHARTS / OPERATOR / "Chart.yaml").read_text())["appVersion"]
    return {
        "image.repository": f"{registry}{OPERATOR}",
        "nodeImage": f"{registry}theblock-node:{tag}",
        "proverImage": f"{registry}theblock-gpu:{tag}",
    }


def database_settings(network: str, built: Mapping[str, Image]) -> dict[str, str]:
    """The database's own image where it was built; else the chart's, from its registry."""
    own = {"postgres.image": built[images.POSTGRES].reference} if images.POSTGRES in built else {}
    return {"network.name": network, "resources.enabled": "false", **own}


def wait_ready(cluster: Cluster, plan: Plan, *, limit_seconds: float = READY_SECONDS) -> None:
    """Wait until every resource says that it is ready, and say meanwhile which ones do not."""
    waiting = list(plan.resources)

    def is_so() -> bool:
        listed = cluster.json("-n", plan.namespace, "get", KINDS)["items"]
        ready = {f"{one['kind'].lower()}/{one['metadata']['name']}" for one in listed if is_ready(one)}
        waiting[:] = [name for name in plan.resources if name not in ready]
        return not waiting

    with step(f"{len(plan.resources)} resources ready"):
        wait(
            "resources ready",
            is_so,
            limit_seconds=limit_seconds,
            every_seconds=1.0,
            progress=lambda: f"waiting for {', '.join(waiting)}",
            hint=lambda: explain(cluster, plan.namespace, waiting),
        )


def is_ready(resource: Mapping[str, Any]) -> bool:
    """Whether the operator says so of what the resource asks for now, and not of what it asked for before."""
    status = resource.get("status", {})
    seen = status.get("observedGeneration") == resource["metadata"]["generation"]
    return seen and any(one["type"] == "Ready" and one["status"] == "True" for one in status.get("conditions", []))


def explain(cluster: Cluster, namespace: str, waiting: Sequence[str]) -> str:
    """What is known of why the resources are not ready."""
    parts = [cluster.kubectl("-n", namespace, "get", f"{KINDS},pods", "-o", "wide")]
    for name in waiting[:3]:
        shown = cluster.kubectl("-n", namespace, "get", name, "-o", "jsonpath={.status.conditions}")
        parts.append(f"{name}: {shown}")
    parts.append(cluster.kubectl("-n", namespace, "logs", f"deployment/{OPERATOR}", "--tail=20"))
    return "\n".join(parts)


def describe(made: Deployed, name: str) -> str:
    """What to look at, and how to stop it."""
    first = next((one for one in made.context["members"] if one["role"] == "validator"), None)
    lines = [
        f"ready after {made.ready_seconds:.0f} s: {', '.join(made.plan.resources)}",
        f"explorer   {made.context['explorer'] or 'the network has none'}",
        f"gRPC       {first['host']}:{first['grpc']} (TLS name {first['tls_name']})" if first else "gRPC       none",
        *([f"metrics    {made.context['metrics'][first['name']]}"] if first else []),
        f"tb-cli     export TB_CONTEXT={made.cluster.layout.output / 'context.json'}",
        f"kubectl    export KUBECONFIG={made.cluster.kubeconfig}",
        f"stop it    make cluster-down{'' if name == 'theblock' else f' NAME={name}'}",
    ]
    return "\n".join(lines)


def _wants_database(network: Mapping[str, Any]) -> bool:
    explorer = network["spec"].get("explorer") or {}
    secret = explorer.get("database", {}).get("dsnSecretRef", {}).get("name")
    return bool(secret == f"{network['metadata']['name']}-db")


def _install(cluster: Cluster, release: str, chart: str, namespace: str, settings: Mapping[str, str]) -> None:
    words = ["--namespace", namespace, "--create-namespace"]
    for key, value in settings.items():
        words += ["--set-string" if value not in ("true", "false") else "--set", f"{key}={value}"]
    _helm(cluster, "upgrade", "--install", release, str(CHARTS / chart), *words)


def _helm(cluster: Cluster, *words: str) -> None:
    chosen = [] if cluster.context is None else ["--kube-context", cluster.context]
    run(programs.helm(), *words, *chosen, timeout_seconds=180, env=cluster.env())


def _wait_operator(cluster: Cluster, namespace: str) -> None:
    words = ["-n", namespace, "rollout", "status", f"deployment/{OPERATOR}", f"--timeout={OPERATOR_SECONDS}s"]
    try:
        cluster.kubectl(*words, timeout_seconds=OPERATOR_SECONDS + 30)
    except ClusterError as late:
        told = cluster.describe(f"deployment/{OPERATOR}", namespace)
        logs = cluster.kubectl("-n", namespace, "logs", f"deployment/{OPERATOR}", "--tail=30", "--ignore-errors")
        raise ClusterError(f"{late}\n{told}\n{logs}") from late


if __name__ == "__main__":
    sys.exit(main())
