"""The relayer at work: on each final block, look at the chain and the source, and submit at most one batch.

The chain itself is the cursor: what it has is not submitted again, whatever happened to this process.
"""

from __future__ import annotations

import asyncio
from typing import Any

import structlog

from theblock_node.client.chain import ChainClient, Committed
from theblock_node.client.errors import RefusedError, UnavailableError
from theblock_node.client.wallet import Wallet
from theblock_node.clock import Clock
from theblock_node.config import BridgeSettings
from theblock_node.core import codec
from theblock_node.core.domains.bridge.pow import Before
from theblock_node.core.domains.bridge.records import HeaderPage, LightClient, SubmitHeaders
from theblock_node.core.errors import ProtocolError
from theblock_node.services.bridge import relayer
from theblock_node.services.bridge.headers import Source, SourceUnreachable
from theblock_node.services.bridge.relayer import BATCH, Batch

INCLUDED_S = 30.0
STALLED_MS = 2 * 3600 * 1000
"""An endless source without a new header for so long is thought stalled."""
FORK_ROWS = 1000
"""How deep a fork of the source is looked for."""

log = structlog.get_logger("bridge")


class BridgeService:
    def __init__(
        self,
        *,
        settings: BridgeSettings,
        ordinal: int,
        chain: ChainClient,
        wallet: Wallet,
        source: Source,
        clock: Clock,
    ) -> None:
        self._settings = settings
        self._ordinal = ordinal
        self._chain = chain
        self._wallet = wallet
        self._source = source
        self._clock = clock
        self._wake = asyncio.Event()
        self._wake.set()
        self._client: LightClient | None = None
        self._branch: Before | None = None
        """The last header that we submitted; where the chain follows another branch, it goes on from here."""
        self._tries = 0
        self._rest_blocks = 0
        self._idle_blocks = 0
        self._moved_ms = clock.now_ms()
        self._source_tip = 0
        self._pending = 0
        self._refusal = ""
        self.state = "catching_up"
        self.is_draining = False

    async def run(self) -> None:
        """Submit headers until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            if self._settings.header_sync and not self.is_draining:
                await self._step()

    def take(self, committed: Committed) -> None:
        """Go on with a final block."""
        self._idle_blocks += 1
        self._rest_blocks = max(0, self._rest_blocks - 1)
        if not self._rest_blocks:
            self._wake.set()

    @property
    def pending(self) -> int:
        """Headers that were handed over and are in no block yet."""
        return self._pending

    def details(self) -> dict[str, Any]:
        """What the operator reads of the member."""
        client = self._client
        tip = client.tip_height if client else 0
        return {
            "state": self.state,
            "tip_height": tip,
            "best_hash": client.tip_hash.hex() if client else "",
            "lag": max(0, self._source_tip - tip),
            "last_reorg_depth": client.last_reorg_depth if client else 0,
            "refusal": self._refusal,
            "pending": self._pending,
        }

    async def _step(self) -> None:
        try:
            self.state = await self._advance()
            self._refusal, self._tries = "", 0
        except UnavailableError as failed:
            log.info("the chain does not answer", reason=str(failed))
        except SourceUnreachable as failed:
            self.state = "unreachable"
            log.warning("the source does not answer", reason=str(failed))
        except (ProtocolError, RefusedError) as refused:
            self._refuse(refused.code)

    async def _advance(self) -> str:
        """Do the next thing, if there is one; returns the state after it."""
        page = await self._ask(limit=1)
        if page.client is None:
            return "catching_up"  # The operator has yet to begin the light client.
        self._notice(page.client)
        self._check_identity(page.client)
        self._source_tip = await self._source.tip()
        base = await self._find_base(page)
        height = page.client.checkpoint_height - 1 if base is None else base.height
        batch = relayer.plan_batch(
            height,
            self._source_tip,
            ordinal=self._ordinal,
            members=self._settings.members,
            idle_blocks=self._idle_blocks,
        )
        if batch is not None:
            await self._submit(page.client, base, batch)
            return "catching_up"
        return self._state_at(height)

    def _state_at(self, height: int) -> str:
        if height < self._source_tip:
            return "catching_up"
        if not self._source.is_endless:
            return "exhausted"
        return "stalled" if self._clock.now_ms() - self._moved_ms > STALLED_MS else "at_tip"

    async def _find_base(self, page: HeaderPage) -> Before | None:
        """What to build on; None before the checkpoint was shown."""
        assert page.client is not None
        if not page.headers:
            return None
        top = relayer.to_before(page.headers[0])
        if self._source_tip < top.height or await self._shows(page.client, top):
            return top
        if self._branch is not None and await self._shows(page.client, self._branch):
            return self._branch
        return await self._find_fork(page.client)

    async def _shows(self, client: LightClient, header: Before) -> bool:
        shown = relayer.hash_headers(client, header.height, await self._source.headers(header.height, 1))
        return shown.get(header.height) == header.hash

    async def _find_fork(self, client: LightClient) -> Before:
        """The youngest header that the source shares with the chain, when it went another way."""
        best = (await self._ask(limit=FORK_ROWS)).headers
        first, shown = best[-1].height, {}
        for at in range(first, client.tip_height + 1, BATCH):
            headers = await self._source.headers(at, BATCH)
            shown.update(relayer.hash_headers(client, at, headers))
        base = relayer.find_base(best, shown)
        if base is None:
            raise RefusedError("bridge.source_diverged", "the source shares no recent header with the chain", {})
        return base

    async def _submit(self, client: LightClient, base: Before | None, batch: Batch) -> None:
        headers = await self._source.headers(batch.first, batch.count)
        if not headers:
            raise SourceUnreachable(f"no header at height {batch.first}")
        after = relayer.check_batch(client, base, headers, now_seconds=self._clock.now_ms() // 1000)
        command = SubmitHeaders(client.chain_id, tuple(headers))
        self._pending = len(headers)
        try:
            _, status = await self._chain.call(self._wallet, "bridge.submit_headers", command, timeout_s=INCLUDED_S)
        except TimeoutError as late:
            raise UnavailableError("the transaction is in no block yet") from late
        finally:
            self._pending = 0
        self._branch = after
        log.info("headers submitted", first=batch.first, count=len(headers), height=status.height)

    async def _ask(self, *, limit: int) -> HeaderPage:
        answer = await self._chain.query(
            "bridge.headers", {"chain_id": self._settings.chain_id, "from_height": None, "limit": limit}
        )
        return codec.from_json(HeaderPage, answer)

    def _notice(self, client: LightClient) -> None:
        if self._client is None or self._client.tip_hash != client.tip_hash:
            self._idle_blocks, self._moved_ms = 0, self._clock.now_ms()
        self._client = client

    def _check_identity(self, client: LightClient) -> None:
        """Refuse to feed a light client that follows something else than we were told."""
        wanted = self._settings.checkpoint
        if client.profile != self._settings.profile:
            raise RefusedError("bridge.profile_mismatch", f"the chain has {client.profile}", {})
        if wanted is not None and (wanted.height, wanted.hash) != (
            client.checkpoint_height,
            client.checkpoint_hash.hex(),
        ):
            raise RefusedError("bridge.checkpoint_mismatch", "the light client began elsewhere", {})

    def _refuse(self, code: str) -> None:
        """Note what is wrong, and wait: with a header, the source is bad until it shows another."""
        if relayer.is_about_headers(code):
            self.state = "refused"
        self._rest_blocks = relayer.compute_rest_blocks(self._tries)
        self._tries += 1
        if code != self._refusal:
            log.error("not taken", reason=code)
        self._refusal = code
