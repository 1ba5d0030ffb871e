"""What can be read of the storage market."""

from __future__ import annotations

from theblock_node.core.domain import Reading
from theblock_node.core.domains.storage.records import (
    CHALLENGES,
    CONTRACTS,
    MANIFESTS,
    PROVIDERS,
    REPLICAS,
    SAMPLES,
    ChallengePage,
    ContractPage,
    ContractReply,
    GetContract,
    GetProvider,
    ListChallenges,
    ListContracts,
    ListProviders,
    ProviderPage,
    ProviderReply,
    ReplicaStatus,
    domain,
)
from theblock_node.core.domains.storage.rules import replicas_of

PAGE_MAX = 1000


@domain.query("provider", GetProvider, ProviderReply)
def provider(reading: Reading, request: GetProvider) -> ProviderReply:
    return ProviderReply(reading.view.get(PROVIDERS, request.provider_id))


@domain.query("providers", ListProviders, ProviderPage)
def providers(reading: Reading, request: ListProviders) -> ProviderPage:
    rows = [row for key, row in reading.view.items(PROVIDERS) if key > request.after]
    return ProviderPage(tuple(rows[: _limit(request.limit, PAGE_MAX)]))


@domain.query("contract", GetContract, ContractReply)
def contract(reading: Reading, request: GetContract) -> ContractReply:
    found = reading.view.get(CONTRACTS, request.id)
    if found is None:
        reference = reading.view.get(MANIFESTS, request.id)
        found = None if reference is None else reading.view.get(CONTRACTS, reference.contract_id)
    if found is None:
        return ContractReply(None, ())
    return ContractReply(found, tuple(replicas_of(reading.view, found)))


@domain.query("contracts", ListContracts, ContractPage)
def contracts(reading: Reading, request: ListContracts) -> ContractPage:
    rows = [row for key, row in reading.view.items(CONTRACTS) if request.after is None or key > request.after]
    if request.provider_id:
        held = {
            owner
            for (owner, name), replica in reading.view.items(REPLICAS)
            if name == request.provider_id and replica.status is ReplicaStatus.HELD
        }
        rows = [row for row in rows if row.contract_id in held]
    return ContractPage(tuple(rows[: _limit(request.limit, 100)]))


@domain.query("challenges", ListChallenges, ChallengePage)
def challenges(reading: Reading, request: ListChallenges) -> ChallengePage:
    rows = [row for (_, name), row in reading.view.items(CHALLENGES) if request.provider_id in ("", name)]
    return ChallengePage(tuple(rows[:PAGE_MAX]), reading.param(SAMPLES))


def _limit(limit: int, default: int) -> int:
    return min(limit or default, PAGE_MAX)
