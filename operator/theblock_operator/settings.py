"""What the operator's process is told: flags, and where they are absent the environment."""

from __future__ import annotations

import argparse
import re
import socket
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

LEVELS = ("debug", "info", "warning", "error")
NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
NAMESPACES_MAX = 64
PORT = 9898
METRICS_API_PORT = 8443


@dataclass(frozen=True, slots=True)
class Config:
    namespaces: tuple[str, ...]
    """Sorted; each is led by one operator."""
    image: str
    """Of members whose Network names none."""
    prover_image: str
    run_dir: Path
    watches_nodes: bool
    listen: str
    port: int
    identity: str
    """Who holds the Lease: unique to this process."""
    log_level: str
    metrics_api: str
    """Name of the Service under which the metrics API is reached; empty: it is not served."""
    metrics_api_port: int


def read(arguments: Sequence[str], environment: Mapping[str, str], *, default_namespace: str) -> Config:
    """Exits with a message where something is unusable, as command lines do."""
    parser = argparse.ArgumentParser(
        prog="python -m theblock_operator", description="Keeps the members of networks alive, inside Kubernetes."
    )

    def flag(name: str, default: str, text: str) -> None:
        variable = f"THEBLOCK_{name.replace('-', '_').upper()}"
        shown = f"{text} [{variable}]"
        parser.add_argument(f"--{name}", default=environment.get(variable, default), help=shown)

    flag("namespaces", "", "namespaces to watch, separated by commas; default: its own")
    flag("image", "theblock-node:latest", "image of members whose Network names none")
    flag("prover-image", "", "image of provers; default: theblock-gpu with the tag of --image")
    flag("run-dir", "/run/theblock-operator", "where its own certificates lie")
    flag("watch-nodes", "true", "whether it may read nodes: true or false")
    flag("listen", "0.0.0.0", "address of metrics and health")
    flag("port", str(PORT), "port of metrics and health")
    flag("identity", "", "name of this process in the Lease; default: host name and a random part")
    flag("log-level", "info", f"one of {', '.join(LEVELS)}")
    flag("metrics-api", "", "Service under which autoscalers reach its metrics API; default: not served")
    flag("metrics-api-port", str(METRICS_API_PORT), "port of the metrics API")
    got = parser.parse_args(list(arguments))

    namespaces = tuple(sorted({part for part in got.namespaces.split(",") if part} or {default_namespace}))
    bad = [name for name in namespaces if not NAMESPACE.fullmatch(name)]
    if bad or len(namespaces) > NAMESPACES_MAX:
        parser.error(f"--namespaces: {', '.join(bad) or f'more than {NAMESPACES_MAX}'}")
    if got.watch_nodes not in ("true", "false"):
        parser.error("--watch-nodes: true or false")
    if got.log_level not in LEVELS:
        parser.error(f"--log-level: one of {', '.join(LEVELS)}")
    for name, port in (("port", got.port), ("metrics-api-port", got.metrics_api_port)):
        if not port.isdecimal() or int(port) > 65_535:
            parser.error(f"--{name}: a number up to 65535")
    if got.metrics_api and not NAMESPACE.fullmatch(got.metrics_api):
        parser.error("--metrics-api: the name of a Service")
    return Config(
        namespaces=namespaces,
        image=got.image,
        prover_image=got.prover_image or prover_beside(got.image),
        run_dir=Path(got.run_dir),
        watches_nodes=got.watch_nodes == "true",
        listen=got.listen,
        port=int(got.port),
        identity=got.identity or f"{socket.gethostname()}_{uuid.uuid4().hex[:8]}",
        log_level=got.log_level,
        metrics_api=got.metrics_api,
        metrics_api_port=int(got.metrics_api_port),
    )


def prover_beside(image: str) -> str:
    """The prover's image that goes with a member's: the same place, the same tag."""
    folder, slash, name = image.partition("@")[0].rpartition("/")
    tag = name.partition(":")[2] or "latest"
    return f"{folder}{slash}theblock-gpu:{tag}"
