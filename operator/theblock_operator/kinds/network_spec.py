"""What a Network may say: genesis, chain parameters, defaults for members, certificates, the API, the explorer."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType

from theblock_operator.kinds import kind
from theblock_operator.kinds.kind import (
    AccountAddress,
    Amount,
    Column,
    Image,
    Part,
    ResourceName,
    Resources,
    Rule,
    Text,
)

SERVICE_TYPES = Literal["ClusterIP", "NodePort", "LoadBalancer"]


class NamedValue(Part, frozen=True, kw_only=True):
    name: Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[a-z][a-z0-9_]*$")]
    value: Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^(0|[1-9][0-9]*)$")]


class GenesisValidators(Part, frozen=True, kw_only=True):
    name: ResourceName
    members: Annotated[int, Meta(ge=1, le=50)]


class Allocation(Part, frozen=True, kw_only=True):
    address: AccountAddress
    amount: Amount


class GenesisSpec(Part, frozen=True, kw_only=True):
    validators: Annotated[
        tuple[GenesisValidators, ...],
        Meta(min_length=1, max_length=16, description="Validator resources that stand in the genesis"),
        kind.BY_NAME,
    ]
    allocations: Annotated[
        tuple[Allocation, ...], Meta(max_length=256, description="First balances"), kind.list_map("address")
    ] = ()
    time_seconds: Annotated[int, Meta(ge=0, le=2**40, description="Absent: the time of sealing")] | UnsetType = UNSET


class Funder(Part, frozen=True, kw_only=True):
    amount: Amount
    max_per_resource: Amount = "10000000000000"


class Trust(Part, frozen=True, kw_only=True):
    ca_secret_ref: kind.ObjectRef | UnsetType = UNSET
    ca_seconds: Annotated[int, Meta(ge=3600, le=10**9)] = 157_680_000
    member_seconds: Annotated[int, Meta(ge=600, le=10**9)] = 7_776_000
    renew_before_seconds: Annotated[int, Meta(ge=60, le=10**9)] = 2_592_000
    overlap_seconds: Annotated[int, Meta(ge=0, le=10**9)] = 86_400


class Api(Part, frozen=True, kw_only=True):
    service_type: SERVICE_TYPES = "ClusterIP"
    annotations: kind.PodAnnotations = {}


class DatabaseSpec(Part, frozen=True, kw_only=True):
    dsn_secret_ref: kind.ObjectKeyRef


class Explorer(Part, frozen=True, kw_only=True):
    enabled: bool = True
    replicas: Annotated[int, Meta(ge=0, le=8)] = 1
    database: Annotated[DatabaseSpec, Meta(description="Absent: SQLite in its volume")] | UnsetType = UNSET
    service_type: SERVICE_TYPES = "ClusterIP"
    resources: Resources = Resources()


class NetworkPolicySpec(Part, frozen=True, kw_only=True):
    enabled: bool = True
    peer_cidrs: Annotated[
        tuple[Annotated[str, Meta(max_length=43, pattern=r"^[0-9a-fA-F.:]+/[0-9]{1,3}$")], ...], Meta(max_length=32)
    ] = ()


class Spec(Part, frozen=True, kw_only=True):
    preset: Annotated[
        Literal["mainnet", "devnet", "minimal"], Meta(description="Chain parameters and first values of Params")
    ] = "devnet"
    chain_id: Annotated[int, Meta(ge=1, le=4_294_967_295, description="Absent: by preset")] | UnsetType = UNSET
    overrides: (
        Annotated[
            tuple[NamedValue, ...],
            Meta(max_length=64, description="Chain parameters that differ from the preset"),
            kind.BY_NAME,
        ]
        | UnsetType
    ) = UNSET
    params: (
        Annotated[tuple[NamedValue, ...], Meta(max_length=256, description="First values of Params"), kind.BY_NAME]
        | UnsetType
    ) = UNSET
    genesis: Annotated[GenesisSpec, Meta(description="The first state")]
    funder: (
        Annotated[Funder, Meta(description="An account in the genesis from which owners are filled; not on mainnet")]
        | UnsetType
    ) = UNSET
    image: Annotated[Image, Meta(description="Of all members; absent: the operator's default")] | UnsetType = UNSET
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    image_pull_secrets: Annotated[tuple[kind.ObjectRef, ...], Meta(max_length=8), kind.BY_NAME] = ()
    trust: Annotated[Trust, Meta(description="Certificates of members")] = Trust()
    api: Annotated[Api, Meta(description="The Service <network>-api")] = Api()
    explorer: Explorer = Explorer()
    network_policy: NetworkPolicySpec = NetworkPolicySpec()
    status_refresh_seconds: Annotated[
        int,
        Meta(
            ge=0, le=86_400, description="How often quiet figures in status are refreshed; 0: never for their own sake"
        ),
    ] = 0


def _funder_amount(spec: Spec) -> str | None:
    return None if spec.funder is UNSET else spec.funder.amount


RULES = (
    *kind.NAME_RULES,
    Rule(
        "spec",
        "self.preset == oldSelf.preset",
        "preset is part of the genesis and immutable",
        holds_change=lambda old, new: new.preset == old.preset,
    ),
    Rule(
        "spec",
        "has(self.chainId) == has(oldSelf.chainId) && (!has(self.chainId) || self.chainId == oldSelf.chainId)",
        "chainId is immutable",
        holds_change=lambda old, new: new.chain_id == old.chain_id,
    ),
    Rule(
        "spec",
        "has(self.overrides) == has(oldSelf.overrides)"
        " && (!has(self.overrides) || self.overrides == oldSelf.overrides)",
        "overrides are part of the genesis and immutable",
        holds_change=lambda old, new: new.overrides == old.overrides,
    ),
    Rule(
        "spec",
        "has(self.params) == has(oldSelf.params) && (!has(self.params) || self.params == oldSelf.params)",
        "first values of Params are part of the genesis; change a running chain by a vote",
        holds_change=lambda old, new: new.params == old.params,
    ),
    Rule(
        "spec",
        "has(self.genesis) == has(oldSelf.genesis) && (!has(self.genesis) || self.genesis == oldSelf.genesis)",
        "genesis is immutable",
        holds_change=lambda old, new: new.genesis == old.genesis,
    ),
    Rule(
        "spec",
        "has(self.funder) == has(oldSelf.funder) && (!has(self.funder) || self.funder.amount == oldSelf.funder.amount)",
        "funder.amount is part of the genesis and immutable",
        holds_change=lambda old, new: _funder_amount(new) == _funder_amount(old),
    ),
    Rule(
        "spec",
        "self.preset != 'mainnet' || !has(self.funder)",
        "a mainnet network has no funder: owners bring their own funds",
        lambda spec: spec.preset != "mainnet" or spec.funder is UNSET,
    ),
    Rule(
        "spec",
        "self.preset != 'mainnet' || !has(self.genesis) || self.genesis.validators.map(v, v.members).sum() >= 4",
        "a mainnet genesis needs at least 4 validators to bear one fault",
        lambda spec: spec.preset != "mainnet" or sum(entry.members for entry in spec.genesis.validators) >= 4,
    ),
    Rule(
        "spec.explorer",
        "self.replicas <= 1 || has(self.database)",
        "several explorer replicas need explorer.database",
        lambda explorer: explorer.replicas <= 1 or explorer.database is not UNSET,
    ),
    Rule(
        "spec.trust",
        "self.renewBeforeSeconds < self.memberSeconds && self.memberSeconds < self.caSeconds",
        "renewBeforeSeconds < memberSeconds < caSeconds",
        lambda trust: trust.renew_before_seconds < trust.member_seconds < trust.ca_seconds,
    ),
    Rule(
        "spec.trust",
        "self.overlapSeconds <= self.renewBeforeSeconds",
        "overlapSeconds must fit into renewBeforeSeconds",
        lambda trust: trust.overlap_seconds <= trust.renew_before_seconds,
    ),
    Rule(
        "spec.trust",
        "has(self.caSecretRef) == has(oldSelf.caSecretRef)"
        " && (!has(self.caSecretRef) || self.caSecretRef == oldSelf.caSecretRef)",
        "trust.caSecretRef is immutable",
        holds_change=lambda old, new: new.ca_secret_ref == old.ca_secret_ref,
    ),
    Rule(
        "spec",
        "self.statusRefreshSeconds == 0 || self.statusRefreshSeconds >= 60",
        "statusRefreshSeconds: 0 (never) or at least 60",
        lambda spec: spec.status_refresh_seconds == 0 or spec.status_refresh_seconds >= 60,
    ),
    Rule(
        "spec.genesis.validators",
        "",
        "genesis.validators must have distinct names",
        lambda entries: len({entry.name for entry in entries}) == len(entries),
    ),
)


class Endpoint(Part, frozen=True, kw_only=True):
    role: Text
    address: str = ""


class ValidatorsStatus(Part, frozen=True, kw_only=True):
    members: int = 0
    active: int = 0
    weight: str = "0"
    threshold: str = "0"
    spare: int = 0


class CertificatesStatus(Part, frozen=True, kw_only=True):
    ca_fingerprint: str = ""
    ca_not_after: str = ""
    phase: Literal["Settled", "Trust", "Issue", "Retire"] = "Settled"


class Named(Part, frozen=True, kw_only=True):
    kind: str
    name: str
    ready: Literal["True", "False", "Unknown"] = "Unknown"


class StatusFields(kind.KindStatus, frozen=True, kw_only=True):
    members: Annotated[tuple[kind.MemberStatus, ...], kind.BY_NAME] | UnsetType = UNSET
    chain_id: int | UnsetType = UNSET
    genesis_hash: str | UnsetType = UNSET
    genesis_sha256: str | UnsetType = UNSET
    genesis_time_seconds: int | UnsetType = UNSET
    validators: ValidatorsStatus | UnsetType = UNSET
    endpoints: Annotated[tuple[Endpoint, ...], Meta(max_length=16)] | UnsetType = UNSET
    certificates: CertificatesStatus | UnsetType = UNSET
    resources: Annotated[tuple[Named, ...], Meta(max_length=256)] | UnsetType = UNSET


COLUMNS = (
    *kind.READY_COLUMNS,
    Column("Preset", ".spec.preset"),
    Column("Chain", ".status.chainId", "integer"),
    Column("Validators", ".status.validators.active", "integer"),
    kind.HEIGHT,
    kind.AGE,
    Column("Genesis", ".status.genesisHash", wide=True),
    Column("Spare", ".status.validators.spare", "integer", wide=True),
    Column("Api", '.status.endpoints[?(@.role=="api")].address', wide=True),
)
