"""What a provider owes the chain each epoch: openings of the shards that it says it holds."""

from __future__ import annotations

import asyncio

import structlog

from theblock_node.client.errors import RefusedError
from theblock_node.core.domains.storage.records import AnswerChallenge, Challenge
from theblock_node.core.errors import InvalidRecord, ProtocolError
from theblock_node.core.proofs import retrieval
from theblock_node.services.storage.getting import Getter
from theblock_node.services.storage.holder import Holder
from theblock_node.services.storage.market import Market
from theblock_node.store.engine import StoreError

RESEND_BLOCKS = 10
"""An answer that is in no block after so many is sent again."""

log = structlog.get_logger("storage")


class Challenges:
    def __init__(self, *, market: Market, holder: Holder, getter: Getter) -> None:
        self._market = market
        self._holder = holder
        self._getter = getter
        self._sent: dict[tuple[bytes, int], tuple[str, int]] = {}
        """Answers under way: transaction and height by contract and epoch."""
        self.overdue = 0
        """Challenges that are past half of their time."""

    async def answer_all(self) -> bool:
        """Answer what is asked of us; whether all could be answered."""
        page = await self._market.challenges_of(self._holder.provider_id)
        height = await self._market.height()
        open_now = {(challenge.contract_id, challenge.epoch) for challenge in page.challenges}
        self._sent = {key: sent for key, sent in self._sent.items() if key in open_now}
        self.overdue = sum(2 * height > row.height + row.deadline_height for row in page.challenges)
        is_done = True
        for challenge in page.challenges:
            try:
                await self._answer(challenge, page.samples, height)
            except (ProtocolError, RefusedError, StoreError) as refused:
                is_done = False
                log.warning("challenge not answered", contract_id=challenge.contract_id.hex(), reason=refused.code)
        return is_done

    async def prove(self, contract_id: bytes, epoch: int) -> AnswerChallenge:
        """The answer to an open challenge, without sending it."""
        page = await self._market.challenges_of(self._holder.provider_id)
        for challenge in page.challenges:
            if (challenge.contract_id, challenge.epoch) == (contract_id, epoch):
                return await self._prove(challenge, page.samples)
        raise InvalidRecord("storage.por_not_due", contract_id=contract_id.hex(), epoch=epoch)

    async def _answer(self, challenge: Challenge, samples: int, height: int) -> None:
        key = (challenge.contract_id, challenge.epoch)
        sent = self._sent.get(key)
        if sent is not None:
            tx_id, at = sent
            refusal = await self._market.refusal_of(tx_id)
            if not refusal and height - at < RESEND_BLOCKS:
                return
            log.info("answer sent again", contract_id=challenge.contract_id.hex(), reason=refusal or "late")
        command = await self._prove(challenge, samples)
        self._sent[key] = (await self._market.answer(command), height)

    async def _prove(self, challenge: Challenge, samples: int) -> AnswerChallenge:
        held = await self._market.object(challenge.contract_id)
        replica = held.replica_of(self._holder.provider_id) if held else None
        if held is None or replica is None:
            raise InvalidRecord("storage.unknown_contract", contract_id=challenge.contract_id.hex())
        manifest = await self._getter.manifest_of(held.contract.manifest_id, held)
        asked = retrieval.compute_samples(
            challenge.beacon,
            challenge.contract_id.hex(),
            self._holder.provider_id,
            challenge.epoch,
            chunk_count=held.contract.chunk_count,
            slots=replica.slots,
            count=samples,
        )

        def work() -> AnswerChallenge:
            ids = manifest.shard_ids
            openings = tuple(
                retrieval.open_sample(
                    sample, self._holder.files.read(ids[sample.chunk * manifest.n + sample.slot]), ids, manifest.n
                )
                for sample in asked
            )
            return AnswerChallenge(challenge.contract_id, self._holder.provider_id, challenge.epoch, openings)

        return await asyncio.to_thread(work)
