"""The storage market of the chain, as a provider asks and tells it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from theblock_node.client.chain import ChainClient
from theblock_node.client.errors import RefusedError, UnavailableError
from theblock_node.client.wallet import Wallet
from theblock_node.core import codec
from theblock_node.core.domains.storage.records import (
    COLLATERAL_BPS,
    AnchorManifest,
    AnswerChallenge,
    ChallengePage,
    Contract,
    ContractPage,
    ContractReply,
    ContractStatus,
    MoveReplica,
    Provider,
    ProviderPage,
    ProviderReply,
    Replica,
)
from theblock_node.core.domains.supply import ParamPage
from theblock_node.core.errors import InvalidRecord

PAGE = 1000
CONTRACTS_MAX = 100_000
"""Objects of one provider that it looks after."""
PROVIDERS_MAX = 10_000
ANCHORED_S = 300.0
"""How long an object that is being anchored is waited for: whoever gives up earlier might store it twice."""
MOVED_S = 60.0
RETRY_S = 0.5


@dataclass(frozen=True, slots=True)
class Held:
    """An object, and who holds or held what of it."""

    contract: Contract
    replicas: tuple[Replica, ...]

    @property
    def is_active(self) -> bool:
        return self.contract.status is ContractStatus.ACTIVE

    def replica_of(self, provider_id: str) -> Replica | None:
        return next((row for row in self.replicas if row.provider_id == provider_id), None)


class Market:
    """Typed questions and commands; the answers are as fresh as the head, unless ``final`` is asked for."""

    def __init__(self, chain: ChainClient, wallet: Wallet) -> None:
        self._chain = chain
        self.wallet = wallet

    async def provider(self, provider_id: str) -> Provider | None:
        answer = await self._chain.query("storage.provider", {"provider_id": provider_id})
        return codec.from_json(ProviderReply, answer).provider

    async def providers(self) -> list[Provider]:
        found: list[Provider] = []
        while len(found) < PROVIDERS_MAX:
            after = found[-1].provider_id if found else ""
            answer = await self._chain.query("storage.providers", {"after": after, "limit": PAGE})
            page = codec.from_json(ProviderPage, answer).providers
            found.extend(page)
            if len(page) < PAGE:
                break
        return found

    async def object(self, name: bytes, *, final: bool = False) -> Held | None:
        """By contract id, or by the name of the manifest that is in force."""
        answer = await self._chain.query("storage.contract", {"id": name.hex()}, final=final)
        reply = codec.from_json(ContractReply, answer)
        return None if reply.contract is None else Held(reply.contract, reply.replicas)

    async def contracts_of(self, provider_id: str, *, final: bool = False) -> list[Contract]:
        """Contracts of which the provider holds slots: all of them, or it refuses."""
        found: list[Contract] = []
        while True:
            request = {
                "provider_id": provider_id,
                "after": found[-1].contract_id.hex() if found else None,
                "limit": PAGE,
            }
            page = codec.from_json(ContractPage, await self._chain.query("storage.contracts", request, final=final))
            found.extend(page.contracts)
            if len(page.contracts) < PAGE:
                return found
            if len(found) >= CONTRACTS_MAX:
                raise InvalidRecord("storage.too_many_contracts", provider_id=provider_id, max=CONTRACTS_MAX)

    async def challenges_of(self, provider_id: str) -> ChallengePage:
        return codec.from_json(
            ChallengePage, await self._chain.query("storage.challenges", {"provider_id": provider_id})
        )

    async def collateral_bps(self) -> int:
        """The share of its rent that a replica locks of its provider's bond, as it is now."""
        page = codec.from_json(ParamPage, await self._chain.query("chain.params"))
        return next((int(row.value) for row in page.params if row.name == COLLATERAL_BPS.name), COLLATERAL_BPS.default)

    async def balance(self) -> int:
        return (await self._chain.account(self.wallet.address)).balance

    async def height(self) -> int:
        return (await self._chain.tip()).height

    async def anchor(self, command: AnchorManifest) -> Held:
        """Anchor an object; returns it once it is final. `TimeoutError` where that is not known in time."""
        async with asyncio.timeout(ANCHORED_S):
            await self._settle("storage.anchor_manifest", command)
            while True:
                # Another validator may answer than before, one that is a block behind.
                found = await self.object(command.manifest_id, final=True)
                if found is not None:
                    return found
                await asyncio.sleep(RETRY_S)

    async def move(self, command: MoveReplica) -> None:
        """Hand slots over; returns once that is final."""
        try:
            async with asyncio.timeout(MOVED_S):
                await self._settle("storage.move_replica", command)
        except TimeoutError as late:
            raise UnavailableError("the move is in no final block yet") from late

    async def answer(self, command: AnswerChallenge) -> str:
        """Send an answer; returns the transaction's id without waiting."""
        return (await self._chain.send(self.wallet, "storage.answer_challenge", command)).tx_id.hex()

    async def refusal_of(self, tx_id: str) -> str | None:
        """Why a transaction failed; empty where it did not, None where it is in no block yet."""
        status = await self._chain.status(tx_id)
        if status.state in ("success", "failed"):
            return status.error_code
        return None if status.state == "pending" else "tx.unknown"

    async def _settle(self, call: str, command: Any) -> None:
        """Send a command once and wait until it is final; a failed one raises its refusal."""
        tx_id = (await self._chain.send(self.wallet, call, command)).tx_id.hex()
        while True:
            try:
                status = await self._chain.wait(tx_id, final=True, timeout_s=ANCHORED_S)
                break
            except UnavailableError:
                await asyncio.sleep(RETRY_S)  # It was handed over; to send it again would be to do it twice.
        if status.state == "failed":
            raise RefusedError(status.error_code, f"{call} failed: {status.error_code}", {"tx_id": tx_id})
