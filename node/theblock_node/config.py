"""The configuration of one process: read once, strictly, then handed down as frozen records.

The operator renders the file (its `members.py`); a key that is not known here is refused with its path, so that
a misspelt setting never passes silently. A bad file ends the process with `EXIT_BAD_CONFIG`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, NewType

import msgspec
from msgspec import Meta

EXIT_BAD_CONFIG = 78
"""Also the exit status of a genesis that is not the pinned one: a restart changes neither."""

Amount = NewType("Amount", str)
"""A whole number of base units, as a string, as in every JSON of ours."""
Port = Annotated[int, Meta(ge=1, le=65_535)]
Count = Annotated[int, Meta(ge=0)]
Positive = Annotated[int, Meta(ge=1)]


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A part of the file."""


class Chain(Record, frozen=True):
    genesis: Path
    genesis_hash: str | None
    """Hex; what the genesis must hash to. None until the operator has learnt it."""


class Paths(Record, frozen=True):
    key: Path
    signing: Path | None
    tls: Path
    """Folder with tls.crt and tls.key."""
    ca: Path
    peers: Path
    data: Path
    run: Path


class Listen(Record, frozen=True):
    host: str
    grpc: Port
    p2p: Port
    health: Port
    metrics: Port
    http: Port


class ValidatorSettings(Record, frozen=True):
    mempool_max_entries: Positive = 50_000
    snapshot_interval_blocks: Annotated[int, Meta(ge=10)] = 1024


class StorageSettings(Record, frozen=True):
    capacity_bytes: Positive = 1_073_741_824
    price_per_block: str = "0"
    region: str = "default"
    data_shards: Positive = 2
    parity_shards: Count = 1
    placement: str = "Network"
    policy: str = "relaxed"
    compression: str = "zstd"
    encryption: str = "chacha20-poly1305"
    repair_interval_seconds: Positive = 60


class Prover(Record, frozen=True):
    socket: str = "/run/theblock/prover.sock"
    backend: str = "auto"
    self_check: bool = True
    cache_bytes: Count = 1_073_741_824


class ComputeSettings(Record, frozen=True):
    lanes: tuple[str, ...] = ("consumer", "industrial")
    workloads: tuple[str, ...] = ("gpuHash",)
    price_per_unit: str = "0"
    units_per_epoch: Positive = 1000
    bond_per_unit: str = "0"
    prover: Prover = Prover()


class MockMeter(Record, frozen=True):
    step_wh: int = 250
    start_wh: int = 0
    faults: tuple[str, ...] = ()


class Meter(Record, frozen=True):
    name: str
    address: str
    provider_id: str
    driver: str = "mock"
    endpoint: str | None = None
    interval_seconds: Positive = 15
    scale_to_wh: Positive = 1000
    push_key: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")] | None = None
    """Public key of a meter that pushes its readings itself; None where pushing is not allowed."""
    mock: MockMeter | None = None


class EnergyPolicy(Record, frozen=True):
    max_age_seconds: Positive = 300
    max_future_skew_seconds: Count = 30
    heartbeat_blocks: Positive = 360


class Retry(Record, frozen=True):
    initial_ms: Positive = 500
    max_ms: Positive = 30_000


class EnergySettings(Record, frozen=True):
    meters: tuple[Meter, ...] = ()
    policy: EnergyPolicy = EnergyPolicy()
    retry: Retry = Retry()
    spool_entries: Positive = 10_000


class BridgeCheckpoint(Record, frozen=True):
    height: Count
    hash: str


class BridgeSource(Record, frozen=True):
    driver: str = "builtin"
    dataset: str | None = None
    endpoints: tuple[str, ...] = ()
    headers_file: str | None = None


class BridgeSettings(Record, frozen=True):
    asset: str
    chain_id: str
    profile: str
    source: BridgeSource
    checkpoint: BridgeCheckpoint | None = None
    confirm_depth: Positive = 6
    header_sync: bool = True
    members: Positive = 1


class Database(Record, frozen=True):
    dsn_file: Path | None = None


class ExplorerSettings(Record, frozen=True):
    database: Database = Database()


Settings = ValidatorSettings | StorageSettings | ComputeSettings | EnergySettings | BridgeSettings | ExplorerSettings
SETTINGS: dict[str, type[Record]] = {
    "validator": ValidatorSettings,
    "storage_provider": StorageSettings,
    "compute_provider": ComputeSettings,
    "energy_oracle": EnergySettings,
    "bridge": BridgeSettings,
    "explorer": ExplorerSettings,
}
ROLES = tuple(SETTINGS)


class _File(Record, frozen=True):
    """The file as it stands; `settings` waits until the role is known."""

    role: Literal["validator", "storage_provider", "compute_provider", "energy_oracle", "bridge", "explorer"]
    kind: str
    network: str
    namespace: str
    resource: str
    member: str
    ordinal: Count
    chain: Chain
    paths: Paths
    listen: Listen
    advertise: str
    owner: str
    fencing_epoch: Count
    allow_solo: bool = False
    bootstrap_peers: tuple[str, ...] = ()
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    settings: msgspec.Raw = msgspec.Raw(b"{}")


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """What a process is told about itself."""

    role: str
    kind: str
    network: str
    namespace: str
    resource: str
    member: str
    ordinal: int
    chain: Chain
    paths: Paths
    listen: Listen
    advertise: str
    """Host by which other members reach this one."""
    owner: str
    fencing_epoch: int
    """Rises whenever the operator may have two pods with this key in its hands; the signer refuses a lower one."""
    allow_solo: bool
    """Ready without peers."""
    bootstrap_peers: tuple[str, ...]
    """Further peers as ``host:port``."""
    log_level: str
    settings: Settings


class BadConfig(Exception):
    """The file cannot be used; the text says which key and why."""


def parse(data: bytes) -> Config:
    try:
        file = msgspec.json.decode(data, type=_File, dec_hook=_decode_path)
    except (msgspec.ValidationError, msgspec.DecodeError) as refused:
        raise BadConfig(str(refused)) from refused
    try:
        settings = msgspec.json.decode(file.settings, type=SETTINGS[file.role], dec_hook=_decode_path)
    except msgspec.ValidationError as refused:
        raise BadConfig(_below(str(refused), "settings")) from refused
    parts = {name: getattr(file, name) for name in file.__struct_fields__ if name != "settings"}
    return Config(settings=settings, **parts)  # type: ignore[arg-type]


def load(path: Path) -> Config:
    try:
        data = path.read_bytes()
    except OSError as failed:
        raise BadConfig(f"{path}: {failed.strerror}") from failed
    return parse(data)


def _decode_path(wanted: type, value: object) -> Path:
    """JSON has text where we want a path."""
    if wanted is not Path or not isinstance(value, str) or not value:
        raise ValueError("expected a path")
    return Path(value)


def _below(message: str, key: str) -> str:
    """Move the path in a message of msgspec under ``key``."""
    text, found, path = message.rpartition("`$")
    return f"{text}`$.{key}{path}" if found else f"{message} - at `$.{key}`"
