"""What the counters are told of final blocks."""

from __future__ import annotations

from support import bundles
from theblock_node.core.crypto import SigningKey
from theblock_node.core.domains import REGISTRY
from theblock_node.core.domains.compute import records as r
from theblock_node.roles import measures
from theblock_node.services.chain.service import Committed, Strength
from theblock_node.sim.dev_chain import DevChain, dev_chain, seed_of
from theblock_node.telemetry.from_events import TxTold


async def read_last(dev: DevChain, call: str) -> TxTold:
    """What is told of the last final transaction with ``call``."""
    found = []
    async for news in dev.service.events(0, Strength.FINAL):
        assert isinstance(news, Committed)
        found += [tx for tx in measures.read_block(news, REGISTRY, dev.service).txs if tx.call == call]
        if news.height == dev.final_height:
            return found[-1]
    raise AssertionError("the stream ended")


async def test_refused_proofs_are_told_from_refused_digests():
    bundle = bundles.make(1, bytes(32), 0, 3, SigningKey.from_seed(seed_of("bob")))
    async with dev_chain(funded=("bob",), instant=True) as dev:
        for output, has_proof in ((bundle, True), (r.HashOutput(bytes(32), ()), False)):
            command = r.SubmitSlice(bytes(32), 0, output)
            signed = await dev.client().send(dev.wallet("bob"), "compute.submit_slice", command)
            await dev.client().wait(signed.tx_id.hex(), final=True, timeout_s=20)
            told = await read_last(dev, "compute.submit_slice")
            assert told == TxTold("compute.submit_slice", "compute.job_not_found", has_proof=has_proof)
