"""What a subject of the chain is made of: commands with rules, events, queries, params, block hooks.

A domain module builds one `Domain` and decorates plain functions. Everything else that users meet (wire
names, protos, JSON, CLI, counters) is made from what is declared here. The list of domains is
`core.domains.DOMAINS`; `Registry` is that list, indexed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeVar

from theblock_node.core import codec
from theblock_node.core.errors import InvalidRecord, InvalidTx
from theblock_node.core.merkle import table_prefix
from theblock_node.core.numeric import I64, U8, MaxLen
from theblock_node.core.params import ChainParams
from theblock_node.core.proofs import bundle
from theblock_node.core.proofs.bundle import ProofBundle
from theblock_node.core.state import Draft, Table, View

Rule = Callable[["Context", Any], None]
Hook = Callable[["Context"], None]
CheckProof = Callable[[ProofBundle, bytes], None]
QueryFunction = Callable[["Reading", Any], Any]
F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Param:
    """A number that a vote can change; it lives in the state, and the domain that uses it declares it."""

    name: str
    default: int
    min: int
    max: int
    unit: str = ""
    presets: Mapping[str, int] = field(default_factory=dict)
    """First value in presets where it differs from ``default``."""

    def first_value(self, preset: str) -> int:
        return self.presets.get(preset, self.default)


@dataclass(frozen=True, slots=True)
class ParamValue:
    version: U8
    value: I64


PARAMS: Table[str, ParamValue] = Table("governance/param", Annotated[str, MaxLen(80)], ParamValue)


def get_param(view: View, param: Param, preset: str) -> int:
    found = view.get(PARAMS, param.name)
    return param.first_value(preset) if found is None else found.value


@dataclass(frozen=True, slots=True)
class Event:
    """What a rule says happened: its dotted name and the record."""

    name: str
    record: Any


@dataclass(slots=True)
class Meter:
    """Costly work that was done in a block; it stays counted when the transaction that asked for it is refused."""

    verify_units: int = 0


@dataclass(slots=True)
class Context:
    """What a rule sees of the block around it, and the draft that it changes."""

    draft: Draft
    chain: ChainParams
    height: int
    timestamp_ms: int
    sender: str
    """Address that signed; the empty string in block hooks."""
    tx_id: bytes
    """Zero bytes in block hooks."""
    parent: bytes = bytes(32)
    """Id of the block before."""
    beacon: bytes = bytes(32)
    """The chain's randomness for this epoch; nobody knew it when the epoch's content was fixed."""
    check_proof: CheckProof = bundle.verify
    """Refuses a bundle that does not hold under a verifying key; another one may only be quicker."""
    meter: Meter = field(default_factory=Meter)
    """Of the block."""
    events: list[Any] = field(default_factory=list)
    """Records in the order of `emit`."""

    def param(self, param: Param) -> int:
        return get_param(self.draft, param, self.chain.preset)

    def emit(self, record: Any) -> None:
        self.events.append(record)


@dataclass(frozen=True, slots=True)
class Reading:
    """What a query sees: committed state at a height. It changes nothing."""

    view: View
    chain: ChainParams
    height: int
    timestamp_ms: int

    def param(self, param: Param) -> int:
        return get_param(self.view, param, self.chain.preset)


@dataclass(frozen=True, slots=True)
class CommandSpec:
    name: str
    """Dotted wire name: ``energy.submit_reading``."""
    type: type
    rule: Rule
    gas: int
    """Surcharge above the intrinsic gas of the envelope."""
    doc: str


@dataclass(frozen=True, slots=True)
class QuerySpec:
    name: str
    request: type
    reply: type
    function: QueryFunction
    doc: str


def snake(name: str) -> str:
    """``SubmitReading`` -> ``submit_reading``."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


class Domain:
    """One subject of the chain. ``service`` is the name of its generated gRPC service."""

    def __init__(self, name: str, *, service: str, params: Iterable[Param] = ()) -> None:
        self.name = name
        self.service = service
        self.params: tuple[Param, ...] = tuple(params)
        self.commands: dict[str, CommandSpec] = {}
        self.queries: dict[str, QuerySpec] = {}
        self.events: dict[type, str] = {}
        self.tables: list[Table[Any, Any]] = []
        self.begin_hooks: list[Hook] = []
        self.end_hooks: list[Hook] = []

    def table(self, name: str, key_type: Any, value_type: type[Any], **options: Any) -> Table[Any, Any]:
        """Declare a table; its name is its state namespace."""
        made: Table[Any, Any] = Table(name, key_type, value_type, **options)
        self.tables.append(made)
        return made

    def rule(self, command: type, *, gas: int = 0) -> Callable[[F], F]:
        """The rule of ``command``: look up, refuse, change, tell. ``gas`` is the surcharge of its checks."""

        def register(function: F) -> F:
            name = f"{self.name}.{snake(command.__name__)}"
            self.commands[name] = CommandSpec(name, command, function, gas, command.__doc__ or function.__doc__ or "")
            return function

        return register

    def event(self, record: type) -> type:
        """Class decorator: ``ReadingSubmitted`` becomes ``energy.reading_submitted``."""
        self.events[record] = f"{self.name}.{snake(record.__name__)}"
        return record

    def query(self, noun: str, request: type, reply: type) -> Callable[[F], F]:
        """A read of committed state: ``energy.receipts``."""

        def register(function: F) -> F:
            name = f"{self.name}.{noun}"
            self.queries[name] = QuerySpec(name, request, reply, function, function.__doc__ or "")
            return function

        return register

    def begin_block(self, hook: F) -> F:
        """Runs before the transactions of every block, in the order of `DOMAINS`."""
        self.begin_hooks.append(hook)
        return hook

    def end_block(self, hook: F) -> F:
        """Runs after the transactions of every block, in the order of `DOMAINS`."""
        self.end_hooks.append(hook)
        return hook


class Registry:
    """The domains of a chain by what they answer to."""

    def __init__(self, domains: Iterable[Domain]) -> None:
        self.domains = tuple(domains)
        self.commands = {name: spec for domain in self.domains for name, spec in domain.commands.items()}
        self.queries = {name: spec for domain in self.domains for name, spec in domain.queries.items()}
        self.events = {record: name for domain in self.domains for record, name in domain.events.items()}
        self.event_types = {name: record for record, name in self.events.items()}
        self.params = {param.name: param for domain in self.domains for param in domain.params}
        self.tables = {table.name: table for domain in self.domains for table in domain.tables}
        if len(self.tables) != sum(len(domain.tables) for domain in self.domains):
            raise ValueError("two tables have one name")
        prefixes = {table: table_prefix(table) for table in self.tables}
        if len(set(prefixes.values())) != len(prefixes):
            raise ValueError("two table names share a 6-byte prefix in the state tree")

    def decode_arguments(self, call: str, data: bytes) -> Any:
        """The command record of ``call``; refuses unknown calls and bytes that are not its arguments."""
        spec = self.commands.get(call)
        if spec is None:
            raise InvalidTx("tx.unknown_call", call=call)
        try:
            return codec.decode(spec.type, data, profile=codec.TRANSACTION)
        except InvalidRecord as refused:
            raise InvalidTx("tx.bad_arguments", call=call, cause=refused.code, **refused.facts) from refused

    def event_of(self, record: Any) -> Event:
        return Event(self.events[type(record)], record)
