"""The circuit of benchmarks: its published results, and that its constraints mean them."""

from __future__ import annotations

import pytest
from theblock_node.core.errors import InvalidRecord
from theblock_node.core.proofs import bench_chain, r1cs
from theblock_node.core.proofs.formats import r1cs as r1cs_file


@pytest.mark.parametrize(
    ("steps", "result"),
    [
        (4, 45239079),
        (10, 6799949047152875411671140703632217585669466242358874753173810405818734168378),
        (1000, 0x1A00AC0F7CA72C249C3BC575554C16C672BE9A7631936DD7D5E09F118675EFED),
    ],
)
def test_results_are_the_published_ones(steps, result):
    system, wires = bench_chain.make_circuit(steps), bench_chain.compute_wires(steps, 3, 5)

    assert wires[1:4] == [result, 5, 3]
    r1cs.check_witness(system, wires)
    assert r1cs_file.read(r1cs_file.write(system)) == system


def test_no_wire_may_be_another():
    system, wires = bench_chain.make_circuit(12), bench_chain.compute_wires(12, 3, 5)

    for wire in range(1, len(wires)):
        with pytest.raises(InvalidRecord):
            r1cs.check_witness(system, [value + (at == wire) for at, value in enumerate(wires)])


def test_a_chain_fills_its_domain():
    assert r1cs.domain_power(bench_chain.make_circuit(2**6 - bench_chain.RESERVED)) == 6
    assert r1cs.domain_power(bench_chain.make_circuit(2**6 - bench_chain.RESERVED + 1)) == 7
