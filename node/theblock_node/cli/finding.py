"""Where the network is: flags, a context file, what `make up` wrote, or the pod's own config; the first that is there.

Pure but for reading those files. Nothing of the protocol is imported, so a misspelt flag is told at once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LOCAL = Path("build/up/context.json")
"""What `make up` writes, below the folder that it ran in."""
POD = Path("/etc/theblock/config/config.json")
CONTEXT_VARIABLE = "TB_CONTEXT"
VALIDATOR = "validator"

WAYS = (
    "give --endpoint HOST:PORT (with --ca FILE), or --context FILE (or set TB_CONTEXT); "
    "run `make up` here, which writes build/up/context.json; or run inside a member's pod"
)


class Unusable(Exception):
    """What was given cannot be used: what is wrong, and what to do about it."""

    def __init__(self, what: str, todo: str) -> None:
        super().__init__(what)
        self.todo = todo


@dataclass(frozen=True, slots=True)
class Member:
    """A process of the network, and how to reach it."""

    name: str
    role: str
    """Empty where only the address is known."""
    host: str
    port: int
    tls_name: str | None
    resource: str = ""

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Network:
    """What is known of the network, and who said so."""

    source: str
    name: str
    members: tuple[Member, ...]
    ca: Path | None
    """None: plain connections, as to a chain for development."""
    admin: tuple[Path, Path] | None = None
    """An administrator's certificate and its key."""
    funder: Path | None = None
    """File with a seed that may be spent from."""
    explorer: str | None = None
    metrics: Mapping[str, str] = field(default_factory=dict)

    def of_role(self, role: str) -> list[Member]:
        """Members that may serve what the role serves."""
        return [member for member in self.members if member.role in (role, "")]


@dataclass(slots=True)
class Flags:
    """What the flags say of the network."""

    endpoints: tuple[str, ...] = ()
    ca: str | None = None
    tls_name: str | None = None
    context: str | None = None


def find(flags: Flags, environ: Mapping[str, str], *, local: Path = LOCAL, pod: Path = POD) -> Network:
    """The network that is meant; `Unusable` with all the ways where there is none."""
    if flags.endpoints:
        return _from_flags(flags)
    if flags.ca or flags.tls_name:
        raise Unusable("--ca and --tls-name go with --endpoint", "give --endpoint HOST:PORT too")
    for named in (flags.context, environ.get(CONTEXT_VARIABLE)):
        if named:
            return read_context(Path(named))
    if local.exists():
        return read_context(local)
    if pod.exists():
        return read_pod(pod)
    raise Unusable("no network is known here", WAYS)


def read_context(path: Path) -> Network:
    """The network that a context file names."""
    document = _load(path)
    try:
        admin = document.get("admin")
        return Network(
            str(path),
            str(document["network"] or ""),
            tuple(_member(row) for row in document["members"]),
            Path(document["ca"]) if document.get("ca") else None,
            (Path(admin["certificate"]), Path(admin["key"])) if admin else None,
            Path(document["funder"]) if document.get("funder") else None,
            document.get("explorer"),
            document.get("metrics") or {},
        )
    except (KeyError, TypeError, ValueError, AttributeError) as wrong:
        raise _malformed(path, wrong) from wrong


def read_pod(path: Path) -> Network:
    """The network of the member whose config this is: itself, and the peers that it knows."""
    config = _load(path)
    try:
        own = Member(
            config["member"], config["role"], config["advertise"], int(config["listen"]["grpc"]), None,
            config["resource"],
        )  # fmt: skip
        peers = _load(Path(config["paths"]["peers"]))["peers"]
        others = [_member(row) for row in peers if row["name"] != own.name]
        return Network(str(path), config["network"], (own, *others), Path(config["paths"]["ca"]))
    except (KeyError, TypeError, ValueError, AttributeError) as wrong:
        raise _malformed(path, wrong) from wrong


def select(network: Network, name: str | None) -> Member:
    """The member of that name or address; without a name the only one, or the first validator."""
    if name is None:
        return _require(network, network.of_role(VALIDATOR) or network.members, "no member is known")[0]
    found = [member for member in network.members if name in (member.name, member.address)]
    known = ", ".join(member.name for member in network.members[:12])
    return _require(network, found, f"no member is called {name}", f"known are {known}")[0]


def _require(network: Network, found: Sequence[Member], what: str, todo: str = WAYS) -> Sequence[Member]:
    if not found:
        raise Unusable(f"{what} ({network.source})", todo)
    return found


def _from_flags(flags: Flags) -> Network:
    members = []
    for text in flags.endpoints:
        host, colon, port = text.rpartition(":")
        if not colon or not host or not port.isdigit() or not 0 < int(port) < 2**16:
            raise Unusable(f"--endpoint {text} is not HOST:PORT", "write it as in --endpoint 127.0.0.1:26658")
        members.append(Member(text, "", host, int(port), flags.tls_name))
    return Network("--endpoint", "", tuple(members), Path(flags.ca) if flags.ca else None)


def _member(row: Mapping[str, Any]) -> Member:
    name = row.get("tls_name")
    return Member(
        str(row["name"]), str(row["role"]), str(row["host"]), int(row["grpc"]), name and str(name),
        str(row.get("resource", "")),
    )  # fmt: skip


def _load(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except OSError as failed:
        raise Unusable(f"{path}: {failed.strerror}", WAYS) from failed
    except ValueError as wrong:
        raise Unusable(
            f"{path} is no JSON: {wrong}", "write it anew: `make up`, or docs/cli.md for its form"
        ) from wrong
    if not isinstance(found, dict):
        raise Unusable(f"{path} is no JSON object", "docs/cli.md shows its form")
    return found


def _malformed(path: Path, wrong: Exception) -> Unusable:
    return Unusable(f"{path}: {type(wrong).__name__} {wrong}", "docs/cli.md shows the form of a context file")
