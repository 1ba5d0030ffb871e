"""Circuits: what may be registered where, and that they only ever go out of use."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support import bundles
from support.bundles import BOUND_HASH, CUBIC_HASH
from support.chain import Chain, address
from support.snark import bound_key
from theblock_node.core.domains.compute import circuits
from theblock_node.core.domains.compute import records as r
from theblock_node.core.proofs import keys, statements

CEREMONY = r.Ceremony(b"\1" * 32, 3, b"\2" * 32)
STRICT = {"allow_dev_circuits": 0, "allow_unbound_circuits": 0}
KEY = bound_key().verifying


def register(chain: Chain, circuit_hash: bytes = BOUND_HASH, **changes: object) -> list[object]:
    return chain.ok("bob", "compute.register_circuit", bundles.registration(circuit_hash, **changes))


def get(chain: Chain, circuit_hash: bytes = BOUND_HASH) -> r.CircuitReply:
    reply = chain.query("compute.circuit", r.GetCircuit(circuit_hash))
    assert isinstance(reply, r.CircuitReply)
    return reply


def encoded(**changes: object) -> bytes:
    return keys.encode_verifying_key(replace(KEY, **changes))


def test_registered_circuit_can_be_read_with_its_key():
    chain = Chain()
    told = register(chain)

    reply = get(chain)
    circuit = reply.circuit
    assert circuit is not None
    assert told == [r.CircuitRegistered(BOUND_HASH, address("bob"), circuit.key_hash)]
    assert circuit.key_hash == statements.compute_key_hash(KEY)
    assert (circuit.public_count, circuit.ctx_index, circuit.state) == (2, 1, r.CircuitState.ACTIVE)
    assert (circuit.owner, circuit.registered_height) == (address("bob"), chain.height)
    assert keys.decode_verifying_key(reply.verifying_key) == KEY
    assert get(chain, bytes(32)) == r.CircuitReply(None, b"")


def test_circuits_are_listed_page_by_page():
    chain = Chain()
    for circuit_hash in (BOUND_HASH, CUBIC_HASH):
        register(chain, circuit_hash)
    everything = chain.query("compute.circuits", r.ListCircuits(b"", 0)).circuits
    first = chain.query("compute.circuits", r.ListCircuits(b"", 1)).circuits
    rest = chain.query("compute.circuits", r.ListCircuits(first[0].circuit_hash, 9)).circuits
    assert [row.circuit_hash for row in everything] == sorted((BOUND_HASH, CUBIC_HASH))
    assert (*first, *rest) == everything


@pytest.mark.parametrize(
    ("params", "changes", "code"),
    [
        pytest.param(STRICT, {}, "compute.circuit_dev_key", id="dev-key"),
        pytest.param(STRICT, {"ceremony": replace(CEREMONY, contributions=0)}, "compute.circuit_dev_key", id="nobody"),
        pytest.param(STRICT, {"ceremony": CEREMONY, "ctx_index": None}, "compute.proof_ctx", id="unbound"),
        pytest.param({}, {"domain_size": 0}, "compute.invalid_circuit", id="no-domain"),
        pytest.param({}, {"domain_size": 12}, "compute.invalid_circuit", id="no-power-of-two"),
        pytest.param({}, {"domain_size": 2**29}, "compute.invalid_circuit", id="domain-beyond-the-field"),
        pytest.param({}, {"output_count": 3}, "compute.invalid_circuit", id="more-outputs-than-inputs"),
        pytest.param({}, {"ctx_index": 2}, "compute.invalid_circuit", id="ctx-beyond-the-inputs"),
        pytest.param({}, {"ctx_index": 0}, "compute.invalid_circuit", id="ctx-among-the-outputs"),
        pytest.param({}, {"verifying_key": encoded(ic=KEY.ic[:1] * 1026)}, "compute.invalid_circuit", id="wide-key"),
        pytest.param({}, {"verifying_key": b""}, "snark.key_size", id="no-key"),
        pytest.param({}, {"verifying_key": encoded(delta=KEY.gamma)}, "snark.key_delta", id="forgeable-key"),
        pytest.param({}, {"verifying_key": encoded(beta=None)}, "snark.key_infinity", id="key-with-infinity"),
    ],
)  # fmt: skip
def test_circuit_is_refused(params, changes, code):
    chain = Chain(params=params)
    assert chain.refused("bob", "compute.register_circuit", bundles.registration(**changes)) == code
    assert get(chain).circuit is None


def test_strict_network_takes_a_bound_circuit_of_a_ceremony():
    chain = Chain(params=STRICT)
    register(chain, ceremony=CEREMONY)
    found = get(chain).circuit
    assert found is not None
    assert found.ceremony == CEREMONY


def test_hash_is_registered_once_and_keeps_its_key():
    chain = Chain()
    register(chain)
    again = bundles.registration(domain_size=2**10)
    assert chain.refused("alice", "compute.register_circuit", again) == "compute.circuit_exists"


def test_block_registers_a_bounded_number_of_circuits():
    chain = Chain(params={"compute_verify_units_per_block": 8})
    commands = [bundles.registration(bytes([at]) * 32) for at in range(3)]
    nonce = chain.nonce("bob")
    applied = chain.block(
        *(chain.tx("bob", "compute.register_circuit", one, nonce=nonce + at) for at, one in enumerate(commands, 1))
    )
    assert [receipt.error_code for receipt in applied.receipts] == ["", "", "compute.verify_budget"]


def test_only_the_owner_takes_a_circuit_out_of_use_and_there_is_no_way_back():
    chain = Chain()
    register(chain)

    def changing(state: r.CircuitState, circuit_hash: bytes = BOUND_HASH) -> tuple[str, r.SetCircuitState]:
        return "compute.set_circuit_state", r.SetCircuitState(circuit_hash, state)

    assert chain.refused("alice", *changing(r.CircuitState.REVOKED)) == "compute.not_owner"
    assert chain.refused("bob", *changing(r.CircuitState.REVOKED, CUBIC_HASH)) == "compute.circuit_unknown"
    assert chain.refused("bob", *changing(r.CircuitState.ACTIVE)) == "compute.circuit_state"
    assert chain.ok("bob", *changing(r.CircuitState.DEPRECATED)) == [
        r.CircuitStateChanged(BOUND_HASH, r.CircuitState.DEPRECATED)
    ]
    chain.ok("bob", *changing(r.CircuitState.REVOKED))
    assert chain.refused("bob", *changing(r.CircuitState.DEPRECATED)) == "compute.circuit_state"


@pytest.mark.parametrize(("domain_size", "units"), [(2, 1), (2**14, 1), (2**15, 2), (2**20, 64)])
def test_proofs_are_paid_by_their_domain(domain_size, units):
    assert circuits.compute_units(domain_size) == units


@pytest.mark.parametrize(("public_count", "units"), [(0, 4), (15, 4), (16, 5), (1024, 68)])
def test_verification_costs_by_its_public_inputs(public_count, units):
    assert circuits.compute_verify_units(public_count) == units
