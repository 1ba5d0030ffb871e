"""The chain's client against a real chain of one: send, race, wait, ask, follow."""

from __future__ import annotations

import asyncio

import pytest
from theblock_node.client import chain as chains
from theblock_node.client.chain import ChainClient, Committed
from theblock_node.client.channel import Endpoint
from theblock_node.client.errors import RefusedError
from theblock_node.core.domains.accounts import Transfer
from theblock_node.core.domains.validators import Bond, Role
from theblock_node.sim.dev_chain import dev_chain

PAY = "accounts.transfer"


async def test_a_call_is_sent_stands_and_is_final():
    async with dev_chain(funded=("alice",)) as dev:
        client, bob = dev.client(), dev.wallet("bob").address
        signed = await client.send(dev.wallet("alice"), PAY, Transfer(bob, 5, 0))
        tx_id = signed.tx_id.hex()
        assert (await client.status(tx_id)).state == "pending"
        assert (await client.status("00" * 32)).state == "unknown"

        dev.produce()
        status = await client.wait(tx_id, final=False)
        assert (status.state, status.height, status.final) == ("success", 1, False)
        dev.produce_until(1)
        assert (await client.wait(tx_id, final=True)).final
        assert (await client.account(bob)).balance == 5
        assert (await client.tip()).finalized_height >= 1


async def test_two_who_send_with_one_key_at_once_both_get_their_nonce():
    async with dev_chain(funded=("alice",)) as dev:
        wallet, bob = dev.wallet("alice"), dev.wallet("bob").address
        clients = [dev.client() for _ in range(3)]

        sent = await asyncio.gather(*(client.send(wallet, PAY, Transfer(bob, 5, 0)) for client in clients))
        dev.produce()

        assert len({signed.tx_id for signed in sent}) == 3
        assert (await clients[0].account(bob)).balance == 15


async def test_a_call_that_fails_in_its_block_is_a_refusal_by_name():
    async with dev_chain(funded=("alice",), instant=True) as dev:
        with pytest.raises(RefusedError) as refused:
            await dev.client().call(dev.wallet("alice"), "validators.bond", Bond(bytes(32), Role.EXEC, 1))

    assert refused.value.code == "validators.unknown"
    assert len(refused.value.facts["tx_id"]) == 64


async def test_waiting_has_an_end():
    async with dev_chain(funded=("alice",)) as dev:
        client = dev.client()
        signed = await client.send(dev.wallet("alice"), PAY, Transfer(dev.wallet("bob").address, 5, 0))

        with pytest.raises(TimeoutError):
            await client.wait(signed.tx_id.hex(), final=False, timeout_s=0.1)


async def test_a_refusal_at_the_door_is_not_tried_again():
    async with dev_chain(funded=("alice",)) as dev:
        client = dev.client()
        with pytest.raises(RefusedError) as refused:
            await client.send(dev.wallet("poor"), PAY, Transfer(dev.wallet("bob").address, 5, 0))
        assert "nonce" not in refused.value.code
        with pytest.raises(RefusedError) as unknown:
            await client.query("accounts.nothing", {})
        with pytest.raises(RefusedError):
            await client.submit(b"no envelope")

    assert unknown.value.code.partition(".")[0] in ("rpc", "query", "codec")


async def test_events_go_on_where_they_were_cut(monkeypatch):
    """A stream ends with each block; the client asks on from its cursor, past an endpoint that is not there."""
    monkeypatch.setattr(chains, "RESUME_S", (0.0,))
    async with dev_chain(funded=("alice",)) as dev:
        client = ChainClient([Endpoint("127.48.0.3", 9), dev.endpoint], None)
        until_cut = client.events_until_cut

        async def cut_after_two(after, *, final):
            count = 0
            async for news in until_cut(after, final=final):
                yield news
                count += 1
                if count == 2:
                    return

        monkeypatch.setattr(client, "events_until_cut", cut_after_two)
        dev.produce(7)
        heights = []
        async with asyncio.timeout(20):
            async for news in client.events(2, final=False):
                assert isinstance(news, Committed)
                heights.append(news.height)
                if news.height == 7:
                    break
        await client.close()

    assert heights == [3, 4, 5, 6, 7]
