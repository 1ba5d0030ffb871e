"""What a StorageProvider may say: pledge, price, pipeline."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType

from theblock_operator.kinds import kind
from theblock_operator.kinds.kind import Bytes, Column, DrainDeadline, Keys, Part, Rule, Stake, Storage, parse_bytes

CAPACITY_MIN = 64 * 2**20


class StorageVolume(Storage, frozen=True, kw_only=True):
    retention: Literal["Retain", "Delete"] = "Delete"


class Pipeline(Part, frozen=True, kw_only=True):
    data_shards: Annotated[int, Meta(ge=1, le=128)] = 2
    parity_shards: Annotated[int, Meta(ge=1, le=127)] = 1
    placement: Annotated[
        Literal["Network", "Resource"], Meta(description="Resource: shards only on members of this resource")
    ] = "Network"
    policy: Annotated[Literal["default", "relaxed"], Meta(description="Caps on what one provider may hold")] = "relaxed"
    compression: Literal["zstd", "none"] = "zstd"
    encryption: Literal["chacha20-poly1305", "none"] = "chacha20-poly1305"


class Repair(Part, frozen=True, kw_only=True):
    interval_seconds: Annotated[int, Meta(ge=1, le=86_400)] = 60


class Spec(kind.MemberSpec, frozen=True, kw_only=True):
    replicas: Annotated[int, Meta(ge=0, le=64, description="Members wanted")] = 1
    stake: Stake
    drain_deadline_seconds: DrainDeadline = 3600
    keys: Annotated[Keys, Meta(description="Existing Secrets instead of generated keys")] | UnsetType = UNSET
    storage: Annotated[StorageVolume, Meta(description="The volume data")] = StorageVolume()
    capacity: Annotated[Bytes, Meta(description="Bytes pledged per member; only grows")]
    price_per_block: Annotated[kind.Amount, Meta(description="nBLOCK per slot GiB and block")] = "0"
    region: (
        Annotated[str, Meta(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")] | UnsetType
    ) = UNSET
    pipeline: Annotated[Pipeline, Meta(description="How objects put through these members are cut")] = Pipeline()
    repair: Repair = Repair()


def _shards(pipeline: Pipeline) -> int:
    return pipeline.data_shards + pipeline.parity_shards


def _has_room(spec: Spec) -> bool:
    size = spec.storage.size
    return size is UNSET or parse_bytes(size) > parse_bytes(spec.capacity)


RULES = (
    *kind.MEMBER_RULES,
    *kind.KEY_RULES,
    Rule(
        "spec.pipeline",
        "self.parityShards >= 1",
        "redundancy: n >= k + 1, at least one parity shard",
        lambda pipeline: pipeline.parity_shards >= 1,
    ),
    Rule(
        "spec.pipeline",
        "self.dataShards + self.parityShards <= 255",
        "GF(256) has room for 255 shards",
        lambda pipeline: _shards(pipeline) <= 255,
    ),
    Rule(
        "spec",
        "self.pipeline.placement != 'Resource' || self.pipeline.policy == 'relaxed'"
        " || self.replicas >= self.pipeline.dataShards + self.pipeline.parityShards",
        "placement Resource needs replicas >= dataShards + parityShards",
        lambda spec: (
            spec.pipeline.placement != "Resource"
            or spec.pipeline.policy == "relaxed"
            or spec.replicas >= _shards(spec.pipeline)
        ),
    ),
    Rule(
        "spec",
        "self.pipeline.placement != 'Resource' || self.replicas == 0"
        " || self.pipeline.parityShards * self.replicas >= self.pipeline.dataShards + self.pipeline.parityShards",
        "the shards of one member must be no more than parityShards, else its loss loses data",
        lambda spec: (
            spec.pipeline.placement != "Resource"
            or spec.replicas == 0
            or spec.pipeline.parity_shards * spec.replicas >= _shards(spec.pipeline)
        ),
    ),
    Rule(
        "spec",
        "quantity(self.capacity).compareTo(quantity(oldSelf.capacity)) >= 0",
        "capacity may only grow; add a resource and remove this one to shrink",
        holds_change=lambda old, new: parse_bytes(new.capacity) >= parse_bytes(old.capacity),
    ),
    Rule(
        "spec",
        "quantity(self.capacity).compareTo(quantity('64Mi')) >= 0",
        "capacity is at least 64Mi",
        lambda spec: parse_bytes(spec.capacity) >= CAPACITY_MIN,
    ),
    Rule(
        "spec",
        "!has(self.storage) || !has(self.storage.size)"
        " || quantity(self.storage.size).compareTo(quantity(self.capacity)) > 0",
        "storage.size must exceed capacity",
        _has_room,
    ),
)


class Member(kind.MemberStatus, frozen=True, kw_only=True):
    provider_id: str | UnsetType = UNSET
    provider_state: str | UnsetType = UNSET
    used_bytes: int | UnsetType = UNSET
    slots: int | UnsetType = UNSET


class Slots(Part, frozen=True, kw_only=True):
    held: int = 0
    suspect: int = 0
    lost: int = 0


class Proofs(Part, frozen=True, kw_only=True):
    ok: int = 0
    missed: int = 0
    success_ppm: int = 0


class Escrow(Part, frozen=True, kw_only=True):
    collateral: str = "0"
    earned: str = "0"


class Drain(Part, frozen=True, kw_only=True):
    slots_left: int = 0


class StatusFields(kind.MemberKindStatus, frozen=True, kw_only=True):
    members: Annotated[tuple[Member, ...], kind.BY_NAME] | UnsetType = UNSET
    pledged_bytes: int | UnsetType = UNSET
    used_bytes: int | UnsetType = UNSET
    contracts: int | UnsetType = UNSET
    slots: Slots | UnsetType = UNSET
    proofs: Proofs | UnsetType = UNSET
    reputation: int | UnsetType = UNSET
    escrow: Escrow | UnsetType = UNSET
    drain: Drain | UnsetType = UNSET


COLUMNS = (
    *kind.READY_COLUMNS,
    kind.DESIRED,
    kind.MEMBERS,
    kind.READY_MEMBERS,
    Column("Capacity", ".spec.capacity"),
    Column("Used", ".status.usedBytes", "integer"),
    kind.AGE,
    kind.NETWORK,
    Column("Region", ".spec.region", wide=True),
    Column("Price", ".spec.pricePerBlock", wide=True),
    Column("Proofs", ".status.proofs.successPpm", "integer", wide=True),
)
