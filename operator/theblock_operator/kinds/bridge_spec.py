"""What a Bridge may say: asset, foreign chain, source of headers."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType

from theblock_operator.kinds import kind
from theblock_operator.kinds.energy_spec import SecretRef
from theblock_operator.kinds.kind import Column, DrainDeadline, Hash, ObjectKeyRef, Part, Rule, Stake, Storage, Url


class Checkpoint(Part, frozen=True, kw_only=True):
    height: Annotated[int, Meta(ge=0, le=2**40)]
    hash: Hash


class Source(Part, frozen=True, kw_only=True):
    """Where headers come from; `builtin`: real headers packed in the image."""

    driver: Literal["rpc", "file", "builtin"]
    endpoints: Annotated[tuple[Url, ...], Meta(min_length=1, max_length=8)] | UnsetType = UNSET
    headers_config_map_ref: ObjectKeyRef | UnsetType = UNSET
    dataset: Annotated[str, Meta(min_length=1, max_length=64)] | UnsetType = UNSET
    auth_secret_ref: ObjectKeyRef | UnsetType = UNSET
    ca_secret_ref: ObjectKeyRef | UnsetType = UNSET


class ExternalChain(Part, frozen=True, kw_only=True):
    id: Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]
    profile: Literal["tbpow/1", "bitcoin/1"]
    checkpoint: Annotated[Checkpoint, Meta(description="Where the light client starts")] | UnsetType = UNSET
    source: Source


class Channel(Part, frozen=True, kw_only=True):
    confirm_depth: Annotated[int, Meta(ge=1, le=10_000, description="Only ever raised")] = 6


class Roles(Part, frozen=True, kw_only=True):
    header_sync: bool = True


class Signing(Part, frozen=True, kw_only=True):
    secret_ref: SecretRef | UnsetType = UNSET


class Spec(kind.MemberSpec, frozen=True, kw_only=True):
    replicas: Annotated[int, Meta(ge=1, le=16, description="Relayers wanted")] = 1
    stake: Annotated[Stake, Meta(description="nBLOCK bonded per relayer; only ever raised")]
    drain_deadline_seconds: DrainDeadline = 3600
    storage: Annotated[Storage, Meta(description="The volume data")] = Storage()
    asset: Annotated[str, Meta(pattern=r"^[A-Za-z0-9]{1,16}$", max_length=16, description="Asset on this chain")]
    external_chain: ExternalChain
    channel: Channel = Channel()
    roles: Roles = Roles()
    signing: Signing | UnsetType = UNSET


def _has_endpoints(source: Source) -> bool:
    return (source.driver == "rpc") == (source.endpoints is not UNSET)


def _has_material(source: Source) -> bool:
    return (source.driver == "file") == (source.headers_config_map_ref is not UNSET) and (
        source.driver == "builtin"
    ) == (source.dataset is not UNSET)


RULES = (
    *kind.MEMBER_RULES,
    Rule(
        "spec",
        "self.asset == oldSelf.asset",
        "asset is immutable",
        holds_change=lambda old, new: new.asset == old.asset,
    ),
    Rule(
        "spec.externalChain",
        "self.id == oldSelf.id && self.profile == oldSelf.profile",
        "externalChain.id and profile are immutable",
        holds_change=lambda old, new: (new.id, new.profile) == (old.id, old.profile),
    ),
    Rule(
        "spec.externalChain",
        "has(self.checkpoint) == has(oldSelf.checkpoint)"
        " && (!has(self.checkpoint) || self.checkpoint == oldSelf.checkpoint)",
        "the checkpoint is immutable",
        holds_change=lambda old, new: new.checkpoint == old.checkpoint,
    ),
    Rule(
        "spec.externalChain.source",
        "self.driver == 'rpc' ? has(self.endpoints) && self.endpoints.size() >= 1 : !has(self.endpoints)",
        "endpoints: with driver rpc, and only there",
        _has_endpoints,
    ),
    Rule(
        "spec.externalChain.source",
        "(self.driver == 'file') == has(self.headersConfigMapRef) && (self.driver == 'builtin') == has(self.dataset)",
        "file needs headersConfigMapRef, builtin needs dataset",
        _has_material,
    ),
    Rule(
        "spec.channel",
        "self.confirmDepth >= oldSelf.confirmDepth",
        "confirmDepth is never lowered",
        holds_change=lambda old, new: new.confirm_depth >= old.confirm_depth,
    ),
    Rule(
        "spec",
        "self.roles.headerSync || self.replicas == 1",
        "several members without a role have nothing to do",
        lambda spec: spec.roles.header_sync or spec.replicas == 1,
    ),
    Rule(
        "spec",
        "!has(self.signing) || !has(self.signing.secretRef) || self.signing.secretRef.keyTemplate.contains('{member}')",
        "signing.secretRef.keyTemplate must contain {member}: one key, one signer",
        lambda spec: (
            spec.signing is UNSET
            or spec.signing.secret_ref is UNSET
            or "{member}" in spec.signing.secret_ref.key_template
        ),
    ),
)


class Member(kind.MemberStatus, frozen=True, kw_only=True):
    relayer: str | UnsetType = UNSET
    bond: str | UnsetType = UNSET
    key_state: str | UnsetType = UNSET


class Headers(Part, frozen=True, kw_only=True):
    tip_height: int = 0
    best_hash: str = ""
    lag: Literal["None", "Behind", "Stalled"] = "Behind"
    last_reorg_depth: int = 0


class StatusFields(kind.MemberKindStatus, frozen=True, kw_only=True):
    members: Annotated[tuple[Member, ...], kind.BY_NAME] | UnsetType = UNSET
    headers: Headers | UnsetType = UNSET


COLUMNS = (
    *kind.READY_COLUMNS,
    Column("Asset", ".spec.asset"),
    Column("Chain", ".spec.externalChain.id"),
    kind.DESIRED,
    kind.READY_MEMBERS,
    Column("Foreign", ".status.headers.tipHeight", "integer"),
    kind.AGE,
    kind.NETWORK,
    Column("Profile", ".spec.externalChain.profile", wide=True),
    Column("Lag", ".status.headers.lag", wide=True),
)
