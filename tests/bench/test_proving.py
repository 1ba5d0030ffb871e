"""What the bench of proofs says of its gates."""

from __future__ import annotations

from bench.figures import Figure, Peer
from bench.proving import judge_gates


def figure(name: str, took: float, peer: str, theirs: float) -> Figure:
    return Figure(f"proving.{name}", took, "ms", (Peer(peer, theirs),), is_time=True)


def test_gate_takes_the_fastest_back_end_and_says_what_is_short_or_was_not_measured():
    told = list(
        judge_gates(
            [
                figure("prove_2^16.ifma", 10, "arkworks", 31),
                figure("prove_2^16.adx", 20, "arkworks", 31),
                figure("prove_2^14.ifma", 1, "arkworks", 100),
                figure("msm_2^16.ifma", 10, "gnark-crypto", 19),
            ]
        )
    )

    assert told == [
        "gate: prove_2^16 at least 3 x arkworks: 3.10: met",
        "gate: prove_2^16 at least 10 x snarkjs: not measured",
        "gate: prove_2^16 at least 0.952 x the kernels alone: not measured",
        "gate: prove_2^16.adx at least 0.8 x arkworks: 1.55: met",
        "gate: msm_2^16 at least 2 x gnark-crypto: 1.90: short",
        "gate: ntt_2^16 at least 1.5 x gnark-crypto: not measured",
        "gate: verify at least 1 x arkworks: not measured",
        "gate: verify_batch at least 4 x one by one: not measured",
    ]
