"""Where everything of a run lies, and which loopback address each member has: pure, but for names of files."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from theblock_operator.observed import Layout

SOCKET_PATH_MAX = 100
"""The kernel takes 107 bytes; a name stands behind the folder."""
SOCKET_NAME_MAX = 48
FIRST_HOST, LAST_HOST = 1, 253
OPERATOR_HOST = 254
MOUNTS = "/etc/theblock/"
VOLUME = "/var/lib/theblock"
RUN = "/run/theblock"
TEMPORARY = "/tmp"


@dataclass(frozen=True, slots=True)
class Home:
    """The folder of one run."""

    root: Path
    """Absolute."""

    @property
    def store(self) -> Path:
        return self.root / "store"

    @property
    def lock(self) -> Path:
        return self.root / "controller.lock"

    @property
    def log(self) -> Path:
        return self.root / "logs" / "controller.log"

    @property
    def addresses(self) -> Path:
        return self.root / "addresses.json"

    @property
    def context(self) -> Path:
        return self.root / "context.json"

    @property
    def certificates(self) -> Path:
        """The operator's own, by network."""
        return self.root / "operator"

    @property
    def people(self) -> Path:
        """What people need to call the network: certificates and the funder's seed."""
        return self.root / "admin"

    @property
    def sockets(self) -> Path:
        """A short path where the folder's own is too long for the names of sockets."""
        folder = self.root / "run"
        if len(str(folder)) + SOCKET_NAME_MAX + len("control.sock") < SOCKET_PATH_MAX:
            return folder
        digest = hashlib.sha256(str(self.root).encode()).hexdigest()[:12]
        return Path(f"/tmp/theblock-{os.getuid()}-{digest}")

    @property
    def control(self) -> Path:
        return self.sockets / "control.sock"

    def member(self, name: str) -> Path:
        return self.root / "members" / name

    def claim(self, member: str) -> Path:
        """The volume, or what stands for a volume that goes with the pod."""
        return self.root / "volumes" / f"data-{member}-0"

    def member_log(self, member: str, container: str) -> Path:
        return self.root / "logs" / member / f"{container}.log"

    def translate(self, member: str, path: str) -> Path:
        """Where something in the file system of a member's pod really lies."""
        if path.startswith(MOUNTS):
            return self.member(member) / "etc" / path.removeprefix(MOUNTS)
        for inside, outside in (
            (VOLUME, self.claim(member)),
            (RUN, self.sockets / member),
            (TEMPORARY, self.member(member) / "tmp"),
        ):
            if path == inside or path.startswith(inside + "/"):
                return outside / path.removeprefix(inside).lstrip("/")
        return Path(path)

    def layout(self, addresses: Mapping[str, str]) -> Layout:
        """What the operator writes into the configs of members."""
        usual = Layout()
        inside = {
            name: getattr(usual, name)
            for name in ("genesis", "key", "signing", "tls", "ca", "peers", "data", "run", "database", "headers")
        }
        moved = {name: str(self.translate("{member}", path)) for name, path in inside.items()}
        return Layout(**moved, addresses=addresses, has_database=False)


@dataclass(frozen=True, slots=True)
class Addresses:
    """The numbers behind `127.<subnet>.<network>.<member>`, as they are kept."""

    networks: Mapping[str, int]
    members: Mapping[str, str]

    def with_members(
        self, subnet: int, network: str, names: Iterable[str], is_free: Callable[[int], bool] = lambda _number: True
    ) -> Addresses:
        """Give each of ``names`` that has none the lowest free address of its network.

        A new network gets the lowest number that is free here and, says ``is_free``, on the machine.
        """
        networks = dict(self.networks)
        if network not in networks:
            numbers = [number for number in range(1, 255) if number not in networks.values()]
            networks[network] = next((number for number in numbers if is_free(number)), numbers[0])
        prefix = f"127.{subnet}.{networks[network]}."
        members, taken = dict(self.members), set(self.members.values())
        free = (f"{prefix}{host}" for host in range(FIRST_HOST, LAST_HOST + 1))
        for name in names:
            if name not in members:
                address = next((one for one in free if one not in taken), None)
                if address is None:
                    break  # Members beyond are not started, and their pods say why.
                members[name] = address
        return Addresses(networks, members)
