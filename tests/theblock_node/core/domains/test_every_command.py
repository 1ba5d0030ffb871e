"""What must hold for every command of every domain, whatever its arguments: refused or done, money kept, undone."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.chain import Chain, address, key_of
from support.records import Strategies
from theblock_node.core.domains import REGISTRY

SENDERS = ("alice", "bob", "owner")
STRATEGIES = Strategies(
    addresses=[address(name) for name in SENDERS],
    names=("a", "bitcoin", "bitcoin/1"),
    keys=[key_of(name).public_key for name in ("v-0", "v-1", "alice", "bob")],
)


def any_call() -> st.SearchStrategy[tuple[str, object]]:
    return st.sampled_from(sorted(REGISTRY.commands)).flatmap(
        lambda name: st.tuples(st.just(name), STRATEGIES.record(REGISTRY.commands[name].type))
    )


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.lists(st.lists(st.tuples(st.sampled_from(SENDERS), any_call()), max_size=5), min_size=1, max_size=8))
def test_any_calls_keep_the_chain_whole(blocks):
    chain = Chain()
    before = chain.state.root
    for calls in blocks:
        nonces = {name: chain.nonce(name) for name in SENDERS}
        envelopes = []
        for name, (call, command) in calls:
            nonces[name] += 1
            envelopes.append(chain.tx(name, call, command, nonce=nonces[name]))
        chain.block(*envelopes, may_leave_out=True)
        assert chain.money() == chain.minted()
    chain.run(10)

    assert chain.money() == chain.minted()
    assert chain.replay().root == chain.state.root
    for applied in reversed(chain.applied):
        chain.state.undo(applied.changes)
    assert chain.state.root == before
