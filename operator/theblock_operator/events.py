"""The closed list of event reasons, each with its type; a reason that is not here cannot be told.

Blocks, readings, receipts and jobs are never events: they are the chain's, and the explorer shows them.
"""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    # spec
    Rejected = "Rejected"
    Paused = "Paused"
    Resumed = "Resumed"
    # keys, certificates
    KeysGenerated = "KeysGenerated"
    CertificateIssued = "CertificateIssued"
    CertificateRotated = "CertificateRotated"
    CertificateExpiring = "CertificateExpiring"
    CARotationStarted = "CARotationStarted"
    CARotationFinished = "CARotationFinished"
    KeyStaged = "KeyStaged"
    KeyRotationSubmitted = "KeyRotationSubmitted"
    KeyActive = "KeyActive"
    KeyReloadFailed = "KeyReloadFailed"
    # genesis, finality
    GenesisSealed = "GenesisSealed"
    GenesisMismatch = "GenesisMismatch"
    FinalityStalled = "FinalityStalled"
    FinalityResumed = "FinalityResumed"
    QuorumFragile = "QuorumFragile"
    QuorumRestored = "QuorumRestored"
    # members
    MemberCreated = "MemberCreated"
    MemberReady = "MemberReady"
    MemberRemoved = "MemberRemoved"
    MemberUnready = "MemberUnready"
    MemberReplaced = "MemberReplaced"
    NodeLost = "NodeLost"
    ForcedReplace = "ForcedReplace"
    # chain acts, each when final
    Registered = "Registered"
    TermsUpdated = "TermsUpdated"
    StakeBonded = "StakeBonded"
    UnbondStarted = "UnbondStarted"
    ExitFinished = "ExitFinished"
    FundsMissing = "FundsMissing"
    CommandRefused = "CommandRefused"
    Slashed = "Slashed"
    Jailed = "Jailed"
    EquivocationDetected = "EquivocationDetected"
    # scaling, roll-out, exit
    ScalingUp = "ScalingUp"
    ScalingDown = "ScalingDown"
    ScaleBlocked = "ScaleBlocked"
    RolloutStarted = "RolloutStarted"
    RolloutFinished = "RolloutFinished"
    RolloutStalled = "RolloutStalled"
    DrainStarted = "DrainStarted"
    DrainFinished = "DrainFinished"
    DrainOverdue = "DrainOverdue"
    ForcedExit = "ForcedExit"
    # StorageProvider
    ChallengeMissed = "ChallengeMissed"
    ShardLost = "ShardLost"
    DiskPressure = "DiskPressure"
    RepairFinished = "RepairFinished"
    # ComputeProvider
    ProverFallback = "ProverFallback"
    DeviceQuarantined = "DeviceQuarantined"
    SlaViolated = "SlaViolated"
    CourierDead = "CourierDead"
    ProverOnDevice = "ProverOnDevice"
    # EnergyOracle
    MeterUnreachable = "MeterUnreachable"
    MeterReachable = "MeterReachable"
    DisputeOpened = "DisputeOpened"
    DisputeResolved = "DisputeResolved"
    # Bridge
    HeadersSynced = "HeadersSynced"
    HeadersStalled = "HeadersStalled"
    ForeignReorg = "ForeignReorg"

    @property
    def type(self) -> str:
        return "Warning" if self in WARNINGS else "Normal"


WARNINGS = frozenset(
    {
        Reason.Rejected,
        Reason.CertificateExpiring,
        Reason.KeyReloadFailed,
        Reason.GenesisMismatch,
        Reason.FinalityStalled,
        Reason.QuorumFragile,
        Reason.MemberUnready,
        Reason.MemberReplaced,
        Reason.NodeLost,
        Reason.ForcedReplace,
        Reason.FundsMissing,
        Reason.CommandRefused,
        Reason.Slashed,
        Reason.Jailed,
        Reason.EquivocationDetected,
        Reason.ScaleBlocked,
        Reason.RolloutStalled,
        Reason.DrainOverdue,
        Reason.ForcedExit,
        Reason.ChallengeMissed,
        Reason.ShardLost,
        Reason.DiskPressure,
        Reason.ProverFallback,
        Reason.DeviceQuarantined,
        Reason.SlaViolated,
        Reason.CourierDead,
        Reason.MeterUnreachable,
        Reason.DisputeOpened,
        Reason.HeadersStalled,
        Reason.ForeignReorg,
    }
)
