"""`apply_block` on full blocks of transfers, on one core: with every signature checked, and with none."""

from __future__ import annotations

import json
from collections.abc import Iterator

from theblock_node.client.wallet import Wallet
from theblock_node.core import codec, tx
from theblock_node.core.block import Block, Header
from theblock_node.core.crypto import SigningKey, blake3, verify_batch
from theblock_node.core.domains import REGISTRY, accounts
from theblock_node.core.domains.accounts import Transfer
from theblock_node.core.genesis import build, parse
from theblock_node.core.header import get_proposers
from theblock_node.core.params import ChainParams
from theblock_node.core.state import Draft, State
from theblock_node.core.transition import apply_block, get_gas_limit, propose_block

from bench.figures import Figure, Peer, compare, time_sides

TRANSFERS = 512
"""As many as a block of the devnet holds."""
ACCOUNTS = 2048
START_S = 1_790_000_000
VALIDATOR = SigningKey.from_seed(blake3(b"bench validator"))


def run() -> Iterator[Figure]:
    wallets = [Wallet(blake3(number.to_bytes(4, "little"))) for number in range(ACCOUNTS)]
    state, parent, chain = _start(wallets)
    block = _full_block(state, parent, chain, wallets)

    def apply(is_verified: bool) -> int:
        apply_block(state, parent, block, chain=chain, registry=REGISTRY, is_verified=lambda _tx: is_verified)
        return TRANSFERS

    def signatures_alone() -> int:
        checked = [_check(codec.encode(envelope), state, chain) for envelope in block.body.transactions]
        assert all(verify_batch([tx.signature_item(one) for one in checked]))
        return TRANSFERS

    rates = time_sides({"ours": lambda: apply(False), "signatures": signatures_alone})
    yield Figure(
        "blocks.apply",
        rates["ours"],
        "transfers/s",
        (Peer("decoding and checking their signatures alone", rates["signatures"]),),
        note=f"{TRANSFERS} transfers a block between {ACCOUNTS:,} accounts, one core, roots included",
    )
    yield compare(
        "blocks.apply_verified",
        "transfers/s",
        "ours",
        {"ours": lambda: apply(True)},
        note="as a validator does that checked the signatures when the transactions came",
    )


def _start(wallets: list[Wallet]) -> tuple[State, Header, ChainParams]:
    document = {
        "version": 1,
        "preset": "devnet",
        "chain_id": 1_000_001,
        "overrides": {},
        "params": {"target_gas_per_block": "1000000"},
        "time_seconds": START_S,
        "allocations": [],
        "funder": None,
        "validators": [
            {
                "name": "validators-0",
                "public_key": VALIDATOR.public_key.hex(),
                "owner": wallets[0].address,
                "stake": str(10**12),
            }
        ],
    }
    genesis = parse(json.dumps(document).encode())
    state, first = build(genesis)
    # A genesis document lists fewer accounts than a chain that has run for a while has.
    draft = Draft(state)
    for wallet in wallets:
        draft.put(accounts.ACCOUNTS, wallet.address, accounts.Account(1, wallet.address, 10**12, 0))
    state.commit(draft.changes())
    return state, first.header, genesis.chain


def _check(data: bytes, state: State, chain: ChainParams) -> tx.CheckedTx:
    return tx.decode(data, REGISTRY, chain_id=chain.chain_id, gas_max=get_gas_limit(state, chain))


def _full_block(state: State, parent: Header, chain: ChainParams, wallets: list[Wallet]) -> Block:
    signed = [
        wallets[at].sign_call(
            "accounts.transfer",
            Transfer(wallets[-1 - at].address, 1000 + at, 0),
            chain_id=chain.chain_id,
            nonce=1,
            base_fee=chain.initial_base_fee,
        )
        for at in range(TRANSFERS)
    ]
    proposer, _ = get_proposers(state, chain, 1, parent.slot + 1)
    proposal = propose_block(
        state,
        parent,
        [_check(one.envelope, state, chain) for one in signed],
        timestamp_ms=START_S * 1000 + chain.block_time_ms,
        proposer=proposer,
        attestations=[],
        evidence=[],
        chain=chain,
        registry=REGISTRY,
    )
    assert not proposal.left_out
    assert len(proposal.body.transactions) == TRANSFERS
    return Block(proposal.header, proposal.body, None)
