"""Which cluster a run gets, and why: one decision, made from what is known of the machine and of the user's wishes.

In this order: the cluster that the user names; kind, where a container engine is; the self-built cluster, where the
machine can carry it; none, with the reason.
"""

from __future__ import annotations

import enum
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tools.cluster import cluster, engine, images, programs
from tools.cluster.access import Cluster
from tools.cluster.build import built, find_go
from tools.cluster.console import ClusterError, run, say, step
from tools.cluster.layers import Image
from tools.cluster.layout import REPOSITORY, layout_of
from tools.cluster.system import why_not_self_built

KIND_CONFIG = Path(__file__).with_name("kind.yaml")
KIND_SECONDS = 300


class Source(enum.Enum):
    NAMED = "named"
    KIND = "kind"
    SELF_BUILT = "self-built"
    NONE = "none"


@dataclass(frozen=True)
class Facts:
    context: str | None
    """Asked for on the command line."""
    kubeconfig: str | None
    """Asked for in the environment."""
    engine: str | None
    """Docker or Podman, where it answers."""
    has_kind: bool
    why_not_self_built: str | None
    has_go: bool
    has_binary: bool
    """The `kube` binary is built, so Go is not needed."""


@dataclass(frozen=True)
class Choice:
    source: Source
    why: str


def choose(facts: Facts) -> Choice:
    if facts.context is not None:
        return Choice(Source.NAMED, f"the context {facts.context} was asked for")
    if facts.kubeconfig is not None:
        return Choice(Source.NAMED, f"KUBECONFIG names {facts.kubeconfig}")
    if facts.engine is not None and facts.has_kind:
        return Choice(Source.KIND, f"there are {facts.engine} and kind")
    about = "there is no container engine" if facts.engine is None else f"there is {facts.engine} but no kind"
    if facts.why_not_self_built is not None:
        return Choice(Source.NONE, f"no cluster was named, {about}, and none can be built: {facts.why_not_self_built}")
    if not facts.has_go and not facts.has_binary:
        return Choice(
            Source.NONE,
            f"no cluster was named, {about}, and to build one Go is missing (https://go.dev/dl/, 1.26 or newer)",
        )
    return Choice(Source.SELF_BUILT, f"no cluster was named, {about}, and this machine can carry one of its own")


def look_around(context: str | None, environment: Mapping[str, str]) -> Facts:
    return Facts(
        context=context,
        kubeconfig=_foreign(environment.get("KUBECONFIG")),
        engine=_engine(),
        has_kind=shutil.which("kind") is not None,
        why_not_self_built=why_not_self_built(),
        has_go=find_go() is not None,
        has_binary=built() is not None,
    )


def _foreign(kubeconfig: str | None) -> str | None:
    """What KUBECONFIG names, unless it is a cluster that was made here: that one is found by its name."""
    if not kubeconfig or Path(kubeconfig).resolve().is_relative_to(REPOSITORY / "build" / "cluster"):
        return None
    return kubeconfig


def bring_up(name: str, choice: Choice, *, context: str | None, nodes: int = 1) -> Cluster:
    """Return the chosen cluster, running."""
    say(f"cluster: {choice.source.value}, because {choice.why}")
    match choice.source:
        case Source.NAMED:
            return named(name, kubeconfig=os.environ.get("KUBECONFIG"), context=context)
        case Source.KIND:
            return _kind(name)
        case Source.SELF_BUILT:
            return cluster.up(name, nodes)
        case Source.NONE:
            raise ClusterError(f"{choice.why}\nthe same network runs without Kubernetes: make up")


def named(name: str, *, kubeconfig: str | None, context: str | None) -> Cluster:
    """A cluster of the user's, used as it is; refuse one that does not answer."""
    path = Path(kubeconfig) if kubeconfig else Path.home() / ".kube" / "config"
    if not path.exists():
        raise ClusterError(f"there is no kubeconfig at {path}")
    made = Cluster(layout_of(name), path.resolve(), context, (programs.kubectl(),), None)
    made.kubectl("get", "--raw=/readyz", timeout_seconds=30)
    return made


def provide_images(made: Cluster, choice: Choice) -> dict[str, Image]:
    """Build the images and put them where the cluster finds them; none for a cluster that pulls its own."""
    match choice.source:
        case Source.SELF_BUILT:
            built = images.ensure_all()
            with step("images into the cluster"):
                images.load_all(made, list(built.values()))
        case Source.KIND:
            built = engine.ensure_all(_engine() or "docker")
            with step("images into the cluster"):
                for image in built.values():
                    run("kind", "load", "image-archive", "--name", made.layout.name, image.archive, timeout_seconds=300)
        case _:
            say("  a named cluster pulls its images: --registry says from where")
            built = {}
    return built


def take_down(name: str) -> None:
    """Take away whatever this machine has of the cluster; a cluster that the user named is not ours to take."""
    layout = layout_of(name)
    if shutil.which("kind") is not None and _engine() is not None:
        clusters = run("kind", "get", "clusters", timeout_seconds=60).split()
        if name in clusters:
            run("kind", "delete", "cluster", "--name", name, timeout_seconds=KIND_SECONDS)
    found = cluster.look(name)
    if found.leftovers or layout.output.exists():
        cluster.down(name)


def _kind(name: str) -> Cluster:
    layout = layout_of(name)
    layout.output.mkdir(parents=True, exist_ok=True)
    if name not in run("kind", "get", "clusters", timeout_seconds=60).split():
        with step("kind cluster"):
            run(
                "kind", "create", "cluster", "--name", name, "--config", KIND_CONFIG, "--wait", "120s",
                "--kubeconfig", layout.kubeconfig, timeout_seconds=KIND_SECONDS,
            )  # fmt: skip
    run("kind", "export", "kubeconfig", "--name", name, "--kubeconfig", layout.kubeconfig)
    return Cluster(layout, layout.kubeconfig, None, (programs.kubectl(),), None)


def _engine() -> str | None:
    """The container engine that answers: installed alone is not enough."""
    for name in ("docker", "podman"):
        if shutil.which(name) is not None:
            try:
                done = subprocess.run([name, "info"], capture_output=True, timeout=20, check=False)
            except subprocess.TimeoutExpired:
                continue
            if done.returncode == 0:
                return name
    return None
