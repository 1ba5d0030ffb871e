"""`python -m tools.cluster up|down|status|images|kubectl`: the cluster itself, below what is deployed on it."""

from __future__ import annotations

import argparse
import sys

from tools.cluster import cluster, images
from tools.cluster.console import ClusterError, say
from tools.cluster.layout import REPOSITORY


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.cluster", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    made = {name: commands.add_parser(name, help=text) for name, text in HELP.items()}
    for name in ("up", "down", "status", "kubectl"):
        made[name].add_argument("--name", default="theblock", help="the cluster's name")
    made["up"].add_argument("--nodes", type=int, default=1, help="how many; the last one has the accelerators")
    made["images"].add_argument("action", choices=["build", "load"], help="load: build, and import where it runs")
    made["images"].add_argument("--name", default="theblock", help="the cluster to import into")
    made["kubectl"].add_argument("words", nargs=argparse.REMAINDER)
    arguments = parser.parse_args()
    try:
        return COMMANDS[arguments.command](arguments)
    except ClusterError as refused:
        print(f"cluster: {refused}", file=sys.stderr)
        return 1


def _up(arguments: argparse.Namespace) -> int:
    made = cluster.up(arguments.name, arguments.nodes)
    print(f"export KUBECONFIG={made.kubeconfig}")
    say(f"  stop it with: python -m tools.cluster down --name {arguments.name}")
    return 0


def _down(arguments: argparse.Namespace) -> int:
    cluster.down(arguments.name)
    say(f"  cluster {arguments.name} is gone")
    return 0


def _status(arguments: argparse.Namespace) -> int:
    """Say what runs and what is there; 0 when everything runs, 3 when nothing is there, 1 in between."""
    found = cluster.look(arguments.name)
    for name, alive in found.daemons.items():
        print(f"{'runs ' if alive else 'ended'}  {name}")
    if not found.leftovers:
        print(f"nothing is there of cluster {arguments.name}")
        return 3
    print(cluster.attach(arguments.name).kubectl("get", "nodes,pods", "--all-namespaces", "-o", "wide"))
    return 0


def _images(arguments: argparse.Namespace) -> int:
    built = images.ensure_all()
    for image in built.values():
        print(f"{image.reference}  {image.archive.relative_to(REPOSITORY)}")
    if arguments.action == "load":
        images.load_all(cluster.attach(arguments.name), list(built.values()))
    return 0


def _kubectl(arguments: argparse.Namespace) -> int:
    words = arguments.words[1:] if arguments.words[:1] == ["--"] else arguments.words
    return cluster.attach(arguments.name).kubectl_through(words)


HELP = {
    "up": "bring a real Kubernetes up on this machine",
    "down": "take it away, whatever is left of it",
    "status": "what runs and what is there",
    "images": "build the images",
    "kubectl": "kubectl against the cluster",
}
COMMANDS = {"up": _up, "down": _down, "status": _status, "images": _images, "kubectl": _kubectl}

if __name__ == "__main__":
    sys.exit(main())
