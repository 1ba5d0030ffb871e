"""The addresses of a run, kept in a file: a member that comes back has the address that it had."""

from __future__ import annotations

import json
import socket

import msgspec

from theblock_operator import names
from theblock_operator.api import OUR_KINDS
from theblock_operator.embedded import files
from theblock_operator.embedded.places import OPERATOR_HOST, Addresses, Home
from theblock_operator.embedded.store import Store
from theblock_operator.kinds import BY_NAME
from theblock_operator.members import Ports
from theblock_operator.observed import Layout, Object

SPARE = 2
"""Ordinals beyond those that can be in use by now get an address too, so that one is always known beforehand."""


class AddressBook:
    """Gives addresses to all members that the resources can have. Owned by one event loop."""

    def __init__(self, home: Home, store: Store, namespace: str, *, subnet: int) -> None:
        self._home = home
        self._store = store
        self._namespace = namespace
        self._subnet = subnet
        self._book = Addresses({}, {})

    def load(self) -> None:
        if self._home.addresses.exists():
            self._book = msgspec.json.decode(self._home.addresses.read_bytes(), type=Addresses)

    def address(self, member: str) -> str | None:
        """None where all addresses of the network are taken."""
        self._refresh()
        return self._book.members.get(member)

    def layout(self) -> Layout:
        self._refresh()
        return self._home.layout(self._book.members)

    def operator_address(self, network: str) -> str | None:
        """Where the operator tells of itself, on the network's own part of the loopback addresses."""
        number = self._book.networks.get(network)
        return None if number is None else f"127.{self._subnet}.{number}.{OPERATOR_HOST}"

    def _refresh(self) -> None:
        book = self._book
        for network, wanted in self._wanted().items():
            book = book.with_members(self._subnet, network, wanted, self._is_free)
        if book != self._book:
            told = {"networks": dict(book.networks), "members": dict(book.members)}
            files.write_private(self._home.addresses, json.dumps(told, indent=1) + "\n")
            self._book = book

    def _is_free(self, number: int) -> bool:
        """Whether no other run on this machine has the number: its operator would listen there."""
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((f"127.{self._subnet}.{number}.{OPERATOR_HOST}", Ports().metrics))
            except OSError:
                return False
        return True

    def _wanted(self) -> dict[str, list[str]]:
        """The members that each network can have at this moment, by network."""
        wanted: dict[str, list[str]] = {}
        existing: dict[str, int] = {}
        for workload in self._store.select("StatefulSet", self._namespace):
            prefix, _ = names.split_member(workload["metadata"]["name"])
            existing[prefix] = existing.get(prefix, 0) + 1
        for kind in OUR_KINDS:
            for resource in self._store.select(kind, self._namespace):
                network = resource["metadata"]["name"] if kind == "Network" else resource["spec"]["network"]
                prefix = _prefix(kind, resource)
                count = _replicas(kind, resource) + existing.get(prefix, 0) + SPARE
                wanted.setdefault(network, []).extend(names.member(prefix, ordinal) for ordinal in range(count))
        return wanted


def _prefix(kind: str, resource: Object) -> str:
    name: str = resource["metadata"]["name"]
    return f"{name}-explorer" if kind == "Network" else name


def _replicas(kind: str, resource: Object) -> int:
    spec = resource["spec"] if BY_NAME[kind].scalable else resource["spec"].get("explorer", {})
    return int(spec.get("replicas", 1))
