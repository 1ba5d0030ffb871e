"""What a ComputeProvider may say: lanes, offer, accelerator, prover."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from theblock_operator.kinds import kind
from theblock_operator.kinds.kind import (
    Amount,
    Bytes,
    Column,
    DrainDeadline,
    Keys,
    LabelKey,
    LabelValue,
    Part,
    Resources,
    Rule,
    Stake,
    Storage,
    Toleration,
    Tolerations,
)

Lane = Literal["consumer", "industrial"]
Workload = Literal["gpuHash", "snark"]
DEVICE_TOLERATIONS = (
    Toleration(key="nvidia.com/gpu", operator="Exists", effect="NoSchedule"),
    Toleration(key="theblock.dev/accelerator", operator="Exists", effect="NoSchedule"),
)


class Offer(Part, frozen=True, kw_only=True):
    price_per_unit: Annotated[Amount, Meta(description="nBLOCK; 0: at market")] = "0"
    units_per_epoch: Annotated[int, Meta(ge=1, le=10**9)] = 1000
    bond_per_unit: Amount = "0"


class Accelerator(Part, frozen=True, kw_only=True):
    resource: Annotated[
        str, Meta(min_length=1, max_length=128, description="Extended resource of the device plugin")
    ] = "nvidia.com/gpu"
    count: Annotated[int, Meta(ge=1, le=16, description="Devices per member")] = 1
    node_selector: Annotated[dict[LabelKey, LabelValue], Meta(max_length=16)] = msgspec.field(
        default_factory=lambda: {"theblock.dev/accelerator": "true"}
    )
    tolerations: Tolerations = DEVICE_TOLERATIONS
    fallback: Annotated[Literal["CPU", "None"], Meta(description="What to do without a device")] = "CPU"
    fallback_after_seconds: Annotated[
        int, Meta(ge=0, le=86_400, description="How long a pod may stay unschedulable")
    ] = 120
    return_after_seconds: Annotated[
        int, Meta(ge=30, le=86_400, description="How long a device must have been free before a member goes back")
    ] = 300


class ProverSpec(Part, frozen=True, kw_only=True):
    backend: Annotated[
        Literal["auto", "cuda", "native", "python"], Meta(description="auto: the best that passes the self-check")
    ] = "auto"
    cache_size: Bytes = "1Gi"
    self_check: bool = True


class Spec(kind.MemberSpec, frozen=True, kw_only=True):
    replicas: Annotated[int, Meta(ge=0, le=64, description="Members wanted")] = 1
    stake: Stake
    drain_deadline_seconds: DrainDeadline = 600
    keys: Annotated[Keys, Meta(description="Existing Secrets instead of generated keys")] | UnsetType = UNSET
    storage: Annotated[Storage, Meta(description="The volume data")] = Storage()
    lanes: Annotated[tuple[Lane, ...], Meta(min_length=1, max_length=2), kind.SET] = ("consumer", "industrial")
    workloads: Annotated[
        tuple[Workload, ...], Meta(min_length=1, max_length=8, description="What is advertised"), kind.SET
    ] = ("gpuHash",)
    offer: Offer = Offer()
    accelerator: Annotated[Accelerator, Meta(description="Absent: CPU only")] | UnsetType = UNSET
    prover_resources: Annotated[Resources, Meta(description="Of the container prover")] = Resources()
    prover: ProverSpec = ProverSpec()
    scale_down_policy: Annotated[
        Literal["HighestOrdinal", "Idle"],
        Meta(description="Who leaves first: the highest ordinal, or who owes the fewest slices"),
    ] = "HighestOrdinal"


RULES = (
    *kind.MEMBER_RULES,
    *kind.KEY_RULES,
    Rule(
        "spec",
        "self.prover.backend != 'cuda' || has(self.accelerator)",
        "backend cuda needs accelerator",
        lambda spec: spec.prover.backend != "cuda" or spec.accelerator is not UNSET,
    ),
    Rule(
        "spec",
        "!has(self.accelerator) || self.accelerator.fallback != 'None' || self.prover.backend != 'python'",
        "backend python never uses the accelerator it insists on",
        lambda spec: (
            spec.accelerator is UNSET or spec.accelerator.fallback != "None" or spec.prover.backend != "python"
        ),
    ),
    Rule(
        "spec.accelerator",
        "self.resource.contains('/') && !self.resource.startsWith('kubernetes.io/')",
        "accelerator.resource is an extended resource such as nvidia.com/gpu",
        lambda accelerator: "/" in accelerator.resource and not accelerator.resource.startswith("kubernetes.io/"),
    ),
    Rule(
        "spec",
        "self.lanes.all(l, self.lanes.exists_one(m, m == l))",
        "lanes must be distinct",
        lambda spec: len(set(spec.lanes)) == len(spec.lanes),
    ),
    Rule(
        "spec",
        "self.workloads.all(w, self.workloads.exists_one(x, x == w))",
        "workloads must be distinct",
        lambda spec: len(set(spec.workloads)) == len(spec.workloads),
    ),
)


class Device(Part, frozen=True, kw_only=True):
    index: int
    model: str = ""
    memory_mi_b: Annotated[int, Meta(ge=0)] | UnsetType = msgspec.field(name="memoryMiB", default=UNSET)
    health: Literal["Healthy", "Degraded", "Quarantined"] = "Healthy"
    reason: str | UnsetType = UNSET


class Member(kind.MemberStatus, frozen=True, kw_only=True):
    provider_id: str | UnsetType = UNSET
    backend: str | UnsetType = UNSET
    devices: Annotated[tuple[Device, ...], Meta(max_length=16)] | UnsetType = UNSET


class Jobs(Part, frozen=True, kw_only=True):
    running: int = 0
    queued: int = 0
    settled: int = 0
    violated: int = 0


class LastProof(Part, frozen=True, kw_only=True):
    circuit: str = ""
    backend: str = ""
    milliseconds: int = 0


class Courier(Part, frozen=True, kw_only=True):
    pending: int = 0
    dead: int = 0


class StatusFields(kind.MemberKindStatus, frozen=True, kw_only=True):
    members: Annotated[tuple[Member, ...], kind.BY_NAME] | UnsetType = UNSET
    backend_active: Literal["cuda", "native", "python", "mixed"] | UnsetType = UNSET
    device_count: int | UnsetType = UNSET
    units_per_second: int | UnsetType = UNSET
    jobs: Jobs | UnsetType = UNSET
    reputation: int | UnsetType = UNSET
    bond: str | UnsetType = UNSET
    last_proof: LastProof | UnsetType = UNSET
    courier: Courier | UnsetType = UNSET


COLUMNS = (
    *kind.READY_COLUMNS,
    kind.DESIRED,
    kind.MEMBERS,
    kind.READY_MEMBERS,
    Column("Backend", ".status.backendActive"),
    Column("Running", ".status.jobs.running", "integer"),
    kind.AGE,
    kind.NETWORK,
    Column("Devices", ".status.deviceCount", "integer", wide=True),
    Column("Queued", ".status.jobs.queued", "integer", wide=True),
    Column("Units", ".status.unitsPerSecond", "integer", wide=True),
)
